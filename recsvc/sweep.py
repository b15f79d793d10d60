"""Carries a weights change over to the stored scores of all users, and removes expired tags and products.

How it stays right under traffic (docs/adr/0003-weights-change.md): the version in Redis is raised first, so from then
on no writer with older weights can commit. Then users are read, scored by the rule of :mod:`reccore.scoring`, and
written in a transaction that Redis refuses when any of their counts, or the version in force, has changed meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import redis

from reccore import encoding, layout
from reccore.scoring import format_score, score
from reccore.weights import Weights
from recsvc.errors import StoreUnavailable
from recsvc.remembered import ByCounts
from recsvc.sweep_ground import ground_of
from redisaccess.exchange import Command, as_mapping, exchange, raise_first_error

log = logging.getLogger(__name__)

USERS_AT_ONCE = 40
ROWS_AT_ONCE = 1_000
"""What one transaction may write: about a millisecond in which Redis serves nobody else."""
SCAN_COUNT = 500
PAUSE_FOR_WORK = 0.5
"""Seconds of pause for each second of this thread's own computing: Redis then gives the pass less than half of its
time, and where the processor is busy with others, which is a pause already, no more is added."""

_RAISE = """
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or -1)
if version < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'document', ARGV[2])
  return ARGV[1]
end
return tostring(version)
"""
_SWEPT = """
if redis.call('HGET', KEYS[1], 'version') == ARGV[1] then redis.call('HSET', KEYS[1], 'swept', ARGV[1]) end
"""


@dataclass(frozen=True, slots=True)
class Record:
    """``weights:in_force``: the newest version that Redis knows of, and the one that all scores have (-1: none)."""

    version: int
    swept: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Swept:
    """What one pass did; ``complete`` is False when newer weights came in force meanwhile."""

    users: int
    changed: int
    repeated: int
    seconds: float
    complete: bool


@dataclass(frozen=True, slots=True)
class Hashes:
    """One kind of hash that users have: where it is, whose it is, and the hash that holds a score for each row."""

    pattern: str
    key: Callable[[str], str]
    user_of: Callable[[str], str | None]
    scores: Callable[[str], str] | None


_COUNTS = Hashes("{*:counts*", layout.counts_key, layout.user_of_counts_key, layout.profile_key)
_ITEMS = Hashes("{*:items*", layout.items_key, layout.user_of_items_key, None)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass applies to every row: the scores' texts at one version, and the expiry of rows (0: never)."""

    texts: ByCounts[str]
    write_scores: bool
    tag_expiry_seconds: int
    now: float


