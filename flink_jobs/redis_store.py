"""The job's Redis edge: every command that it sends, with bounded retries, and no ``redis.`` exception beyond it.

All values are absolute, so a command that was carried out although its answer got lost may be sent again. Before that,
the writer takes its place anew, so that the first sending can't be carried out any more after the second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, Final, TypeVar

import redis

from flink_jobs.counted_ages import counted_ages
from flink_jobs.crowded_users import ITEMS, TAGS, CappedHash, crowded, removals
from flink_jobs.errors import FencedOffError, RedisRefusedError, RedisUnavailableError
from flink_jobs.last_kept import LastKept
from flink_jobs.redis_transaction import Command, as_mapping, ask, execute
from flink_jobs.settings import MOST_PRODUCTS_PER_USER, MOST_TAGS_PER_USER
from flink_jobs.user_rows import UserRows, transactions
from reccore import encoding, layout
from reccore.row_cap import RowCap
from reccore.write_figures import WriteFigures

log = logging.getLogger(__name__)
T = TypeVar("T")

_FIELDS_A_CALL: Final = 1_000
_LONGEST_PAUSE_SECONDS: Final = 2.0
_PASSING_STATES: Final = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
)
_SECONDS_BETWEEN_FIGURES: Final = 1.0
_EPOCH_ORIGIN_SECONDS: Final = 1_704_067_200  # 2024-01-01
DEFAULT_CAPS: Final = {TAGS: RowCap(MOST_TAGS_PER_USER), ITEMS: RowCap(MOST_PRODUCTS_PER_USER)}


@dataclass(frozen=True, slots=True)
class WeightsStamp:
    """The weights that a batch was scored with, as they are compared in Redis."""

    version: int
    document: str


class RedisStore:
    """Writes what the job computed and reads the catalogue. One instance a writing function, used by one thread.

    For one server, be it the master that Sentinel names; for a cluster: :mod:`flink_jobs.cluster_store`.
    """

    def __init__(
        self, client: Any, *, patience_seconds: float, caps: Mapping[CappedHash, RowCap] = DEFAULT_CAPS
    ) -> None:
        self._client, self._patience_seconds, self._caps = client, patience_seconds, caps
        self._last_kept = LastKept(caps)
        self._commit_statistics = client.register_script(script_text("commit_statistics.lua"))
        self._take_place = client.register_script(script_text("take_place.lua"))
        self._connection: Any = self._first_connection()
        self._writer, self._place, self._epoch, self._only_statistics = "", ("", "", ""), "", False
        self._figures, self._figures_noted, self._writing_key = WriteFigures(), 0.0, layout.WRITING

    def open(self, function: str, subtasks: int, subtask: int, *, only_statistics: bool = False) -> None:
        """Take the place of subtask ``subtask`` of ``subtasks`` of a writing function; who had it is refused.

        With ``only_statistics`` it writes nothing of users, which on a cluster leaves most slots untouched.
        """
        self._writer, self._place = f"{function}/{subtasks}/{subtask}", (function, str(subtasks), str(subtask))
        self._only_statistics = only_statistics
        self._patiently(self._take)
        self._patiently(partial(self._forget_figures, f"{function}/", f"{function}/{subtasks}/"))

    def close(self) -> None:
        """Close the connections."""
        self.disconnect()
        self._client.close()

    def _first_connection(self) -> Any:
        return self._client.connection_pool.make_connection()

    def disconnect(self) -> None:
        """Close the connection that writes go over."""
        self._connection.disconnect()

    def commit_profiles(self, users: Iterable[UserRows], stamp: WeightsStamp) -> WeightsStamp | None:
        """Write users' counts, scores, items and purchases, unless newer weights than ``stamp`` are in force.

        Who then has more tags or products than may be loses the others. Gives the newer weights when some rows were
        refused for that reason: score the batch again and repeat. Raises :class:`FencedOffError`,
        :class:`RedisRefusedError`, :class:`RedisUnavailableError`.
        """
        for commands, grown in transactions(self._last_kept.within(users), self._last_kept.left_out):
            answers = self._patiently(partial(self._commit, commands, stamp))
            if isinstance(answers, WeightsStamp):
                return answers
            sizes = answers[len(answers) - len(grown) :]
            for which, user_ids in crowded(zip(grown, sizes, strict=True), self._caps):
                self._patiently(partial(self._drop, which, user_ids))
        return None

    def commit(self, commands: list[Command]) -> None:
        """Carry out one transaction. Raises what :meth:`commit_profiles` raises."""
        self._patiently(partial(self._commit, commands, None))

    def note_batch(self, rows: int, began: float, events_ms: Any = None) -> None:
        """Count a batch whose write began at ``began`` (``time.monotonic``), of events of these times (epoch ms).

        What was counted until now is written down once a second. Raises what :meth:`commit` raises.
        """
        now = time.monotonic()
        self._figures.add_write(rows, now - began)
        if events_ms is not None:
            self._figures.event_seconds.add_counted(*counted_ages(events_ms, time.time()))
        if now - self._figures_noted >= _SECONDS_BETWEEN_FIGURES:
            self._figures_noted = now
            self.commit([("HSET", layout.WRITING, self._writer, self._figures.encode())])

    def _forget_figures(self, function: str, ours: str) -> None:
        """Drop those of writers from when there was another number of subtasks."""
        writers: list[str] = self._client.hkeys(self._writing_key)
        if former := [each for each in writers if each.startswith(function) and not each.startswith(ours)]:
            self._client.hdel(self._writing_key, *former)

    def _commit(self, commands: list[Command], stamp: WeightsStamp | None) -> WeightsStamp | list[Any]:
        """Carry out one transaction, which Redis refuses when a newer writer or newer weights come in between.

        Gives the answers, or the newer weights; without a stamp the weights don't matter.
        """
        while True:
            _, epoch, (version, document) = ask(
                self._connection,
                [
                    ("WATCH", layout.WRITER_FENCE, layout.WEIGHTS_IN_FORCE),
                    ("HGET", layout.WRITER_FENCE, self._writer),
                    ("HMGET", layout.WEIGHTS_IN_FORCE, "version", "document"),
                ],
            )
            if epoch is not None and epoch != self._epoch:
                ask(self._connection, [("UNWATCH",)])
                raise self._fenced_off()
            in_force = -1 if version is None else int(version)
            if stamp is not None and in_force > stamp.version:
                ask(self._connection, [("UNWATCH",)])
                return WeightsStamp(in_force, document)
            first: list[Command] = []
            if epoch is None:  # Redis has lost everything
                first.append(("HSET", layout.WRITER_FENCE, self._writer, self._epoch))
            if stamp is not None and in_force < stamp.version:
                fields = ("version", str(stamp.version), "document", stamp.document)
                first.append(("HSET", layout.WEIGHTS_IN_FORCE, *fields))
            answers = execute(self._connection, [*first, *commands])
            if answers is not None:
                return answers

    def _drop(self, which: CappedHash, user_ids: Sequence[str]) -> None:
        """Take from crowded users what is beyond the cap, by what they have at one moment, whoever wrote it.

        Redis refuses it when one of them is written meanwhile. A batch that fails between its write and this comes
        again after the recovery, and this with it.
        """
        self._drop_on(self._connection, layout.WRITER_FENCE, which, user_ids)

    def _drop_on(self, connection: Any, fence: str, which: CappedHash, user_ids: Sequence[str]) -> None:
        keys = [which.key(user_id) for user_id in user_ids]
        watch: Command = ("WATCH", fence, *keys)
        reads: list[Command] = [("HGETALL", key) for key in keys]
        while True:
            _, epoch, *rows = ask(connection, [watch, ("HGET", fence, self._writer), *reads])
            if epoch is not None and epoch != self._epoch:
                ask(connection, [("UNWATCH",)])
                raise self._fenced_off()
            of_users = zip(user_ids, map(as_mapping, rows), strict=True)
            commands = removals(which, of_users, self._caps[which], time.time(), self._last_kept.remember)
            if not commands:  # another writer was quicker
                ask(connection, [("UNWATCH",)])
                return
            if self._carry_out_drop(connection, commands, which.dropped):
                return

    def _carry_out_drop(self, connection: Any, commands: Sequence[Command], dropped: str) -> bool:  # noqa: ARG002
        """Carry it out with what counts it, ``dropped``, unless a watched key has changed."""
        return execute(connection, commands) is not None

    def commit_statistics(self, key: str, kind: str, values: dict[str, str]) -> None:
        """Write fields of one statistics hash; ``kind`` names them on the stream of changes ("": not announced)."""
        keys = [layout.WRITER_FENCE, key, *([layout.CHANGES] if kind else [])]
        items = list(values.items())
        calls = []
        for start in range(0, len(items), _FIELDS_A_CALL):
            part = items[start : start + _FIELDS_A_CALL]
            rows = "{" + ",".join(f"{encoding.quote(name)}:{value}" for name, value in part) + "}" if kind else ""
            calls.append((keys, [kind, rows, *(text for item in part for text in item)]))
        if calls:
            self._patiently(lambda: self._write_statistics(calls))

    def read_catalogue(self, product_ids: Sequence[str]) -> tuple[str, list[str | None]]:
        """Give the catalogue's version and the stored JSON of each product, None for unknown ones."""

        def fetch() -> tuple[str, list[str | None]]:
            pipeline = self._client.pipeline(transaction=True)
            pipeline.get(layout.CATALOG_VERSION)
            if product_ids:
                pipeline.hmget(layout.CATALOG, list(product_ids))
            answers = pipeline.execute()
            return answers[0] or "", answers[1] if product_ids else []

        return self._patiently(fetch)

    def read_weights_in_force(self) -> dict[str, str]:
        """Give the fields of ``weights:in_force``, empty when nothing was ever in force."""

        def fetch() -> dict[str, str]:
            fields: dict[str, str] = self._client.hgetall(layout.WEIGHTS_IN_FORCE)
            return fields

        return self._patiently(fetch)

    def _write_statistics(self, calls: list[tuple[list[str], list[str]]]) -> None:
        script = self._commit_statistics
        pipeline = self._client.pipeline(transaction=False)
        for keys, args in calls:
            pipeline.evalsha(script.sha, len(keys), *keys, self._writer, self._epoch, *args)
        try:
            answers = pipeline.execute()
        except redis.exceptions.NoScriptError:
            self._client.script_load(script.script)
            self._write_statistics(calls)
            return
        if any(answer[0] == "fenced" for answer in answers):
            raise self._fenced_off()

    def _take(self) -> None:
        """Take the place, the first time or, if nobody newer has it, again."""
        keys = [layout.WRITER_EPOCH, layout.WRITER_FENCE]
        epoch = self._take_place(keys=keys, args=[*self._place, epoch_floor(time.time()), self._epoch])
        if not epoch:
            raise self._fenced_off()
        self._epoch = str(epoch)

    def _fenced_off(self) -> FencedOffError:
        return FencedOffError(f"a newer writer has taken the place of {self._writer}, epoch {self._epoch}")

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do ``action``, again and again while Redis is away, at most for the time of patience.

        While this waits the job makes no progress, which holds the Kafka reader back. After that the attempt fails, and
        Flink restarts it from the last checkpoint, with delays of its own: nothing is lost either way.
        """
        deadline = time.monotonic() + self._patience_seconds
        pause, in_doubt = 0.05, False
        while True:
            try:
                if in_doubt and self._epoch:
                    self._take()
                    in_doubt = False
                return action()
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as exc:
                problem: Exception = exc
                in_doubt = True
                self.disconnect()
            except redis.exceptions.ResponseError as exc:
                if not _passes(exc):
                    raise RedisRefusedError(f"Redis refused the batch: {exc}") from exc
                problem = exc
            if time.monotonic() + pause > deadline:
                raise RedisUnavailableError(f"Redis did not take the batch: {problem}") from problem
            log.warning("Redis did not take the batch, trying again: %s", problem)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def epoch_floor(now: float) -> str:
    """Give an epoch above those that Redis may have had and forgotten."""
    return str(int(now - _EPOCH_ORIGIN_SECONDS) // 60)


def _passes(refusal: redis.exceptions.ResponseError) -> bool:
    """Whether a refusal is of a state that passes: out of memory, a replica that takes no writes, a failover."""
    states = (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)
    return isinstance(refusal, states) or str(refusal).startswith(_PASSING_STATES)


def script_text(name: str) -> str:
    """Give the text of one of the scripts."""
    return (resources.files("flink_jobs") / name).read_text(encoding="utf-8")
