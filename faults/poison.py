"""Records that no parser should take, each with the reason that its dead letter must name."""

from __future__ import annotations

from typing import TypeAlias

from reccore.dead_letters import Reason

Poison: TypeAlias = tuple[bytes | None, str]


def _with(members: str) -> bytes:
    return ('{"user_id":"u","product_id":"p",' + members + "}").encode()


IMPOSSIBLE_TIMES: list[Poison] = [
    (_with(f'"timestamp":{text}'), Reason.INVALID_TIMESTAMP)
    for text in ("-1", "-1600000000000", "253402300800000", "1e999", '"0000-01-01"', '"1969-12-31T23:59:59Z"')
]
"""Before 1970, and after 9999."""

POISON: list[Poison] = [
    (None, Reason.NULL_VALUE),
    (b"", Reason.NOT_JSON),
    (b"hello", Reason.NOT_JSON),
    (b'{"user_id":"\xff","product_id":"p"}', Reason.NOT_UTF8),
    (b"[" * 100_000, Reason.NOT_JSON),
    (_with('"metadata":' + '{"a":' * 100_000 + "1" + "}" * 100_000), Reason.NOT_JSON),
    (b'{"user_id":NaN,"product_id":"p"}', Reason.NOT_JSON),
    (_with('"timestamp":1e999'), Reason.INVALID_TIMESTAMP),
    (_with('"metadata":{"a":' + "9" * 5_000 + "}"), Reason.NOT_JSON),
    (b'{"user_id":"\\ud800","product_id":"p"}', Reason.NOT_JSON),
    (b'{"user_id":null,"product_id":"p"}', Reason.INVALID_USER_ID),
    (b'[{"user_id":"u","product_id":"p"}]', Reason.NOT_AN_OBJECT),
    (_with('"event_type":"purchase"'), Reason.WRONG_TOPIC),
    (_with('"tags":"a"'), Reason.INVALID_TAGS),
    *IMPOSSIBLE_TIMES,
]
"""None of them has a key."""

LARGE_POISON: list[Poison] = [(b"x" * 1_000_000, Reason.NOT_JSON), (b'"' + b"y" * 1_000_000, Reason.NOT_JSON)]
