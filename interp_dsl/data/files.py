"""Datasets from files: `file("pairs.csv")`. The columns of well-known files are recognised."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interp_dsl.data.answers import Written
from interp_dsl.data.conditions import conditions_of, holds, names_in
from interp_dsl.data.faults import closest, fault, listed
from interp_dsl.data.marks import Marked
from interp_dsl.data.prompts import assemble, own_side, text_side
from interp_dsl.data.records import Record, read_records, typed
from interp_dsl.data.tokenizer import Tokenizer, load_tokenizer
from interp_dsl.data.types import Data
from interp_dsl.models.shape import ModelFacts

GUESSES: dict[str, tuple[str, ...]] = {
    "clean": ("clean", "clean_prefix", "clean_prompt", "prompt", "text"),
    "corrupt": ("corrupt", "corrupted", "patch_prefix", "corrupt_prompt", "counterfactual"),
    "answer": (
        "answer",
        "correct_idx",
        "clean_answer_idx",
        "answers_idx",
        "country_idx",
        "clean_answer",
        "answers",
        "correct",
    ),
    "wrong": (
        "wrong",
        "incorrect_idx",
        "corrupted_answer_idx",
        "corrupted_answers_idx",
        "corrupted_country_idx",
        "patch_answer",
        "corrupt_answer",
        "corrupted_answers",
        "incorrect",
    ),
}
"""The column of each field when none is named: the first of these that the file has."""

IDS = ("_idx", "_id", "_ids", "_token", "_tokens")
"""In a csv, answers in a column with such an ending are token ids, in any other text."""

YEARS = {"clean", "corrupted", "correct_idx"}
"""The whole header of the greater-than files, whose `correct_idx` is a year of two digits."""

Rows = Callable[[Path], list[Record]]


def build_file(
    name: str,
    spec: Mapping[str, Any],
    facts: ModelFacts,
    path: Path,
    verbs: Path | None,
    rows: Rows,
) -> Data:
    """The dataset of a file's rows: text prompts without marks; answers as text, token ids, or
    lists of them (a class); further fields as columns. With answers="greater", or the header of
    the greater-than files, the answer of year 52 is the class 53 to 99, the wrong one 00 to 52.
    With `verbs`, a csv of singular and plural forms, the column `plural` chooses the class."""
    records = rows(path)
    fields = _fields(spec, records, path)
    if path.suffix.lower() == ".csv":
        records = typed(records, [c for c in fields.values() if not c.endswith(IDS)])
    kept = _kept(spec, records, path)
    if not kept:
        raise fault("E407", f"{path.name} has no row for {name}", help="loosen the conditions")
    tokenizer = load_tokenizer(facts)
    sides = [
        text_side(
            key if "corrupt" in fields else own_side(name),
            [Marked(_text(r, fields[key], path)) for r in kept],
            tokenizer,
            facts,
        )
        for key in ("clean", "corrupt")
        if key in fields
    ]
    answers, wrongs = _answers(spec, kept, fields, path, verbs, tokenizer)
    used = set(fields.values())
    columns = dict.fromkeys(key for record in kept for key in record if key not in used)
    return assemble(
        name,
        sides,
        answers,
        wrongs,
        tokenizer,
        {key: [record.get(key) for record in kept] for key in columns},
        seed=int(spec.get("seed") or 0),
    )


def _fields(spec: Mapping[str, Any], records: Sequence[Record], path: Path) -> dict[str, str]:
    """Field -> column: those named, else guessed. E431 for one that the file lacks."""
    known = list(dict.fromkeys(key for record in records for key in record))
    found: dict[str, str] = {}
    for field, guesses in GUESSES.items():
        named = spec.get(field)
        if named and named not in known:
            raise _no_column(str(named), known, path)
        guess = next((g for g in guesses if g in known), None)
        if named or guess:
            found[field] = str(named or guess)
    if "clean" not in found:
        raise fault(
            "E431",
            f"no column of {path.name} is known to hold prompts",
            f"it has {listed(known)}",
            help='name it: file("…", clean="COLUMN")',
        )
    return found


def _no_column(name: str, known: list[str], path: Path) -> Exception:
    return fault(
        "E431",
        f"{path.name} has no column {name}",
        f"it has {listed(known)}",
        help=closest(name, known),
    )


def _kept(spec: Mapping[str, Any], records: Sequence[Record], path: Path) -> list[Record]:
    """The rows that `where` allows; n of them, the first ones or drawn by the seed."""
    known = {key for record in records for key in record}
    tests = conditions_of(spec)
    choices = [(name, w["values"]) for w in spec.get("where") or () for name in w["names"]]
    wanted = {name for name, _ in choices}.union(*map(names_in, tests)) - {"index"}
    for name in wanted - known:
        raise _no_column(name, sorted(known), path)
    kept = [
        record
        for index, record in enumerate(records)
        if all(record.get(name) in values for name, values in choices)
        and all(holds(t, _Columns(record, index=index)) for t in tests)
    ]
    if spec.get("n") is None:
        return kept
    n = int(spec["n"])
    if n > len(kept):
        raise fault(
            "E423",
            f"{path.name} has {len(kept):,} rows that `where` allows, and n is {n:,}",
            help=f"take n={len(kept)}, or leave n out for all",
        )
    if spec.get("seed") is None:
        return kept[:n]
    order = np.random.default_rng(int(spec["seed"])).permutation(len(kept))[:n]
    return [kept[i] for i in order]


class _Columns(dict[str, Any]):
    """A record's fields; one that it lacks is unknown."""

    def __init__(self, record: Record, index: int) -> None:
        super().__init__(record, index=index)

    def __missing__(self, name: str) -> None:
        return None


