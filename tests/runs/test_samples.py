"""Texts of `generate`: what stands beside what, and which words the plain text has not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.runs.samples import Samples, parent, pieces, sample_steps
from tests.runs.writing import written


def test_an_intervention_stands_between_the_plain_text_and_its_control(tmp_path: Path) -> None:
    folder = written(tmp_path)
    held = Samples(folder, "spoken")
    assert held.names == ["plain", "happy", "random(happy)"] and len(held) == 2
    assert held.steered == ["happy"]
    assert held.beside("happy") == ["plain", "happy", "random(happy)"]
    assert held.beside(None) == ["plain"]
    assert held.before(1) == "prompt 1: "
    assert [s.under for s in held.samples(0)] == held.names
    (one,) = held.samples(1, ["happy"])
    assert (one.n, one.logprob, one.own_logprob, one.kl) == (5, -2.0, -0.5, 0.25)


def test_what_the_plain_text_has_not_is_marked(tmp_path: Path) -> None:
    held = Samples(written(tmp_path), "spoken")
    assert [s.marked for s in held.samples(0)] == [
        "She went to the store.",
        "She «danced» to the store«!»",
        "«It» went to",
    ]
    assert [s.marked for s in held.samples(1)] == ["a b c", "a b c", "c"]


@pytest.mark.parametrize(
    ("text", "plain", "marked"),
    [
        ("", "anything", ""),
        ("all new words", "", "«all new words»"),
        ("x = 1", "y = 1", "«x» = 1"),
        ("one two", "three four", "«one two»"),
        ("a\n\nb", "a b", "a«\n\n»b"),
    ],
)
def test_marks(text: str, plain: str, marked: str) -> None:
    found = "".join(f"«{p.text}»" if p.differs else p.text for p in pieces(text, plain))
    assert found == marked


@given(st.text("ab \n.", max_size=30), st.text("ab \n.", max_size=30))
def test_pieces_are_the_text_and_what_does_not_differ_is_in_the_plain_one(a: str, b: str) -> None:
    found = list(pieces(a, b))
    assert "".join(p.text for p in found) == a
    assert all(x.differs != y.differs for x, y in pairwise(found))
    rest = iter(b)
    same = "".join(p.text for p in found if not p.differs)
    assert all(sign in rest for sign in same if not sign.isspace()), "in the order of the plain one"
    assert all(not p.differs for p in pieces(a, a))


def test_tables_behind_a_step_are_its_own(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert sample_steps(folder) == ["spoken"]
    assert parent(folder, "spoken.texts") == "spoken"
    assert parent(folder, "spoken") is None and parent(folder, "other.texts") is None
