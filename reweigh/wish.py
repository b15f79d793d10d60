"""What is wanted of `reweigh replay`, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted.

    Args:
        check: Rebuild and compare, change nothing.
        database: The number of the Redis database to rebuild in; default: the one after the live one.
        namespace: On a cluster: the name of what is rebuilt; default: one of its own.
        keep: Leave what is rebuilt as it is, change nothing else.
        from_ms: Leave out records of an earlier Kafka time; only with ``check`` or ``keep``.
        archive: Where the archive is that has what Kafka does not hold any more; None: Kafka has to hold everything.
    """

    check: bool = False
    database: int | None = None
    namespace: str | None = None
    keep: bool = False
    from_ms: int = 0
    archive: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done.

    Records counted by the time that the end was near, in how many seconds with the start of the second job, how many a
    second without it, and for how long new events waited at the exchange.
    """

    records: int
    seconds: float
    rate: float
    waiting_seconds: float = 0.0
    differences: tuple[str, ...] = ()
    left_out: int = 0
    """Records that arrived while it was compared: what they concern was left out."""
    was_rebuilt_before: bool = False
    """Nothing was counted: an exchange was finished that had been interrupted."""
