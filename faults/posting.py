"""Events over HTTP: booked once they are acknowledged, repeated under the same id until they are."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from faults.ledger import TOPICS
from faults.patience import PATIENCE_SECONDS, wait_until
from faults.traffic import Event, Traffic

_PAUSE_SECONDS = 0.1


@dataclass
class Posted:
    """Requests by status (0: no answer), the longest in seconds, and what is not acknowledged yet."""

    statuses: Counter[int] = field(default_factory=Counter)
    longest_seconds: float = 0.0
    longest_refusal_seconds: float = 0.0
    open: list[tuple[Event, str]] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)


@contextmanager
def posting(url: str, traffic: Traffic) -> Iterator[Posted]:
    """Post an event every tenth of a second; at the end repeat what has no acknowledgement until it has one."""
    posted, over = Posted(), threading.Event()

    def post_all() -> None:
        while not over.wait(_PAUSE_SECONDS):
            event, kind = _named(traffic)
            if not _post(url, traffic, posted, event, kind):
                posted.open.append((event, kind))

    thread = threading.Thread(target=post_all)
    thread.start()
    try:
        yield posted
    finally:
        over.set()
        thread.join()
    for event, kind in posted.open:
        wait_until(
            "an acknowledgement over HTTP",
            lambda event=event, kind=kind: _post(url, traffic, posted, event, kind),  # type: ignore[misc]
            PATIENCE_SECONDS,
        )
    posted.open.clear()


def _named(traffic: Traffic) -> tuple[Event, str]:
    """Make an event that has an id: only such a one may be sent again."""
    while True:
        event, kind = traffic.event(users=200)
        if "event_id" in event:
            return event, kind


def _post(url: str, traffic: Traffic, posted: Posted, event: Event, kind: str) -> bool:
    identity = str(event["event_id"])
    began = time.monotonic()
    status = _status_of(url, event)
    seconds = time.monotonic() - began
    posted.statuses[status] += 1
    posted.longest_seconds = max(posted.longest_seconds, seconds)
    if status != 202:
        posted.longest_refusal_seconds = max(posted.longest_refusal_seconds, seconds)
        posted.tries[identity] += 1
        return False
    with traffic.lock:
        traffic.ledger.book(event, kind)
        traffic.ledger.in_doubt[TOPICS[kind]] += posted.tries[identity]
    return True


def _status_of(url: str, event: Event) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=15)
    try:
        connection.request("POST", "/update", json.dumps(event), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    else:
        return answer.status
    finally:
        connection.close()
