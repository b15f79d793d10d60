"""Plain records, read in SQL: those that there is only one way to read.

A record is plain when its text is flat JSON without escapes (``_FLAT``), names no member twice, and each member that
matters is of the usual kind. All others, right or wrong, are for :mod:`reweigh.verify.careful`. So SQL never has to
tell a wrong record from a right one, only an ordinary one from an odd one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import duckdb

from reweigh.verify.names import TYPE_ALIASES

_WHITE: Final = r"[ \t\n\r]*"
_TEXT: Final = r'"[^"\\\x00-\x1f]*"'
_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SCALAR: Final = f"(?:{_TEXT}|{_NUMBER}|true|false|null)"


def _listed(item: str) -> str:
    return f"(?:{item}{_WHITE}(?:,{_WHITE}{item}{_WHITE})*)?"


def _object_of(value: str) -> str:
    return r"\{" + _WHITE + _listed(f"{_TEXT}{_WHITE}:{_WHITE}{value}") + r"\}"


_ARRAY: Final = r"\[" + _WHITE + _listed(_SCALAR) + r"\]"
_FLAT: Final = _WHITE + _object_of(f"(?:{_SCALAR}|{_ARRAY}|{_object_of(_SCALAR)})") + _WHITE
"""The grammar of JSON (RFC 8259) for an object of scalars, arrays of them and objects of them, without escapes."""

_LONGEST: Final = 4_000
"""Bytes: in a record of no more, no number can have more digits than are allowed."""

_MEMBERS: Final = (
    "event_id", "user_id", "product_id", "item_id", "event_type", "action",
    "timestamp", "process_time", "tags", "session_id", "metadata",
)  # fmt: skip

_MACROS: Final = r"""
CREATE OR REPLACE MACRO inner_text(given) AS substring(given, 2, length(given) - 2);
CREATE OR REPLACE MACRO is_text(given, longest) AS given[1] = '"' AND length(given) BETWEEN 3 AND longest + 2;
CREATE OR REPLACE MACRO plain_identifier(given) AS CASE
    WHEN is_text(given, 128) THEN inner_text(given)
    WHEN regexp_full_match(given, '0|-?[1-9][0-9]{0,17}') THEN given END;
CREATE OR REPLACE MACRO plain_time(given, arrived) AS CASE
    WHEN given IS NULL THEN CASE WHEN arrived BETWEEN 0 AND 253402300799999 THEN arrived END
    WHEN regexp_full_match(given, '[1-9][0-9]{0,10}') THEN TRY_CAST(given AS BIGINT) * 1000
    WHEN regexp_full_match(given, '[1-9][0-9]{11,14}') AND TRY_CAST(given AS BIGINT) <= 253402300799999
        THEN TRY_CAST(given AS BIGINT)
    WHEN regexp_full_match(
        given, '"(19[7-9]|2[0-9]{2})[0-9]-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{3})?Z?"')
        THEN epoch_ms(TRY_CAST(rtrim(inner_text(given), 'Z') AS TIMESTAMP)) END;
CREATE OR REPLACE MACRO plain_number(given) AS CASE
    WHEN given[1] IN ('"', 't', 'f', 'n', '[', '{') THEN NULL
    WHEN TRY_CAST(given AS DOUBLE) BETWEEN 0 AND 1e9 THEN round_even(TRY_CAST(given AS DOUBLE) * 1000, 0)::BIGINT END;
CREATE OR REPLACE MACRO once_each(list) AS list_filter(list, lambda item, i: list_position(list, item) = i);
CREATE OR REPLACE MACRO are_plain_tags(given) AS
    given IS NULL OR regexp_full_match(given, '\[(?:"[^"]+"(?:,"[^"]+")*)?\]');
