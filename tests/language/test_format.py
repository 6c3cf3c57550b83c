"""The formatter keeps what a file says, and has one layout for it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.format import format_source
from interp_dsl.language.layout import WIDTH
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source

from .examples import SAMPLES
from .programs import programs, respaced


def formatted(text: str) -> str:
    return format_source(Source(text))


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_fixed_points(sample: str) -> None:
    assert formatted(SAMPLES[sample]) == SAMPLES[sample]


@settings(deadline=None)
@given(programs())
def test_formatting_keeps_the_tree_and_settles(text: str) -> None:
    before, problems = parse(Source(text))
    assert problems == []
    once = formatted(text)
    after, problems = parse(Source(once))
    assert problems == []
    assert after.statements == before.statements
    # A comment behind a last comma, which is dropped, moves to a line of its own.
    assert [c.text for c in after.comments] == [c.text for c in before.comments]
    assert formatted(once) == once


@settings(deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.randoms(use_true_random=False))
def test_the_layout_depends_on_the_tokens_alone(sample: str, random: Random) -> None:
    text = respaced(SAMPLES[sample], random, comments=False)
    assert formatted(text) == formatted(respaced(SAMPLES[sample], Random(0), comments=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("\n\n", ""),
        ("# only\n\n\n\n# this", "# only\n\n# this\n"),
        ("let a=1", "let a = 1\n"),
        ("let a=1\r\n\r\n\r\nlet bc=2\r\n", "let a = 1\n\nlet bc = 2\n"),
        ("let a=1\nlet bc=2", "let a  = 1\nlet bc = 2\n"),
        ("\ufefflet a=1", "let a = 1\n"),
        ("let a=f (x , y=-  1,)[ 0 ] . b", "let a = f(x, y=-1)[0].b\n"),
        ('units a=m . "b.c"|x', 'units a = m."b.c" | x\n'),
        ("let a = - x-y->z|{ a ,b }", "let a = -x - y -> z | {a, b}\n"),
        ("let a = not(x)and y in[1]", "let a = not (x) and y in [1]\n"),
        ("let a=0 .. 1 every 0.1", "let a = 0..1 every 0.1\n"),
        ("let a=1_000k+5 %  \t# why\t ", None),
        ("let a=1_000k # why\t ", "let a = 1_000k  # why\n"),
        ("step s=patch(a)from{b}until x  =3", "step s = patch (a) from {b} until x=3\n"),
        ("dataset d=f(){a(b)c[d]}", "dataset d = f() {\n  a (b)\n  c [d]\n}\n"),
        ("units u = a at(b), to . last", "units u = a at (b), to.last\n"),
    ],
)
def test_layout(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InterpError):
            formatted(text)
    else:
        assert formatted(text) == expected


def test_a_long_statement_breaks_before_its_clauses() -> None:
    text = "step s = " + " ".join(
        ["perturb L6.resid_pre", "of ioi.clean", f"along {'a' * 60}", f"by {'b' * 40}", "measure c"]
    )
    assert formatted(text) == (
        f"step s = perturb L6.resid_pre of ioi.clean along {'a' * 60}\n"
        f"         by {'b' * 40} measure c\n"
    )


def test_lines_stay_within_the_width_where_a_break_is_possible() -> None:
    heads = ", ".join(f"L{layer}H{head}" for layer in range(12) for head in range(12))
    text = formatted(f"units u = together({{{heads}}}) | {{{heads}}}")
    assert max(map(len, text.split("\n"))) <= WIDTH


def test_a_file_with_errors_is_refused_with_all_of_them() -> None:
    with pytest.raises(InterpError) as refused:
        formatted("step a patch x\nlet b = 3x3\nlet c = 1\n")
    assert [found.code for found in refused.value.diagnostics] == ["E106", "E109"]
