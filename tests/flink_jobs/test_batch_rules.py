"""The packed forms on the way through SQL, the catalogue look-up and the settings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.catalogue_tags import CatalogueTags
from flink_jobs.settings import parse_settings
from reccore.tag_list import MARK, SEPARATOR, escape_all, join_tags, split_tags, unescape_all

names = st.text(st.sampled_from(["a", "\x1f", "\x1b", "\x1d", "s", "e", "m"]), min_size=1, max_size=4)
tags = st.lists(names, min_size=1)


@given(tags)
def test_tags_survive_the_way_through_sql(given_tags: list[str]) -> None:
    """SQL splits at the separator; what comes out are the tags, different ones as different parts."""
    parts = join_tags(given_tags).split(SEPARATOR)
    assert len(parts) == len(given_tags)
    assert split_tags(join_tags(given_tags)) == given_tags
    assert len(set(parts)) == len(set(given_tags))
    assert not any(part.startswith(MARK) for part in parts)


@given(st.lists(st.none() | names))
def test_names_survive_the_way_through_sql(given_names: list[str | None]) -> None:
    """A product comes back as it was, and holds nothing that SQL splits at on its way."""
    escaped = escape_all(given_names)
    assert unescape_all([each for each in escaped if each is not None]) == [each for each in given_names if each]
    assert not any(SEPARATOR in each or MARK in each for each in escaped if each)


class Catalogue:
    """A catalogue in memory that counts the look-ups."""

    def __init__(self) -> None:
        self.version, self.rows, self.asked = "1", dict[str, str](), list[list[str]]()

    def read_catalogue(self, product_ids: Sequence[str]) -> tuple[str, list[str | None]]:
        """Answer as Redis does."""
        self.asked.append(list(product_ids))
        return self.version, [self.rows.get(each) for each in product_ids]


def test_catalogue_is_remembered_until_it_changes() -> None:
    """Known products aren't fetched again, unknown ones are, and a new version forgets everything."""
    catalogue = Catalogue()
    catalogue.rows = {"p": '{"tags": ["a", "a", "b"]}', "broken": "x", "bare": "{}"}
    lookup = CatalogueTags(catalogue)
    assert lookup.tags_of(["p", "q", "broken", "bare"]) == {"p": ["a", "b"], "broken": [], "bare": []}
    assert lookup.tags_of(["p", "q"]) == {"p": ["a", "b"]}
    assert catalogue.asked[-1] == ["q"]
    catalogue.rows, catalogue.version = {"p": '{"tags": ["c"]}', "q": '{"tags": ["d"]}'}, "2"
    assert lookup.tags_of(["p", "q"]) == {"p": ["c"], "q": ["d"]}


GIVEN = ["--kafka-bootstrap", "k:1", "--zookeeper-hosts", "z:1", "--redis-url", "redis://r"]


def test_settings_come_from_the_command_line_and_the_environment() -> None:
    """An option comes first, then the environment, then the default."""
    settings = parse_settings([*GIVEN, "--parallelism", "3"], {"TAG_EXPIRY_SECONDS": "60", "PARALLELISM": "4"})
    assert (settings.parallelism, settings.tag_expiry_seconds, settings.bundle_rows) == (3, 60, 10_000)
    extra = parse_settings([*GIVEN, "--extra-event-types", "wishlist:wishlist-events"], {})
    assert extra.event_types.names[-1] == "wishlist"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "KAFKA_BOOTSTRAP"),
        ([*GIVEN, "--parallelism", "0"], "parallelism"),
        ([*GIVEN, "--parallelism", "two"], "parallelism"),
        ([*GIVEN, "--extra-event-types", "view:x"], "EXTRA_EVENT_TYPES"),
    ],
)
def test_wrong_settings_are_named(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the setting, its value and what is allowed."""
    with pytest.raises(SystemExit):
        parse_settings(arguments, {})
    assert named in capsys.readouterr().err
