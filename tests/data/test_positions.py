"""Named positions in every prompt, and the errors where two sides don't correspond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interp_dsl.data.build import build
from interp_dsl.data.positions import check_aligned, resolve
from interp_dsl.data.prompts import ids_side
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.types import Side
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.places import ALL, EACH, Positions
from tests.data.conftest import Raises

FIRST, LAST = Positions("first"), Positions("last")


def label(name: str, pick: str | None = None) -> Positions:
    return Positions("label", label=name, pick=pick)


def union(*parts: Positions) -> Positions:
    return Positions("union", parts=parts)


def minus(left: Positions, right: Positions) -> Positions:
    return Positions("minus", parts=(left, right))


def at(index: int) -> Positions:
    return Positions("index", index=index)


def side(name: str, *rows: list[int], **labels: list[tuple[int, int]]) -> Side:
    return ids_side(name, rows, None, {k: np.array(v) for k, v in labels.items()})


@pytest.fixture
def two() -> Side:
    """Prompts of 4 and of 3 tokens; A is 2 tokens in the first and 1 in the second."""
    return side("clean", [9, 5, 6, 7], [9, 5, 8], A=[(1, 3), (1, 2)], END=[(3, 4), (2, 3)])


@pytest.mark.parametrize(
    ("positions", "wanted"),
    [
        (ALL, [[0, 1, 2, 3], [0, 1, 2]]),
        (FIRST, [[0], [0]]),
        (LAST, [[3], [2]]),
        (at(3), [[3], []]),
        (label("A"), [[1, 2], [1]]),
        (label("A", "first"), [[1], [1]]),
        (label("A", "last"), [[2], [1]]),
        (union(label("END"), label("A")), [[3, 1, 2], [2, 1]]),
        (union(LAST, label("END")), [[3], [2]]),
        (minus(ALL, FIRST), [[1, 2, 3], [1, 2]]),
        (minus(ALL, union(FIRST, label("A"))), [[3], [2]]),
    ],
    ids=str,
)
def test_resolved_by_hand(two: Side, positions: Positions, wanted: list[list[int]]) -> None:
    index, valid = resolve(positions, two)
    assert index.shape == valid.shape and valid.dtype == np.bool_
    assert [i[v].tolist() for i, v in zip(index, valid, strict=True)] == wanted


def test_an_entry_corresponds_where_its_key_and_query_do(two: Side) -> None:
    check_aligned(Positions("entry", parts=(label("A", "last"), LAST)), two, two, str)


@pytest.mark.parametrize("positions", [EACH, Positions("entry", parts=(FIRST, LAST))])
def test_what_is_no_single_set(two: Side, positions: Positions) -> None:
    with pytest.raises(ValueError, match="no single set"):
        resolve(positions, two)


def test_an_unknown_label_is_suggested(two: Side, raises: Raises) -> None:
    with raises("E410") as found:
        resolve(label("EMD"), two)
    assert found[0].notes == ("their labels are A, END",)
    assert found[0].help == "did you mean END?"
    with raises("E410") as found:
        resolve(label("S2"), side("clean", [1]))
    assert found[0].notes == ("they have no labels at all",)


# ** sides that correspond, and that don't **


def test_prompts_of_different_lengths_correspond_at_labels(two: Side) -> None:
    longer = side("corrupt", [9, 5, 6, 0, 7], [9, 5, 8], A=[(1, 3), (1, 2)], END=[(4, 5), (2, 3)])
    for places in (label("A"), label("END"), LAST, FIRST, union(label("A"), label("END"))):
        check_aligned(places, longer, two, str)


def test_all_needs_equal_lengths(
    gpt2: ModelFacts, gpt2_tokenizer: Tokenizer, raises: Raises
) -> None:
    data = build(
        "d",
        {
            "kind": "prompts",
            "clean": ["When Mary and John went", "When Mary and John went to the store"],
            "corrupt": ["When Tom and John went", "When Tom and Persephone went to the store"],
        },
        gpt2,
    )
    with raises("E411") as found:
        check_aligned(ALL, data.sides["corrupt"], data.sides["clean"], gpt2_tokenizer.token_text)
    assert found[0].span is None
    assert found[0].message == "corrupt and clean prompts differ in length: pair 1"
    assert found[0].notes == (
        "pair 1, 10 and 9 tokens:\n"
        "corrupt  <|endoftext|>|When| Tom | and| Perse|phone| went| to| the| store\n"
        "clean    <|endoftext|>|When| Mary| and| John |     | went| to| the| store\n"
        "                                       ^^^^^^ ^^^^^",
    )
    assert found[0].help and "at END" in found[0].help


def test_a_label_needs_as_many_tokens(
    gpt2: ModelFacts, gpt2_tokenizer: Tokenizer, raises: Raises
) -> None:
    data = build(
        "d",
        {
            "kind": "prompts",
            "clean": ["Hello {Mary@S}!", "Hello {John@S}!", "Hello {John@S}!"],
            "corrupt": ["Hello {Tom@S}!", "Hello {Persephone@S}!", "Hello {Bartholomew@S}!"],
        },
        gpt2,
    )
    corrupt, clean = data.sides["corrupt"], data.sides["clean"]
    with raises("E414") as found:
        check_aligned(label("S"), corrupt, clean, gpt2_tokenizer.token_text)
    assert found[0].message == (
        "the label S has 2 tokens in corrupt and 1 in clean: 2 of 3 pairs, the first is pair 1"
    )
    assert found[0].notes == (
        "pair 1, 5 and 4 tokens:\n"
        "corrupt  <|endoftext|>|Hello| Perse|phone|!\n"
        "clean    <|endoftext|>|Hello| John |     |!\n"
        "                             ^^^^^^ ^^^^^",
    )
    check_aligned(label("S", "last"), corrupt, clean, gpt2_tokenizer.token_text)


def test_a_label_missing_from_a_prompt(two: Side, raises: Raises) -> None:
    lacking = replace(two, name="corrupt", labels={"A": np.array([[1, 3], [0, 0]])})
    with raises("E412") as found:
        check_aligned(label("A"), lacking, two, str)
    assert found[0].message == "the label A is missing from corrupt prompts: prompt 1"
    assert found[0].notes == ("prompt 1: 9|5|8",)


def test_a_position_beyond_the_end(two: Side, raises: Raises) -> None:
    check_aligned(at(2), two, two, str)
    with raises("E413") as found:
        check_aligned(at(3), two, two, str)
    assert found[0].message == "position 3 is beyond the end of clean prompts: prompt 1"
    assert found[0].notes == ("prompt 1 has 3 tokens: 9|5|8",)


def test_what_is_left_out_must_lie_alike(raises: Raises) -> None:
    clean = side("clean", [1, 2, 3], A=[(1, 2)])
    moved = side("corrupt", [2, 1, 3], A=[(0, 1)])
    check_aligned(label("A"), moved, clean, str)
    with raises("E411") as found:
        check_aligned(minus(ALL, label("A")), moved, clean, str)
    assert found[0].message.startswith("`all - A` is not the same set of places")


def test_long_prompts_are_cut_around_the_mark(raises: Raises) -> None:
    row = list(range(1000, 1200))
    clean = side("clean", row)
    corrupt = side("corrupt", [*row[:100], 7, *row[100:]])
    with raises("E411") as found:
        check_aligned(ALL, corrupt, clean, str)
    upper, lower, carets = found[0].notes[0].splitlines()[1:]
    assert all(len(line) < 105 for line in (upper, lower, carets))
    assert upper.startswith("corrupt  …") and upper.endswith("…")
    assert "1099|7|1100" in upper and "1099| |1100" in lower
    assert carets.index("^") == upper.index("|7|") + 1 and carets.count("^") == 1


def test_control_characters_are_escaped(raises: Raises) -> None:
    with raises("E411") as found:
        check_aligned(ALL, side("a", [1, 2]), side("b", [1]), lambda i: "\x1b[2J\n")
    assert "\x1b" not in found[0].notes[0] and r"\x1b[2J\n" in found[0].notes[0]
