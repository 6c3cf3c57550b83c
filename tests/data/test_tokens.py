"""Token files, corpora, a person's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from interp_dsl.data.build import build
from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.facts import facts as known
from interp_dsl.models.files import bundled_text
from interp_dsl.models.shape import ModelFacts
from tests.data.conftest import Raises

CLEAN = np.array([[0, 2, 4, 1], [0, 3, 5, 6]])


def tokens(folder: Path, **tensors: Any) -> Data:
    save_file({k: np.asarray(v) for k, v in tensors.items()}, folder / "pairs.safetensors")
    return build("d", {"kind": "tokens", "path": "pairs.safetensors"}, None, base=folder)


def test_pairs_of_tokens(tmp_path: Path) -> None:
    data = tokens(
        tmp_path, clean=CLEAN, corrupt=CLEAN[::-1].copy(), answer=[7, 8], wrong=[8, 9], year=[1, 2]
    )
    assert (data.sides["clean"].tokens == CLEAN).all()
    assert (data.sides["corrupt"].tokens == CLEAN[::-1]).all()
    assert [a.alternatives for a in data.answers or ()] == [((7,),), ((8,),)]
    assert [a.alternatives for a in data.wrongs or ()] == [((8,),), ((9,),)]
    assert data.columns == {"year": (1, 2)}
    assert data.sides["clean"].read.tolist() == data.sides["corrupt"].read.tolist() == [3, 3]


def test_a_mask_ends_the_prompts(tmp_path: Path) -> None:
    data = tokens(tmp_path, clean=CLEAN, mask=CLEAN != 1)
    side = data.sides["d"]
    assert side.lengths.tolist() == [3, 4] and side.read.tolist() == [2, 3]
    assert side.mask is not None and side.mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_where_the_answer_is_read(tmp_path: Path) -> None:
    assert tokens(tmp_path, clean=CLEAN, position=[0, 2]).sides["d"].read.tolist() == [0, 2]


@pytest.mark.parametrize(
    "tensors",
    [
        {"corrupt": CLEAN},
        {"clean": CLEAN[0]},
        {"clean": CLEAN.astype(np.float32)},
        {"clean": CLEAN, "corrupt": CLEAN[:, :3].copy()},
        {"clean": CLEAN, "answer": [1, 2, 3]},
        {"clean": CLEAN, "answer": [[1], [2]]},
        {"clean": CLEAN, "position": [0, 4]},
        {"clean": CLEAN, "mask": CLEAN > 9},
    ],
)
def test_tensors_that_are_refused(tmp_path: Path, raises: Raises, tensors: dict[str, Any]) -> None:
    with raises("E433"):
        tokens(tmp_path, **tensors)


def test_a_file_that_holds_no_tensors(tmp_path: Path, raises: Raises) -> None:
    for name in ("none.safetensors", "text.safetensors"):
        (tmp_path / "text.safetensors").write_text("hello")
        with raises("E430"):
            build("d", {"kind": "tokens", "path": name}, None, base=tmp_path)


# ** corpora **


def corpus(folder: Path, facts: ModelFacts, *paths: str, **options: Any) -> Data:
    spec = {"kind": "corpus", "paths": list(paths), "context": 4, **options}
    return build("text", spec, facts, base=folder)


def test_documents_are_packed_exactly(tmp_path: Path, words: ModelFacts) -> None:
    (tmp_path / "a.txt").write_text("the cat sat and the dog ran.")
    (tmp_path / "b.txt").write_text("a cow saw")
    the, a, cat, dog, cow, sat, ran, saw, and_, stop = 2, 3, 4, 5, 6, 9, 10, 11, 12, 13
    data = corpus(tmp_path, words, "*.txt")
    stream = [the, cat, sat, and_, the, dog, ran, stop, 0, a, cow, saw]
    wanted = [[0, *stream[i : i + 3]] for i in range(0, 12, 3)]
    assert data.sides["text"].tokens.tolist() == wanted
    assert data.answers is None and data.sides["text"].read.tolist() == [3] * 4
    assert corpus(tmp_path, words, "*.txt", n=2).sides["text"].tokens.tolist() == wanted[:2]
    assert corpus(tmp_path, words, "*.txt", context=6).n == 2  # 12 tokens fill two times 5


def test_rows_of_a_file_are_documents(tmp_path: Path, words: ModelFacts) -> None:
    rows = [{"text": "the cat", "body": "a cow saw"}, {"text": "sat and", "body": "a dog ran"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    side = corpus(tmp_path, words, "rows.jsonl").sides["text"]
    assert side.tokens.tolist() == [[0, 2, 4, 0]]
    side = corpus(tmp_path, words, "rows.jsonl", column="body").sides["text"]
    assert side.tokens.tolist() == [[0, 3, 6, 11], [0, 0, 3, 5]]


@pytest.mark.parametrize(
    ("paths", "options", "code"),
    [
        ("a.txt", {"context": 10}, "E434"),
        ("a.txt", {"context": 13}, "E404"),
        ("a.txt", {"n": 2}, "E434"),
        ("a.txt", {"context": 1}, "E434"),
        ("none*.txt", {}, "E430"),
        ("rows.jsonl", {"column": "txt"}, "E431"),
        ("latin.txt", {}, "E430"),
    ],
)
def test_corpora_that_are_refused(
    tmp_path: Path,
    words: ModelFacts,
    raises: Raises,
    paths: str,
    options: dict[str, Any],
    code: str,
) -> None:
    (tmp_path / "a.txt").write_text("the cat sat and")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "rows.jsonl").write_text('{"text": "the cat"}')
    with raises(code):
        corpus(tmp_path, words, paths, **options)


# ** python **

CODE = """
from interp_dsl.data.types import Data

