"""The exceptions of the rules.

ReweighError
├── SettingError          a setting that a process can't start with
├── WeightsError          a weights document that must not come into force
└── RejectedEvent         a record that belongs among the dead letters
"""

from __future__ import annotations

from typing import Final, Self

_LONGEST_VALUE_SHOWN: Final = 80


def shown(value: object) -> str:
    """Give ``value`` as text for an error message: one line, cut when it is long, never raising.

    A 5,000-digit integer has no decimal text in Python (it raises ``ValueError``), and a lone surrogate has no UTF-8:
    both are described instead, so that every message can be logged and sent.
    """
    try:
        text = repr(value)
    except ValueError:
        text = "an integer of thousands of digits"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[:_LONGEST_VALUE_SHOWN] + "…"


class ReweighError(Exception):
    """Base of every error that this project raises on purpose."""


class SettingError(ReweighError):
    """A setting has a value that can't be used; names key, value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key}={shown(value)} can't be used; allowed: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed


class WeightsError(ReweighError):
    """A weights document breaks a rule; names field, value and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {shown(value)} is not allowed, {allowed}")
        self.field, self.value, self.allowed = field, value, allowed


class RejectedEvent(ReweighError):
    """A record breaks the event contract: ``reason`` is one of :class:`reccore.dead_letters.Reason`."""

    def __init__(self, reason: str, detail: str, wrong: tuple[str, object, str] | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
        self.wrong = wrong
        """Name and value of the member that is wrong, and what is allowed; None where it is the record as a whole."""

    @classmethod
    def member(cls, reason: str, field: str, value: object, allowed: str) -> Self:
        """Refuse a record for one of its members."""
        return cls(reason, f"{field}: {shown(value)}, {allowed} is allowed", (field, value, allowed))
