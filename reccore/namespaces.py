"""Keys of a Redis Cluster beside the live ones: what is rebuilt, until it takes their place.

A cluster has one database, so what is rebuilt lies under other names, each in the slot of the key that it stands for::

    rebuilt:<name>:{<tag>}:<key>     tag: the smallest number whose hash tag lies in the slot of <key>

Nobody who reads the live keys meets them, and a script may rename all that one slot has at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from reccore.slots import slot, tag_of_slot

PREFIX: Final = "rebuilt:"
"""What all keys begin with that are not live."""
ALLOWED: Final = "1 to 32 of a-z, 0-9, - and _"
_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
_KEY: Final = re.compile(r"rebuilt:(?P<name>[a-z0-9_-]+):\{\d+\}:(?P<key>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A name for keys beside the live ones; without a name, the live ones. Raises ``ValueError`` for an odd name."""

    name: str = ""

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise ValueError(f"the namespace is {self.name!r}; allowed: {ALLOWED}")

    def key(self, key: str) -> str:
        """Give the name under which a key is stored here, in the slot of the key itself."""
        return f"{PREFIX}{self.name}:{{{tag_of_slot()[slot(key)]}}}:{key}" if self.name else key

    def key_of(self, stored: str) -> str | None:
        """Give the key that is stored under this name; None for a name that is not of here."""
        found = _KEY.fullmatch(stored)
        if found is None:
            return None if self.name else stored
        return found["key"] if found["name"] == self.name else None

    @property
    def beginning(self) -> str:
        """What the names of all keys begin with that are stored here."""
        return f"{PREFIX}{self.name}:" if self.name else ""


LIVE: Final = Namespace()


def is_beside(stored: str) -> bool:
    """Whether a key is of some namespace, so not live."""
    return stored.startswith(PREFIX)
