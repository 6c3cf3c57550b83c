"""Broken files: every error found, none twice, nothing raised."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp_dsl.language import tree
from interp_dsl.language.parse import parse
from interp_dsl.language.render import render
from interp_dsl.language.source import Source

from .examples import SAMPLES
from .trees import codes


def thousand_lines() -> list[str]:
    lines: list[str] = []
    while len(lines) < 1000:
        lines += SAMPLES["ioi"].split("\n")
    return lines[:1000]


def test_three_errors_in_a_thousand_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = thousand_lines()
    whole = len(parse(Source("\n".join(lines)))[0].statements)
    planted = {
        "step who   = patch late form ioi.corrupt into ioi.clean measure kl()": (25, "E108"),
        "param size   4096": (11, "E106"),
        "step cut   = ablate {L9H9 with mean(ioi.corrupt)": (21, "E102"),
    }
    places = []
    for (line, (column, code)), near in zip(planted.items(), (100, 400, 800), strict=True):
        head = line[:10]
        row = next(i for i in range(near, 1000) if lines[i].startswith(head))
        lines[row] = line
        places.append((row + 1, column, code))
    start = time.perf_counter()
    program, problems = parse(Source("\n".join(lines)))
    with capsys.disabled():
        print(f" 1,000 lines in {time.perf_counter() - start:.3f} s")
    found = [(p.span.line, p.span.column, p.code) for p in problems if p.span is not None]
    assert found == places
    assert len(program.statements) == whole - 3


@pytest.mark.parametrize(
    ("text", "expected", "left"),
    [
        ("let a = (\nlet b = 1\nlet c = )\n", ["E102", "E103"], ["b"]),
        ("let a = 1\nstep b patch x\nlet c = 1\n", ["E106"], ["a", "c"]),
        ("let a = 1\nstpe b = x\nstep = y\n", ["E104", "E121"], ["a"]),
        ("let a = 1\nb = 2\nlet c = 3", ["E104"], ["a", "c"]),
        ("a\nlet b = 1", ["E105"], ["b"]),
        ('let a = "x\nlet b = "y\nlet c = "z"', ["E101", "E101"], ["c"]),
        ('let a = """x\nlet b = 1\nlet c = "y', ["E101", "E101"], ["b"]),
        ("let a = 1\nlet = 2\nlet 3 = 4\nlet 'x' = 5", ["E121", "E121", "E110"], ["a"]),
        ("step a =\n\nstep b = patch x", ["E114"], ["b"]),
        ("step a\n  = patch x\nstep b = patch y", [], ["a", "b"]),
        ("let a = f(\n  seed = 0,\n  n = 1\n)", [], ["a"]),
        ("let a = f(\n  seed = 0,\n  n = = 1\n)\nb = 1", ["E114", "E104"], []),
        ("let a = f(\n  show=1,\n  expect = 2)", [], ["a"]),
        ('let a = "\\q\\w" + 1e999', ["E116", "E116", "E117"], []),
    ],
)
def test_each_statement_fails_alone(text: str, expected: list[str], left: list[str]) -> None:
    program, problems = parse(Source(text))
    assert [problem.code for problem in problems] == expected
    names = [s.name.id for s in program.statements if isinstance(s, tree.Declaration)]
    assert names == left


@pytest.mark.parametrize(
    "text",
    [
        "\0" * 1000,
        "let a = \0",
        "\ud800",
        'let a = "\ud800',
        "let \udfff = 1",
        "\ufeff",
        "\ufeff\ufefflet a = 1",
        "(" * 100_000,
        "let a = " + "(" * 100_000,
        "let a = " + "[{(" * 30_000,
        "let a = " + "-" * 50_000 + "1",
        "let a = " + "not " * 20_000 + "b",
        "let a = b" + "+ b" * 20_000,
        "let a = b" + ".b" * 20_000,
        "let a = b" + "[0]" * 20_000,
        "let a = " + "1" * 100_000,
        "let a = 1e" + "9" * 100_000,
        '"' * 10_001,
        'let a = """' + '\n\\"""' * 10_000,
        "let a = '" + "x" * 100_000,
        "let\n" * 500,
        "#",
        "\r\r\r",
        "let a = 1\rlet b = 2",
        "step \u2028 = \x0b\x0c",
    ],
    ids=repr,
)
def test_hostile_text_gives_diagnostics(text: str) -> None:
    _, problems = parse(Source(text))
    shown = render(problems)
    shown.encode()
    assert all(problem.code.startswith("E1") for problem in problems)
    assert not any(ord(c) < 32 and c != "\n" for c in shown)


_SNIPPETS = [
    *"()[]{}\"'#=,.|&-\n\t\\:@\0\ud800é",
    "->",
    "..",
    "==",
    '"""',
    " from ",
    " at ",
    " where ",
    " in ",
    " not ",
    " every ",
    "\nstep ",
    "\nlet x = ",
    "\nshow ",
    "3x3",
    " = ",
]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_mutated_files_never_raise(data: st.DataObject) -> None:
    text = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.sampled_from(_SNIPPETS)) + text[end:]
    _check(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*_SNIPPETS, "a", "L9H6", "1", '"s"', " ", "patch"])).map("".join))
def test_soups_of_tokens_never_raise(text: str) -> None:
    _check(text)
    _check(f"let x = {text}")
    _check(f"step x = patch {text}")
    _check(f"dataset d = f() {{ {text}")


def _check(text: str) -> None:
    source = Source(text)
    program, problems = parse(source)
    for style in ("text", "short", "json"):
        render(problems, style)
    for problem in problems:
        assert problem.span is not None
        assert 0 <= problem.span.start <= problem.span.end <= len(text)
        assert problem.message and problem.message[-1] != "."
    starts = [statement.span.start for statement in program.statements]
    assert starts == sorted(starts)


def test_a_good_file_has_no_problems() -> None:
    assert codes("# only a comment\n\n") == []
