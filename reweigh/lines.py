"""Rows of a file, read one by one: JSON lines and CSV, plain or gzipped, and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, AnyStr, BinaryIO, Final, cast

from reccore.events import LARGEST_EVENT
from reweigh.behaviour import RATINGS_HEADER, columns, is_behaviour, is_rating
from reweigh.errors import CommandError

JSON_LINES: Final = "jsonl"
CSV: Final = "csv"
PARQUET: Final = "parquet"
RETAILROCKET: Final = "retailrocket"
BEHAVIOUR: Final = "behaviour"
AUTO: Final = "auto"
FORMATS: Final = (AUTO, JSON_LINES, CSV, PARQUET, RETAILROCKET, BEHAVIOUR)

LONGEST_LINE: Final = 4 * LARGEST_EVENT
"""Bytes, or characters of CSV; what follows in a longer line is left out."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PARQUET_MAGIC: Final = b"PAR1"
_ROWS_A_BATCH: Final = 10_000

RETAILROCKET_COLUMNS: Final = ("timestamp", "visitorid", "event", "itemid", "transactionid")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``raw`` is the line of JSON lines as it is; other rows have ``fields``, empty cells left out.

    What is not a row of CSV has neither.

    ``number`` is the line's, or in Parquet the row's, from 1; ``position`` the bytes of the file read so far
    (compressed ones when it is).
    """

    number: int
    position: int
    raw: bytes
    fields: Mapping[str, object] | None


def open_binary(file: Path) -> tuple[BinaryIO, BinaryIO]:
    """Open a file for reading: the stream of its content, and the file itself, whose position shows the progress."""
    try:
        plain = file.open("rb")
    except OSError as exc:
        raise CommandError(f"{file} can't be read: {exc.strerror or exc}") from exc
    if file.suffix == ".gz":
        return cast("BinaryIO", gzip.GzipFile(fileobj=plain)), plain
    return plain, plain


def file_format(file: Path, chosen: str = AUTO) -> str:
    """Tell the format by the first line that isn't blank: an object is JSON lines, a header of columns is CSV.

    Files whose columns, or first object, have an event's members under other names only are behaviour files.
    """
    if chosen != AUTO:
        return chosen
    head = _head(file)
    if head.startswith(_PARQUET_MAGIC):
        return BEHAVIOUR if is_behaviour(_parquet(file).schema_arrow.names) else PARQUET
    if head.startswith(b"{"):
        return BEHAVIOUR if is_behaviour(_members(head)) else JSON_LINES
    if head.startswith(b"["):
        raise CommandError(f"{file} is a JSON array: write one event a line (jq -c '.[]')")
    names = tuple(name.strip() for name in head.decode("utf-8", "replace").split(","))
    if names[:4] == RETAILROCKET_COLUMNS[:4]:
        return RETAILROCKET
    if is_behaviour(names) or is_rating(names):
        return BEHAVIOUR
    if len(names) > 1 and {"user_id", "product_id"} & columns(names).keys():
        return CSV
    known = "neither Parquet nor JSON lines nor CSV with a header that names users or products"
    raise CommandError(f"{file} is {known}: name its format with --format")


def read_rows(file: Path, fmt: str) -> Iterator[Row]:
    """Read the rows of a file, in bounded memory; blank lines are left out. Raises :class:`CommandError`."""
    head = _head(file) if fmt == BEHAVIOUR else b""
    if fmt == PARQUET or head.startswith(_PARQUET_MAGIC):
        yield from _parquet_rows(file)
        return
    content, plain = open_binary(file)
    with plain, content:
        try:
            if fmt == JSON_LINES or head.startswith(b"{"):
                yield from _json_rows(content, plain)
            else:
                given = RATINGS_HEADER if is_rating(head.decode("utf-8", "replace").split(",")) else ()
                yield from _csv_rows(content, plain, file, given)
        except (OSError, EOFError, csv.Error) as exc:
            raise CommandError(f"{file} can't be read to its end: {exc}") from exc


def _head(file: Path) -> bytes:
    """Give the first line that isn't blank."""
    content, plain = open_binary(file)
    with plain, content:
        try:
            first = next((line for line, _ in _lines(content, (b"\n",)) if line.strip()), b"")
            return first.removeprefix(_BYTE_ORDER_MARK).strip()
        except (OSError, EOFError) as exc:
            raise CommandError(f"{file} can't be read: {exc}") from exc


def _members(line: bytes) -> list[str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return list(value) if isinstance(value, dict) else []


def _parquet(file: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as exc:
        raise CommandError(f"{file}: Parquet needs pyarrow: pip install 'reweigh[data]'") from exc
    try:
        return parquet.ParquetFile(file)
    except (OSError, pyarrow.ArrowException) as exc:
        raise CommandError(f"{file} can't be read as Parquet: {exc}") from exc


def _parquet_rows(file: Path) -> Iterator[Row]:
    opened, size = _parquet(file), file.stat().st_size
    count, number = max(1, opened.metadata.num_rows), 0
    with opened:
        try:
            for batch in opened.iter_batches(batch_size=_ROWS_A_BATCH):
                for given in batch.to_pylist():
                    number += 1
                    fields = {name: _plain(value) for name, value in given.items() if value is not None}
                    raw = json.dumps(fields, sort_keys=True, default=str).encode("utf-8", "surrogateescape")
                    yield Row(number, size * number // count, raw, fields)
        except (OSError, ValueError) as exc:  # Arrow's errors are among them
            raise CommandError(f"{file} can't be read to its end: {exc}") from exc


def _plain(value: object) -> object:
    """Give a value of Arrow as JSON has it; a time without an offset is UTC, in epoch milliseconds."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return int(aware.timestamp() * 1000)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _lines(content: IO[AnyStr], ends: tuple[AnyStr, ...]) -> Iterator[tuple[AnyStr, int]]:
    """Give lines, no more of each than is held in memory gladly, and how long they are."""
    while line := content.readline(LONGEST_LINE + 1):
        part, length = line, len(line)
        while len(part) > LONGEST_LINE and not part.endswith(ends):
            part = content.readline(LONGEST_LINE + 1)
            length += len(part)
        yield line, length


def _json_rows(content: BinaryIO, plain: BinaryIO) -> Iterator[Row]:
    position = 0
    for number, (line, length) in enumerate(_lines(content, (b"\n",)), 1):
        position = position + length if content is plain else plain.tell()
        raw = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
        if raw:
            yield Row(number, position, raw, None)


def _csv_rows(content: BinaryIO, plain: BinaryIO, file: Path, given: Sequence[str] = ()) -> Iterator[Row]:
    # Bytes that are not UTF-8 become lone surrogates, which are refused row by row and don't end the reading.
    with io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        csv.field_size_limit(LARGEST_EVENT)  # the process's; the default, 131,072, is less than an event may have
        reader = csv.reader(line for line, _ in _lines(text, ("\n", "\r")))
        header = list(given) or [name.strip() for name in next(reader, [])]
        if not header or len(set(header)) != len(header):
            raise CommandError(f"{file}: the first line must name each column once, it is {','.join(header)!r}")
        while True:
            try:
                cells = next(reader, None)
            except csv.Error:  # the reader begins anew with the next line
                yield Row(reader.line_num, plain.tell(), b"", None)
                continue
            if cells is None:
                return
            if cells:
                fields = {name: cell for name, cell in zip(header, cells, strict=False) if cell != ""}
                yield Row(reader.line_num, plain.tell(), json.dumps(cells).encode(), fields)


def is_text(fields: Mapping[str, object]) -> bool:
    """Whether every text was UTF-8."""
    try:
        json.dumps(fields, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
