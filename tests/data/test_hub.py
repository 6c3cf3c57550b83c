"""Hugging Face datasets: folders, read by the library's own loading code, against `corpus`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import polars
import pytest

from interp_dsl.data.build import build
from interp_dsl.data.fingerprint import fingerprint
from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.shape import ModelFacts
from tests.data.conftest import WORDS, Raises

SPLITS = ("test", "train")


@pytest.fixture
def stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits of 40 rows, as jsonl and as parquet; numbers and a second text beside the text."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    draw = np.random.default_rng(0)
    for split in SPLITS:
        texts = [" ".join(draw.choice(WORDS[2:], size=draw.integers(1, 9))) for _ in range(40)]
        rows = [{"n": i, "text": t, "body": t[::-1]} for i, t in enumerate(texts)]
        for kind in ("jsonl", "parquet"):
            (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / "jsonl" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        polars.DataFrame(rows).write_parquet(tmp_path / "parquet" / f"{split}.parquet")
    return tmp_path


def hub(facts: ModelFacts, name: str | Path, **options: Any) -> Data:
    return build("text", {"kind": "hub", "name": str(name), "context": 8, "n": 5, **options}, facts)


def corpus(facts: ModelFacts, path: Path, **options: Any) -> Data:
    spec = {"kind": "corpus", "paths": [str(path)], "context": 8, **options}
    return build("text", spec, facts)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("split", SPLITS)
def test_a_folder_gives_the_tokens_of_its_files(
    stories: Path, words: ModelFacts, kind: str, split: str
) -> None:
    whole = corpus(words, stories / kind / f"{split}.{kind}")
    assert whole.n > 10
    for n in (1, 7, whole.n):
        same = corpus(words, stories / kind / f"{split}.{kind}", n=n)
        found = hub(words, stories / kind, split=split, n=n)
        assert found.sides["text"].tokens.tolist() == same.sides["text"].tokens.tolist()
        assert fingerprint(found) == fingerprint(same)
    with pytest.raises(InterpError) as caught:
        hub(words, stories / kind, split=split, n=whole.n + 1)
    (told,) = caught.value.diagnostics
    assert told.code == "E434" and f"{whole.n + 1} of 8 tokens are wanted" in told.message


def test_another_column(stories: Path, words: ModelFacts) -> None:
    path = stories / "jsonl"
    rows = [json.loads(line) for line in (path / "train.jsonl").read_text().splitlines()]
    (path / "train.jsonl").write_text(
        "\n".join(json.dumps({"text": "the", "story": row["text"]}) for row in rows)
    )
    wanted = corpus(words, path / "train.jsonl", n=5, column="story")
    assert fingerprint(hub(words, path, column="story")) == fingerprint(wanted)


def test_lines_of_a_text_file_are_rows(tmp_path: Path, words: ModelFacts) -> None:
    (tmp_path / "a.txt").write_text("the cat sat\na dog ran\nthe cow saw the cat\n")
    found = hub(words, tmp_path, context=4, n=4).sides["text"].tokens
    the, a, cat, dog, cow, sat, ran, saw = 2, 3, 4, 5, 6, 9, 10, 11
    stream = [the, cat, sat, 0, a, dog, ran, 0, the, cow, saw, the, cat]
    assert found.tolist() == [[0, *stream[i : i + 3]] for i in range(0, 12, 3)]


def test_rows_behind_the_last_wanted_are_not_read(tmp_path: Path, words: ModelFacts) -> None:
    """The last file is broken, which only reading it shows."""
    rows = [json.dumps({"text": "the cat saw a dog"})] * 20
    (tmp_path / "train-0.jsonl").write_text("\n".join(rows))
    (tmp_path / "train-1.jsonl").write_text("{")
    assert hub(words, tmp_path, n=5).n == 5
    with pytest.raises(InterpError) as caught:
        hub(words, tmp_path, n=50)
    assert caught.value.diagnostics[0].code == "E446" and caught.value.exit_code == 3


def test_where_it_came_from(stories: Path, words: ModelFacts) -> None:
    path = stories / "jsonl"
    assert hub(words, path, split="test").origin == {
        "dataset": str(path),
        "config": "default",
        "split": "test",
        "revision": None,
    }


@pytest.mark.parametrize(
    ("options", "code", "note"),
    [
        ({"split": "tset"}, "E447", "it has train, test"),
        ({"config": "large"}, "E447", "Available: ['default']"),
        ({"column": "txt"}, "E431", "it has body, n, text"),
        ({"column": "n"}, "E431", "it has n"),
        ({"context": 13}, "E404", ""),
        ({"context": 1}, "E434", ""),
    ],
)
def test_parts_that_are_not_there(
    stories: Path, words: ModelFacts, raises: Raises, options: dict[str, Any], code: str, note: str
) -> None:
    with raises(code) as found:
        hub(words, stories / "jsonl", **options)
    assert note in " ".join(found[0].notes)


def test_several_configs(stories: Path, words: ModelFacts, raises: Raises) -> None:
    path = stories / "jsonl"
    configs = "".join(f"- config_name: {s}\n  data_files: {s}.jsonl\n" for s in SPLITS)
    (path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with raises("E447") as found:
        hub(words, path)
    assert "['test', 'train']" in found[0].notes[0]
    wanted = corpus(words, path / "test.jsonl", n=5)
    assert fingerprint(hub(words, path, config="test")) == fingerprint(wanted)


@pytest.mark.parametrize("outside", ["../secret.jsonl", "ABSOLUTE"])
def test_a_readme_reaches_no_file_outside(
    stories: Path, words: ModelFacts, raises: Raises, outside: str
) -> None:
    (stories / "secret.jsonl").write_text('{"text": "the cat"}')
    file = str(stories / "secret.jsonl") if outside == "ABSOLUTE" else outside
    (stories / "jsonl" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files: {file}\n---\n"
    )
    with raises("E446") as found:
        hub(words, stories / "jsonl")
    assert "secret.jsonl, which is not of it" in found[0].notes[0]


def test_what_cannot_be_read(
    tmp_path: Path, words: ModelFacts, raises: Raises, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with raises("E446") as found:
        hub(words, "roneneldan/TinyStories")
    assert "roneneldan/TinyStories" in found[0].notes[0]
    assert "hf download roneneldan/TinyStories --repo-type dataset" in (found[0].help or "")
    with raises("E446") as found:
        hub(words, tmp_path / "none")
    assert found[0].notes == ("there is no such folder",)
    (tmp_path / "empty").mkdir()
    with raises("E446"):
        hub(words, tmp_path / "empty")
    (tmp_path / "someone" / "stories").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with raises("E446") as found:
        hub(words, "someone/stories")
    assert found[0].notes == ("a folder here has its name",)


def test_without_the_library(
    stories: Path, words: ModelFacts, raises: Raises, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with raises("E446") as found:
        hub(words, stories / "jsonl")
    assert found[0].help == "pip install datasets"