def _text(record: Record, column: str, path: Path) -> str:
    value = record.get(column)
    if not isinstance(value, str) or not value:
        raise _bad_row(path, record, f"{column} holds {value!r}, not a text")
    return value


def _bad_row(path: Path, record: Record, why: str) -> Exception:
    shown = json.dumps(record, ensure_ascii=False, default=str)
    return fault(
        "E432",
        f"a row of {path.name} can't be used: {why}",
        shown if len(shown) < 300 else shown[:299] + "…",
        help="mend the row, or leave it out by `where`",
    )


def _answers(
    spec: Mapping[str, Any],
    kept: Sequence[Record],
    fields: Mapping[str, str],
    path: Path,
    verbs: Path | None,
    tokenizer: Tokenizer,
) -> tuple[list[Written] | None, list[Written] | None]:
    if verbs is not None:
        return _verbs(verbs, kept, path, tokenizer)
    read = {
        field: [_answer(record, fields[field], path) for record in kept]
        for field in ("answer", "wrong")
        if field in fields
    }
    by_header = kept[0].keys() == YEARS and "answer" in fields and "answer" not in spec
    if spec.get("answers") == "greater" or by_header:
        return _greater(read.get("answer"), kept, path)
    return read.get("answer"), read.get("wrong")


def _answer(record: Record, column: str, path: Path) -> Written:
    """Text, a token id, or a list of either, also one written as text: "[16840, 23685]"."""
    value = record.get(column)
    if isinstance(value, str) and value.startswith("["):
        try:
            value = literal_eval(value)
        except (ValueError, SyntaxError):
            raise _bad_row(path, record, f"{column} is no list") from None
    several = isinstance(value, list | tuple)
    items: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if not items or not all(isinstance(i, str | int) and not isinstance(i, bool) for i in items):
        raise _bad_row(path, record, f"{column} holds {value!r}, neither text nor token ids")
    written: Written = items if several else items[0]
    return written


def _greater(
    years: Sequence[Written] | None, kept: Sequence[Record], path: Path
) -> tuple[list[Written], list[Written]]:
    """The years after each year, and those up to it, as two digits."""
    every = [f"{year:02d}" for year in range(100)]
    later: list[Written] = []
    earlier: list[Written] = []
    for record, year in zip(kept, years or [""] * len(kept), strict=True):
        number = int(str(year)) if str(year).isdecimal() else -1
        if not 0 <= number < 99:
            raise _bad_row(path, record, f"the answer {year!r} is no year from 0 to 98")
        later.append(every[number + 1 :])
        earlier.append(every[: number + 1])
    return later, earlier


def _verbs(
    verbs: Path, kept: Sequence[Record], path: Path, tokenizer: Tokenizer
) -> tuple[list[Written], list[Written]]:
    """The verb forms that are one token behind a space: those of the subject's number, and those
    of the other."""
    forms: dict[bool, Written] = {}
    records = read_records(verbs)
    for plural, column in ((False, "sing"), (True, "plur")):
        if not records or column not in records[0]:
            raise _no_column(column, list(records[0]) if records else [], verbs)
        words = [f" {record[column]}" for record in records]
        forms[plural] = [ids[0] for w in words if len(ids := tokenizer.continuation(w)) == 1]
    if "plural" not in kept[0]:
        raise _no_column("plural", list(kept[0]), path)
    number = [bool(int(record["plural"])) for record in kept]
    return [forms[plural] for plural in number], [forms[not plural] for plural in number]
