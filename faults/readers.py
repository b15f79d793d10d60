"""Requests that go on all the time while something is broken, and what came of them."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

_PAUSE_SECONDS = 0.02
_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: its user, when it was sent and how long it took (seconds), status (0: none came), and the body."""

    user: str
    at: float
    seconds: float
    status: int
    body: dict[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of many requests. ``failed`` counts those without a 2xx; ``failures`` says why."""

    answers: int
    failed: int
    degraded: int
    p95_ms: float
    failures: str


class Readers:
    """Threads that each ask for one user after the other, as long as the context lasts."""

    def __init__(self, url: str, users: Sequence[str], fresh: bool, readers: int, seed: int, path: str = "recommend"):
        self._address = urlsplit(url).netloc
        self._users, self._fresh, self._path = users, fresh, path
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.answered: list[Answered] = []
        self._threads = [
            threading.Thread(target=self._ask, args=(random.Random(f"{seed}-{number}"),)) for number in range(readers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def taken(self) -> Reading:
        """Give what came of the requests since the last call."""
        with self._lock:
            answered, self.answered = self.answered, []
        failed = [each for each in answered if not 200 <= each.status < 300]
        ordered = sorted(each.seconds for each in answered)
        p95 = 1000 * ordered[max(0, -(-95 * len(ordered) // 100) - 1)] if ordered else 0.0
        reasons = Counter(each.error or str(each.status) for each in failed)
        return Reading(
            answers=len(answered),
            failed=len(failed),
            degraded=sum(bool(each.body.get("degraded")) for each in answered),
            p95_ms=p95,
            failures=", ".join(f"{count} × {reason}" for reason, count in reasons.items()),
        )

    def _ask(self, lots: random.Random) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_SECONDS)
        while not self._over.is_set():
            answered = self._one(connection, lots.choice(self._users))
            with self._lock:
                self.answered.append(answered)
            if self._fresh or answered.status == 0:
                connection.close()
            time.sleep(_PAUSE_SECONDS)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection, user: str) -> Answered:
        began = time.monotonic()
        reused = connection.sock is not None
        try:
            status, body = _get(connection, f"/{self._path}/{quote(user)}")
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            if not (reused and isinstance(exc, ConnectionError | http.client.BadStatusLine)):
                return Answered(user, began, time.monotonic() - began, 0, {}, type(exc).__name__)
            # A kept connection may be closed at any time by who keeps it; a client asks again over a fresh one.
            try:
                status, body = _get(connection, f"/{self._path}/{quote(user)}")
            except (OSError, http.client.HTTPException) as again:
                connection.close()
                return Answered(user, began, time.monotonic() - began, 0, {}, type(again).__name__)
        return Answered(user, began, time.monotonic() - began, status, body)


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, dict[str, Any]]:
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content) if content.startswith(b"{") else {}
