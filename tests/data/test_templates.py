"""Templates: which rows are made, where labels lie, which answers belong to a row."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from interp_dsl.data.build import build
from interp_dsl.data.lists import lists
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.types import Data, Side
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import ColumnOf, Expression, Literal, Operation
from interp_dsl.plan.serialise import to_data
from tests.data.conftest import Raises

NAMES = ["Mary", "John", "Persephone", "Bartholomew", "Tom"]


def names(*slots: str, values: Any = NAMES, repeating: bool = False) -> dict[str, Any]:
    return {"names": list(slots), "values": list(values), "repeating": repeating}


def op(sign: str, left: str, right: str | int) -> Expression:
    other = ColumnOf(right) if isinstance(right, str) else Literal(right)
    return Operation(sign, (ColumnOf(left), other))


def ioi(facts: ModelFacts, **options: Any) -> Data:
    text = "When {A@IO} and {B@S1} went to the store, {%s@S2} gave a {thing} to{@END}"
    spec = {
        "kind": "template",
        "clean": [text % "B"],
        "corrupt": [text % "C"],
        "answer": [" {A}"],
        "wrong": [" {B}"],
        "where": [names("A", "B", "C"), names("thing", values=["ring", "book"])],
    }
    return build("ioi", spec | options, facts)


def label_text(side: Side, label: str, row: int, tokenizer: Tokenizer) -> str:
    start, end = side.labels[label][row]
    return "".join(tokenizer.token_text(int(i)) for i in side.tokens[row, start:end])


# ** labels **


def test_labels_hold_the_tokens_of_their_slots(gpt2: ModelFacts, gpt2_tokenizer: Tokenizer) -> None:
    data = ioi(gpt2)
    slots = {"clean": {"IO": "A", "S1": "B", "S2": "B"}, "corrupt": {"IO": "A", "S2": "C"}}
    for name, side in data.sides.items():
        for label, slot in slots[name].items():
            found = [label_text(side, label, row, gpt2_tokenizer) for row in range(data.n)]
            assert found == [f" {value}" for value in data.columns[slot]]
        end = [label_text(side, "END", row, gpt2_tokenizer) for row in range(data.n)]
        assert end == [" to"] * data.n


def test_names_of_one_and_of_several_tokens_by_hand(gpt2: ModelFacts) -> None:
    data = ioi(gpt2)
    columns = zip(*(data.columns[c] for c in ("A", "B", "C", "thing")), strict=True)
    row = list(columns).index(("Mary", "Persephone", "Bartholomew", "ring"))
    clean, corrupt = data.sides["clean"], data.sides["corrupt"]
    # <bos> When Mary and Perse|phone went to the store , Perse|phone gave a ring to
    assert {k: v[row].tolist() for k, v in clean.labels.items()} == {
        "IO": [2, 3],
        "S1": [4, 6],
        "S2": [11, 13],
        "END": [16, 17],
    }
    assert corrupt.labels["S2"][row].tolist() == [11, 14]
    assert (clean.lengths[row], corrupt.lengths[row]) == (17, 18)
    assert (clean.read[row], corrupt.read[row]) == (16, 17)
    assert (clean.tokens[row, 17:] == gpt2.pad).all()
    assert data.answers is not None and data.answers[row].alternatives == ((5335,),)
    assert data.wrongs is not None and data.wrongs[row].alternatives == ((31544, 4862),)
    assert clean.texts is not None and clean.texts[row] == (
        "When Mary and Persephone went to the store, Persephone gave a ring to"
    )


def test_a_leading_space_in_the_slot(gpt2: ModelFacts) -> None:
    spec = {
        "kind": "template",
        "clean": ["Hello{A@A}!"],
        "where": [names("A", values=[" Mary", " Persephone"])],
    }
    side = build("d", spec, gpt2).sides["d"]
    assert side.labels["A"].tolist() == [[2, 3], [2, 4]]


def test_a_mark_in_the_middle_names_the_token_before(gpt2: ModelFacts) -> None:
    spec = {"kind": "template", "clean": ["{@B}The cat{@C} {@D}sat {{x}}"], "where": []}
    side = build("d", spec, gpt2).sides["d"]
    assert side.texts == ("The cat sat {x}",)
    assert {k: v[0].tolist() for k, v in side.labels.items()} == {
        "B": [0, 1],
        "C": [2, 3],
        "D": [2, 3],
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("She was un{A@X} today", "E415"),
        ("She was un{@X}happy today", "E415"),
        ("{A@X} and {A@X}", "E416"),
        ("{A", "E420"),
        ("{A} {}", "E420"),
        ("{B@X}", "E421"),
    ],
)
def test_labels_and_braces_that_are_refused(
    gpt2: ModelFacts, raises: Raises, text: str, code: str
) -> None:
    spec = {"kind": "template", "clean": [text], "where": [names("A", values=["happy"])]}
    with raises(code):
        build("d", spec, gpt2)


def test_a_label_inside_a_token_shows_the_tokens(gpt2: ModelFacts, raises: Raises) -> None:
    spec = {
        "kind": "template",
        "clean": ["She was un{A@ADJ} today"],
        "where": [names("A", values=["happy"])],
    }
    with raises("E415") as found:
        build("d", spec, gpt2)
    assert found[0].message == "the label ADJ begins or ends inside the token ' unhappy'"
    assert found[0].notes == (
        "in 'She was unhappy today'",
        "5 tokens: <|endoftext|>|She| was| unhappy| today",
    )


def test_no_token_before_a_mark(words: ModelFacts, raises: Raises) -> None:
    spec = {"kind": "template", "clean": ["{@X}the cat"]}
    with raises("E417"):
        build("d", spec, replace(words, bos=None))


# ** rows **


def test_without_n_every_combination_comes_once(gpt2: ModelFacts) -> None:
    data = ioi(gpt2)
    rows = list(zip(*data.columns.values(), strict=True))
    wanted = {(*p, t) for p in permutations(NAMES, 3) for t in ("ring", "book")}
    assert len(rows) == 120 and set(rows) == wanted


def test_repeating_choices_may_be_equal(words: ModelFacts) -> None:
    where = [names("A", "B", values=["cat", "dog"], repeating=True)]
    data = build("d", {"kind": "template", "clean": ["the {A} the {B}"], "where": where}, words)
    assert sorted(zip(*data.columns.values(), strict=True)) == [
        ("cat", "cat"),
        ("cat", "dog"),
        ("dog", "cat"),
        ("dog", "dog"),
    ]


@pytest.mark.parametrize("values", [NAMES, lists()["names"]], ids=["listed", "drawn"])
def test_drawn_rows_differ_and_follow_the_seed(gpt2: ModelFacts, values: list[str]) -> None:
    def rows(seed: int) -> list[tuple[object, ...]]:
        where = [names("A", "B", "C", values=values), names("thing", values=["ring", "book"])]
        columns = ioi(gpt2, n=50, seed=seed, where=where).columns
        return list(zip(*(columns[c] for c in ("A", "B", "C", "thing")), strict=True))

    assert len(set(rows(0))) == 50
    assert all(len(set(row[:3])) == 3 for row in rows(0))
    assert rows(0) == rows(0) != rows(1)


@pytest.mark.parametrize("values", [range(10, 40), range(10, 340)], ids=["listed", "drawn"])
def test_conditions_restrict_rows(gpt2: ModelFacts, values: range) -> None:
    spec = {
        "kind": "template",
        "clean": ["from {X} to {Y}"],
        "where": [names("X", "Y", values=values)],
        "conditions": [op(">", "Y", "X"), to_data(op("<", "Y", 30))],
        "n": 150,
    }
    columns = build("d", spec, gpt2).columns
    xs, ys = (np.array(columns[slot], dtype=int) for slot in "XY")
    assert (xs < ys).all() and (ys < 30).all()
    spec["n"] = 191  # 20 numbers below 30 make 190 pairs
    with pytest.raises(Exception, match="E423: this template has 190 combinations"):
        build("d", spec, gpt2)


def test_conditions_that_refuse_nearly_every_draw(gpt2: ModelFacts, raises: Raises) -> None:
    spec = {
        "kind": "template",
        "clean": ["{X} {Y}"],
        "where": [names("X", "Y", values=range(2000))],
        "conditions": [op("<", "X", 2), op("<", "Y", 2)],
        "n": 2,
    }
    with raises("E423") as found:
        build("d", spec, gpt2)
    assert "refuse nearly every draw" in found[0].message


def test_too_many_combinations(gpt2: ModelFacts, raises: Raises) -> None:
    with raises("E422") as found:
        ioi(gpt2, where=[names("A", "B", "C", values=lists()["names"]), names("thing")])
    assert "more than 10,000" in found[0].message


def test_too_few_combinations(gpt2: ModelFacts, raises: Raises) -> None:
    with raises("E423") as found:
        ioi(gpt2, n=121)
    assert "120 combinations" in found[0].message and found[0].help == "take n=120, or more values"


def test_the_nth_clean_goes_with_the_nth_corrupt(words: ModelFacts) -> None:
    spec = {
        "kind": "template",
        "clean": ["the {A@X} sat", "a {A@X} {B}{@END}"],
        "corrupt": ["a {A@X} ran", "the {A@X} {B} ."],
        "where": [names("A", values=["cat", "dog"]), names("B", values=["sat", "ran"])],
    }
    data = build("d", spec, words)
    assert data.sides["clean"].texts is not None and data.sides["corrupt"].texts is not None
    pairs = list(zip(data.sides["clean"].texts, data.sides["corrupt"].texts, strict=True))
    assert pairs[:2] == [("the cat sat", "a cat ran"), ("the dog sat", "a dog ran")]
    assert pairs[2] == ("a cat sat", "the cat sat .")
    assert data.template is not None and data.template.tolist() == [0, 0, 1, 1, 1, 1]
    assert data.columns["B"] == (None, None, "sat", "ran", "sat", "ran")
    assert data.sides["clean"].labels["END"].tolist() == [[0, 0]] * 2 + [[3, 4]] * 4


# ** answers **


def test_a_slot_of_the_answer_alone_makes_a_class(
    gpt2: ModelFacts, gpt2_tokenizer: Tokenizer
) -> None:
    spec = {
        "kind": "template",
        "clean": ["from 17{Y} to 17"],
        "answer": ["{Z}"],
        "wrong": ["{W}"],
        "where": [names("Y", values=range(10, 15)), names("Z", "W", values=range(10, 15))],
        "conditions": [op(">", "Z", "Y"), op("<=", "W", "Y")],
    }
    data = build("d", spec, gpt2)
    assert data.columns == {"Y": (10, 11, 12, 13)}  # no year is after 14
    for year, answer, wrong in zip(
        data.columns["Y"], data.answers or (), data.wrongs or (), strict=True
    ):
        assert isinstance(year, int)
        texts = [[int(gpt2_tokenizer.decode(i)) for i in a.alternatives] for a in (answer, wrong)]
        assert texts == [list(range(year + 1, 15)), list(range(10, year + 1))]


def test_a_slot_shared_with_the_answer_keeps_it_distinct(gpt2: ModelFacts) -> None:
    spec = {
        "kind": "template",
        "clean": ["not {A}, but"],
        "answer": [" {B}"],
        "where": [names("A", "B", values=["Mary", "John", "Tom"])],
    }
    data = build("d", spec, gpt2)
    assert data.columns["A"] == ("Mary", "John", "Tom")
    assert [len(a.alternatives) for a in data.answers or ()] == [2, 2, 2]
    assert data.answers and (5335,) not in data.answers[0].alternatives


def test_a_list_of_answers_is_a_class_of_single_tokens(gpt2: ModelFacts, raises: Raises) -> None:
    data = ioi(gpt2, answer=[" {A}", " Alice"], where=[
        names("A", "B", "C", values=["Mary", "John", "Tom"]), names("thing", values=["ring"])
    ])  # fmt: skip
    assert data.answers and all(len(a.alternatives) == 2 for a in data.answers)
    with raises("E440") as found:
        ioi(gpt2, answer=[" {A}", " Alice"], wrong=None)
    assert "' Persephone' =  Perse|phone" in found[0].message


def test_conditions_need_their_slots_together(gpt2: ModelFacts, raises: Raises) -> None:
    spec = {
        "kind": "template",
        "clean": ["cat"],
        "answer": ["{Z}"],
        "wrong": ["{W}"],
        "where": [names("Z", "W", values=[1, 2])],
        "conditions": [op("<", "Z", "W")],
    }
    with raises("E424"):
        build("d", spec, gpt2)