class ScoreSweep:
    """The passes over Redis, over one connection. Raises ``StoreUnavailable`` when Redis is away."""

    def __init__(
        self,
        client: Any,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._redis = client
        self._ground = ground_of(client)
        self._connection: Any = None
        self._now, self._sleep = now, sleep
        self._raise, self._swept = client.register_script(_RAISE), client.register_script(_SWEPT)

    def record(self) -> Record:
        """Read what Redis remembers of the weights."""
        fields = self._translated(partial(self._redis.hgetall, layout.WEIGHTS_IN_FORCE))
        return Record(int(fields.get("version", -1)), int(fields.get("swept", -1)), fields)

    def raise_version(self, version: int, weights: Weights) -> int:
        """Put ``version`` in force in Redis unless a newer one is; gives the one that is then."""
        document = weights.as_json()

        def everywhere() -> int:
            in_force = int(self._raise(keys=[layout.WEIGHTS_IN_FORCE], args=[version, document]))
            self._ground.raise_in_slots(_RAISE, (str(version), document.decode()))
            return in_force

        return int(self._translated(everywhere))

    def mark_swept(self, version: int) -> None:
        """Remember that no score of another version is left."""
        self._translated(lambda: self._swept(keys=[layout.WEIGHTS_IN_FORCE], args=[version]))

    def close(self) -> None:
        """Close the connection of the passes."""
        self._ground.close()

    def run(
        self,
        version: int,
        weights: Weights,
        *,
        tag_expiry_seconds: int = 0,
        write_scores: bool = True,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Swept:
        """Make one pass over all users, paced; ends early when newer weights are in force or ``stopping`` says so."""
        began = time.monotonic()
        places = self._translated(self._ground.places)
        users = changed = repeated = 0
        values = weights.values
        texts = ByCounts(lambda counts: format_score(score(counts, values)))
        rules = Pass(texts, write_scores, tag_expiry_seconds, self._now())
        hashes = (_COUNTS, _ITEMS) if tag_expiry_seconds else (_COUNTS,)
        for which, chunk in chain.from_iterable(self._chunks(each, at) for at in places for each in hashes):
            waiting = [chunk]
            while waiting:
                started, some = time.thread_time(), waiting.pop()
                try:
                    changed += self._translated(partial(self._attempt, which, some, version, rules))
                    users += len(some) if which is _COUNTS else 0
                except _TooMuchError:
                    # One of them was written meanwhile, or they have very many tags: fewer at once get through.
                    repeated += 1
                    half = (len(some) + 1) // 2
                    waiting += [part for part in (some[half:], some[:half]) if part]
                except _OddError as exc:
                    if len(some) == 1:
                        log.error("a user is left out, whose stored rows are odd; LOG_LEVEL=debug says who")
                        log.debug("user %r is left out: %s", some[0], exc)
                    else:
                        waiting += [[user] for user in some]
                except _MovedError:
                    return Swept(users, changed, repeated, time.monotonic() - began, complete=False)
                if stopping():
                    return Swept(users, changed, repeated, time.monotonic() - began, complete=False)
                self._sleep((time.thread_time() - started) * PAUSE_FOR_WORK)
        # Users of a slot that has moved meanwhile may have been left out.
        complete = self._translated(self._ground.is_as_before)
        return Swept(users, changed, repeated, time.monotonic() - began, complete=complete)

    def _attempt(self, which: Hashes, users: Sequence[str], version: int, rules: Pass) -> int:
        try:
            return self._bring_in_line(which, users, version, rules)
        except redis.ResponseError as exc:
            if not str(exc).startswith("WRONGTYPE"):
                raise
            self._connection.disconnect()  # which forgets what it watched
            raise _OddError(f"a key holds something else: {exc}") from exc

    def _bring_in_line(self, which: Hashes, users: Sequence[str], version: int, rules: Pass) -> int:
        """Rewrite some users whole, or none of them; gives how many changed."""
        keys = [which.key(user) for user in users]
        in_force = self._ground.in_force_key(keys[0])
        reads: list[Command] = [("HGETALL", key) for key in keys]
        watch: Command = ("WATCH", in_force, *keys)
        state: list[Command] = [("HGET", in_force, field) for field in ("version", "exchange")]
        _, now, exchanged_for, *found = exchange(self._connection, [watch, *state, *reads])
        # During an exchange (of a cluster) other users take the place of these, who are not in line yet.
        if now is None or int(now) != version or exchanged_for is not None:
            self._forget()
            raise _MovedError
        stored = [as_mapping(each) for each in found]
        if len(users) > 1 and sum(map(len, stored)) > ROWS_AT_ONCE:
            self._forget()
            raise _TooMuchError
        try:
            writes = [_writes(which, *each, rules) for each in zip(users, stored, strict=True)]
        except ValueError as exc:
            self._forget()
            raise _OddError(f"the counts can't be read: {exc}") from exc
        commands = [command for each in writes for command in each]
        if not commands:
            self._forget()
            return 0
        results = exchange(self._connection, [("MULTI",), *commands, ("EXEC",)])[-1]
        if results is None:
            raise _TooMuchError
        raise_first_error(results)
        return sum(map(bool, writes))

    def _forget(self) -> None:
        exchange(self._connection, [("UNWATCH",)])

    def _chunks(self, which: Hashes, place: str) -> Iterator[tuple[Hashes, list[str]]]:
        """Find the users of one server, over the connection of the pass: a cursor means nothing after a failover."""
        self._connection = self._translated(lambda: self._ground.connection(place))
        cursor, waiting = "0", dict[str, list[str]]()
        while True:
            scan: Command = ("SCAN", cursor, "MATCH", which.pattern, "COUNT", SCAN_COUNT)
            cursor, keys = self._translated(partial(exchange, self._connection, [scan]))[0]
            for key in keys:
                if (user := which.user_of(key)) is not None:
                    waiting.setdefault(self._ground.in_force_key(key), []).append(user)
            for together, users in list(waiting.items()):
                while len(users) >= USERS_AT_ONCE or (users and self._ground.is_cluster) or (users and cursor == "0"):
                    yield which, users[:USERS_AT_ONCE]
                    users = waiting[together] = users[USERS_AT_ONCE:]
            if cursor == "0":
                return

    def _translated(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (redis.RedisError, OSError) as exc:
            self._ground.close()
            raise StoreUnavailable(f"Redis is away: {exc}") from exc


class _MovedError(Exception):
    """Newer weights are in force, or what was rebuilt is taking the place of what is live."""


class _TooMuchError(Exception):
    """Nothing was written: fewer users have to be taken at once."""


class _OddError(Exception):
    """What is stored of one of the users is none of ours."""


def _writes(which: Hashes, user: str, rows: Mapping[str, str], rules: Pass) -> list[Command]:
    key, scores_key = which.key(user), which.scores and which.scores(user)
    commands: list[Command] = []
    if rules.tag_expiry_seconds:
        rows, stamped, expired = _aged(rows, rules)
        if expired:
            commands += [("HDEL", each, *expired) for each in (scores_key, key) if each]
        if stamped:
            commands.append(("HSET", key, *stamped))
    if rows and rules.write_scores and scores_key:
        commands.append(("HSET", scores_key, *chain.from_iterable(rules.texts.of_all(rows).items())))
    return commands


def _aged(rows: Mapping[str, str], rules: Pass) -> tuple[dict[str, str], list[str], list[str]]:
    """Give the rows that stay, fields and values of those whose time begins now, and the fields that have expired."""
    stay, stamped, expired = dict[str, str](), list[str](), list[str]()
    for tag, row in rows.items():
        counts = encoding.decode_counts(row)
        if counts.expired(rules.now, rules.tag_expiry_seconds):
            expired.append(tag)
            continue
        if counts.written_at is None:  # from a time when tags didn't expire
            stamped += (tag, encoding.stamped(row, int(rules.now)))
        stay[tag] = row
    return stay, stamped, expired
