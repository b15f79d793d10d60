"""What the service answers, without HTTP: counts from the store, weights, statistics, a model, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reccore.encoding import decode_counts, newest_of_rows
from reccore.ranking import RankedProduct, rank_tags
from reccore.scoring import score
from reccore.timestamps import iso_8601
from reccore.weights import Weights
from recsvc import metrics
from recsvc.basis import Basis
from recsvc.errors import Problem, StoreUnavailable
from recsvc.history import History, newest_of
from recsvc.models.scorer import Scorer
from recsvc.numbers import number
from recsvc.ranking_table import RankingTable
from recsvc.reasons import of_counts, of_popularity
from recsvc.remembered import ByCounts
from recsvc.sources import StatisticsSource, WeightsSource
from recsvc.user_store import LastSeen, StoredUser, UserStore
from recsvc.wanted import USUAL, Masks, Wish
from zkconfig.documents import Ranking
from zkconfig.watcher import WeightsInForce

TAGS: Final = "tags"
POPULAR: Final = "popular"


class Recommender:
    """Answers for one process. Each takes weights, statistics, model and settings once, and names the version."""

    def __init__(
        self,
        store: UserStore,
        weights: WeightsSource,
        statistics: StatisticsSource,
        *,
        ranking: Callable[[], Ranking] = Ranking,
        scorer: Callable[[], Scorer | None] = lambda: None,
        tag_expiry_seconds: int = 0,
        remembered_users: int = 10_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._weights, self._statistics, self._scorer = store, weights, statistics, scorer
        self._ranking, self._tag_expiry_seconds, self._now = ranking, tag_expiry_seconds, now
        self._last_seen = LastSeen(remembered_users)
        self._scores: tuple[Weights, ByCounts[float]] | None = None
        self._table: tuple[int, RankingTable] | None = None
        self._masks = Masks()

    def recommend(self, user_id: str, wish: Wish = USUAL, user: StoredUser | None = None) -> dict[str, Any]:
        """Answer ``GET /recommend``: tags and products for the user.

        ``user`` is the user as read just now, where that was done already.
        """
        basis = self._basis(wish)
        if user is None:
            user, degraded = self._user(user_id, items=basis.scorer is not None or wish.exclude_seen)
        else:
            degraded = False
        return {"user_id": user_id, **self._answer(user, basis, degraded)}

    def guest(self, user: StoredUser, wish: Wish = USUAL) -> dict[str, Any]:
        """Answer ``POST /recommend/session``: the same for somebody of whom the request alone tells."""
        return self._answer(user, self._basis(wish), False)

    def products(self, user: StoredUser, wish: Wish = USUAL) -> list[dict[str, Any]]:
        """Give the products alone that such an answer has."""
        basis, user = self._basis(wish), self._now_of(user)
        return self._products(user, lambda: _liked(self._row_scores(user.rows, basis.in_force)), basis)[0]

    def similar(self, product_id: str, wish: Wish = USUAL) -> dict[str, Any]:
        """Answer ``GET /similar``: what was taken with a product, or where nothing is known of that, by its tags.

        Raises ``Problem`` 404 for a product that nobody knows.
        """
        basis = self._basis(wish)
        snapshot = basis.snapshot
        if product_id not in snapshot.structure.index and product_id not in snapshot.described:
            raise Problem(404, f"no product {product_id[:128]} is known")
        left_out = wish.exclude | {product_id}
        products: list[dict[str, Any]] = []
        if basis.trained is not None:
            mask = self._masks.of(basis.trained.model.product_ids, snapshot, wish.wanted)
            near = basis.trained.neighbours(product_id, left_out=left_out, n=basis.limit, allowed=mask)
            products = [self._entry(each.product_id, each.score, each.source, basis) for each in near]
            for entry in products if wish.explain else ():
                entry["parts"] = [{"product_id": product_id, "source": entry["source"], "value": entry["score"]}]
        if not products:
            products = [
                self._ranked_entry(each, TAGS, basis) for each in self._sharing_tags(product_id, left_out, basis)
            ]
        return {
            "product_id": product_id,
            "weights_version": basis.in_force.version,
            "degraded": not self._weights.connected,
            "products": products,
        }

    def _sharing_tags(self, product_id: str, left_out: Collection[str], basis: Basis) -> list[RankedProduct]:
        """Give products that have a tag of this one: of untagged ones nothing is known, so they rank as any other."""
        snapshot, tags = basis.snapshot, set(basis.snapshot.tags_of(product_id))
        if not tags:
            return []
        mask = self._masks.of(snapshot.structure.ids, snapshot, basis.wish.wanted)
        size = 4 * basis.limit
        while True:
            ranked = basis.table.rank(basis.table.taste_of_tags(tags), left_out=left_out, n=size, allowed=mask)
            found = [each for each in ranked if not tags.isdisjoint(snapshot.tags_of(each.product_id))]
            if len(found) >= basis.limit or len(ranked) < size:
                return found[: basis.limit]
            size *= 4

    def profile(self, user_id: str) -> dict[str, Any]:
        """Answer ``GET /profile``: every tag of the user with its score."""
        in_force = self._weights.in_force
        user, degraded = self._user(user_id, items=False)
        return self._profile(user_id, user.rows, in_force, degraded or not self._weights.connected)

    def profiles(self, user_ids: Sequence[str]) -> dict[str, Any]:
        """Answer ``POST /profiles``: the profiles of several users, read in one round trip."""
        in_force, wanted = self._weights.in_force, list(dict.fromkeys(user_ids))
        degraded = not self._weights.connected
        try:
            rows: Collection[Mapping[str, str]] = self._store.counts(wanted) if wanted else []
        except StoreUnavailable:
            degraded = True
            metrics.fallbacks.labels("redis_away").inc()
            rows = [self._last_seen.recall(each).rows for each in wanted]
        else:
            for user_id, each in zip(wanted, rows, strict=True):
                self._last_seen.remember_rows(user_id, each)
        profiles = {
            user_id: self._profile(user_id, each, in_force, degraded)
            for user_id, each in zip(wanted, rows, strict=True)
        }
        return {"weights_version": in_force.version, "degraded": degraded, "profiles": profiles}

    def _answer(self, user: StoredUser, basis: Basis, degraded: bool) -> dict[str, Any]:
        user = self._now_of(user)
        scores = self._row_scores(user.rows, basis.in_force)
        liked = _liked(scores)
        products, popular = self._products(user, lambda: liked, basis)
        sources = [each["source"] for each in products]
        own = bool(liked) or not {TAGS, POPULAR}.issuperset(sources)
        metrics.count_answer(sources, connected=self._weights.connected, own=own, filled=bool(popular))
        as_of = newest_of(user) if own else basis.table.newest_ms(popular)
        return {
            "source": "profile" if own else POPULAR,
            "weights_version": basis.in_force.version,
            "as_of": None if as_of is None else iso_8601(as_of),
            "degraded": degraded or not self._weights.connected,
            "tags": self._tags(user.rows, scores, basis),  # also those that the weights in force make nothing of
            "products": products,
        }

    def _products(
        self, user: StoredUser, liked: Callable[[], Mapping[str, float]], basis: Basis
    ) -> tuple[list[dict[str, Any]], list[RankedProduct]]:
        """Give the entries of products, and the popular ones among them: first by the model, then by tags.

        ``liked`` gives the user's scores by tag, where they are needed.
        """
        wish, limit, table = basis.wish, basis.limit, basis.table
        left_out = set(wish.exclude) if wish.include_bought else {*wish.exclude, *user.purchased, *user.ratings}
        left_out.update(user.items if wish.exclude_seen else ())
        products = self._by_model(user, basis, left_out)
        popular: list[RankedProduct] = []
        if len(products) >= limit:
            return products, popular
        scores = liked()
        personal = bool(scores or products)
        mask = self._masks.of(basis.snapshot.structure.ids, basis.snapshot, wish.wanted)
        if scores and not basis.popular_is_best:
            seen = left_out | {each["product_id"] for each in products}
            ranked = table.rank(table.taste(scores), left_out=seen, n=limit - len(products), allowed=mask)
            products += [self._ranked_entry(each, TAGS, basis) for each in ranked]
        if len(products) < limit and (not personal or basis.popular_is_best or basis.settings.fill_with_popular):
            seen = left_out | {each["product_id"] for each in products}
            popular = table.popular(left_out=seen, n=limit - len(products), allowed=mask)
            products += [self._ranked_entry(each, POPULAR, basis) for each in popular]
        return products, popular

    def _by_model(self, user: StoredUser, basis: Basis, left_out: Collection[str]) -> list[dict[str, Any]]:
        scorer, wish = basis.scorer, basis.wish
        if scorer is None or not (user.items or user.ratings):
            return []
        scores = self._row_scores(user.items, basis.in_force)
        history = History(user, scores, basis.in_force.weights, basis.settings.rating_weight)
        mask = self._masks.of(scorer.model.product_ids, basis.snapshot, wish.wanted)
        scored = scorer.rank(history.amounts, left_out=left_out, n=basis.limit, explain=wish.explain, allowed=mask)
        entries = [self._entry(each.product_id, each.score, each.source, basis) for each in scored]
        if wish.explain:
            for entry, found in zip(entries, scored, strict=True):
                entry["parts"] = history.parts(found)
        return entries

    def _tags(self, rows: Mapping[str, str], scores: Mapping[str, float], basis: Basis) -> list[dict[str, Any]]:
        ranked = rank_tags(scores, basis.limit)
        entries: list[dict[str, Any]] = [{"tag": tag, "score": number(value)} for tag, value in ranked]
        if basis.wish.explain:
            weights = basis.in_force.weights
            for entry in entries:
                entry["parts"] = of_counts(weights.names, rows[entry["tag"]], weights.values)
        return entries

    @staticmethod
    def _entry(product_id: str, value: float, source: str, basis: Basis) -> dict[str, Any]:
        entry: dict[str, Any] = {"product_id": product_id, "score": number(value), "source": source}
        known = basis.snapshot.described.get(product_id)
        if known is not None and known.name is not None:
            entry["name"] = known.name
        return entry

    def _ranked_entry(self, product: RankedProduct, source: str, basis: Basis) -> dict[str, Any]:
        entry = self._entry(product.product_id, product.score, source, basis)
        entry |= {"popularity": number(product.popularity), "affinity": number(product.affinity)}
        if basis.wish.explain:
            weights = basis.in_force.weights
            counts = basis.snapshot.counts_of(product.product_id) or ()
            entry["parts"] = of_popularity(weights.names, counts, weights.values, product.affinity, product.score)
        return entry

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
            "tags": {tag: number(value) for tag, value in self._row_scores(rows, in_force).items()},
        }

    def _user(self, user_id: str, *, items: bool) -> tuple[StoredUser, bool]:
        """Read a user, with the counts by product where they are needed."""
        try:
            user = self._store.user(user_id, items=items, ratings=True)
        except StoreUnavailable:
            metrics.fallbacks.labels("redis_away").inc()
            return self._last_seen.recall(user_id), True
        self._last_seen.remember(user_id, user, with_items=items)
        return user, False

    def _now_of(self, user: StoredUser) -> StoredUser:
        """Give a user without what has expired."""
        return replace(user, rows=self._unexpired(user.rows), items=self._unexpired(user.items))

    def _unexpired(self, rows: Mapping[str, str]) -> Mapping[str, str]:
        if not self._tag_expiry_seconds:
            return rows
        now = self._now()
        return {tag: row for tag, row in rows.items() if not decode_counts(row).expired(now, self._tag_expiry_seconds)}

    def _row_scores(self, rows: Mapping[str, str], in_force: WeightsInForce) -> dict[str, float]:
        kept, values = self._scores, in_force.weights.values
        if kept is None or kept[0] is not in_force.weights:
            kept = self._scores = (in_force.weights, ByCounts(lambda counts: score(counts, values)))
        return kept[1].of_all(rows)

    def _basis(self, wish: Wish) -> Basis:
        in_force, settings = self._weights.in_force, self._ranking()
        return Basis(in_force, settings, self._ranking_table(in_force), self._scorer(), wish)

    def _ranking_table(self, in_force: WeightsInForce) -> RankingTable:
        snapshot, kept = self._statistics.snapshot, self._table
        if kept is None or kept[0] != in_force.version or kept[1].snapshot is not snapshot:
            kept = self._table = (in_force.version, RankingTable(snapshot, in_force.weights))
        return kept[1]


def _liked(scores: Mapping[str, float]) -> Mapping[str, float]:
    """Give the scores of a taste; none where there is nothing that the user likes."""
    return scores if any(value > 0 for value in scores.values()) else {}
