"""One table of ratings, valid and not, for everything that reads them: the follower, the service and the archive.

A row: what it shows, the record's bytes, and either the rating or the reason. The records have the Kafka time
``RECORD_TIME_MS``.
"""

from __future__ import annotations

from typing import NamedTuple

from reccore.dead_letters import Reason
from reccore.ratings import Rating

RECORD_TIME_MS = 1_700_000_000_000


class RatingCase(NamedTuple):
    """One row of the table."""

    name: str
    raw: bytes | None
    expected: Rating | Reason


def _rating(rating: float = 4.0, time_ms: int = RECORD_TIME_MS, event_id: str | None = None) -> Rating:
    return Rating(event_id, "u", "p", rating, time_ms)


def _with(members: str) -> bytes:
    return ('{"user_id":"u","product_id":"p",' + members + "}").encode()


RATING_CASES = [
    RatingCase("shortest", _with('"rating":4'), _rating()),
    RatingCase("other names", b'{"userId":"u","movieId":"p","rating":4.0}', _rating()),
    RatingCase("an item", b'{"user_id":"u","item_id":"p","rating":4}', _rating()),
    RatingCase(
        "integers as ids", b'{"userId":7,"movieId":12,"rating":0.5}', Rating(None, "7", "12", 0.5, RECORD_TIME_MS)
    ),
    RatingCase(
        "the name before its alias",
        b'{"user_id":"u","userId":"x","product_id":"p","movieId":"y","rating":4}',
        _rating(),
    ),
    RatingCase("the lowest", _with('"rating":0.5'), _rating(0.5)),
    RatingCase("the highest", _with('"rating":5'), _rating(5.0)),
    RatingCase("no half", _with('"rating":3.7'), _rating(3.7)),
    RatingCase(
        "everything given",
        _with('"rating":4,"event_id":"e","timestamp":1600000000000'),
        _rating(4.0, 1_600_000_000_000, "e"),
    ),
    RatingCase("seconds", _with('"rating":4,"timestamp":964982703'), _rating(4.0, 964_982_703_000)),
    RatingCase("ISO 8601", _with('"rating":4,"timestamp":"2020-09-13T12:26:40Z"'), _rating(4.0, 1_600_000_000_000)),
    RatingCase("nulls are absent", _with('"rating":4,"event_id":null,"timestamp":null'), _rating()),
    RatingCase("members that nobody knows", _with('"rating":4,"title":"x","genres":["a"]'), _rating()),
    RatingCase("too low", _with('"rating":0.4'), Reason.INVALID_RATING),
    RatingCase("too high", _with('"rating":5.5'), Reason.INVALID_RATING),
    RatingCase("a huge integer", _with('"rating":1' + "0" * 400), Reason.INVALID_RATING),
    RatingCase("beyond the doubles", _with('"rating":1e999'), Reason.INVALID_RATING),
    RatingCase("nothing", _with('"rating":null'), Reason.INVALID_RATING),
    RatingCase("absent", b'{"user_id":"u","product_id":"p"}', Reason.INVALID_RATING),
    RatingCase("text", _with('"rating":"4"'), Reason.INVALID_RATING),
    RatingCase("true", _with('"rating":true'), Reason.INVALID_RATING),
    RatingCase("not a number", _with('"rating":NaN'), Reason.NOT_JSON),
    RatingCase("no user", b'{"product_id":"p","rating":4}', Reason.INVALID_USER_ID),
    RatingCase("an empty user", b'{"user_id":"","product_id":"p","rating":4}', Reason.INVALID_USER_ID),
    RatingCase("no product", b'{"user_id":"u","rating":4}', Reason.INVALID_PRODUCT_ID),
    RatingCase(
        "a long product", b'{"user_id":"u","movieId":"' + b"p" * 129 + b'","rating":4}', Reason.INVALID_PRODUCT_ID
    ),
    RatingCase("a wrong time", _with('"rating":4,"timestamp":"yesterday"'), Reason.INVALID_TIMESTAMP),
    RatingCase("a wrong id", _with('"rating":4,"event_id":7'), Reason.INVALID_EVENT_ID),
    RatingCase("no object", b"[4]", Reason.NOT_AN_OBJECT),
    RatingCase("no JSON", b"rating", Reason.NOT_JSON),
    RatingCase("no text", b"\xff", Reason.NOT_UTF8),
    RatingCase("half a pair", _with('"rating":4,"title":"\\ud800"'), Reason.NOT_JSON),
    RatingCase("too deep", _with('"rating":4,"x":' + "[" * 70 + "]" * 70), Reason.NOT_JSON),
]
NO_VALUE = RatingCase("no value", None, Reason.NULL_VALUE)
