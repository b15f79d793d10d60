"""RetailRocket's three kinds of files in one folder: events, properties of items, and the tree of categories.

An item's category is the newest value of its property ``categoryid``; its tags are that category and all above it, so
that whoever likes one kind of a thing likes its relatives a little. Other properties are hashed words without names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reccore.events import MOST_TAGS
from reweigh.catalog import Bar
from reweigh.errors import CommandError
from reweigh.products import CatalogProduct

EVENTS: Final = ("events.csv", "events.csv.gz")
_TREE: Final = "category_tree.csv"
_PROPERTIES: Final = "item_properties*.csv"
_ROWS_A_REFRESH: Final = 50_000


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one folder."""

    events: Path
    properties: tuple[Path, ...]
    tree: Path

    @property
    def size(self) -> int:
        """Bytes of the properties."""
        return sum(file.stat().st_size for file in self.properties)


def find(folder: Path) -> Folder:
    """Find the files. Raises :class:`CommandError` naming what is missing."""
    events = next((folder / name for name in EVENTS if (folder / name).is_file()), None)
    properties, tree = tuple(sorted(folder.glob(_PROPERTIES))), folder / _TREE
    missing = [
        name for name, there in ((EVENTS[0], events), (_PROPERTIES, properties), (_TREE, tree.is_file())) if not there
    ]
    if missing or events is None:
        raise CommandError(f"{folder} is a folder without {', '.join(missing)}: name a file, or RetailRocket's folder")
    return Folder(events, properties, tree)


def products(folder: Folder, bar: Bar) -> Iterator[CatalogProduct]:
    """Give the product of each item that has a category; memory grows with items and categories, not with rows."""
    parents = {row["categoryid"]: row["parentid"] for _, row in _rows(folder.tree, ("categoryid", "parentid"))}
    newest: dict[str, tuple[int, str]] = {}
    before = 0
    for file in folder.properties:
        for position, row in _rows(file, ("timestamp", "itemid", "property", "value")):
            bar.update(before + position - bar.n)
            if row["property"] == "categoryid" and row["timestamp"].isdecimal():
                found = (int(row["timestamp"]), row["value"])
                newest[row["itemid"]] = max(newest.get(row["itemid"], found), found)
        before += file.stat().st_size
        bar.update(before - bar.n)
    for item, (_, category) in newest.items():
        yield CatalogProduct(item, None, _tags(category, parents), None, category)


def _tags(category: str, parents: dict[str, str]) -> tuple[str, ...]:
    tags: dict[str, None] = {}
    while category and f"category-{category}" not in tags and len(tags) < MOST_TAGS:  # the tree might have a circle
        tags[f"category-{category}"] = None
        category = parents.get(category, "")
    return tuple(tags)


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Give each row, and about how many bytes of the file have been read by then."""
    try:
        with file.open("rb") as plain, io.TextIOWrapper(plain, encoding="utf-8", newline="") as text:
            reader = csv.DictReader(text)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise CommandError(f"{file}: the first line must name {', '.join(columns)}")
            position = 0
            for number, row in enumerate(reader):
                if number % _ROWS_A_REFRESH == 0:
                    position = plain.tell()
                yield position, row
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise CommandError(f"{file} can't be read to its end: {exc}") from exc
