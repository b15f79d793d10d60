"""Numbers that events carry in their ``metadata``, which are averaged by user and product.

They travel and are summed as whole thousandths, so that no order of summation changes a sum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reccore.errors import SettingError

DURATION: Final = "duration_ms"
ABSENT: Final = -1
LARGEST: Final = 1_000_000_000
"""Larger numbers are left out: nine million of the largest fit into a sum of 64 bits."""
THOUSANDTHS: Final = 1_000

_SETTING: Final = "METADATA_NUMBERS"
_MOST: Final = 8
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class MetadataNumbers:
    """The members of ``metadata`` that are averaged, in the order in which their sums are stored."""

    names: tuple[str, ...] = (DURATION,)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> MetadataNumbers:
        """Read ``METADATA_NUMBERS``, names separated by commas; ``none`` for none. Raises :class:`SettingError`."""
        given = settings.get(_SETTING) or DURATION
        names = () if given.strip() == "none" else tuple(dict.fromkeys(each.strip() for each in given.split(",")))
        if len(names) > _MOST or not all(map(_NAME.fullmatch, names)):
            allowed = f"at most {_MOST} names of letters, digits and _, separated by commas, or none"
            raise SettingError(_SETTING, given, allowed)
        return cls(names)

    def read(self, metadata: Mapping[str, Any] | None) -> tuple[int, ...]:
        """Give each number in whole thousandths, ``ABSENT`` for what is none from 0 to ``LARGEST``."""
        if not metadata:
            return (ABSENT,) * len(self.names)
        return tuple(_thousandths(metadata.get(name)) for name in self.names)


DURATIONS: Final = MetadataNumbers()
"""What is averaged when nothing is said: how long an event took."""


def _thousandths(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        return ABSENT
    return round(value * THOUSANDTHS)
