"""Tags on their way through the JVM: a list of them as one string, so that Arrow and SQL move one flat column.

SQL splits the string at ``SEPARATOR`` and groups by the parts as they are. A tag that itself holds the separator or the
escape character is escaped, which keeps different tags different; :func:`unescape` gives the tag back at the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = "\x1f"
_ESCAPE: Final = "\x1b"


def join_tags(tags: Sequence[str]) -> str:
    """Join tags into one string; the inverse of splitting at ``SEPARATOR`` and :func:`unescape` of each part."""
    joined = SEPARATOR.join(tags)
    if _ESCAPE in joined or joined.count(SEPARATOR) != len(tags) - 1:
        return SEPARATOR.join(map(_escape, tags))
    return joined


def split_tags(joined: str) -> list[str]:
    """Give the tags of a joined string."""
    return [unescape(part) for part in joined.split(SEPARATOR)]


def unescape(part: str) -> str:
    """Give the tag that a part of a joined string stands for."""
    if _ESCAPE not in part:
        return part
    return part.replace(_ESCAPE + "s", SEPARATOR).replace(_ESCAPE + "e", _ESCAPE)


def _escape(tag: str) -> str:
    return tag.replace(_ESCAPE, _ESCAPE + "e").replace(SEPARATOR, _ESCAPE + "s")
