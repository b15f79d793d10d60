"""A producer that never sends again, as kafka-python's may be after a broker's death, on a stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.future import Future

from recsvc.errors import IngestUnavailable
from recsvc.ingest import Message
from recsvc.kafka_publisher import KafkaEventPublisher

EVENT = Message("view-events", b"u", b"{}")


class NeverDone(Future):
    """A future that is not done within any limit, and may be given up later."""

    __slots__ = ()

    def get(self, timeout: float | None = None) -> None:
        """Wait in vain."""
        raise KafkaTimeoutError(f"not within {timeout}")


class Stuck:
    """Takes everything, sends nothing, and can't be closed before it is made to give up."""

    def __init__(self) -> None:
        self.futures: list[Any] = []
        self._sender = self

    def send(self, *_: Any, **__: Any) -> Any:
        """Take an event."""
        self.futures.append(NeverDone())
        return self.futures[-1]

    def close(self, timeout: float) -> None:
        """Wait for what is open."""
        if not all(each.is_done for each in self.futures):
            raise KafkaTimeoutError(f"not within {timeout}")

    def force_close(self) -> None:
        """Give up what is open."""
        for each in self.futures:
            if not each.is_done:
                each.failure(KafkaTimeoutError("given up"))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Stuck]:
    """The producers that publishers have made."""
    made: list[Stuck] = []

    def build(_: KafkaEventPublisher) -> Stuck:
        made.append(Stuck())
        return made[-1]

    monkeypatch.setattr(KafkaEventPublisher, "_build", build)
    return made


def test_a_stuck_producer_is_given_up(built: list[Stuck]) -> None:
    """Another takes its place, and the places of what it never sent are free again."""
    publisher = KafkaEventPublisher("nowhere", most_in_flight=3, timeout_ms=10, stuck_seconds=0)
    for _ in range(10):  # more often than there are places
        [result] = publisher.publish([EVENT])
        assert isinstance(result, IngestUnavailable)
        assert "too many" not in str(result)
    assert len(built) == 10
    publisher.stop()


def test_a_slow_producer_is_kept(built: list[Stuck]) -> None:
    """Not every time limit is the end of a producer; what it still holds counts as in flight."""
    publisher = KafkaEventPublisher("nowhere", most_in_flight=3, timeout_ms=10)
    results = [publisher.publish([EVENT])[0] for _ in range(4)]
    assert len(built) == 1
    assert "too many" in str(results[-1])
    publisher.stop()
