"""Circuits on the command line and from Python, in a run made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import interp_dsl
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_file import circuit_path
from interp_dsl.runs.folder import RunFolder
from tests.runs.circuits import INDUCTION, circuit
from tests.runs.recorded import WHEN

Interp = Callable[..., tuple[int, str, str]]
ONE = circuit(INDUCTION)
TWO = {t: circuit(INDUCTION[:n], thresholds=(t,)) for t, n in ((0.1, 5), (0.5, 2))}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "study", WHEN)
    folder.acquire()
    folder.write_table("found", ONE.table)
    ONE.save(circuit_path(folder.path, "found"))
    tables = [c.table.with_columns(threshold=t) for t, c in TWO.items()]
    folder.write_table("curve", pl.concat(tables))
    for threshold, held in TWO.items():
        held.save(circuit_path(folder.path, "curve", threshold))
    for step in ("found", "curve"):
        folder.finish_step(step, f"key of {step}")
    folder.release("done")
    return folder


def test_show_ranks_the_kept_edges(run: RunFolder, interp: Interp) -> None:
    code, out, _ = interp("show", "latest", "found", "--top", "1")
    assert code == 0
    assert out.splitlines()[:3] == [
        "found · 9 of 9 edges by |effect|",
        "edge             effect    score   margin  order",
        "L1H1 -> logits  +0.9100  +0.5000  +0.9100      0",
    ]


def test_show_draws(run: RunFolder, interp: Interp) -> None:
    code, out, _ = interp("show", "latest", "found", "--graph")
    assert code == 0
    assert out.splitlines()[:2] == ["acdc on ioi-3l · ioi · kl", "9 of 305 edges, 6 nodes"]
    assert "L1H1" in out and "│" in out


def test_diff_tells_which_edges_one_keeps_alone(run: RunFolder, interp: Interp) -> None:
    other = RunFolder.create(run.path.parent, "other", WHEN)
    other.acquire()
    kept = pl.Series("kept", [True] * 3 + [False] * 6)
    other.write_table("found", ONE.table.with_columns(kept, effect=2 * pl.col("effect")))
    other.finish_step("found", "another key")
    other.release("done")
    runs = run.path.name, other.path.name
    code, out, _ = interp("diff", *runs, "found", "--top", "7")
    assert code == 0
    assert out.splitlines()[3:] == [
        "found · 3 edges in both, 6 in a alone, 0 in b alone, Jaccard 0.333",
        "edge                 kept       a       b",
        "L0H2 -> L1H1.k       a     +0.750       ·",
        "embed -> L0H2.v      a     +0.400       ·",
        "embed -> L1H1.q      a     +0.270       ·",
        "pos_embed -> L0H2.k  a     -0.210       ·",
        "L1H1 -> L1.mlp       a     +0.080       ·",
        "pos_embed -> L0H2.q  a     +0.050       ·",
        "L1H1 -> logits       both  +0.910  +1.820",
        "the first 7 of 9, those in one alone first",
    ]
    data = json.loads(interp("diff", *runs, "--json")[1])["steps"]
    assert [row["kept"] for row in data["found"]] == ["a"] * 6 + ["both"] * 3
    assert "found" not in interp("diff", *runs, "--metric", "gap")[1]
    code, _, error = interp("diff", run.path.name, run.path.name, "curve")
    assert code == 0 and not error


def test_show_draws_each_of_several_or_the_one_named(run: RunFolder, interp: Interp) -> None:
    _, both, _ = interp("show", "latest", "curve", "--graph")
    assert [line for line in both.splitlines() if line.startswith("threshold")] == [
        "threshold 0.1",
        "threshold 0.5",
    ]
    _, one, _ = interp("show", "latest", "curve", "--graph", "--threshold", "0.5")
    assert "2 of 305 edges" in one and "5 of 305" not in one


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "latest", "--graph"], "2 steps that found a circuit"),
        (["show", "latest", "curve", "--graph", "--threshold", "3"], "thresholds: 0.1, 0.5"),
        (["export", "latest", "curve", "--format", "dot"], "has found 2 circuits"),
    ],
)
def test_which_circuit_is_asked_back(
    arguments: list[str], told: str, run: RunFolder, interp: Interp
) -> None:
    code, _, err = interp(*arguments)
    assert code == 2
    assert "E716" in err and told in err


def test_a_step_without_a_circuit_has_no_picture(run: RunFolder, interp: Interp) -> None:
    from interp_dsl.runs.schema import NODE_COLUMNS, score_table

    run.write_table("plain", score_table([]))
    code, _, err = interp("export", "latest", "plain", "--format", "svg")
    assert code == 2 and "step plain has found no circuit" in err
    run.write_table("nodes", score_table([], NODE_COLUMNS))
    code, _, err = interp("show", "latest", "nodes", "--graph")
    assert code == 2 and "a circuit of nodes, which has no edges" in err and "interp show" in err


def test_export_writes_pictures_and_the_circuit_itself(run: RunFolder, interp: Interp) -> None:
    assert interp("export", "latest", "found", "--format", "dot")[1] == ONE.to_dot()
    for name, text in (("c.svg", ONE.to_svg()), ("c.graphml", ONE.to_graphml())):
        assert interp("export", "latest", "found", "-o", name)[0] == 0
        assert Path(name).read_text("utf-8") == text
    interp("export", "latest", "found", "-o", "c.json")
    assert Circuit.load("c.json") == ONE
    interp("export", "latest", "curve", "--threshold", "0.5", "-o", "half.json")
    assert Circuit.load("half.json") == TWO[0.5]
    _, csv, _ = interp("export", "latest", "curve")
    assert csv.startswith("source,target,channel,kept,order,effect,score,margin,evaluated,thresh")


def test_export_of_all_steps_as_pictures_takes_those_that_have_one(
    run: RunFolder, interp: Interp
) -> None:
    from interp_dsl.runs.schema import score_table

    run.write_table("plain", score_table([]))
    Path("pictures").mkdir()
    code, _, err = interp("export", "latest", "--format", "svg", "-o", "pictures")
    assert code == 2 and "curve has found 2 circuits" in err
    assert [p.name for p in Path("pictures").iterdir()] == ["found.svg"]


def test_export_as_pictures_of_a_run_without_a_circuit(place: Path, interp: Interp) -> None:
    for to in ([], ["-o", "pictures"]):
        code, _, err = interp("export", "latest", "--format", "dot", *to)
        assert code == 2 and "has found no circuit, and dot draws one" in err
    assert not (place / "pictures").exists()


def test_show_as_data(run: RunFolder, interp: Interp) -> None:
    _, out, _ = interp("show", "latest", "found", "--json", "--top", "2")
    rows = json.loads(out)["steps"]["found"]
    assert [(row["source"], row["effect"]) for row in rows] == [("L1H1", 0.91), ("L0H2", 0.75)]


def test_circuits_in_python(run: RunFolder) -> None:
    opened = interp_dsl.open_run(run.path)
    assert opened.circuit("found") == ONE
    assert opened.circuit("curve", 0.5) == TWO[0.5]
    for step, threshold, told in (
        ("curve", None, "2 circuits, at thresholds 0.1, 0.5"),
        ("curve", 3.0, "2 circuits"),
        ("none", None, "no step none"),
    ):
        with pytest.raises(KeyError, match=told):
            opened.circuit(step, threshold)
    assert "L1H1 -&gt; logits" in opened._repr_html_()
