"""How many requests a caller may make: a rule, and a bounded memory of callers (docs/adr/0006-rate-limits.md)."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_CALLERS: Final = 10_000
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600}
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds: all at once, and after that one whenever its share of the time is over."""

    requests: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read ``100/second``, ``…/minute`` or ``…/hour``. Raises ``ValueError`` that says so."""
        found = _RATE.fullmatch(text)
        if found is None:
            raise ValueError("N/second, N/minute or N/hour")
        return cls(int(found[1]), _SECONDS[found[2]])

    def __str__(self) -> str:
        """Give it as it is written in settings."""
        return f"{self.requests}/{next(name for name, length in _SECONDS.items() if length == self.seconds)}"

    @property
    def share_ns(self) -> int:
        """The time that one request is paid with."""
        return self.seconds * 1_000_000_000 // self.requests

    def wait_ns(self, paid_until_ns: int, now_ns: int) -> int:
        """How long until the next request may come, 0 for now.

        Each request pays for its share of the time, and ``requests`` of them may pay in advance: the generic cell rate
        algorithm (ITU-T I.371), a token bucket in one number. Whole nanoseconds, since rounding would lose requests.
        """
        ahead = max(0, paid_until_ns - now_ns)
        return max(0, ahead - (self.requests - 1) * self.share_ns)

    def paid_ns(self, paid_until_ns: int, now_ns: int) -> int:
        """Until when is paid for after one more request."""
        return max(paid_until_ns, now_ns) + self.share_ns


class Limiter:
    """One rate for each caller of this process; remembers the ``MOST_CALLERS`` that asked last."""

    def __init__(self, rate: Rate, *, now_ns: Callable[[], int] = time.monotonic_ns, most: int = MOST_CALLERS) -> None:
        self.rate = rate
        self._now_ns, self._most = now_ns, most
        self._paid_until: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> float:
        """Count a request; gives 0, or the seconds after which it may come again, and then it isn't counted."""
        with self._lock:
            now, paid_until = self._now_ns(), self._paid_until.get(caller, 0)
            wait = self.rate.wait_ns(paid_until, now)
            if not wait:
                self._paid_until[caller] = self.rate.paid_ns(paid_until, now)
                self._paid_until.move_to_end(caller)
                if len(self._paid_until) > self._most:
                    self._paid_until.popitem(last=False)
            return wait / 1e9

    def wait(self, caller: str) -> float:
        """Seconds until a request of this caller would be taken, 0 for now; counts nothing."""
        with self._lock:
            return self.rate.wait_ns(self._paid_until.get(caller, 0), self._now_ns()) / 1e9

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._paid_until)
