"""Whether the bytes that have arrived over a connection are a whole HTTP/1.1 request."""

from __future__ import annotations

import re
from typing import Final

LARGEST_LOOK: Final = 65_536
"""Bytes that are looked at. A request that is longer is read by its thread, however slowly it comes."""
_LARGEST_HEAD: Final = 32_768
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_EXPECTS: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_KEPT: Final = b"\r\nconnection: keep-alive\r\n"
_NEVER_REFUSED: Final = (b"GET /livez", b"GET /readyz", b"GET /health", b"GET /metrics", b"GET /ops")


def is_whole(arrived: bytes) -> bool:
    """Whether there is nothing to wait for: all has arrived, or it is one that is refused or read bit by bit anyway."""
    end = arrived.find(b"\r\n\r\n")
    if end < 0:
        return len(arrived) >= _LARGEST_HEAD
    found = _LENGTH.search(arrived, 0, end + 2)
    if found is None:
        return True  # no body, or one without a length, which is refused
    wanted = end + 4 + int(found[1])
    return len(arrived) >= min(wanted, LARGEST_LOOK // 2)


def plain_length(arrived: bytes) -> int | None:
    """Give the length of the whole request, if where it ends is beyond doubt and the connection may go on after it.

    None: it is to be read by a parser, or the connection closed. Whoever took a part of a body for the next request
    would answer something that nobody asked.
    """
    end = arrived.find(b"\r\n\r\n") + 4
    head = arrived[:end].lower().replace(_KEPT, b"\r\n", 1)
    if end < 4 or b" http/1.1\r\n" not in head or head.count(b"\n") != head.count(b"\r\n"):
        return None
    if b"connection" in head or b"transfer-encoding" in head or b"upgrade" in head:
        return None
    lengths = head.count(b"content-length")
    found = _LENGTH.search(head)
    if lengths > 1 or (lengths and not found):
        return None
    length = end + (int(found[1]) if found else 0)
    return length if len(arrived) >= length else None


def never_refused(arrived: bytes) -> bool:
    """Whether the request is of who watches over the service: answered above all when there is much to do."""
    return arrived.startswith(_NEVER_REFUSED)


def awaits_continue(arrived: bytes) -> bool:
    """Whether the client holds its body back until it is told to go on."""
    return arrived.endswith(b"\r\n\r\n") and _EXPECTS.search(arrived) is not None