def text():
    return {"clean": ["the {cat@X}"], "answer": ["sat"], "size": [3]}

def ids():
    return {"clean": [[0, 2, 4], [0, 2]], "corrupt": [[0, 2, 5], [0, 3]], "answer": [[9, 10], 9]}

def mixed():
    return {"clean": ["the", [1]]}

def nothing():
    return 5

def fails():
    raise KeyError("x")
"""


def python(folder: Path, facts: ModelFacts, function: str, trusted: bool = True) -> Data:
    (folder / f"made_{folder.name}.py").write_text(CODE)
    spec = {"kind": "python", "target": f"made_{folder.name}:{function}", "folder": str(folder)}
    return build("d", spec, facts, trusted=trusted)


def test_data_from_code(tmp_path: Path, words: ModelFacts) -> None:
    data = python(tmp_path, words, "text")
    assert data.sides["d"].tokens.tolist() == [[0, 2, 4]]
    assert data.sides["d"].labels["X"].tolist() == [[2, 3]] and data.columns == {"size": (3,)}
    data = python(tmp_path, words, "ids")
    assert data.sides["corrupt"].lengths.tolist() == [3, 2]
    assert [a.alternatives for a in data.answers or ()] == [((9,), (10,)), ((9,),)]


@pytest.mark.parametrize("function", ["mixed", "nothing", "fails", "absent"])
def test_code_that_makes_no_data(
    tmp_path: Path, words: ModelFacts, raises: Raises, function: str
) -> None:
    with raises("E435"):
        python(tmp_path, words, function)


def test_code_runs_only_when_trusted(tmp_path: Path, words: ModelFacts, raises: Raises) -> None:
    with raises("E435") as found:
        python(tmp_path, words, "text", trusted=False)
    assert found[0].help == "read the code, then run with --trust"


def test_the_text_of_a_bundled_model_is_packed_behind_bos() -> None:
    facts = known({"kind": "bundled", "name": "text-1l-512"})
    spec = {"kind": "task", "name": "text-1l-512"}
    every = build("text", {**spec, "n": 7874}, facts).sides["text"]
    path = bundled_text("text-1l-512")
    assert path is not None
    held = load_file(path)["tokens"].astype(np.int64)
    assert every.tokens.shape == (7874, 128) and (every.tokens[:, 0] == 0).all()
    order = np.lexsort(every.tokens.T[::-1])
    rows = held[: 7874 * 127].reshape(-1, 127)
    np.testing.assert_array_equal(every.tokens[order, 1:], rows[np.lexsort(rows.T[::-1])])
    some = build("text", {**spec, "n": 5}, facts).sides["text"]
    np.testing.assert_array_equal(some.tokens, every.tokens[:5])
    other = build("t", {**spec, "n": 5, "seed": 1}, facts).sides["t"]
    assert not np.array_equal(some.tokens, other.tokens)
    for wrong in ({"n": 7875}, {"split": "train"}):
        with pytest.raises(InterpError) as caught:
            build("text", {**spec, **wrong}, facts)
        assert caught.value.diagnostics[0].code == "E443"
