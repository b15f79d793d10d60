"""The configuration documents that exist: the allow-list, each with its paths, its validator and its default."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

from reccore.errors import WeightsError
from reccore.event_types import EventTypes
from reccore.weights import LARGEST_DOCUMENT, Weights, default_weights, parse_weights

ROOT = "/config/recommendation"
MEMBERS = "/reweigh/members"


class Document(Protocol):
    """A valid document."""

    def as_dict(self) -> dict[str, Any]:
        """Give the document as a JSON object."""


D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Kind(Generic[D]):
    """One kind of document. ``parse`` raises ``WeightsError`` naming field, value and what is allowed."""

    name: str
    parse: Callable[[bytes | Mapping[str, object]], D]
    default: D

    @property
    def path(self) -> str:
        """The node that holds the document; anybody may set it."""
        return f"{ROOT}/{self.name}"

    @property
    def last_good_path(self) -> str:
        """The node that holds the last valid document, for who starts while ``path`` holds none."""
        return f"{ROOT}/last_good/{self.name}"

    @property
    def history_path(self) -> str:
        """The node whose children are the documents that were put through the publisher."""
        return f"{ROOT}/history/{self.name}"

    def render(self, document: D) -> bytes:
        """Give the document as it is stored."""
        return json.dumps(document.as_dict()).encode()


@dataclass(frozen=True, slots=True)
class Ranking:
    """How answers are made up.

    Entries when a request names no number, whether popular products fill up, and what a rating weighs: one of 5 as much
    as this, one of 2.5 nothing, one below less than nothing.
    """

    default_n: int = 10
    fill_with_popular: bool = True
    rating_weight: float = 3.0

    def as_dict(self) -> dict[str, Any]:
        """Give the document as a JSON object."""
        return asdict(self)


_DEFAULT_RANKING = Ranking()
_LARGEST_RATING_WEIGHT = 1_000_000


def parse_ranking(document: bytes | Mapping[str, object]) -> Ranking:
    """Validate a ranking document; a member that is left out has its default. Raises ``WeightsError``."""
    given = _object(document) if isinstance(document, bytes) else dict(document)
    default_n = given.pop("default_n", _DEFAULT_RANKING.default_n)
    if isinstance(default_n, bool) or not isinstance(default_n, int) or not 1 <= default_n <= 100:
        raise WeightsError("default_n", default_n, "an integer from 1 to 100 is required")
    fill = given.pop("fill_with_popular", _DEFAULT_RANKING.fill_with_popular)
    if not isinstance(fill, bool):
        raise WeightsError("fill_with_popular", fill, "true or false is required")
    rating_weight = given.pop("rating_weight", _DEFAULT_RANKING.rating_weight)
    if (
        isinstance(rating_weight, bool)
        or not isinstance(rating_weight, int | float)
        or not 0 <= rating_weight <= _LARGEST_RATING_WEIGHT
    ):
        raise WeightsError("rating_weight", rating_weight, f"a number from 0 to {_LARGEST_RATING_WEIGHT} is required")
    for name, value in given.items():
        raise WeightsError(name, value, "the members are default_n, fill_with_popular and rating_weight")
    return Ranking(default_n, fill, rating_weight)


def weights_kind(event_types: EventTypes) -> Kind[Weights]:
    """The weights document for the configured event types."""
    return Kind("weights", lambda document: parse_weights(document, event_types), default_weights(event_types))


RANKING = Kind("ranking", parse_ranking, _DEFAULT_RANKING)


def _object(document: bytes) -> dict[str, object]:
    if len(document) > LARGEST_DOCUMENT:
        raise WeightsError("document", f"{len(document)} bytes", f"at most {LARGEST_DOCUMENT} bytes")
    try:
        value = json.loads(document)
    except (ValueError, RecursionError) as exc:
        raise WeightsError("document", document[:60], "a JSON object is required") from exc
    if not isinstance(value, dict):
        raise WeightsError("document", value, "a JSON object is required")
    return value
