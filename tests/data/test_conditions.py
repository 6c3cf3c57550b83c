"""Filters, and the fingerprint of data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interp_dsl.data.build import build, matches, select
from interp_dsl.data.fingerprint import fingerprint
from interp_dsl.data.types import Answer, Data
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import ColumnOf, Explicit, Literal, Operation, ScoreOf, SetOfUnits
from tests.data.conftest import Raises


@pytest.fixture
def data(words: ModelFacts) -> Data:
    """Rows (cat, dog), (cat, cow), (dog, cat), (dog, cow), (cow, cat), (cow, dog)."""
    spec = {
        "kind": "template",
        "clean": ["the {A@X} saw a {B}{@END}"],
        "corrupt": ["the {B@X} saw a {A}{@END}"],
        "answer": ["{A}"],
        "wrong": ["{B}"],
        "where": [{"names": ["A", "B"], "values": ["cat", "dog", "cow"]}],
    }
    return build("d", spec, words)


def op(sign: str, *operands: object) -> Operation:
    return Operation(sign, tuple(operands))  # type: ignore[arg-type]


A, INDEX, SCORE = ColumnOf("A"), ColumnOf("index"), ScoreOf("base", "accuracy", "value")
CAT, TWO = Literal("cat"), Literal(2)


@pytest.mark.parametrize(
    ("test", "wanted"),
    [
        (op("==", A, CAT), [0, 1]),
        (op("!=", A, CAT), [2, 3, 4, 5]),
        (op("<", INDEX, TWO), [0, 1]),
        (op("and", op(">=", INDEX, TWO), op("not", op("==", ColumnOf("B"), CAT))), [3, 5]),
        (op("in", A, op("set", CAT, Literal("cow"))), [0, 1, 4, 5]),
        (op("==", SCORE, Literal(1)), [1, 4]),
        (op("or", op("==", SCORE, Literal(1)), op("==", INDEX, Literal(0))), [0, 1, 4]),
        (op("==", A, ColumnOf("B")), []),
    ],
    ids=str,
)
def test_examples_that_satisfy_a_test(data: Data, test: Operation, wanted: list[int]) -> None:
    def scores(ref: ScoreOf) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        assert ref == SCORE
        return np.array([0.0, 1, 0, np.nan, 1, 0])

    assert np.flatnonzero(matches(data, test, scores)).tolist() == wanted


def test_conditions_that_make_no_sense(data: Data, raises: Raises) -> None:
    with raises("E424") as found:
        matches(data, op("==", ColumnOf("C"), CAT))
    assert found[0].notes == ("it has A, B, index",)
    with raises("E424"):
        matches(data, op("==", SCORE, Literal(1)))
    with raises("E424"):
        matches(data, op("==", SetOfUnits(Explicit(())), CAT))


def test_selected_examples_keep_all_that_is_theirs(data: Data) -> None:
    keep = np.array([False, True, False, False, True, False])
    kept = select(data, keep, "few")
    assert (kept.name, kept.n, list(kept.sides)) == ("few", 2, ["clean", "corrupt"])
    for name, side in kept.sides.items():
        whole = data.sides[name]
        for field in ("tokens", "lengths", "read"):
            assert np.array_equal(getattr(side, field), getattr(whole, field)[[1, 4]])
        assert side.labels["X"].tolist() == whole.labels["X"][[1, 4]].tolist()
    assert kept.sides["clean"].texts == ("the cat saw a cow", "the cow saw a cat")
    assert kept.columns == {"A": ("cat", "cow"), "B": ("cow", "cat")}
    assert data.answers and kept.answers == (data.answers[1], data.answers[4])


def test_nothing_left_is_an_error(data: Data, raises: Raises) -> None:
    with raises("E407"):
        select(data, np.zeros(6, dtype=bool), "none")


def test_the_fingerprint_follows_the_examples(data: Data) -> None:
    whole = fingerprint(data)
    assert len(whole) == 64 and whole == fingerprint(replace(data, name="other", seed=9))
    clean = data.sides["clean"]
    wider = replace(clean, tokens=np.pad(clean.tokens, ((0, 0), (0, 2)), constant_values=1))
    assert whole == fingerprint(replace(data, sides=data.sides | {"clean": wider}))
    tokens = clean.tokens.copy()
    tokens[3, 2] += 1
    changed = [
        replace(data, sides=data.sides | {"clean": replace(clean, tokens=tokens)}),
        replace(data, sides=data.sides | {"clean": replace(clean, read=clean.read - 1)}),
        replace(data, sides=data.sides | {"clean": replace(clean, labels={})}),
        replace(data, answers=data.wrongs),
        replace(data, wrongs=None),
        replace(data, answers=(Answer(((2,), (3,))), *(data.answers or ())[1:])),
        replace(data, columns={}),
        replace(data, template=np.arange(6)),
        select(data, np.arange(6) < 5, "d"),
    ]
    assert len({whole, *map(fingerprint, changed)}) == len(changed) + 1


def test_the_fingerprint_is_the_same_everywhere(data: Data) -> None:
    """Pinned: a change here makes every finished step of a user run again."""
    pinned = "12fc215638452c1c77d62582bf10bb0bd0233c537b87d2a00cd5787b39b6eba1"
    assert fingerprint(data) == pinned
