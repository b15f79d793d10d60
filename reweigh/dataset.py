"""A data set as arrays, and what the job would have kept of it up to a point in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reccore.errors import RejectedEvent
from reccore.event_types import EventTypes
from reccore.events import Event, event_from_fields, parse_event
from reweigh.errors import CommandError
from reweigh.event_files import row_fields
from reweigh.lines import JSON_LINES, file_format, read_rows
from reweigh.products import CatalogProduct, parse_product

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TagSets:
    """Sets of tags, numbered: set ``s`` is ``tags[starts[s]:starts[s + 1]]``."""

    starts: Integers
    tags: Integers

    def of(self, number: int) -> Integers:
        """The tags of one set."""
        return self.tags[self.starts[number] : self.starts[number + 1]]

    @property
    def sizes(self) -> Integers:
        """How many tags each set has."""
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Distinct events in the order of the files; products are numbered by id ascending, so a tie goes to the lower.

    ``users``, ``products``, ``types``, ``times_ms`` and ``tag_sets`` have one entry an event, ``set_of_product`` one a
    product: the catalogue's tags, else those of its newest event.
    """

    user_ids: tuple[str, ...]
    product_ids: tuple[str, ...]
    tag_names: tuple[str, ...]
    sets: TagSets
    users: Integers
    products: Integers
    types: Integers
    times_ms: Integers
    tag_sets: Integers
    set_of_product: Integers
    event_types: EventTypes


def data_files(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Sort paths into files of events and of products: a folder holds ``events.*`` and ``products.*``."""
    events: list[Path] = []
    products: list[Path] = []
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.name.startswith("products."):
                products.append(file)
            elif file.name.startswith("events.") or not path.is_dir():
                events.append(file)
    if not events:
        raise CommandError(f"no events in {', '.join(map(str, paths))}: name a file, or a folder with events.jsonl")
    return events, products


def read_dataset(event_files: Iterable[Path], product_files: Iterable[Path], event_types: EventTypes) -> Dataset:
    """Read the files as the job would: the first of each event id counts, invalid lines don't.

    Raises :class:`CommandError` when nothing valid is left.
    """
    catalog = {each.product_id: each.tags for file in product_files for each in _products(file)}
    events = list(_distinct(each for file in event_files for each in _events(file, event_types)))
    if not events:
        raise CommandError("no valid event in " + ", ".join(map(str, event_files)))
    users = {user: number for number, user in enumerate(sorted({each.user_id for each in events}))}
    products = {name: number for number, name in enumerate(sorted({each.product_id for each in events} | set(catalog)))}
    tags_of_event = [each.tags if each.tags is not None else catalog.get(each.product_id, ()) for each in events]
    # The catalogue's tags if they are there, else those of the product's newest event.
    tags_of_product = {each.product_id: tags for each, tags in zip(events, tags_of_event, strict=True)} | catalog
    set_numbers = {
        tags: number for number, tags in enumerate(dict.fromkeys([*tags_of_event, *tags_of_product.values()]))
    }
    tag_names = tuple(sorted({tag for tags in set_numbers for tag in tags}))
    tag_numbers = {tag: number for number, tag in enumerate(tag_names)}
    type_numbers = {name: number for number, name in enumerate(event_types.names)}
    return Dataset(
        user_ids=tuple(users),
        product_ids=tuple(products),
        tag_names=tag_names,
        sets=TagSets(
            np.concatenate([[0], np.cumsum([len(tags) for tags in set_numbers])]).astype(np.int64),
            _integers(tag_numbers[tag] for tags in set_numbers for tag in tags),
        ),
        users=_integers(users[each.user_id] for each in events),
        products=_integers(products[each.product_id] for each in events),
        types=_integers(type_numbers[each.event_type] for each in events),
        times_ms=_integers(each.time_ms for each in events),
        tag_sets=_integers(set_numbers[tags] for tags in tags_of_event),
        set_of_product=_integers(set_numbers[tags_of_product[name]] for name in products),
        event_types=event_types,
    )


def _integers(values: Iterable[int]) -> Integers:
    return np.fromiter(values, dtype=np.int64)


def _events(file: Path, event_types: EventTypes) -> Iterable[Event]:
    fmt = file_format(file)
    for row in read_rows(file, fmt):
        try:
            if fmt == JSON_LINES:
                yield parse_event(row.raw, topic_type=None, record_time_ms=None, event_types=event_types)
            else:
                fields = row_fields(row, fmt)
                yield event_from_fields(fields, topic_type=None, record_time_ms=None, event_types=event_types)
        except RejectedEvent:
            continue


def _products(file: Path) -> Iterable[CatalogProduct]:
    for row in read_rows(file, file_format(file)):
        try:
            yield parse_product(row)
        except RejectedEvent:
            continue


def _distinct(events: Iterable[Event]) -> Iterable[Event]:
    seen: set[str] = set()
    for each in events:
        if each.event_id is None:
            yield each
        elif each.event_id not in seen:
            seen.add(each.event_id)
            yield each


def part_of(data: Dataset, chosen: Flags) -> Dataset:
    """Give the data set with the events that are flagged; people, products and tags keep their numbers."""
    return replace(
        data,
        users=data.users[chosen],
        products=data.products[chosen],
        types=data.types[chosen],
        times_ms=data.times_ms[chosen],
        tag_sets=data.tag_sets[chosen],
    )


def hold_out_newest(data: Dataset, kept: float) -> Flags:
    """Flag each person's newest events: all but the oldest ``kept`` of them (0–1), of which at least one stays.

    Events at one time stay in the order of the files.
    """
    order = np.lexsort((data.times_ms, data.users))
    counts = np.bincount(data.users, minlength=len(data.user_ids))
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    rank = np.arange(len(order)) - np.repeat(first, counts)
    history = np.maximum(1, np.floor(counts * kept + 1e-9)).astype(np.int64)
    held_out = np.zeros(len(order), dtype=np.bool_)
    held_out[order] = rank >= np.repeat(history, counts)
    return held_out


def hold_out_after(data: Dataset, time_ms: int) -> Flags:
    """Flag everybody's events from ``time_ms`` on."""
    return data.times_ms >= time_ms


def time_at(data: Dataset, fraction: float) -> int:
    """The time (epoch ms) before which ``fraction`` of all events lie."""
    times = np.sort(data.times_ms)
    return int(times[min(len(times) - 1, int(len(times) * fraction))])
