"""The weights document: what is valid, and the weights as the scoring rule takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reccore.errors import WeightsError
from reccore.event_types import ADD_TO_CART, BUILT_IN, EventTypes

DEFAULT_WEIGHTS: Final[Mapping[str, int]] = {"view": 1, "add_to_cart": 3, "purchase": 5}
DEFAULT_WEIGHTS_JSON: Final = json.dumps(DEFAULT_WEIGHTS).encode()
_LARGEST_EXACT_INTEGER: Final = 2**53
LARGEST_DOCUMENT: Final = 65_536
"""Bytes. A document of megabytes breaks the ZooKeeper connection, so it is refused before it gets there."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A valid weights document; ``values[i]`` weighs the i-th event type of ``names``."""

    names: tuple[str, ...]
    numbers: tuple[int | float, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The weights as doubles, in the order of the stored counts."""
        return tuple(float(number) for number in self.numbers)

    def as_dict(self) -> dict[str, int | float]:
        """Weight by type name, the numbers as the document wrote them."""
        return dict(zip(self.names, self.numbers, strict=True))

    def as_json(self) -> bytes:
        """The document to store, every configured type named."""
        return json.dumps(self.as_dict()).encode()


def default_weights(event_types: EventTypes) -> Weights:
    """View 1, add to cart 3, purchase 5, and 0 for every further type."""
    return Weights(event_types.names, tuple(DEFAULT_WEIGHTS.get(name, 0) for name in event_types.names))


def parse_weights(document: bytes | str | Mapping[str, object], event_types: EventTypes) -> Weights:
    """Validate a weights document for the configured ``event_types``.

    The three built-in types must each have a finite number >= 0 (``cart`` is read as ``add_to_cart``), at least one of
    them above 0. A further type may be left out (0) and may be negative. A name that isn't configured is refused, so
    that a misspelt weight is never silently without effect. Raises :class:`WeightsError`.
    """
    given = _members(document) if isinstance(document, bytes | str) else dict(document)
    if "cart" in given:
        if ADD_TO_CART in given:
            raise WeightsError("cart", given["cart"], "it means add_to_cart, which is given too: give one of them")
        given[ADD_TO_CART] = given.pop("cart")
    for name in given:
        if name not in event_types.names:
            raise WeightsError(str(name), given[name], f"the event types are {', '.join(event_types.names)}")
    numbers = []
    for each in event_types.types:
        if each.name not in given and not each.may_be_negative:
            raise WeightsError(each.name, None, "a finite number >= 0 is required")
        numbers.append(_number(each.name, given.get(each.name, 0), each.may_be_negative))
    weights = Weights(event_types.names, tuple(numbers))
    if not any(number > 0 for number in numbers[: len(BUILT_IN)]):
        raise WeightsError("weights", weights.as_dict(), f"at least one of {', '.join(BUILT_IN)} must be above 0")
    return weights


def weights_of_record(document: str, event_types: EventTypes) -> Weights:
    """Read a document that another process has validated, for types of its own, as it applies to ``event_types``.

    What is not configured here weighs nothing here. Raises :class:`WeightsError`.
    """
    members = _members(document)
    return parse_weights({name: members[name] for name in event_types.names if name in members}, event_types)


def _members(document: bytes | str) -> dict[str, object]:
    if len(document) > LARGEST_DOCUMENT:
        raise WeightsError("weights", f"{len(document)} bytes", f"at most {LARGEST_DOCUMENT} bytes")
    try:
        text = document.decode("utf-8") if isinstance(document, bytes) else document
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_members)
    except (ValueError, RecursionError) as exc:
        raise WeightsError("weights", document[:60], f"a JSON object is required ({_first_line(exc)})") from exc
    if not isinstance(value, dict):
        raise WeightsError(
            "weights", value, 'a JSON object like {"view": 1, "add_to_cart": 3, "purchase": 5} is required'
        )
    return value


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is given twice")
    return members


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _first_line(exc: BaseException) -> str:
    return "nested too deeply" if isinstance(exc, RecursionError) else str(exc).splitlines()[0][:120]


def _number(name: str, value: object, may_be_negative: bool) -> int | float:
    allowed = "a finite number is required" if may_be_negative else "a finite number >= 0 is required"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WeightsError(name, value, allowed)
    try:
        as_double = float(value)
    except OverflowError as exc:
        raise WeightsError(name, value, allowed) from exc
    if not math.isfinite(as_double) or (as_double < 0 and not may_be_negative):
        raise WeightsError(name, value, allowed)
    if as_double == 0:
        return 0
    # Not every JSON writer and reader takes an integer beyond 64 bits, and the score is a double anyway.
    return value if abs(as_double) < _LARGEST_EXACT_INTEGER else as_double
