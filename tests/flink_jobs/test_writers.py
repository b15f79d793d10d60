"""The writing functions, on columns as Flink gives them and a store that only listens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pytest

from flink_jobs.current_weights import StampedWeights
from flink_jobs.redis_store import WeightsStamp
from flink_jobs.settings import JobSettings, parse_settings
from flink_jobs.user_rows import UserRows
from flink_jobs.writers import ITEM, PRODUCT, TOTAL, Texts, WriteProfiles, WriteStatistics
from reccore import layout
from reccore.tag_list import SEPARATOR, escape_all, join_tags

ODD = ["\x1d", "\x1dp", "\x1b", "a\x1fb", "plain", "\x1bm"]


class Listener:
    """Takes what is written; the first commit of profiles may be refused for newer weights."""

    def __init__(self, newer: WeightsStamp | None = None) -> None:
        self.newer = newer
        self.users: dict[str, UserRows] = {}
        self.statistics: dict[str, dict[str, str]] = {}

    def commit_profiles(self, users: Iterable[UserRows], stamp: WeightsStamp) -> WeightsStamp | None:
        """Take profiles."""
        found = list(users)
        if self.newer is not None and self.newer.version > stamp.version:
            return self.newer
        self.users = {each.user_id: each for each in found}
        return None

    def commit_statistics(self, key: str, kind: str, values: dict[str, str]) -> None:  # noqa: ARG002 (as the store's)
        """Take statistics."""
        self.statistics[key] = values

    def note_batch(self, rows: int, began: float, events_ms: Any = None) -> None:
        """Take note of nothing."""


class Weights:
    """Weights that learn newer ones when they are told of them."""

    def __init__(self) -> None:
        self.now = StampedWeights((1.0, 3.0, 5.0), WeightsStamp(1, ""))

    def current(self) -> StampedWeights:
        """Give them."""
        return self.now

    def learn(self, stamp: WeightsStamp) -> None:
        """Take newer ones: twice the old."""
        self.now = StampedWeights((2.0, 6.0, 10.0), stamp)


@pytest.fixture
def settings() -> JobSettings:
    """Plain settings."""
    return parse_settings(["--kafka-bootstrap", "k:1", "--zookeeper-hosts", "z:1", "--redis-url", "redis://r"], {})


def profiles_writer(settings: JobSettings, listener: Listener) -> WriteProfiles:
    """A writer as it is after ``open``."""
    made = WriteProfiles(settings)
    writer: Any = made
    writer._store, writer._weights, writer._texts, writer._bought = listener, Weights(), Texts(()), 2
    return made


def columns(rows: list[tuple[Any, ...]]) -> list[pd.Series]:
    """Rows as columns."""
    return [pd.Series(list(column)) for column in zip(*rows, strict=True)]


def pairs(flat: list[str]) -> dict[str, str]:
    """Fields and values, as they are written."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_tags_and_products_of_users_are_told_apart(settings: JobSettings) -> None:
    """Names with the characters that mean something on the way come out as what they were."""
    listener = Listener()
    rows: list[tuple[Any, ...]] = [("u", part, 7, 2, 1, 0, 9) for part in join_tags(ODD).split(SEPARATOR)]
    rows = [(*row, 0, 0) for row in rows]
    rows += [("u", ITEM + str(product), 8, 0, 0, 1, 9, 2_500, 2) for product in escape_all([*ODD])]
    rows.append(("u", ITEM + "seen", 8, 1, 0, 0, 10, 0, 0))
    done = profiles_writer(settings, listener).eval(*columns(rows))
    assert len(done) == len(rows)
    written = listener.users["u"]
    assert written.bought == ODD
    assert pairs(written.counts) == dict.fromkeys(ODD, "2,1,0;7;;9")
    assert pairs(written.scores) == dict.fromkeys(ODD, "5")
    assert pairs(written.items) == {**dict.fromkeys(ODD, "0,0,1;8;;9;2500:2"), "seen": "1,0,0;8;;10"}


def test_a_batch_is_scored_again_with_newer_weights(settings: JobSettings) -> None:
    """What was remembered under the older weights is not written under the newer."""
    listener = Listener(newer=WeightsStamp(9, ""))
    profiles_writer(settings, listener).eval(
        *columns([("u", "a", 7, 1, 1, 1, 3, 0, 0), ("v", "a", 7, 1, 1, 1, 4, 0, 0)])
    )
    assert [each.scores for each in listener.users.values()] == [["a", "18"], ["a", "18"]]


def test_statistics_are_told_apart(settings: JobSettings) -> None:
    """Tags, products and totals go to their own places, whatever their names."""
    listener = Listener()
    writer: Any = WriteStatistics(settings)
    writer._store = listener
    rows: list[tuple[Any, ...]] = [(part, None, 7, 1, 0, 0) for part in join_tags(ODD).split(SEPARATOR)]
    rows += [(PRODUCT + str(product), join_tags(ODD), 8, 0, 2, 0) for product in escape_all([*ODD])]
    rows += [(TOTAL + "applied:view", None, 9, 3, 0, 0), (TOTAL + "untagged", None, 9, 1, 2, 1)]
    writer.eval(*columns(rows))
    tags = {name: json.loads(row) for name, row in listener.statistics[layout.TAG_STATISTICS].items()}
    assert tags == {name: [[1, 0, 0], 7] for name in ODD}
    products = {name: json.loads(row) for name, row in listener.statistics[layout.PRODUCT_STATISTICS].items()}
    assert products == {name: [[0, 2, 0], 8, ODD] for name in ODD}
    assert listener.statistics[layout.TOTALS] == {"applied:view": "3", "untagged": "4"}


def test_without_counts_by_product_only_purchases_are_kept() -> None:
    """So it is with ``--most-products-per-user 0``; then no numbers of the metadata come either."""
    given = ["--kafka-bootstrap", "k:1", "--zookeeper-hosts", "z:1", "--redis-url", "redis://r"]
    settings = parse_settings([*given, "--most-products-per-user", "0", "--recent-events", "0"], {})
    listener = Listener()
    profiles_writer(settings, listener).eval(*columns([("u", ITEM + "p", 8, 0, 0, 1), ("u", "a", 8, 1, 0, 0)]))
    written = listener.users["u"]
    assert (written.bought, written.items, written.counts) == (["p"], [], ["a", "1,0,0;8"])
