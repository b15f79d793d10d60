"""RabbitMQ, Kafka and the bridge killed while events flow: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from deploy.local import Stack
from reweigh.rabbitmq.sender import EventSender
from tests.rabbitmq.reading import Site
from tests.waiting import wait_until

StartBridge = Callable[[], subprocess.Popen[str]]
PATIENCE = 150  # seconds; a busy machine is no failure
BATCH = 20

pytestmark = pytest.mark.timeout(600)


class Stream:
    """Sends batch after batch in a thread, and keeps the ids of what was confirmed."""

    def __init__(self, site: Site, prefix: str) -> None:
        self.confirmed: list[str] = []
        self._site, self._prefix = site, prefix
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send)

    @property
    def count(self) -> int:
        """Events confirmed so far."""
        return len(self.confirmed)

    def flow(self, events: int = 200) -> None:
        """Wait until so many more are confirmed."""
        wanted = self.count + events
        wait_until(lambda: self.count >= wanted, PATIENCE, what=f"{wanted} events are confirmed")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send while the context lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join()

    def _send(self) -> None:
        actions = itertools.cycle(("click", "cart", "purchase"))
        with EventSender(settings=self._site.settings, patience_seconds=PATIENCE) as sender:
            for first in itertools.count(step=BATCH):
                if self._stopping.wait(0.05):
                    return
                ids = [f"{self._prefix}{number}" for number in range(first, first + BATCH)]
                sender.send_batch(
                    {"user_id": f"u-{each[-1]}", "item_id": each, "action": next(actions), "event_id": each}
                    for each in ids
                )
                self.confirmed += ids


def check(site: Site, stream: Stream, prefix: str) -> None:
    """Every confirmed event is in Kafka, no other one is, and one that is there twice is the same each time."""
    with suppress(AssertionError):  # what is compared below says more
        wait_until(lambda: site.ready() == 0 and len(site.records(prefix)) >= stream.count, PATIENCE, pause=0.3)
    found = site.records(prefix)
    assert site.ready() == 0
    assert set(found) == set(stream.confirmed)
    assert [event_id for event_id, records in found.items() if len(set(records)) != 1] == []
    assert site.ready(site.settings.dead_letter_queue) == 0


def wait_killed(stack: Stack, server: str) -> None:
    """Kill a server; wait until another process has taken its place and answers."""
    old = stack.kill(server)
    wait_until(lambda: stack.pid(server) not in (0, old), PATIENCE)
    stack.wait_ready(server, PATIENCE)


@pytest.mark.parametrize("server", ["rabbitmq", "kafka"])
def test_a_server_is_killed_while_events_flow(site: Site, start_bridge: StartBridge, server: str) -> None:
    """Sender and bridge go on by themselves, and the bridge ends as it should."""
    bridge, prefix = start_bridge(), f"{server}-"
    stream = Stream(site, prefix)
    with stream.running():
        stream.flow()
        wait_until(lambda: site.records(prefix), PATIENCE, pause=0.2)
        wait_killed(site.servers, server)
        stream.flow()
    check(site, stream, prefix)
    bridge.send_signal(signal.SIGTERM)
    assert bridge.wait(60) == 0


def test_the_bridge_is_killed_and_ended_while_events_flow(site: Site, start_bridge: StartBridge) -> None:
    """Killed, it leaves to another what it had in hand; ended, it leaves nothing: each event is in one place."""
    stream = Stream(site, "bridge-")
    with stream.running():
        first = start_bridge()
        wait_until(lambda: site.records("bridge-"), PATIENCE, pause=0.2)
        first.kill()
        first.wait()
        stream.flow()
        second = start_bridge()
        stream.flow()
    check(site, stream, "bridge-")

    later = Stream(site, "ended-")
    with later.running():
        wait_until(lambda: site.records("ended-"), PATIENCE, pause=0.2)
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
        later.flow()
    settled = site.records("ended-")
    assert all(len(records) == 1 for records in settled.values())
    assert len(settled) + site.ready() == later.count
    start_bridge()
    check(site, later, "ended-")
