"""Names on their way through the JVM: a list of them as one string, so that Arrow and SQL move one flat column.

SQL splits the string at ``SEPARATOR`` and groups by the parts as they are. A list holds tags as they are, and other
things that are counted beside them with ``MARK`` in front. A name that itself holds one of these characters, or the
escape character, is escaped, which keeps different names different; :func:`unescape` gives it back at the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = "\x1f"
MARK: Final = "\x1d"
_ESCAPE: Final = "\x1b"
_ESCAPED: Final = ((_ESCAPE, _ESCAPE + "e"), (SEPARATOR, _ESCAPE + "s"), (MARK, _ESCAPE + "m"))


def join_tags(tags: Sequence[str]) -> str:
    """Join tags into one string; the inverse of :func:`split_tags`."""
    joined = SEPARATOR.join(tags)
    if _ESCAPE in joined or MARK in joined or joined.count(SEPARATOR) != len(tags) - 1:
        return SEPARATOR.join(map(_escape, tags))
    return joined


def split_tags(joined: str) -> list[str]:
    """Give the tags of a joined string."""
    return [unescape(part) for part in joined.split(SEPARATOR)]


def escape_all(names: list[str | None]) -> list[str | None]:
    """Escape names, of which hardly any needs it, so that is looked at for all at once."""
    together = "".join(filter(None, names))
    if _ESCAPE not in together and SEPARATOR not in together and MARK not in together:
        return names
    return [None if name is None else _escape(name) for name in names]


def unescape_all(parts: list[str]) -> list[str]:
    """Give what each of many parts stands for; the inverse of :func:`escape_all`."""
    return [unescape(part) for part in parts] if _ESCAPE in "".join(parts) else parts


def unescape(part: str) -> str:
    """Give the name that a part of a joined string stands for."""
    if _ESCAPE not in part:
        return part
    for character, escaped in reversed(_ESCAPED):
        part = part.replace(escaped, character)
    return part


def _escape(name: str) -> str:
    for character, escaped in _ESCAPED:
        name = name.replace(character, escaped)
    return name