"""


class PlainReader:
    """Reads the plain ones of a batch of records into the table ``events`` of ``connection``.

    Args:
        connection: Has the tables ``events`` and ``places`` (place, topic, partition, type).
        types: The names of the event types; a type's code is its index.
        numbers: The members of ``metadata`` that are read, into the columns ``n0``, … of ``events``.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, types: Sequence[str], numbers: Sequence[str]) -> None:
        self._connection = connection
        connection.execute(_MACROS)
        self._read = _read_statement(types, numbers)

    def read(self, table: str) -> duckdb.DuckDBPyRelation:
        """Read the records of ``table`` (place, spot, arrived, text: null where it is no UTF-8).

        Returns:
            The records that are not plain: place, spot, arrived, value.
        """
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE flat AS SELECT place, spot, arrived, text "
            f"FROM {table} WHERE strlen(text) <= {_LONGEST} AND regexp_full_match(text, $flat)",
            {"flat": _FLAT},
        )
        self._connection.execute(self._read)
        self._connection.execute("INSERT INTO events FROM plain")
        return self._connection.sql(
            f"SELECT place, spot, arrived, value FROM {table} ANTI JOIN plain USING (place, spot)"
        )


def _read_statement(types: Sequence[str], numbers: Sequence[str]) -> str:
    # Without MATERIALIZED each use of a member would take the record apart again: four times the work. Comparing names
    # is half of what is left, and needed only where there are more of them than members that matter.
    paths = ", ".join(f"'$.{name}'" for name in _MEMBERS)
    member = {name: f"nullif(m[{number}], 'null')" for number, name in enumerate(_MEMBERS, 1)}
    given = "".join(
        f", plain_number(json_extract(metadata, '$.{name}')::VARCHAR) AS n{number}"
        for number, name in enumerate(numbers)
    )
    return f"""
    CREATE OR REPLACE TEMP TABLE plain AS
    WITH members AS MATERIALIZED (
        SELECT place, spot, arrived, text, len(json_keys(text)) AS names,
            json_extract(text, [{paths}])::VARCHAR[] AS m
        FROM flat
    ), named AS MATERIALIZED (
        SELECT place, spot, arrived,
            {member["event_id"]} AS event_id,
            plain_identifier({member["user_id"]}) AS user_id,
            plain_identifier(coalesce({member["product_id"]}, {member["item_id"]})) AS product_id,
            coalesce({member["event_type"]}, {member["action"]}) AS type_text,
            plain_time(coalesce({member["timestamp"]}, {member["process_time"]}), arrived) AS time_ms,
            {member["tags"]} AS tags,
            {member["session_id"]} AS session_id,
            {member["metadata"]} AS metadata
        FROM members
        WHERE CASE WHEN names = list_count(m) THEN true ELSE names = len(list_distinct(json_keys(text))) END
    ), typed AS (
        SELECT *, CASE WHEN type_text IS NULL THEN type {_type_cases(types)} END AS own_type
        FROM named JOIN places USING (place)
    ), judged AS MATERIALIZED (
        SELECT *, from_json(tags, '["VARCHAR"]') AS tag_list FROM typed
        WHERE user_id IS NOT NULL AND product_id IS NOT NULL AND time_ms IS NOT NULL AND own_type = type
            AND (event_id IS NULL OR is_text(event_id, 128)) AND are_plain_tags(tags)
            AND (session_id IS NULL OR session_id[1] = '"') AND (metadata IS NULL OR
                (metadata[1] = '{{' AND len(json_keys(metadata)) = len(list_distinct(json_keys(metadata)))))
    )
    SELECT place, spot, arrived,
        md5_number(CASE WHEN event_id IS NULL THEN concat('@', topic, ':', partition, ':', spot)
                   ELSE concat('=', inner_text(event_id)) END) AS identity,
        user_id, product_id, type, time_ms, once_each(tag_list) AS tags{given}
    FROM judged WHERE tag_list IS NULL
        OR (len(tag_list) <= 32 AND coalesce(list_max(list_transform(tag_list, lambda tag: length(tag))), 0) <= 64)"""


def _type_cases(types: Sequence[str]) -> str:
    codes: Mapping[str, int] = {name: code for code, name in enumerate(types)}
    names = {**codes, **{alias: codes[name] for alias, name in TYPE_ALIASES.items()}}
    return " ".join(f"""WHEN type_text = '"{name}"' THEN {code}""" for name, code in names.items())
