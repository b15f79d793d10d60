"""The two vectorised functions at the end of the job: a batch of rows in, one Redis pipeline out.

Each returns only after Redis has answered, and Flink finishes the running batch before a checkpoint passes, so no write
is outstanding at a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sized
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyflink.table.udf import FunctionContext, ScalarFunction

from flink_jobs.current_weights import CurrentWeights
from flink_jobs.redis_store import RedisStore, UserRows
from flink_jobs.settings import JobSettings
from flink_jobs.tag_list import split_tags, unescape
from reccore import layout
from reccore.scoring import format_score

Column: TypeAlias = pd.Series
Numbers: TypeAlias = npt.NDArray[np.int64]

_MOST_ROWS_A_USER: Final = 1_000
"""Rows of one user in one script call: Lua can't unpack more than some thousand values."""
_EXACT_INTEGERS: Final = float(2**53)


class Kind(IntEnum):
    """What a row of statistics is about; beside it the meaning of its key and, where it has one, its second key."""

    PRODUCT = 0  # product
    TAG = 1  # tag
    PURCHASE = 2  # user; product
    TOTAL = 3  # name of a total, whose value is the first count


class RedisWriter(ScalarFunction):  # type: ignore[misc]
    """A writing function: opens its store, and with it takes the place of the one that wrote before it."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings
        self._store: RedisStore

    def open(self, function_context: FunctionContext) -> None:
        """Connect and take the place."""
        self._store = RedisStore.connect(
            self._settings.redis_url, patience_seconds=self._settings.redis_patience_seconds
        )
        self._store.open(
            type(self).__name__,
            function_context.get_number_of_parallel_subtasks(),
            function_context.get_index_of_this_subtask(),
        )

    def close(self) -> None:
        """Disconnect."""
        self._store.close()

    def is_deterministic(self) -> bool:
        """Tell the planner not to merge calls, and not to leave one out."""
        return False


class WriteProfiles(RedisWriter):
    """(user, tag, newest event time, count a type…) → the user's scores under the weights in force, and the counts."""

    _weights: CurrentWeights

    def open(self, function_context: FunctionContext) -> None:
        """Follow the weights, besides connecting."""
        super().open(function_context)
        self._weights = CurrentWeights.shared(self._settings, self._store)

    def close(self) -> None:
        """Stop following the weights, and disconnect."""
        self._weights.release()
        super().close()

    def eval(self, user_ids: Column, tags: Column, newest_ms: Column, *counts: Column) -> Column:
        """Write one batch; when weights newer than the batch's come into force meanwhile, score it again."""
        names = [unescape(tag) for tag in tags.tolist()]
        numbers = [column.to_numpy() for column in counts]
        rows = _count_rows(numbers, self._settings.tag_expiry_seconds)
        users, times = user_ids.tolist(), newest_ms.tolist()
        while True:
            weights = self._weights.current()
            scores = format_scores(numbers, weights.values)
            newer = self._store.commit_profiles(_by_user(users, names, times, rows, scores), weights.stamp)
            if newer is None:
                return _done(users)
            self._weights.learn(newer)


class WriteStatistics(RedisWriter):
    """(kind, key, second key, joined tags or null, newest event time, count a type…) → everybody's statistics."""

    def eval(
        self, kinds: Column, keys: Column, second_keys: Column, tags: Column, newest_ms: Column, *counts: Column
    ) -> Column:
        """Write one batch."""
        values: dict[int, dict[str, str]] = {kind: {} for kind in Kind}
        purchases: dict[str, set[str]] = {}
        by_row = zip(*(column.tolist() for column in counts), strict=True)
        columns = (kinds.tolist(), keys.tolist(), second_keys.tolist(), tags.tolist(), newest_ms.tolist(), by_row)
        for kind, key, second_key, joined, time_ms, numbers in zip(*columns, strict=True):
            if kind == Kind.PRODUCT:
                tag_list = split_tags(joined) if joined else []
                values[kind][key] = layout.encode_product_statistics(numbers, time_ms, tag_list)
            elif kind == Kind.TAG:
                values[kind][unescape(key)] = layout.encode_tag_statistics(numbers, time_ms)
            elif kind == Kind.PURCHASE:
                purchases.setdefault(key, set()).add(second_key)
            else:
                values[kind][key] = str(numbers[0])
        if purchases:
            self._store.add_purchases(purchases)
        self._store.commit_statistics(layout.PRODUCT_STATISTICS, layout.PRODUCTS_CHANGED, values[Kind.PRODUCT])
        self._store.commit_statistics(layout.TAG_STATISTICS, layout.TAGS_CHANGED, values[Kind.TAG])
        self._store.commit_statistics(layout.TOTALS, "", values[Kind.TOTAL])
        return _done(kinds)


class WriteTotals(RedisWriter):
    """(name, total) → the totals of what was read."""

    def eval(self, names: Column, totals: Column) -> Column:
        """Write one batch."""
        values = dict(zip(names.tolist(), map(str, totals.tolist()), strict=True))
        self._store.commit_statistics(layout.TOTALS, "", values)
        return _done(names)


def _done(rows: Sized) -> Column:
    return pd.Series(np.zeros(len(rows), dtype=np.int8))


def format_scores(counts: list[Numbers], weights: tuple[float, ...]) -> list[str]:
    """Score and write out a batch: the rule of :mod:`reccore.scoring`, a column at a time in the same order."""
    total = np.zeros(len(counts[0]))
    with np.errstate(over="ignore", invalid="ignore"):
        for column, weight in zip(counts, weights, strict=False):
            total += weight * column
    total = np.clip(np.nan_to_num(total, nan=0.0), -np.finfo(float).max, np.finfo(float).max)
    if np.all((total == np.trunc(total)) & (np.abs(total) < _EXACT_INTEGERS)):
        return list(map(str, total.astype(np.int64).tolist()))
    return [format_score(value) for value in total.tolist()]


def _count_rows(counts: list[Numbers], tag_expiry_seconds: int) -> list[str]:
    written_at = int(time.time()) if tag_expiry_seconds else None
    columns = [column.tolist() for column in counts]
    return [layout.encode_counts(row, written_at) for row in zip(*columns, strict=True)]


def _by_user(
    users: list[str], tags: list[str], times: list[int], rows: list[str], scores: list[str]
) -> Iterator[UserRows]:
    triples: dict[str, list[str]] = {}
    newest: dict[str, int] = {}
    for user_id, tag, time_ms, row, score in zip(users, tags, times, rows, scores, strict=True):
        of_user = triples.get(user_id)
        if of_user is None:
            triples[user_id] = [tag, row, score]
            newest[user_id] = time_ms
        else:
            of_user += (tag, row, score)
            if time_ms > newest[user_id]:
                newest[user_id] = time_ms
    for user_id, of_user in triples.items():
        for start in range(0, len(of_user), 3 * _MOST_ROWS_A_USER):
            yield UserRows(user_id, newest[user_id], of_user[start : start + 3 * _MOST_ROWS_A_USER])
