"""Datasets from files: the real ones as they are, and small ones by hand."""

from __future__ import annotations

import csv
import json
from ast import literal_eval
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp_dsl.data.build import build
from interp_dsl.data.positions import check_aligned
from interp_dsl.data.records import read_records
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.types import Answer, Data
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import ColumnOf, Literal, Operation
from interp_dsl.plan.places import ALL
from tests.data.conftest import Raises, shared

PAIRS = {
    "ioi": (1000, "correct_idx", "incorrect_idx"),
    "gender-bias": (986, "clean_answer_idx", "corrupted_answer_idx"),
    "hypernymy-comma": (198, "answers_idx", "corrupted_answers_idx"),
    "fact-retrieval-comma": (190, "country_idx", "corrupted_country_idx"),
}
YEARS = {"greater-than": 1000, "greater-than-price": 1000, "greater-than-sequence": 825}


def raw(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def load(path: Path, facts: ModelFacts, **options: Any) -> Data:
    return build("d", {"kind": "file", "path": path.name, **options}, facts, base=path.parent)


def ids(answers: Sequence[Answer] | None) -> list[list[int]]:
    return [[i for (i,) in a.alternatives] for a in answers or ()]


# ** the files of the EAP papers **


@pytest.mark.parametrize("task", PAIRS)
def test_pairs_as_they_are(gpt2: ModelFacts, gpt2_tokenizer: Tokenizer, task: str) -> None:
    path = shared("eap-pairs") / f"{task}.gpt2.csv"
    n, right, wrong = PAIRS[task]
    data, rows = load(path, gpt2), raw(path)
    assert data.n == len(rows) == n
    for side, column in (("clean", "clean"), ("corrupt", "corrupted")):
        found = data.sides[side]
        real = [found.tokens[i, 1 : found.lengths[i]].tolist() for i in range(n)]
        assert [gpt2_tokenizer.decode(t) for t in real] == [row[column] for row in rows]
    for answers, column in ((data.answers, right), (data.wrongs, wrong)):
        written = [literal_eval(row[column]) for row in rows]
        wanted = [list(dict.fromkeys(i)) if isinstance(i, list) else [i] for i in written]
        assert ids(answers) == wanted
    check_aligned(ALL, data.sides["corrupt"], data.sides["clean"], str)


@pytest.mark.parametrize("task", YEARS)
def test_years_after_and_up_to(gpt2: ModelFacts, gpt2_tokenizer: Tokenizer, task: str) -> None:
    path = shared("eap-pairs") / f"{task}.gpt2.csv"
    data, rows = load(path, gpt2), raw(path)
    assert data.n == YEARS[task]
    check_aligned(ALL, data.sides["corrupt"], data.sides["clean"], str)
    for row in range(0, data.n, 50):
        year = int(rows[row]["correct_idx"])
        texts = [
            [gpt2_tokenizer.decode([i]) for i in ids(a)[row]] for a in (data.answers, data.wrongs)
        ]
        assert texts[0] == [f"{y:02d}" for y in range(year + 1, 100)]
        assert texts[1] == [f"{y:02d}" for y in range(year + 1)]


def test_the_harder_corruption_by_name(gpt2: ModelFacts) -> None:
    path = shared("eap-pairs") / "ioi.gpt2.csv"
    data = load(path, gpt2, corrupt="corrupted_hard", n=20)
    assert data.sides["corrupt"].texts == tuple(r["corrupted_hard"] for r in raw(path)[:20])
    assert list(data.columns) == ["corrupted"]


def test_verbs_agree_with_the_subject(gpt2: ModelFacts, gpt2_tokenizer: Tokenizer) -> None:
    path = shared("eap-pairs") / "sva.gpt2.csv"
    plain = load(path, gpt2)
    assert plain.n == 12400 and plain.answers is None
    check_aligned(ALL, plain.sides["corrupt"], plain.sides["clean"], str)
    data = load(path, gpt2, verbs="sva_combined_verb_list.csv", n=40)
    verbs = raw(path.parent / "sva_combined_verb_list.csv")
    forms = [{f" {v[column]}" for v in verbs} for column in ("sing", "plur")]
    for row, plural in enumerate(data.columns["plural"]):
        assert isinstance(plural, int)
        right, wrong = (
            {gpt2_tokenizer.decode([i]) for i in ids(a)[row]} for a in (data.answers, data.wrongs)
        )
        assert right < forms[plural] and wrong < forms[1 - plural]
        assert (" are" in right, " is" in right) == (bool(plural), not plural)


def test_feature_circuits_lines(gpt2: ModelFacts, gpt2_tokenizer: Tokenizer) -> None:
    path = shared("sva-feature-circuits") / "simple_test.json"
    data = load(path, gpt2)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert data.sides["corrupt"].texts == tuple(r["patch_prefix"] for r in rows)
    for answers, column in ((data.answers, "clean_answer"), (data.wrongs, "patch_answer")):
        assert [gpt2_tokenizer.decode(i) for i in ids(answers)] == [r[column] for r in rows]
    assert data.columns["case"][0] == rows[0]["case"]


# ** by hand **

ROWS = [
    {"clean": "the cat", "corrupt": "the dog", "answer": "sat", "kind": "x", "size": 1},
    {"clean": "a cat", "corrupt": "a dog", "answer": "ran", "kind": "y", "size": 2},
    {"clean": "red cat", "corrupt": "red dog", "answer": "saw", "kind": "x", "size": 3},
]


def write(folder: Path, ending: str, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    path = folder / f"rows.{ending}"
    if ending == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif ending == "parquet":
        import polars

        polars.DataFrame(rows).write_parquet(path)
    elif ending == "list.json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "list.json", "parquet"])
def test_every_ending_reads_the_same(tmp_path: Path, words: ModelFacts, ending: str) -> None:
    data = load(write(tmp_path, ending), words)
    assert data.sides["clean"].tokens.tolist() == [[0, 2, 4], [0, 3, 4], [0, 7, 4]]
    assert ids(data.answers) == [[9], [10], [11]] and data.wrongs is None
    assert data.columns == {"kind": ("x", "y", "x"), "size": (1, 2, 3)}


def test_where_n_and_seed(tmp_path: Path, words: ModelFacts) -> None:
    path = write(tmp_path, "csv")
    binding = {"names": ["kind"], "values": ["x"], "repeating": False}
    assert load(path, words, where=[binding]).columns["size"] == (1, 3)
    later = Operation(">", (ColumnOf("size"), Literal(1)))
    assert load(path, words, conditions=[later]).columns["size"] == (2, 3)
    first = Operation("<", (ColumnOf("index"), Literal(1)))
    assert load(path, words, conditions=[first]).columns["size"] == (1,)
    assert load(path, words, n=2).columns["size"] == (1, 2)
    shuffled = load(path, words, n=3, seed=1).columns["size"]
    assert shuffled == load(path, words, n=3, seed=1).columns["size"]
    assert sorted(map(int, map(str, shuffled))) == [1, 2, 3]
    assert len({load(path, words, n=3, seed=s).columns["size"] for s in range(9)}) > 1


def test_numbers_in_a_csv(tmp_path: Path, words: ModelFacts) -> None:
    rows = [{"prompt": "the cat", "answer_id": "9", "code": "07", "x": "0.5", "y": "1e3"}]
    data = load(write(tmp_path, "csv", rows), words, answer="answer_id")
    assert ids(data.answers) == [[9]] and list(data.sides) == ["d"]
    assert data.columns == {"code": ("07",), "x": (0.5,), "y": (1000.0,)}


def test_answers_greater_by_option(tmp_path: Path, gpt2: ModelFacts) -> None:
    rows = [{"clean": "the year 17", "year": 97, "more": 1}]
    data = load(write(tmp_path, "jsonl", rows), gpt2, answer="year", answers="greater")
    assert ids(data.answers) == [[4089, 2079]] and len(ids(data.wrongs)[0]) == 98
    rows[0]["year"] = 99
    with pytest.raises(Exception, match=r"E432.*99 is no year from 0 to 98"):
        load(write(tmp_path, "jsonl", rows), gpt2, answer="year", answers="greater")


def test_records_from_elsewhere(words: ModelFacts) -> None:
    spec = {"kind": "file", "path": "rows.other"}
    data = build("d", spec, words, rows=lambda path: [{"clean": "the cat", "name": path.name}])
    assert data.columns == {"name": ("rows.other",)}
    assert np.array_equal(data.sides["d"].tokens, [[0, 2, 4]])


@pytest.mark.parametrize(
    ("rows", "options", "code"),
    [
        (ROWS, {"clean": "cleam"}, "E431"),
        ([{"x": "the"}], {}, "E431"),
        ([{"clean": ""}], {}, "E432"),
        ([{"clean": "the", "answer": None}], {}, "E432"),
        ([{"clean": "the", "answer": "[oops"}], {}, "E432"),
        (ROWS, {"n": 4}, "E423"),
        (ROWS, {"where": [{"names": ["nope"], "values": ["x"]}]}, "E431"),
        (ROWS, {"where": [{"names": ["kind"], "values": ["z"]}]}, "E407"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    words: ModelFacts,
    raises: Raises,
    rows: list[dict[str, Any]],
    options: dict[str, Any],
    code: str,
) -> None:
    with raises(code):
        load(write(tmp_path, "jsonl", rows), words, **options)


@pytest.mark.parametrize("name", ["missing.csv", "missing.parquet", "conftest.xlsx"])
def test_files_that_are_not_there(
    tmp_path: Path, words: ModelFacts, raises: Raises, name: str
) -> None:
    with raises("E430"):
        load(tmp_path / name, words)


@pytest.mark.parametrize("text", ["{broken", "[1, 2]"])
def test_broken_json(tmp_path: Path, words: ModelFacts, raises: Raises, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with raises("E430"):
        load(tmp_path / "rows.json", words)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        (
            "p.jsonl",
            '{"clean": "a"}\n\n{"clean": "a\n',
            "line 3, character 11: Unterminated string",
        ),
        ("p.jsonl", '{"clean": "a"}\n[1]\n', "line 2: list, not an object"),
        ("p.csv", 'clean,answer\na,b\n"a\na",b\na\n', "line 5: 1 value of 2 columns"),
        ("p.csv", "clean,answer\na,b,c\n", "line 2: 3 values of 2 columns"),
    ],
)
def test_a_broken_line_is_told_by_its_number(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InterpError) as told:
        read_records(tmp_path / name)
    assert why in told.value.diagnostics[0].notes[0]


def test_what_ends_a_line_elsewhere_ends_none_in_a_string(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"clean": "a\u2028b"}\n', encoding="utf-8")
    assert read_records(path) == [{"clean": "a\u2028b"}]


def test_a_missing_column_is_suggested(tmp_path: Path, words: ModelFacts, raises: Raises) -> None:
    with raises("E431") as found:
        load(write(tmp_path, "csv"), words, corrupt="corrupted")
    assert found[0].help == "did you mean corrupt?"
    assert found[0].notes == ("it has clean, corrupt, answer, kind, size",)
