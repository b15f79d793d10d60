"""What Redis holds of users, read in one round trip, and remembered for when Redis is away; a product, too.

The requests' reads go over one plain connection a thread (so never more connections than threads; of a cluster, one to
each node): the commands of one request are sent as one packet and the answers read one after the other, which costs
half of what a redis-py pipeline does. Times are bounded; after a failure the breaker keeps requests from waiting.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import redis

from reccore import layout
from recsvc.breaker import Breaker
from recsvc.errors import StoreRefused, StoreUnavailable
from redisaccess.clients import client_of
from redisaccess.exchange import as_mapping
from redisaccess.links import ClusterLink, Link, link_of

_AWAY = ("BUSY", "CLUSTERDOWN", "MASTERDOWN")
"""First words of answers by which a server that can be reached says that it serves nobody now. (LOADING, and a refused
login, redis-py gives as an error of the connection.)"""


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user's counts hash as it is stored (field → row; empty for an unknown user), and the products bought.

    ``arrivals`` are the newest events to arrive, ``items`` the counts and ``ratings`` the ratings by product, as they
    are stored, where they were asked for.
    """

    rows: Mapping[str, str]
    purchased: frozenset[str]
    arrivals: tuple[str, ...] = ()
    items: Mapping[str, str] = field(default_factory=dict)
    ratings: Mapping[str, str] = field(default_factory=dict)


NOBODY = StoredUser({}, frozenset())


