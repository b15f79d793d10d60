"""The exceptions of the HTTP edge; each is answered as problem+json (see :mod:`recsvc.problems`).

ReweighError
└── ServiceError
    ├── StoreUnavailable     Redis does not answer, or is not asked because it just did not
    ├── StoreRefused         Redis answers that it won't do this, e.g. because a key holds something else
    ├── IngestUnavailable    Kafka has not acknowledged in time
    │   └── EventRefused     Kafka won't take this event, however often it is sent
    ├── BrokenModel          what should be a trained model is none, or not whole
    ├── NotPublished         a model was not published, since a newer one is, or since its parts are gone
    └── Problem              an answer other than success, with its status and details
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reccore.errors import ReweighError, shown


class ServiceError(ReweighError):
    """Base of the errors of this package."""


class StoreUnavailable(ServiceError):
    """Redis is away."""


class StoreRefused(ServiceError):
    """Redis has refused one request; it serves others."""


class IngestUnavailable(ServiceError):
    """Kafka has not acknowledged; whether the event was taken may be unknown, so the sender repeats it."""


class EventRefused(IngestUnavailable):
    """Kafka refuses this one event for good; it takes others."""


class BrokenModel(ServiceError):
    """What should be a trained model is none, or not whole."""


class NotPublished(ServiceError):
    """A model was not published, since one that was begun later is, or since its parts are gone from Redis."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One member that is wrong: its name, the value given (shortened) and what is allowed."""

    field: str
    value: object
    allowed: str

    def as_dict(self) -> dict[str, object]:
        """Give the entry of a problem's ``errors``."""
        plain = self.value is None or isinstance(self.value, str | int | float)
        small = plain and len(shown(self.value)) <= 80
        value = self.value if small and _is_json(self.value) else shown(self.value)
        return {"field": self.field, "value": value, "allowed": self.allowed}


def _is_json(value: object) -> bool:
    if isinstance(value, float):
        return value == value and value not in (float("inf"), float("-inf"))
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**53) <= value <= 2**53
    return not isinstance(value, str) or value.isascii() or value.encode("utf-8", "ignore").decode() == value


@dataclass
class Problem(ServiceError):
    """An answer of RFC 9457: ``status`` 4xx or 5xx, what is wrong in one sentence, and each wrong member."""

    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    members: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.detail)
