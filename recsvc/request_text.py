"""Refuses a path or a query that holds bytes which are no text.

Werkzeug puts other characters in the place of such bytes, and the answer would be about somebody else.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote_to_bytes

from flask import Flask, request

from recsvc.problems import invalid

_ALLOWED: Final = "text in UTF-8, percent-encoded"


def refuse_what_is_no_text(app: Flask) -> None:
    """Have every request of ``app`` looked at, whatever its route takes."""
    app.before_request(_check)


def _check() -> None:
    path: str = request.environ["PATH_INFO"]  # each character is a byte
    if not path.isascii() and not _is_text(path.encode("latin-1")):
        raise invalid("path", quote(path, encoding="latin-1"), _ALLOWED)
    if request.query_string.isascii() and b"%" not in request.query_string:
        return
    for part in request.query_string.split(b"&"):
        if not _is_text(unquote_to_bytes(part)):
            name, _, value = part.decode("ascii", "backslashreplace").partition("=")
            raise invalid(name, value, _ALLOWED)


def _is_text(given: bytes) -> bool:
    try:
        given.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
