"""What the service answers, without HTTP: counts from the store, weights in force, statistics, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from reccore.encoding import decode_counts, newest_of_rows
from reccore.ranking import RankedProduct, rank_tags
from reccore.scoring import score
from reccore.timestamps import iso_8601
from reccore.weights import Weights
from recsvc.errors import StoreUnavailable
from recsvc.ranking_table import RankingTable
from recsvc.remembered import ByCounts
from recsvc.statistics import Described, Snapshot
from recsvc.user_store import LastSeen, StoredUser, UserStore
from zkconfig.documents import Ranking
from zkconfig.watcher import WeightsInForce

_EXACT_INTEGER = 2.0**53


class WeightsSource(Protocol):
    """Where the weights come from; :class:`zkconfig.WeightsWatcher` is one."""

    @property
    def in_force(self) -> WeightsInForce:
        """Weights and version, as one value."""

    @property
    def connected(self) -> bool:
        """Whether ZooKeeper is there to tell of changes."""


class StatisticsSource(Protocol):
    """Where the statistics come from; :class:`recsvc.statistics_feed.StatisticsFeed` is one."""

    @property
    def snapshot(self) -> Snapshot:
        """Everybody's counts."""

    @property
    def loaded(self) -> bool:
        """Whether they were read at least once."""


class Recommender:
    """Answers for one process. Each answer takes weights, statistics and settings once, and names the version."""

    def __init__(
        self,
        store: UserStore,
        weights: WeightsSource,
        statistics: StatisticsSource,
        *,
        ranking: Callable[[], Ranking] = Ranking,
        tag_expiry_seconds: int = 0,
        remembered_users: int = 10_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._weights, self._statistics = store, weights, statistics
        self._ranking, self._tag_expiry_seconds, self._now = ranking, tag_expiry_seconds, now
        self._last_seen = LastSeen(remembered_users)
        self._scores: tuple[Weights, ByCounts[float]] | None = None
        self._table: tuple[int, RankingTable] | None = None

    def recommend(self, user_id: str, n: int | None, user: StoredUser | None = None) -> dict[str, Any]:
        """Answer ``GET /recommend``: tags and products for the user, ``n`` of each at most.

        ``user`` is the user as read just now, where that was done already.
        """
        in_force, settings = self._weights.in_force, self._ranking()
        limit = n or settings.default_n
        user, degraded = self._user(user_id) if user is None else (user, False)
        rows = self._unexpired(user.rows)
        scores = self._tag_scores(rows, in_force)
        table = self._ranking_table(in_force)
        liked = any(value > 0 for value in scores.values())
        described = table.snapshot.described
        products: list[dict[str, Any]] = []
        tags = rank_tags(scores, limit)  # also those that the weights in force make nothing of
        as_of = None
        if liked:
            ranked = table.rank(table.taste(scores), left_out=user.purchased, n=limit)
            products = [_entry(each, "tags", described) for each in ranked]
            as_of = newest_of_rows(rows.values())
        if not liked or (settings.fill_with_popular and len(products) < limit):
            left_out = {*user.purchased, *(each["product_id"] for each in products)}
            popular = table.popular(left_out=left_out, n=limit - len(products))
            products += [_entry(each, "popular", described) for each in popular]
            as_of = as_of if liked else table.newest_ms(popular)
        return {
            "user_id": user_id,
            "source": "profile" if liked else "popular",
            "weights_version": in_force.version,
            "as_of": None if as_of is None else iso_8601(as_of),
            "degraded": degraded or not self._weights.connected,
            "tags": [{"tag": tag, "score": number(value)} for tag, value in tags],
            "products": products,
        }

    def profile(self, user_id: str) -> dict[str, Any]:
        """Answer ``GET /profile``: every tag of the user with its score."""
        in_force = self._weights.in_force
        user, degraded = self._user(user_id)
        return self._profile(user_id, user.rows, in_force, degraded or not self._weights.connected)

    def profiles(self, user_ids: Sequence[str]) -> dict[str, Any]:
        """Answer ``POST /profiles``: the profiles of several users, read in one round trip."""
        in_force, wanted = self._weights.in_force, list(dict.fromkeys(user_ids))
        degraded = not self._weights.connected
        try:
            rows: Collection[Mapping[str, str]] = self._store.counts(wanted) if wanted else []
        except StoreUnavailable:
            degraded = True
            rows = [self._last_seen.recall(each).rows for each in wanted]
        else:
            for user_id, each in zip(wanted, rows, strict=True):
                self._last_seen.remember(user_id, each)
        profiles = {
            user_id: self._profile(user_id, each, in_force, degraded)
            for user_id, each in zip(wanted, rows, strict=True)
        }
        return {"weights_version": in_force.version, "degraded": degraded, "profiles": profiles}

    def _profile(
        self, user_id: str, rows: Mapping[str, str], in_force: WeightsInForce, degraded: bool
    ) -> dict[str, Any]:
        rows = self._unexpired(rows)
        as_of = newest_of_rows(rows.values())
        return {
            "user_id": user_id,
            "weights_version": in_force.version,
            "as_of": None if as_of is None else iso_8601(as_of),
            "degraded": degraded,
            "tags": {tag: number(value) for tag, value in self._tag_scores(rows, in_force).items()},
        }

    def _user(self, user_id: str) -> tuple[StoredUser, bool]:
        try:
            user = self._store.user(user_id)
        except StoreUnavailable:
            return self._last_seen.recall(user_id), True
        self._last_seen.remember(user_id, user.rows, user.purchased)
        return user, False

    def _unexpired(self, rows: Mapping[str, str]) -> Mapping[str, str]:
        if not self._tag_expiry_seconds:
            return rows
        now = self._now()
        return {tag: row for tag, row in rows.items() if not decode_counts(row).expired(now, self._tag_expiry_seconds)}

    def _tag_scores(self, rows: Mapping[str, str], in_force: WeightsInForce) -> dict[str, float]:
        kept, values = self._scores, in_force.weights.values
        if kept is None or kept[0] is not in_force.weights:
            kept = self._scores = (in_force.weights, ByCounts(lambda counts: score(counts, values)))
        return kept[1].of_all(rows)

    def _ranking_table(self, in_force: WeightsInForce) -> RankingTable:
        snapshot, kept = self._statistics.snapshot, self._table
        if kept is None or kept[0] != in_force.version or kept[1].snapshot is not snapshot:
            kept = self._table = (in_force.version, RankingTable(snapshot, in_force.weights))
        return kept[1]


def _entry(product: RankedProduct, source: str, described: Mapping[str, Described]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "product_id": product.product_id,
        "score": number(product.score),
        "source": source,
        "popularity": number(product.popularity),
        "affinity": number(product.affinity),
    }
    known = described.get(product.product_id)
    if known is not None and known.name is not None:
        entry["name"] = known.name
    return entry


def number(value: float) -> int | float:
    """Give a score as a JSON number, an integral one without a fraction; all scores are finite."""
    return int(value) if value.is_integer() and -_EXACT_INTEGER < value < _EXACT_INTEGER else value
