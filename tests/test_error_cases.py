"""Each file of cases/err gives exactly the diagnostics in the text beside it.

A case is named after the code that it is about: `E102_body.interp` and `E102_body.txt`. With
`INTERP_BLESS=1` in the environment the texts are written anew, to be read before they are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interp_dsl.language.codes import all_codes, lookup
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.parse import parse
from interp_dsl.language.render import render
from interp_dsl.language.source import Source

CASES = sorted((Path(__file__).parent / "cases" / "err").glob("E1*.interp"))


def diagnose(path: Path) -> list[Diagnostic]:
    """What is wrong with a file."""
    source = Source(path.read_bytes().decode(), Path(path.name))
    return parse(source)[1]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    found = diagnose(path)
    text = render(found) + "\n"
    expected = path.with_suffix(".txt")
    if os.environ.get("INTERP_BLESS"):
        expected.write_text(text, "utf-8")
    assert text == expected.read_text("utf-8")
    assert path.stem.startswith(found[0].code)


def test_every_syntax_code_has_a_case_and_every_case_a_code() -> None:
    registered = {code for code in all_codes() if code.startswith("E1")}
    assert {path.stem[:4] for path in CASES} == registered


@pytest.mark.parametrize("code", [code for code in all_codes() if code.startswith("E1")])
def test_the_examples_of_a_code_are_what_they_say(code: str) -> None:
    entry = lookup(code)
    assert entry is not None
    wrong, right = (_example(entry.text, heading) for heading in ("Wrong:", "Right:"))
    assert parse(Source(right))[1] == []
    if code != "E115":  # its example stands for one too long to print
        assert [found.code for found in parse(Source(wrong))[1]] == [code]


def _example(text: str, heading: str) -> str:
    lines = text.partition(f"{heading}\n\n")[2].split("\n")
    ends = (i for i, line in enumerate(lines) if line and not line.startswith("    "))
    return "\n".join(line[4:] for line in lines[: next(ends, len(lines))])