class UserStore(Protocol):
    """Reads users; raises ``StoreUnavailable`` within the time limit when Redis is away, else ``StoreRefused``."""

    def user(self, user_id: str, *, arrivals: bool = False, items: bool = False, ratings: bool = False) -> StoredUser:
        """Read counts and purchases of one user, if wanted more, and before all of that the newest arrivals."""

    def recent(self, user_id: str, first: int, last: int) -> list[tuple[str, int]]:
        """Read the user's newest events: from the ``first``-th to the ``last``-th, each with its time (epoch ms)."""

    def histories(self, user_ids: Sequence[str], before_ms: int, most: int) -> list[list[tuple[str, int]]]:
        """Read the newest events before a time (epoch ms) of several users, at least one, in one round trip."""

    def some_users(self, draws: int) -> list[str]:
        """Draw keys at random, so many, and give the users that they tell to have events, each once."""

    def ratings(self, user_id: str) -> Mapping[str, str]:
        """Read the user's ratings by product, as they are stored."""

    def interests(self, user_id: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Read the user's vector of interests and what it was made of, as they are stored, empty for none."""

    def counts(self, user_ids: Sequence[str]) -> list[Mapping[str, str]]:
        """Read the counts hashes of several users in one round trip."""

    def items(self, user_id: str) -> Mapping[str, str]:
        """Read the counts by product of one user."""

    def product(self, product_id: str) -> tuple[str | None, str | None]:
        """Read a product's row of the catalogue and its details, as they are stored, None where there is none."""

    def details(self, product_ids: Sequence[str]) -> list[str | None]:
        """Read the details of several products, one at least, as they are stored."""

    @property
    def available(self) -> bool:
        """Whether Redis answered when it was last asked."""


class RedisUserStore:
    """Users in Redis. ``start`` after any fork; ``timeout_ms`` bounds connecting and each answer."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        seconds = timeout_ms / 1000
        # The client only builds connections; who uses them is decided here.
        self._client = client_of(
            url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry_on_timeout=False,
            decode_responses=True,
            encoding_errors="replace",
        )
        self._own = threading.local()
        self.breaker = Breaker("Redis", self._answers)

    def start(self) -> None:
        """Start what watches over Redis."""
        self.breaker.start()

    def stop(self) -> None:
        """End that."""
        self.breaker.stop()

    @property
    def available(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return not self.breaker.is_open

    def user(self, user_id: str, *, arrivals: bool = False, items: bool = False, ratings: bool = False) -> StoredUser:
        """Read counts and purchases of one user, if wanted more, and before all of that the newest arrivals."""
        wanted = _Wanted(arrivals, items, ratings)
        return wanted.user(iter(self._ask(wanted.commands(user_id))))

    def users(self, user_ids: Sequence[str]) -> list[StoredUser]:
        """Read counts, purchases, counts by product and ratings of several users, at least one, in one round trip."""
        wanted = _Wanted(arrivals=False, items=True, ratings=True)
        answers = iter(self._ask([command for user_id in user_ids for command in wanted.commands(user_id)]))
        return [wanted.user(answers) for _ in user_ids]

    def recent(self, user_id: str, first: int, last: int) -> list[tuple[str, int]]:
        """Read the user's newest events: from the ``first``-th to the ``last``-th, each with its time (epoch ms)."""
        key = layout.recent_key(user_id)
        (found,) = self._ask([("ZREVRANGE", key, str(first), str(last), "WITHSCORES")])
        return _with_times(found)

    def histories(self, user_ids: Sequence[str], before_ms: int, most: int) -> list[list[tuple[str, int]]]:
        """Read the newest events before a time (epoch ms) of several users, at least one, in one round trip."""
        bounds = (f"({before_ms}", "-inf", "WITHSCORES", "LIMIT", "0", str(most))
        found = self._ask([("ZREVRANGEBYSCORE", layout.recent_key(user_id), *bounds) for user_id in user_ids])
        return [_with_times(each) for each in found]

    def some_users(self, draws: int) -> list[str]:
        """Draw keys at random, so many, and give the users that they tell to have events, each once."""
        keys = self._ask([("RANDOMKEY",)] * draws)
        users = (layout.user_of_key(key) for key in keys if key is not None)
        return list(dict.fromkeys(user_id for user_id in users if user_id is not None))

    def ratings(self, user_id: str) -> Mapping[str, str]:
        """Read the user's ratings by product, as they are stored."""
        (found,) = self._ask([("HGETALL", layout.ratings_key(user_id))])
        return as_mapping(found)

    def interests(self, user_id: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Read the user's vector of interests and what it was made of, as they are stored, empty for none."""
        keys = (layout.interests_key(user_id), layout.about_interests_key(user_id))
        vector, about = self._ask([("HGETALL", key) for key in keys])
        return as_mapping(vector), as_mapping(about)

    def counts(self, user_ids: Sequence[str]) -> list[Mapping[str, str]]:
        """Read the counts hashes of several users in one round trip."""
        answers = self._ask([("HGETALL", layout.counts_key(user_id)) for user_id in user_ids])
        return [as_mapping(each) for each in answers]

    def product(self, product_id: str) -> tuple[str | None, str | None]:
        """Read a product's row of the catalogue and its details, as they are stored, None where there is none."""
        row, details = self._ask([("HGET", key, product_id) for key in (layout.CATALOG, layout.CATALOG_DETAILS)])
        return row, details

    def items(self, user_id: str) -> Mapping[str, str]:
        """Read the counts by product of one user."""
        return as_mapping(self._ask([("HGETALL", layout.items_key(user_id))])[0])

    def details(self, product_ids: Sequence[str]) -> list[str | None]:
        """Read the details of several products, one at least, as they are stored."""
        return list(self._ask([("HMGET", layout.CATALOG_DETAILS, *product_ids)])[0])

    def ping(self) -> bool:
        """Whether Redis answers now."""
        try:
            self._ask([("PING",)])
        except StoreUnavailable:
            return False
        except StoreRefused:
            return True
        return True

    def _ask(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        if self.breaker.is_open:
            raise StoreUnavailable("Redis is away")
        link: Link | None = getattr(self._own, "link", None)
        try:
            if link is None:
                link = self._own.link = link_of(self._client)
            return link.ask(commands)
        except (redis.RedisError, OSError) as exc:
            if _refused(exc):
                raise StoreRefused(f"Redis refused the request: {exc}") from exc
            if link is not None:
                link.close()
            self.breaker.failed(exc)
            raise StoreUnavailable(f"Redis is away: {exc}") from exc

    def _answers(self) -> bool:
        link: Link | None = None
        try:
            link = link_of(self._client)
            if isinstance(link, ClusterLink):
                link.ask_every_master(("PING",))
            else:
                link.ask([("PING",)])
        except (redis.RedisError, OSError) as exc:
            return _refused(exc)
        else:
            return True
        finally:
            if link is not None:
                link.close()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is read of a user besides counts and purchases."""

    arrivals: bool
    items: bool
    ratings: bool

    def commands(self, user_id: str) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = [("HVALS", layout.arrivals_key(user_id))] if self.arrivals else []
        found += (("HGETALL", layout.counts_key(user_id)), ("SMEMBERS", layout.purchased_key(user_id)))
        by_product = ((self.items, layout.items_key), (self.ratings, layout.ratings_key))
        return found + [("HGETALL", key(user_id)) for wanted, key in by_product if wanted]

    def user(self, answers: Iterator[Any]) -> StoredUser:
        """Take what Redis has answered to these commands."""
        arrived = tuple(next(answers)) if self.arrivals else ()
        rows, purchased = as_mapping(next(answers)), frozenset(next(answers))
        by_product = (as_mapping(next(answers)) if wanted else {} for wanted in (self.items, self.ratings))
        return StoredUser(rows, purchased, arrived, *by_product)


def _with_times(found: Sequence[Any]) -> list[tuple[str, int]]:
    """Give members of a sorted set with their times, whichever protocol they were answered in."""
    pairs = zip(found[::2], found[1::2], strict=True) if found and isinstance(found[0], str) else found
    return [(event, int(float(time_ms))) for event, time_ms in pairs]


def _refused(exc: Exception) -> bool:
    """Whether Redis has answered and serves others; the connection is then as good as before."""
    return isinstance(exc, redis.ResponseError) and not str(exc).startswith(_AWAY)


class LastSeen:
    """The users that were read last, for when Redis is away; bounded, the longest unseen goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._users: OrderedDict[str, StoredUser] = OrderedDict()
        self._lock = threading.Lock()

    def remember_rows(self, user_id: str, rows: Mapping[str, str]) -> None:
        """Keep counts that were read alone; what else is known stays."""
        self.remember(user_id, replace(self.recall(user_id), rows=rows))

    def remember(self, user_id: str, user: StoredUser, *, with_items: bool = True) -> None:
        """Keep what was read, ``with_items`` or leaving those that are known. Unknown users are not worth a place."""
        if not with_items:
            user = replace(user, items=self.recall(user_id).items)
        if not (user.rows or user.items or user.ratings) or not self._most:
            return
        with self._lock:
            self._users[user_id] = replace(user, arrivals=()) if user.arrivals else user
            self._users.move_to_end(user_id)
            if len(self._users) > self._most:
                self._users.popitem(last=False)

    def recall(self, user_id: str) -> StoredUser:
        """Give what was read last, :data:`NOBODY` when nothing was."""
        return self._users.get(user_id, NOBODY)
