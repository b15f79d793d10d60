"""One table of records, valid and not, for everything that reads events: job and HTTP edge must agree on each row.

A row: what it shows, the record's bytes, and either the event (user, product, type, time, tags, id) or the reason. The
records come on the topic of views with the Kafka time ``RECORD_TIME_MS``.
"""

from __future__ import annotations

from typing import NamedTuple

from reccore.dead_letters import Reason
from reccore.events import Event

RECORD_TIME_MS = 1_700_000_000_000


class Case(NamedTuple):
    """One row of the table."""

    name: str
    raw: bytes | None
    expected: Event | Reason


def _event(
    user_id: str = "u",
    product_id: str = "p",
    time_ms: int = RECORD_TIME_MS,
    tags: tuple[str, ...] | None = None,
    event_id: str | None = None,
) -> Event:
    return Event(event_id, user_id, product_id, "view", time_ms, tags)


def _with(members: str) -> bytes:
    return ('{"user_id":"u","product_id":"p",' + members + "}").encode()


CASES = [
    Case("shortest", b'{"user_id":"u","product_id":"p"}', _event()),
    Case("white space around", b' \n{"user_id" : "u", "product_id":"p"}\t', _event()),
    Case(
        "everything given",
        _with(
            '"event_id":"e","event_type":"view","timestamp":1600000000000,"tags":["a","b"],'
            '"session_id":"s","metadata":{"x":[1]}'
        ),
        _event(time_ms=1_600_000_000_000, tags=("a", "b"), event_id="e"),
    ),
    Case(
        "nulls are absent",
        _with('"event_id":null,"event_type":null,"timestamp":null,"tags":null,"session_id":null,"metadata":null'),
        _event(),
    ),
    Case(
        "aliases",
        b'{"user_id":"u","item_id":"p","action":"click","process_time":1600000000000}',
        _event(time_ms=1_600_000_000_000),
    ),
    Case("alias beside null", b'{"user_id":"u","product_id":null,"item_id":"p"}', _event()),
    Case("name before alias", b'{"user_id":"u","product_id":"p","item_id":"q"}', _event()),
    Case("integer ids", b'{"user_id":7,"product_id":-12}', _event("7", "-12")),
    Case("large integer id", b'{"user_id":' + b"9" * 128 + b',"product_id":"p"}', _event("9" * 128)),
    Case("escapes", b'{"user_id":"\\u0061\\ud83d\\ude00","product_id":"p"}', _event("a\U0001f600")),
    Case("128 characters", b'{"user_id":"' + "é".encode() * 128 + b'","product_id":"p"}', _event("é" * 128)),
    Case("last of a repeated member", b'{"user_id":"x","user_id":"u","product_id":"p"}', _event()),
    Case("last of a repeated session", _with('"session_id":5,"session_id":"s"'), _event()),
    Case("lone surrogate in a repeated member", _with('"x":"\\ud800","x":"y","session_id":"s"'), _event()),
    Case("lone surrogate repeated in metadata", _with('"metadata":{"a":"\\ud800","a":"y","b":1e999}'), _event()),
    Case("unknown members", _with('"colour":"red"'), _event()),
    Case("unknown member with a huge number", _with('"x":1e999'), _event()),
    Case("seconds", _with('"timestamp":1600000000'), _event(time_ms=1_600_000_000_000)),
    Case("seconds with fraction", _with('"timestamp":1600000000.25'), _event(time_ms=1_600_000_000_250)),
    Case("1970", _with('"timestamp":0'), _event(time_ms=0)),
    Case("milliseconds written as float", _with('"timestamp":1.6e12'), _event(time_ms=1_600_000_000_000)),
    Case("first millisecond value", _with('"timestamp":100000000000'), _event(time_ms=100_000_000_000)),
    Case("last second value", _with('"timestamp":99999999999'), _event(time_ms=99_999_999_999_000)),
    Case("year 9999", _with('"timestamp":253402300799999'), _event(time_ms=253_402_300_799_999)),
    Case("ISO 8601 in UTC", _with('"timestamp":"2020-09-13T12:26:40Z"'), _event(time_ms=1_600_000_000_000)),
    Case("ISO 8601 without offset", _with('"timestamp":"2020-09-13T12:26:40"'), _event(time_ms=1_600_000_000_000)),
    Case("ISO 8601 with offset", _with('"timestamp":"2020-09-13T14:26:40.5+02:00"'), _event(time_ms=1_600_000_000_500)),
    Case("ISO 8601 date", _with('"timestamp":"1970-01-02"'), _event(time_ms=86_400_000)),
    Case("tags repeat", _with('"tags":["a","b","a"]'), _event(tags=("a", "b"))),
    Case("no tags", _with('"tags":[]'), _event(tags=())),
    Case(
        "32 tags",
        _with('"tags":[' + ",".join(f'"t{i}"' for i in range(32)) + "]"),
        _event(tags=tuple(f"t{i}" for i in range(32))),
    ),
    Case(
        "tags of control characters",
        _with('"tags":["a\\u001fb","\\u001b","\\u0000"]'),
        _event(tags=("a\x1fb", "\x1b", "\x00")),
    ),
    Case("nested as deep as allowed", _with('"metadata":' + '{"a":' * 62 + "[1]" + "}" * 62), _event()),
    Case("null value", None, Reason.NULL_VALUE),
    Case("empty value", b"", Reason.NOT_JSON),
    Case("not UTF-8", b'{"user_id":"\xff","product_id":"p"}', Reason.NOT_UTF8),
    Case("not UTF-8 in an unused place", _with('"x":"y"').replace(b"y", b"\xff"), Reason.NOT_UTF8),
    Case("surrogate encoded as UTF-8", b'{"user_id":"\xed\xa0\x80","product_id":"p"}', Reason.NOT_UTF8),
    Case("UTF-16", '{"user_id":"u","product_id":"p"}'.encode("utf-16"), Reason.NOT_UTF8),
    Case("byte-order mark", b'\xef\xbb\xbf{"user_id":"u","product_id":"p"}', Reason.NOT_JSON),
    Case("lone surrogate", b'{"user_id":"\\ud800","product_id":"p"}', Reason.NOT_JSON),
    Case("lone surrogate in an unused place", _with('"metadata":{"a":["\\udfff"]}'), Reason.NOT_JSON),
    Case("raw control character", b'{"user_id":"a\x01","product_id":"p"}', Reason.NOT_JSON),
    Case("text", b"hello", Reason.NOT_JSON),
    Case("cut off", b'{"user_id":"u","product_id":', Reason.NOT_JSON),
    Case("junk after the object", b'{"user_id":"u","product_id":"p"} x', Reason.NOT_JSON),
    Case("two objects", b'{"user_id":"u","product_id":"p"}{}', Reason.NOT_JSON),
    Case("NaN", b'{"user_id":NaN,"product_id":"p"}', Reason.NOT_JSON),
    Case("NaN in an unused place", _with('"metadata":{"a":NaN}'), Reason.NOT_JSON),
    Case("Infinity", _with('"timestamp":Infinity'), Reason.NOT_JSON),
    Case("nested 100,000 deep", b"[" * 100_000, Reason.NOT_JSON),
    Case("nested too deep", _with('"metadata":' + '{"a":' * 64 + "1" + "}" * 64), Reason.NOT_JSON),
    Case("5,000 digits", _with('"metadata":{"a":' + "9" * 5_000 + "}"), Reason.NOT_JSON),
    Case("array", b'[{"user_id":"u","product_id":"p"}]', Reason.NOT_AN_OBJECT),
    Case("array around a record", b'[1,{"user_id":"u","product_id":"p"},null]', Reason.NOT_AN_OBJECT),
    Case("string", b'"u"', Reason.NOT_AN_OBJECT),
    Case("null", b"null", Reason.NOT_AN_OBJECT),
    Case("no user", b'{"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("null user", b'{"user_id":null,"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("empty user", b'{"user_id":"","product_id":"p"}', Reason.INVALID_USER_ID),
    Case("user of 129 characters", b'{"user_id":"' + b"x" * 129 + b'","product_id":"p"}', Reason.INVALID_USER_ID),
    Case("user of 129 digits", b'{"user_id":' + b"9" * 129 + b',"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("true as user", b'{"user_id":true,"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("1.5 as user", b'{"user_id":1.5,"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("1.0 as user", b'{"user_id":1.0,"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("object as user", b'{"user_id":{},"product_id":"p"}', Reason.INVALID_USER_ID),
    Case("no product", b'{"user_id":"u"}', Reason.INVALID_PRODUCT_ID),
    Case("empty product beside an alias", b'{"user_id":"u","product_id":"","item_id":"p"}', Reason.INVALID_PRODUCT_ID),
    Case("array as product", b'{"user_id":"u","product_id":["p"]}', Reason.INVALID_PRODUCT_ID),
    Case("integer event_id", _with('"event_id":7'), Reason.INVALID_EVENT_ID),
    Case("empty event_id", _with('"event_id":""'), Reason.INVALID_EVENT_ID),
    Case("event_id of 129 characters", _with('"event_id":"' + "x" * 129 + '"'), Reason.INVALID_EVENT_ID),
    Case("unknown type", _with('"event_type":"stare"'), Reason.INVALID_EVENT_TYPE),
    Case("empty type beside an action", _with('"event_type":"","action":"view"'), Reason.INVALID_EVENT_TYPE),
    Case("type in capitals", _with('"event_type":"VIEW"'), Reason.INVALID_EVENT_TYPE),
    Case("number as type", _with('"event_type":1'), Reason.INVALID_EVENT_TYPE),
    Case("type of another topic", _with('"event_type":"purchase"'), Reason.WRONG_TOPIC),
    Case("alias of another topic", _with('"action":"cart"'), Reason.WRONG_TOPIC),
    Case("negative time", _with('"timestamp":-1'), Reason.INVALID_TIMESTAMP),
    Case("time beyond 9999", _with('"timestamp":253402300800000'), Reason.INVALID_TIMESTAMP),
    Case("1e999 as time", _with('"timestamp":1e999'), Reason.INVALID_TIMESTAMP),
    Case("milliseconds with fraction", _with('"timestamp":1600000000000.5'), Reason.INVALID_TIMESTAMP),
    Case("true as time", _with('"timestamp":true'), Reason.INVALID_TIMESTAMP),
    Case("yesterday", _with('"timestamp":"yesterday"'), Reason.INVALID_TIMESTAMP),
    Case("number in a string as time", _with('"timestamp":"1600000000"'), Reason.INVALID_TIMESTAMP),
    Case("year 0", _with('"timestamp":"0000-01-01"'), Reason.INVALID_TIMESTAMP),
    Case("1969", _with('"timestamp":"1969-12-31T23:59:59.999Z"'), Reason.INVALID_TIMESTAMP),
    Case("after 9999 by its offset", _with('"timestamp":"9999-12-31T23:59:59-01:00"'), Reason.INVALID_TIMESTAMP),
    Case("30 February", _with('"timestamp":"2020-02-30"'), Reason.INVALID_TIMESTAMP),
    Case("string as tags", _with('"tags":"a"'), Reason.INVALID_TAGS),
    Case("object as tags", _with('"tags":{"a":1}'), Reason.INVALID_TAGS),
    Case("33 tags", _with('"tags":[' + ",".join(f'"t{i}"' for i in range(33)) + "]"), Reason.INVALID_TAGS),
    Case("33 tags with repeats", _with('"tags":[' + ",".join(['"t"'] * 33) + "]"), Reason.INVALID_TAGS),
    Case("number as tag", _with('"tags":["a",1]'), Reason.INVALID_TAGS),
    Case("null as tag", _with('"tags":[null]'), Reason.INVALID_TAGS),
    Case("empty tag", _with('"tags":[""]'), Reason.INVALID_TAGS),
    Case("tag of 65 characters", _with('"tags":["' + "x" * 65 + '"]'), Reason.INVALID_TAGS),
    Case("number as session", _with('"session_id":1'), Reason.INVALID_SESSION_ID),
    Case("array as metadata", _with('"metadata":[]'), Reason.INVALID_METADATA),
]
