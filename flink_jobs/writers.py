"""The two vectorised functions at the end of the job: a batch of rows in, one Redis pipeline out.

Each returns only after Redis has answered, and Flink finishes the running batch before a checkpoint passes, so no write
is outstanding at a checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence, Sized
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
from pyflink.table.udf import FunctionContext, ScalarFunction

from flink_jobs.connected_store import connected_store
from flink_jobs.crowded_users import ITEMS, TAGS
from flink_jobs.current_weights import CurrentWeights, StampedWeights
from flink_jobs.redis_store import RedisStore
from flink_jobs.settings import JobSettings
from flink_jobs.user_rows import UserRows
from flink_jobs.worker_process import quieten_worker_process
from reccore import encoding, layout
from reccore.event_types import PURCHASE
from reccore.namespaces import Namespace
from reccore.row_cap import RowCap
from reccore.scoring import format_score, score
from reccore.tag_list import MARK, split_tags, unescape_all

Column: TypeAlias = pd.Series
Columns: TypeAlias = tuple[list[str], list[str], list[str], list[int], list[int], list[tuple[tuple[int, int], ...]]]
Counts: TypeAlias = tuple[int, ...]

ITEM: Final = MARK
"""In front of a product, among the user's tags."""
PRODUCT: Final = MARK + "p"
TOTAL: Final = MARK + "n"
"""In front of a product, and of the name of a total (the sum of its counts), among everybody's tags."""

_MOST_REMEMBERED: Final = 100_000


class RedisWriter(ScalarFunction):  # type: ignore[misc]
    """A writing function: opens its store, and with it takes the place of the one that wrote before it."""

    only_statistics = False
    """Whether it writes nothing of users."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self._store: RedisStore

    def open(self, function_context: FunctionContext) -> None:
        """Connect and take the place."""
        quieten_worker_process()
        self._store = connected_store(
            self._settings.redis_url,
            patience_seconds=self._settings.redis_patience_seconds,
            caps={
                TAGS: RowCap(self._settings.most_tags_per_user, self._settings.tag_expiry_seconds),
                ITEMS: RowCap(self._settings.most_products_per_user, self._settings.tag_expiry_seconds),
            },
            namespace=Namespace(self._settings.redis_namespace),
        )
        self._store.open(
            type(self).__name__,
            function_context.get_number_of_parallel_subtasks(),
            function_context.get_index_of_this_subtask(),
            only_statistics=self.only_statistics,
        )

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def is_deterministic(self) -> bool:
        """Tell the planner not to merge calls, and not to leave one out."""
        return False


class WriteProfiles(RedisWriter):
    """(user, tag, newest event time, count a type…[, highest number][, sum, number…]) → the user's scores.

    They are of the weights in force. The counts are written beside them, and where events are numbered, the highest
    number among those counted. A tag with ``ITEM`` in front is a product, which goes to the user's items with sum and
    number of each metadata number, and if it was bought, to the purchases.
    """

    _weights: CurrentWeights
    _texts: Texts
    _bought: int

    def open(self, function_context: FunctionContext) -> None:
        """Follow the weights, besides connecting."""
        super().open(function_context)
        self._weights = CurrentWeights.shared(self._settings, self._store)
        self._bought = self._settings.event_types.names.index(PURCHASE)
        self._texts = Texts(())

    def close(self) -> None:
        """Stop following the weights, and disconnect."""
        self._weights.release()
        super().close()

    def eval(self, user_ids: Column, tags: Column, newest_ms: Column, *counts: Column) -> Column:
        """Write one batch; when weights newer than the batch's come into force meanwhile, score it again."""
        parts, of_types = tags.tolist(), [column.tolist() for column in counts]
        types = len(self._settings.event_types.types)
        highest = of_types.pop(types) if self._settings.recent_events else [0] * len(parts)
        sums = of_types[types:]
        pairs = list(zip(*(zip(*pair, strict=True) for pair in zip(sums[::2], sums[1::2], strict=True)), strict=True))
        by_row = pairs or [()] * len(parts)
        columns = (user_ids.tolist(), parts, unescape_all(parts), newest_ms.tolist(), highest, by_row)
        numbers = list(zip(*of_types[:types], strict=True))
        # Rounded up: Redis must not forget what the state still holds, or the next event would bring it all back.
        written_at = math.ceil(time.time()) if self._settings.tag_expiry_seconds else None
        while True:
            weights = self._weights.current()
            users = self._by_user(columns, numbers, written_at, weights)
            began = time.monotonic()
            newer = self._store.commit_profiles(users, weights.stamp)
            if newer is None:
                self._store.note_batch(len(parts), began, newest_ms.to_numpy())
                return done(numbers)
            self._weights.learn(newer)

    def _by_user(
        self, columns: Columns, numbers: Sequence[Counts], written_at: int | None, weights: StampedWeights
    ) -> Iterable[UserRows]:
        if self._texts.values != weights.values or len(self._texts.known) > _MOST_REMEMBERED:
            self._texts = Texts(weights.values)
        known, bought, keeps_items = self._texts.known, self._bought, self._settings.most_products_per_user > 0
        users: dict[str, UserRows] = {}
        # This loop runs for every row that is ever written: counts repeat, so their texts are looked up.
        for user_id, part, name, newest_ms, number, sums, of_row in zip(*columns, numbers, strict=True):
            of_user = users.get(user_id)
            if of_user is None:
                of_user = users[user_id] = UserRows(user_id, [], [], [])
            joined, score_text = known.get(of_row) or self._texts.write(of_row)
            row = encoding.encode_joined_counts(joined, newest_ms, written_at, number)
            if part[0] != ITEM:  # in the name itself the mark may stand for itself
                of_user.counts.extend((name, row))
                of_user.scores.extend((name, score_text))
                continue
            product_id = name[len(ITEM) :]
            if keeps_items:
                of_user.items.extend((product_id, encoding.encode_item(row, sums)))
            if of_row[bought]:
                of_user.bought.append(product_id)
        return users.values()


