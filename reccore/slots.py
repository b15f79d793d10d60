"""Redis Cluster's slots: which keys lie together."""

from __future__ import annotations

import binascii
from functools import cache
from typing import Final

SLOTS: Final = 16_384


def slot(key: str) -> int:
    """Redis Cluster's slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key without one, mod 16384."""
    data = key.encode("utf-8")
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return binascii.crc_hqx(data, 0) % SLOTS


@cache
def tag_of_slot() -> dict[int, str]:
    """Give for each slot a hash tag that lies in it; they begin with digits."""
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < SLOTS:
        tags.setdefault(binascii.crc_hqx(str(number).encode(), 0) % SLOTS, str(number))
        number += 1
    return tags
