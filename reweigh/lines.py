"""Rows of a file, read one by one: JSON lines and CSV, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

from reweigh.errors import CommandError

JSON_LINES: Final = "jsonl"
CSV: Final = "csv"
RETAILROCKET: Final = "retailrocket"
AUTO: Final = "auto"

RETAILROCKET_COLUMNS: Final = ("timestamp", "visitorid", "event", "itemid", "transactionid")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``raw`` is the line of JSON lines as it is; a row of CSV has ``fields``, empty cells left out.

    ``number`` is the line's, from 1; ``position`` the bytes of the file read so far (compressed ones when it is).
    """

    number: int
    position: int
    raw: bytes
    fields: dict[str, str] | None


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
    """Tell the format by the first line that isn't blank: an object is JSON lines, a header of columns is CSV."""
    if chosen != AUTO:
        return chosen
    content, plain = open_binary(file)
    with plain, content:
        head = next((line for line in content if line.strip()), b"").lstrip(b"\xef\xbb\xbf").strip()
    if head.startswith(b"{"):
        return JSON_LINES
    columns = tuple(name.strip() for name in head.decode("utf-8", "replace").split(","))
    if columns[:4] == RETAILROCKET_COLUMNS[:4]:
        return RETAILROCKET
    if len(columns) > 1:
        return CSV
    raise CommandError(f"{file} is neither JSON lines nor CSV with a header: name its format with --format")


def read_rows(file: Path, fmt: str) -> Iterator[Row]:
    """Read the rows of a file, in bounded memory; blank lines are left out. Raises :class:`CommandError`."""
    content, plain = open_binary(file)
    with plain, content:
        try:
            yield from _json_rows(content, plain) if fmt == JSON_LINES else _csv_rows(content, plain, file)
        except (OSError, EOFError, csv.Error) as exc:
            raise CommandError(f"{file} can't be read to its end: {exc}") from exc


def _json_rows(content: BinaryIO, plain: BinaryIO) -> Iterator[Row]:
    position = 0
    for number, line in enumerate(content, 1):
        position = position + len(line) if content is plain else plain.tell()
        raw = line.strip()
        if raw:
            yield Row(number, position, raw, None)


def _csv_rows(content: BinaryIO, plain: BinaryIO, file: Path) -> Iterator[Row]:
    # Bytes that are not UTF-8 become lone surrogates, which are refused row by row and don't end the reading.
    with io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text)
        header = [name.strip() for name in next(reader, [])]
        if not header or len(set(header)) != len(header):
            raise CommandError(f"{file}: the first line must name each column once, it is {','.join(header)!r}")
        for cells in reader:
            if cells:
                fields = {name: cell for name, cell in zip(header, cells, strict=False) if cell != ""}
                yield Row(reader.line_num, plain.tell(), json.dumps(cells).encode(), fields)


def is_text(fields: dict[str, str]) -> bool:
    """Whether every cell was UTF-8."""
    try:
        "".join(fields.values()).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
