"""What is live and what is rebuilt, side by side, wherever the two are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import redis

from reccore import encoding, layout
from reweigh.errors import CommandError
from reweigh.progress import Tell

T = TypeVar("T")

_NOT_COMPARED: Final = frozenset(
    {
        layout.FOLLOWED,
        layout.CATALOG,
        layout.CATALOG_DETAILS,
        layout.CATALOG_REMOVED,
        layout.CATALOG_VERSION,
        layout.CANARY_OUTCOME,
        layout.CHANGES,
        layout.DROPPED_ITEMS,
        layout.DROPPED_TAGS,
        layout.EXCHANGE,
        layout.PUBLISHING,
        layout.VERIFY_OUTCOME,
        layout.WEIGHTS_IN_FORCE,
        layout.WRITING,
        layout.WRITER_EPOCH,
        layout.WRITER_FENCE,
    }
)
_OF_NO_EVENTS: Final = (
    layout.is_model_key, layout.is_followed_key, layout.is_arrivals_key, layout.is_slot_key,
)  # fmt: skip
_KEYS_A_CALL: Final = 500


class Sides(Protocol):
    """Both of them. Raises :class:`~reweigh.errors.CommandError` for all that Redis does not do."""

    @property
    def place(self) -> str:
        """Say where it is rebuilt."""

    @property
    def job_url(self) -> str:
        """Give the ``REDIS_URL`` of the job that rebuilds."""

    @property
    def job_options(self) -> tuple[str, ...]:
        """Give the options by which that job writes there."""

    @property
    def has_catalogue(self) -> bool:
        """Whether there is a live catalogue."""

    def close(self) -> None:
        """Disconnect."""

    def unfinished(self) -> Path | None:
        """Give the savepoint of an exchange that has begun and has to be finished, None when there is none."""

    def prepare(self) -> None:
        """Empty the place, which nobody else may use, and mark it as ours."""

    def read_by_rebuild(self) -> int:
        """Count the records that the rebuilding job has read, by its totals."""

    def weights_versions(self) -> tuple[str | None, ...]:
        """Give the version of the weights that is in force, then the versions that the rebuild has used."""

    def pairs(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Any, Any]]:
        """Give each key that one of them holds, or each of ``keys``, with what is live and what is rebuilt."""

    def begin(self, savepoint: Path) -> None:
        """Begin the exchange, when both jobs have ended; if it raises, nothing was exchanged.

        ``savepoint`` is the state from which the job is to go on. It has to be the job's own before :meth:`finish`.
        """

    def abandon(self) -> bool:
        """Undo what has begun; gives False, and does nothing, when some of it is exchanged already."""

    def finish(self, tell: Tell) -> None:
        """Carry out what is left of the exchange."""

    def drop(self) -> None:
        """Remove what was rebuilt."""

    def keep(self) -> None:
        """Leave what was rebuilt to whoever asked for it."""


def asked(action: Callable[..., T], *arguments: object) -> T:
    """Do what asks Redis for something. Raises :class:`CommandError` where it does not do it."""
    try:
        return action(*arguments)
    except (redis.RedisError, OSError) as exc:
        raise CommandError(f"Redis does not do it: {exc}") from exc


def read_records(totals: dict[str, str]) -> int:
    """Add up how many records were read, by the job's totals."""
    return sum(int(count) for name, count in totals.items() if name.startswith("read:"))


def pairs_of(
    keys: Iterable[str], live: Callable[[list[str]], list[Any]], rebuilt: Callable[[list[str]], list[Any]]
) -> Iterator[tuple[str, Any, Any]]:
    """Give what both sides hold of those of the keys that follow from the events."""
    chosen = (key for key in set(keys) - _NOT_COMPARED if not any(holds(key) for holds in _OF_NO_EVENTS))
    wanted = sorted(chosen)
    for start in range(0, len(wanted), _KEYS_A_CALL):
        some = wanted[start : start + _KEYS_A_CALL]
        yield from zip(some, live(some), rebuilt(some), strict=True)


def contents(client: Any, keys: list[str], stored_as: Callable[[str], str] = str) -> list[Any]:
    """Read keys of any type, which have other names there; of rows of counts only what follows from the events."""
    names = [stored_as(key) for key in keys]
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.type(name)
        types = pipeline.execute()
        for name, kind in zip(names, types, strict=True):
            if kind == "zset":
                pipeline.zrange(name, 0, -1, withscores=True)
            else:
                readers = {"hash": pipeline.hgetall, "set": pipeline.smembers, "string": pipeline.get}
                readers.get(kind, pipeline.dump)(name)
        found = list(pipeline.execute())
    return [
        {name: encoding.compared_part(row) for name, row in each.items()} if _has_rows(key) and each else each
        for key, each in zip(keys, found, strict=True)
    ]


def _has_rows(key: str) -> bool:
    return layout.user_of_counts_key(key) is not None or layout.user_of_items_key(key) is not None
