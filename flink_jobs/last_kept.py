"""What a writer remembers of crowded users, to leave out what could not stay (docs/adr/0005-a-cap-on-tags.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from flink_jobs.crowded_users import ITEMS, TAGS, CappedHash
from flink_jobs.redis_transaction import Command
from flink_jobs.user_rows import UserRows
from reccore.row_cap import Rank, RowCap, rank

_MOST_REMEMBERED: Final = 10_000
"""Users of one kind of hash: a megabyte."""


class LastKept:
    """Where the last row that a crowded user kept stood when the writer last looked.

    As counts only grow, what comes after it can't be among those that stay, whatever has happened since, and even if
    Redis has lost some of them meanwhile. Where rows expire that isn't so, and nothing is left out.
    """

    def __init__(self, caps: Mapping[CappedHash, RowCap]) -> None:
        self._known: dict[CappedHash, dict[str, Rank]] = {
            which: {} for which, cap in caps.items() if not cap.tag_expiry_seconds
        }
        self._left_out: dict[CappedHash, int] = {}

    def remember(self, which: CappedHash, user_id: str, last: Rank) -> None:
        """Take note of the last row of a user that is kept."""
        known = self._known.get(which)
        if known is None:
            return
        if len(known) >= _MOST_REMEMBERED:
            known.clear()  # they come again with the next look
        known[user_id] = last

    def within(self, users: Iterable[UserRows]) -> Iterator[UserRows]:
        """Give users without the rows that could not stay."""
        tags, items = self._known.get(TAGS, {}), self._known.get(ITEMS, {})
        for user in users:
            of_tags, of_items = tags.get(user.user_id), items.get(user.user_id)
            if of_tags is None and of_items is None:
                yield user
                continue
            counts, scores, of_products = user.counts, user.scores, user.items
            if of_tags is not None:
                counts, scores = self._staying(TAGS, of_tags, counts, scores)
            if of_items is not None:
                (of_products,) = self._staying(ITEMS, of_items, of_products)
            yield UserRows(user.user_id, counts, scores, user.bought, of_products)

    def left_out(self) -> list[Command]:
        """Give the commands that count what was left out since they were last given."""
        commands: list[Command] = [("INCRBY", which.dropped, str(rows)) for which, rows in self._left_out.items()]
        self._left_out = {}
        return commands

    def _staying(self, which: CappedHash, last: Rank, rows: list[str], *beside: list[str]) -> list[list[str]]:
        """Give those of ``name, row, …`` that may stay, and what stands beside them."""
        stay = [place for place in range(0, len(rows), 2) if rank(rows[place], rows[place + 1]) <= last]
        if left_out := len(rows) // 2 - len(stay):
            self._left_out[which] = self._left_out.get(which, 0) + left_out
        return [_at(each, stay) for each in (rows, *beside)]


def _at(pairs: Sequence[str], places: Sequence[int]) -> list[str]:
    return [text for place in places for text in pairs[place : place + 2]]