class Texts:
    """Counts and scores as they are written, under one set of weights."""

    def __init__(self, values: tuple[float, ...]) -> None:
        self.values = values
        self.known: dict[Counts, tuple[str, str]] = {}

    def write(self, counts: Counts) -> tuple[str, str]:
        """Write one row's counts and its score, and remember them."""
        texts = self.known[counts] = encoding.join_counts(counts), format_score(score(counts, self.values))
        return texts


class WriteStatistics(RedisWriter):
    """(key, joined tags of a product, newest event time, count a type…) → everybody's statistics.

    A key is a tag, or with ``PRODUCT`` or ``TOTAL`` in front one of these.
    """

    only_statistics = True

    def eval(self, keys: Column, tags: Column, newest_ms: Column, *counts: Column) -> Column:
        """Write one batch."""
        of_products, of_tags, totals = dict[str, str](), dict[str, str](), dict[str, str]()
        by_row = zip(*(column.tolist() for column in counts), strict=True)
        parts = keys.tolist()
        columns = (parts, unescape_all(parts), tags.tolist(), newest_ms.tolist(), by_row)
        for part, name, joined, time_ms, numbers in zip(*columns, strict=True):
            if part[0] != MARK:
                of_tags[name] = encoding.encode_tag_statistics(numbers, time_ms)
            elif part.startswith(PRODUCT):
                tag_list = split_tags(joined) if joined else []
                of_products[name[len(PRODUCT) :]] = encoding.encode_product_statistics(numbers, time_ms, tag_list)
            else:
                totals[name[len(TOTAL) :]] = str(sum(numbers))
        began = time.monotonic()
        self._store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, of_products)
        self._store.commit_statistics(layout.TAG_STATISTICS, layout.TAGS_CHANGED, of_tags)
        self._store.commit_statistics(layout.TOTALS, "", totals)
        self._store.note_batch(len(parts), began)
        return done(keys)


class WriteTotals(RedisWriter):
    """(name, total) → the totals of what was read."""

    only_statistics = True

    def eval(self, names: Column, totals: Column) -> Column:
        """Write one batch."""
        values = dict(zip(names.tolist(), map(str, totals.tolist()), strict=True))
        began = time.monotonic()
        self._store.commit_statistics(layout.TOTALS, "", values)
        self._store.note_batch(len(values), began)
        return done(names)


def done(rows: Sized) -> Column:
    """Give what a writing function returns: nothing of interest, once a row."""
    return pd.Series(np.zeros(len(rows), dtype=np.int8))
