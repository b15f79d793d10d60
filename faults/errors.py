"""What a row can end with, besides holding."""

from __future__ import annotations


class DoesNotHold(Exception):
    """The system did not do what the row demands."""


class NotPossibleHere(Exception):
    """This machine lacks what the row needs; the message names it."""
