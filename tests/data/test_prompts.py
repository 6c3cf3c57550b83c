"""Prompts written out, generators, and what every dataset must satisfy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from interp_dsl.data import tasks
from interp_dsl.data.build import build
from interp_dsl.models.shape import ModelFacts
from tests.data.conftest import Raises


def prompts(facts: ModelFacts | None, **fields: Any) -> Any:
    return build("d", {"kind": "prompts", **fields}, facts)


def test_pairs_with_marks(gpt2: ModelFacts) -> None:
    data = prompts(
        gpt2,
        clean=["The {big cat@WHO} sat{@END}", "A {dog@WHO} {x} ran{@END}"],
        corrupt=["The {big dog@WHO} sat{@END}", "A {cat@WHO} {x} ran{@END}"],
        answer=[" down", " up"],
        wrong=[" up", " down"],
    )
    clean = data.sides["clean"]
    assert clean.texts == ("The big cat sat", "A dog {x} ran")
    assert clean.labels["WHO"].tolist() == [[2, 4], [2, 3]]
    assert clean.labels["END"].tolist() == [[4, 5], [6, 7]]
    assert [a.alternatives for a in data.answers] == [((866,),), ((510,),)]
    assert data.is_paired and data.n == 2


def test_one_side_has_the_datasets_own_name(words: ModelFacts) -> None:
    spec = {"kind": "prompts", "clean": ["the cat"], "answer": ["sat"]}
    data = build("common.plain", spec, words)
    assert list(data.sides) == ["plain"] and data.first_side == "plain"
    assert data.sides["plain"].tokens.tolist() == [[0, 2, 4]]


def test_one_answer_stands_for_all_prompts(words: ModelFacts) -> None:
    data = prompts(words, clean=["the cat", "the dog"], answer=["sat"], wrong=["ran", "saw"])
    assert [a.alternatives for a in data.answers] == [((9,),)] * 2
    assert [a.alternatives for a in data.wrongs] == [((10,),), ((11,),)]


def test_an_answer_of_several_tokens_is_a_sequence(words: ModelFacts) -> None:
    data = prompts(words, clean=["the cat"], answer=["sat and ran"])
    assert data.answers[0].alternatives == ((9, 12, 10),) and data.answers[0].is_sequence


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"clean": []}, "E407"),
        ({"clean": ["the", "a"], "corrupt": ["the"]}, "E406"),
        ({"clean": ["the", "a", "a"], "answer": ["sat", "ran"]}, "E406"),
        ({"clean": ["the " * 12]}, "E404"),
        ({"clean": ["the"], "answer": [99]}, "E405"),
        ({"clean": ["the"], "answer": [""]}, "E442"),
        ({"clean": ["the"], "answer": [[]]}, "E442"),
        ({"clean": ["the"], "answer": [" "]}, "E442"),
        ({"clean": ["the"], "answer": ["sat"], "wrong": ["sat"]}, "E441"),
        ({"clean": ["the"], "answer": [["sat", "sat and"]]}, "E440"),
        ({"clean": ["the zebra"]}, "E403"),
    ],
)
def test_what_is_refused(
    words: ModelFacts, raises: Raises, fields: dict[str, Any], code: str
) -> None:
    with raises(code):
        prompts(words, **fields)


def test_templates_pair_by_count(words: ModelFacts, raises: Raises) -> None:
    with raises("E406"):
        build("d", {"kind": "template", "clean": ["a cat", "a dog"], "corrupt": ["the"]}, words)


def test_the_class_error_offers_the_leading_space(gpt2: ModelFacts, raises: Raises) -> None:
    with raises("E440") as found:
        prompts(gpt2, clean=["He met"], answer=[["Nicholas", " John"]])
    assert found[0].message == (
        "an answer with alternatives needs each to be one token; 'Nicholas' = Nich|olas"
    )
    assert found[0].help == "with its leading space it is one token: ' Nicholas'"


def test_equal_answers_name_the_rows(words: ModelFacts, raises: Raises) -> None:
    with raises("E441") as found:
        prompts(words, clean=["a", "the"], answer=["sat", "ran"], wrong=["ran", "ran"])
    assert found[0].message == "answer and wrong answer are the same in row 1"


def test_unknown_kind_and_missing_model(words: ModelFacts, raises: Raises) -> None:
    with raises("E400") as found:
        build("d", {"kind": "promts"}, words)
    assert found[0].help == "did you mean prompts?"
    with raises("E401"):
        prompts(None, clean=["the"])
    with raises("E401"):
        build("d", {"kind": "repeated_tokens", "pairs": 2, "half": 4}, None)


# ** generators **


def test_repeated_tokens_of_any_vocabulary(words: ModelFacts) -> None:
    spec = {"kind": "repeated_tokens", "pairs": 16, "half": 5, "seed": 3}
    data = build("d", spec, words)
    drawn = tasks.repeated_tokens(16, 5, words.shape.d_vocab, 0, 3)
    assert (data.sides["clean"].tokens == drawn.clean).all()
    assert (data.sides["corrupt"].tokens == drawn.corrupt).all()
    assert data.answers is not None and data.wrongs is not None
    for row in range(16):
        tokens = data.sides["clean"].tokens[row].tolist()
        assert tokens[0] == 0 and tokens.index(tokens[-1]) < len(tokens) - 1
        assert data.answers[row].alternatives == ((tokens[tokens.index(tokens[-1]) + 1],),)
        corrupt = data.sides["corrupt"].tokens[row].tolist()
        assert data.wrongs[row].alternatives == ((corrupt[corrupt.index(corrupt[-1]) + 1],),)


def test_a_bundled_task_keeps_its_labels() -> None:
    data = build("ioi", {"kind": "task", "name": "ioi-3l", "n": 8, "seed": 1}, None)
    clean, corrupt = data.sides["clean"], data.sides["corrupt"]
    place = clean.labels["S2"][:, 0]
    rows = range(8)
    assert (clean.tokens[rows, place] != corrupt.tokens[rows, place]).all()
    assert [a.alternatives[0][0] for a in data.answers or ()] == [
        int(clean.tokens[row, clean.labels["IO"][row, 0]]) for row in rows
    ]
    assert (clean.read == clean.lengths - 1).all()


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "task", "name": "nope"},
        {"kind": "repeated_tokens", "pairs": 2, "half": 3},
        {"kind": "repeated_tokens", "pairs": 2, "half": 500},
    ],
)
def test_generators_refuse_bad_arguments(
    words: ModelFacts, raises: Raises, spec: dict[str, Any]
) -> None:
    with raises("E443"):
        build("d", spec, words)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, interp_dsl.data.build, interp_dsl.data.positions, interp_dsl.data.fingerprint;"
        "print(sorted({'torch','transformers','polars','tokenizers','safetensors'}&{*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
