"""Diagnostics as text."""

from __future__ import annotations

import json
from pathlib import Path

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.render import render
from interp_dsl.language.source import Source, Span


def at(text: str, marked: str, path: str | None = "ioi.interp") -> Span:
    start = text.index(marked)
    return Span(Source(text, Path(path) if path else None), start, start + len(marked))


STEP = "step who = patch {L12H0} from ioi.corrupt into ioi.clean measure gap"


def test_the_box() -> None:
    found = Diagnostic(
        "E201",
        "this model has no head L12H0",
        at("\n" * 13 + STEP, "L12H0"),
        "gpt2 has layers 0..11",
        ("a note\nof two lines",),
        "did you mean L11H0?",
    )
    assert render([found]) == (
        "error[E201]: this model has no head L12H0\n"
        "  ┌─ ioi.interp:14:19\n"
        f"14 │ {STEP}\n"
        "   │                   ^^^^^ gpt2 has layers 0..11\n"
        "   = note: a note\n"
        "           of two lines\n"
        "   = help: did you mean L11H0?"
    )


def test_without_a_span_there_is_no_box() -> None:
    found = Diagnostic("E501", "no device", notes=("why",), help="how")
    assert render([found]) == "error[E501]: no device\n = note: why\n = help: how"
    assert render([found], "short") == "error[E501]: no device"


def test_boxes_are_parted_by_a_line() -> None:
    found = Diagnostic("W104", "misleading", at("abc", "b", None))
    box = "warning[W104]: misleading\n ┌─ <text>:1:2\n1 │ abc\n  │  ^"
    assert render([found, found]) == f"{box}\n\n{box}"
    assert render([]) == ""


def test_wide_characters_and_tabs_take_their_cells() -> None:
    found = Diagnostic("E100", "m", at('\tab\t"日本e\u0301" x', "x"), "here")
    assert render([found]).split("\n")[2:] == [
        '1 │     ab  "日本e\u0301" x',
        "  │                 ^ here",
    ]
    found = Diagnostic("E100", "m", at('"日本"', "日本"))
    assert render([found]).split("\n")[-1] == "  │  ^^^^"


def test_a_span_over_lines_shows_its_ends() -> None:
    text = "let a = [1,\n  2,\n  3,\n  4]\nlet b = 1"
    found = Diagnostic("E100", "m", at(text, "[1,\n  2,\n  3,\n  4]"), "here")
    assert render([found]).split("\n")[2:] == [
        "1 │ let a = [1,",
        "  │         ^^^",
        "  ⋮",
        "4 │   4]",
        "  │   ^^ here",
    ]


def test_the_end_of_a_line_can_be_marked() -> None:
    text = "let a =\nlet b = 1"
    found = Diagnostic("E100", "m", Span(Source(text), 7, 7))
    assert render([found]).split("\n")[2:] == ["1 │ let a =", "  │        ^"]
    found = Diagnostic("E100", "m", Span(Source(text), 7, 8))
    assert render([found]).split("\n")[2:] == ["1 │ let a =", "  │        ^"]
    found = Diagnostic("E100", "m", Span(Source(""), 0, 0))
    assert render([found]).split("\n")[2:] == ["1 │", "  │ ^"]


def test_a_long_line_is_cut_around_the_mark() -> None:
    text = "let a = [" + "1, " * 500 + "bad, " + "2, " * 500 + "]"
    _, _, line, carets = render([Diagnostic("E100", "m", at(text, "bad"))]).split("\n")
    assert len(line) < 180
    assert line[carets.index("^") : carets.rindex("^") + 1] == "bad"


def test_what_could_steer_a_terminal_is_shown_as_a_sign() -> None:
    text = "let a = \x1b[31m\x7f\u202e\ud800"
    shown = render([Diagnostic("E100", f"bad {text}", at(text, "\x1b"), text, (text,), text)])
    assert "\x1b" not in shown
    assert "␛[31m␡\ufffd\ufffd" in shown
    shown.encode()


def test_color_marks_the_same_text() -> None:
    found = Diagnostic("E100", "m", at(STEP, "who"), "label", ("n",), "h")
    colored = render([found], color=True)
    plain = colored
    for code in ("1;31", "1", "34", "0"):
        plain = plain.replace(f"\x1b[{code}m", "")
    assert plain == render([found])
    assert "\x1b[1;31merror[E100]\x1b[0m" in colored


def test_short() -> None:
    found = Diagnostic("E106", "m", at("x\n" + STEP, "who", "a/b.interp"), "label", help="h")
    assert render([found, found], "short") == "\n".join(["a/b.interp:2:6: error[E106]: m"] * 2)


def test_json() -> None:
    found = Diagnostic("W106", "é", at("x\n" + STEP, "who"), "label", ("n",), "h")
    assert json.loads(render([found, Diagnostic("E501", "m")], "json")) == [
        {
            "file": "ioi.interp",
            "line": 2,
            "column": 6,
            "end_line": 2,
            "end_column": 9,
            "code": "W106",
            "severity": "warning",
            "message": "é",
            "label": "label",
            "notes": ["n"],
            "help": "h",
        },
        {
            "file": None,
            "line": None,
            "column": None,
            "end_line": None,
            "end_column": None,
            "code": "E501",
            "severity": "error",
            "message": "m",
            "label": "",
            "notes": [],
            "help": None,
        },
    ]
