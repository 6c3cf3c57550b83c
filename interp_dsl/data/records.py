"""Records of a file: csv, json, json lines or parquet, each a dict from column to value."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from interp_dsl.data.faults import fault, listed

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """The rows of a file, told by its ending; a csv's values are all text. E430 when
    the file is not there, can't be read, or has another ending."""
    return list(_checked(path, _reader(path)))


def _checked(path: Path, read: Callable[[Path], Iterator[Record]]) -> Iterator[Record]:
    try:
        for record in read(path):
            if not isinstance(record, dict):
                raise ValueError(f"a record is {type(record).__name__}, not an object with fields")
            yield record
    except FileNotFoundError:
        raise unreadable(path, "there is no such file") from None
    except (OSError, ValueError, csv.Error) as why:
        raise unreadable(path, str(why)) from None


def unreadable(path: Path, why: str, help: str | None = None) -> Exception:  # noqa: A002
    """E430: the file can't be read, and why."""
    return fault("E430", f"{path} can't be read", why, help=help)


def _reader(path: Path) -> Callable[[Path], Iterator[Record]]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise unreadable(
            path,
            f"no reader for the ending {path.suffix or 'that is missing'}",
            help=f"readable are {listed([*_READERS])}",
        )
    return reader


def _csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        header = next(rows, [])
        for row in filter(None, rows):
            if len(row) != len(header):
                found = f"{len(row)} value" + "s" * (len(row) != 1)
                raise ValueError(f"line {rows.line_num}: {found} of {len(header)} columns")
            yield {name: value for name, value in zip(header, row, strict=True) if name}


def typed(records: Sequence[Record], text: Iterable[str]) -> list[Record]:
    """The records of a csv with numbers in the columns that hold nothing else, but for those named
    in `text`. `07` is no number, but text."""
    names = dict.fromkeys(key for record in records for key in record)
    numbers = [
        name
        for name in names.keys() - set(text)
        if all(_NUMBER.fullmatch(str(record[name])) for record in records)
    ]
    return [record | {name: _number(record[name]) for name in numbers} for record in records]


_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _json(path: Path) -> Iterator[Record]:
    """One list of records, or a record a line."""
    text = path.read_text("utf-8-sig")
    if text.lstrip().startswith("["):
        yield from json.loads(text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _json_line(line, number)


def _json_line(line: str, number: int) -> Record:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as why:
        raise ValueError(f"line {number}, character {why.colno}: {why.msg}") from None
    if not isinstance(found, dict):
        raise ValueError(f"line {number}: {type(found).__name__}, not an object with fields")
    return found


def _parquet(path: Path) -> Iterator[Record]:
    import polars

    try:
        yield from polars.read_parquet(path).iter_rows(named=True)
    except polars.exceptions.PolarsError as why:
        raise ValueError(str(why)) from None


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _json,
    ".parquet": _parquet,
}
