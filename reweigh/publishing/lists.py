"""Makes the lists of some users, by the service's own rules, in processes of their own: it is all computing."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import redis

from reccore.event_types import EventTypes
from reccore.recommendation_lists import RecommendationList
from recsvc.errors import StoreRefused, StoreUnavailable
from recsvc.models.feed import ModelFeed, served
from recsvc.models.store import ModelStore
from recsvc.recommender import Recommender
from recsvc.statistics_feed import StatisticsFeed
from recsvc.user_store import RedisUserStore, StoredUser
from recsvc.wanted import Wish
from reweigh.errors import CommandError
from zkconfig.documents import Ranking
from zkconfig.watcher import WeightsInForce

_TIMEOUT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Basis:
    """What all lists are made of, besides what Redis holds."""

    redis_url: str
    event_types: EventTypes
    in_force: WeightsInForce
    ranking: Ranking
    tag_expiry_seconds: int
    n: int


@dataclass(frozen=True, slots=True)
class _Fixed:
    """The weights of one moment; fulfils :class:`recsvc.sources.WeightsSource`."""

    in_force: WeightsInForce
    connected: bool = True


class ListMaker:
    """Makes lists from one state of statistics and model. Raises :class:`CommandError` when Redis can't be read."""

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._users = RedisUserStore(basis.redis_url, timeout_ms=_TIMEOUT_MS)
        statistics = StatisticsFeed(basis.redis_url, width=len(basis.event_types.names))
        models = ModelFeed(ModelStore(basis.redis_url))
        try:
            statistics.load()
        except redis.RedisError as exc:
            raise CommandError(f"statistics can't be read: {exc}") from exc
        models.refresh()
        if not models.loaded:
            raise CommandError("the trained model can't be read; its lists would not be made by it")
        scorer = models.scorer
        statistics.stop()
        models.stop()
        ranking = served(scorer)
        self._model_version = 0 if ranking is None else ranking.model.version
        self._recommender = Recommender(
            self._users,
            _Fixed(basis.in_force),
            statistics,
            ranking=lambda: basis.ranking,
            scorer=lambda: scorer,
            tag_expiry_seconds=basis.tag_expiry_seconds,
            remembered_users=0,
        )

    def messages(self, user_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """Give key and value of each user's record."""
        users = self._read(user_ids)
        now_ms, wish, version = int(time.time() * 1000), Wish(n=self._basis.n), self._basis.in_force.version
        found = []
        for user_id, user in zip(user_ids, users, strict=True):
            products = self._recommender.products(user, wish)
            told = [{name: each[name] for name in ("product_id", "score", "source")} for each in products]
            made = RecommendationList(user_id, now_ms, version, self._model_version, told)
            found.append((user_id.encode(), orjson.dumps(made.members())))
        return found

    def _read(self, user_ids: Sequence[str]) -> list[StoredUser]:
        try:
            return self._users.users(user_ids)
        except (StoreUnavailable, StoreRefused) as exc:
            raise CommandError(f"users can't be read: {exc}") from exc


_makers: list[ListMaker] = []


def begin(basis: Basis) -> None:
    """Prepare a process, which ends with the one that has started it, however that ends."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _makers.append(ListMaker(basis))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def made(user_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Make lists in a process that is prepared."""
    return _makers[0].messages(user_ids)
