"""The features of a user: what follows from the counts by product, the catalogue, and the numbers of events' metadata.

Names are ``user_<of what>_<which>``. An average is the sum of a metadata number over the events that carry it, divided
by how many these are; that of ``duration_ms`` is called ``user_product_avg_time``, in milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from reccore.encoding import ItemCounts, decode_item
from reccore.errors import SettingError
from reccore.event_types import PURCHASE, VIEW
from reccore.metadata_numbers import DURATION, THOUSANDTHS

LAST_INTERACTION: Final = "user_last_interaction"
COUNTED: Final = frozenset({"product", "category"})
"""What is counted by anyway."""
MOST_ATTRIBUTES: Final = 16
_ATTRIBUTE: Final = re.compile(r"[A-Za-z0-9_]{1,32}")

Value: TypeAlias = int | float | None
Features: TypeAlias = dict[str, Value]


@dataclass(frozen=True, slots=True)
class FeatureRules:
    """How features are read from rows of an items hash.

    ``types`` are the event types in the order of the counts, ``numbers`` the metadata numbers in the order of the sums.
    """

    types: Sequence[str]
    numbers: Sequence[str]

    @property
    def of_product(self) -> tuple[str, ...]:
        """Names of the features of a user and a product."""
        return (*group_names("product"), *map(average_name, self.numbers))

    def unexpired(self, rows: Mapping[str, str], now: float, expiry_seconds: int) -> dict[str, ItemCounts]:
        """Read the rows of a user; expired ones (0: none) are left out. ``ValueError`` for what is no row."""
        items = {product_id: decode_item(row) for product_id, row in rows.items()}
        return {name: each for name, each in items.items() if not each.counts.expired(now, expiry_seconds)}

    def product(self, item: ItemCounts) -> Features:
        """Give the features of a user and a product; an average is None where no event carried the number."""
        # Rows from before another METADATA_NUMBERS say nothing of these numbers, as those without any.
        sums = item.sums if len(item.sums) == len(self.numbers) else ((0, 0),) * len(self.numbers)
        averages = (total / count / THOUSANDTHS if count else None for total, count in sums)
        names = map(average_name, self.numbers)
        return {**self._counted("product", (item,)), **dict(zip(names, averages, strict=True))}

    def groups(
        self, of_what: str, items: Mapping[str, ItemCounts], group_of: Callable[[str], str | None]
    ) -> dict[str, Features]:
        """Give the features of a user and each group of products; ``of_what`` is e.g. ``category``."""
        members: dict[str, list[ItemCounts]] = {}
        for product_id, item in items.items():
            group = group_of(product_id)
            if group is not None:
                members.setdefault(group, []).append(item)
        return {group: self._counted(of_what, those) for group, those in sorted(members.items())}

    def _counted(self, of_what: str, items: Iterable[ItemCounts]) -> Features:
        rows = [item.counts.counts for item in items]
        return {
            name: sum(row[index] for row in rows if index < len(row))
            for name, index in zip(group_names(of_what), map(self.types.index, (VIEW, PURCHASE)), strict=True)
        }


def group_names(of_what: str) -> tuple[str, str]:
    """Give the names of the features of a user and a group of products, or one of them."""
    return f"user_{of_what}_views", f"user_{of_what}_purchases"


def attributes_setting(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Read ``FEATURE_ATTRIBUTES``, names of attributes separated by commas. Raises :class:`SettingError`."""
    given = settings.get("FEATURE_ATTRIBUTES") or ""
    names = tuple(dict.fromkeys(each for part in given.split(",") if (each := part.strip())))
    if len(names) > MOST_ATTRIBUTES or not all(map(_ATTRIBUTE.fullmatch, names)) or not COUNTED.isdisjoint(names):
        allowed = f"at most {MOST_ATTRIBUTES} names of letters, digits and _, separated by commas; none is "
        raise SettingError("FEATURE_ATTRIBUTES", given, allowed + " or ".join(sorted(COUNTED)))
    return names


def attribute_values(details: str | None, names: Iterable[str]) -> dict[str, str]:
    """Give those attributes of a product that are wanted, from its stored details.

    One that is a text, a number or a truth value counts under its text; others are none.
    """
    attributes = (json.loads(details) or {}).get("attributes") if details else None
    if not isinstance(attributes, dict):
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name in names
        if isinstance(value := attributes.get(name), str | int | float)
    }


def last_interaction_ms(items: Mapping[str, ItemCounts]) -> int | None:
    """Give the newest time (epoch ms) of a user's events, None without events."""
    return max((item.counts.newest_ms for item in items.values()), default=None)


def average_name(number: str) -> str:
    """Give the name of the average of a metadata number."""
    return f"user_product_avg_{'time' if number == DURATION else number}"
