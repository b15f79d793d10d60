"""The rows under the keys of :mod:`reccore.layout`: how each is written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from reccore.layout import MOST_ARRIVALS
from reccore.tag_list import SEPARATOR, split_tags, unescape


@dataclass(frozen=True, slots=True)
class TagCounts:
    """One row of a counts hash.

    Events by type, the newest one's time (epoch ms), with tag expiry the second (epoch) at which it was written, and
    the highest number among the user's events that it counts (0: they are not numbered).
    """

    counts: tuple[int, ...]
    newest_ms: int
    written_at: int | None = None
    number: int = 0

    def expired(self, now: float, tag_expiry_seconds: int) -> bool:
        """Whether the tag has been without events for longer than its time to live (0: never)."""
        return tag_expiry_seconds > 0 and self.written_at is not None and now > self.written_at + tag_expiry_seconds


def encode_counts(counts: Iterable[int], newest_ms: int, written_at: int | None = None, number: int = 0) -> str:
    """Write one row of a counts hash, e.g. ``12,3,1;1700000000000;;16`` or ``12,3,1;1700000000000;1700000001``."""
    return encode_joined_counts(join_counts(counts), newest_ms, written_at, number)


def encode_joined_counts(joined: str, newest_ms: int, written_at: int | None = None, number: int = 0) -> str:
    """Write one row of a counts hash whose counts are written already, by :func:`join_counts`."""
    if number:
        return f"{joined};{newest_ms};{'' if written_at is None else written_at};{number}"
    return f"{joined};{newest_ms}" if written_at is None else f"{joined};{newest_ms};{written_at}"


def join_counts(counts: Iterable[int]) -> str:
    """Write the first part of a row, the counts alone: what scores depend on."""
    return ",".join(map(str, counts))


def split_counts(joined: str) -> tuple[int, ...]:
    """Read what :func:`join_counts` wrote; ``ValueError`` when it is nothing of the kind."""
    return tuple(map(int, joined.split(",")))


def counts_of_row(row: str) -> str:
    """Give the counts of a row as they are written, to remember scores by."""
    return row.partition(";")[0]


def newest_of_rows(rows: Iterable[str]) -> int | None:
    """Give the newest event time (epoch ms) of some rows, None without rows."""
    return max([int(row.split(";", 2)[1]) for row in rows], default=None)


def decode_counts(row: str) -> TagCounts:
    """Read one row of a counts hash; ``ValueError`` when it is none."""
    counts, newest_ms, written_at, number, *_ = *row.split(";"), "", ""
    return TagCounts(
        split_counts(counts), int(newest_ms), int(written_at) if written_at else None, int(number) if number else 0
    )


def stamped(row: str, written_at: int) -> str:
    """Give a row of counts or items with the second at which it was written."""
    parts = row.split(";")
    return ";".join((*parts[:2], str(written_at), *parts[3:]))


def compared_part(row: str) -> str:
    """Give what of a row of counts or items follows from the events alone: counts, newest time, and sums."""
    parts = row.split(";")
    return ";".join((*parts[:2], *parts[4:]))


def number_of_row(row: str) -> int:
    """Give the highest number among the events that a row counts, 0 where they are not numbered."""
    parts = row.split(";", 4)
    return int(parts[3] or 0) if len(parts) > 3 else 0


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """One row of an items hash: what a row of counts holds, and sum and number of each of some numbers of the events.

    Sums are in thousandths; all of them are 0 where no event carried any of these numbers.
    """

    counts: TagCounts
    sums: tuple[tuple[int, int], ...] = ()


def encode_item(row: str, sums: Sequence[tuple[int, int]]) -> str:
    """Write one row of an items hash, given as a row of counts, and the sum and number of each metadata number."""
    if not any(count for _, count in sums):
        return row
    return f"{row}{';' * (4 - row.count(';'))}{','.join(f'{total}:{count}' for total, count in sums)}"


def decode_item(row: str) -> ItemCounts:
    """Read one row of an items hash; ``ValueError`` when it is none."""
    pairs = (pair.split(":") for pair in ";".join(row.split(";")[4:]).split(",") if pair)
    return ItemCounts(decode_counts(row), tuple((int(total), int(count)) for total, count in pairs))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A user's ``number``-th event: ``type:partition:offset:product``, and its tags."""

    number: int
    event: str
    tags: tuple[str, ...]


def encode_arrival(number: int, event: str, joined_tags: str) -> tuple[str, str]:
    """Write one field of an arrivals hash and its value; event and tags are escaped (:mod:`reccore.tag_list`)."""
    return str(number % MOST_ARRIVALS), f"{number}{SEPARATOR}{event}{SEPARATOR}{joined_tags}"


def decode_arrival(value: str) -> Arrival:
    """Read what :func:`encode_arrival` wrote."""
    number, event, joined_tags = value.split(SEPARATOR, 2)
    return Arrival(int(number), unescape(event), tuple(split_tags(joined_tags)) if joined_tags else ())


def encode_product_statistics(counts: Iterable[int], newest_ms: int, tags: Sequence[str]) -> str:
    """Write a product's statistics, as the JSON that the stream of changes carries too."""
    return f"[[{join_counts(counts)}],{newest_ms},[{','.join(map(quote, tags))}]]"


def encode_tag_statistics(counts: Iterable[int], newest_ms: int) -> str:
    """Write everybody's statistics of a tag."""
    return f"[[{join_counts(counts)}],{newest_ms}]"


quote: Final = json.JSONEncoder().encode
"""Writes one string as JSON."""
