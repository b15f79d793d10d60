"""Names beside the live keys: in the slot of the key itself, and read back to it."""

from __future__ import annotations

import pytest

from reccore import layout
from reccore.namespaces import LIVE, Namespace, is_beside
from reccore.slots import slot

NAMESPACE = Namespace("1700000000")
USERS = ("ann", "a{b}c", "a{b", "a}b", "a{}b", "{stats}", "ü:1:{2}:3")
OF_USERS = (layout.profile_key, layout.counts_key, layout.items_key, layout.recent_key, layout.arrivals_key)
KEYS = [layout.TOTALS, layout.WRITING, layout.slot_writes_key(7), *(key(user) for key in OF_USERS for user in USERS)]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_beside(key: str) -> None:
    """Scripts may rename it, and nobody takes it for a live one."""
    stored = NAMESPACE.key(key)
    assert slot(stored) == slot(key)
    assert is_beside(stored)
    assert not is_beside(key)
    assert NAMESPACE.key_of(stored) == key
    assert Namespace("170000000").key_of(stored) is None
    assert NAMESPACE.key_of(key) is None
    assert layout.user_of_key(stored) is None
    assert layout.user_with_history(stored) is None
    assert not layout.is_followed_key(stored)


def test_the_live_ones() -> None:
    """They are as they are."""
    assert LIVE.key("user:profile:ann") == LIVE.key_of("user:profile:ann") == "user:profile:ann"
    assert LIVE.key_of(NAMESPACE.key("user:profile:ann")) is None


@pytest.mark.parametrize("name", ["a:b", "{a}", "A", "a b", "x" * 33, "*"])
def test_odd_names(name: str) -> None:
    """They are refused, and the message says which are allowed."""
    with pytest.raises(ValueError, match="allowed: 1 to 32 of a-z, 0-9"):
        Namespace(name)
