"""Evidence for circuits from its tasks: the same as the mathematics called directly, on a metric
written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from interp_dsl.circuits import criteria, curves, evidence, nulls
from interp_dsl.circuits.ranked import top_edges
from interp_dsl.engine.evidence import FUNCTIONS, Case
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.graph import Bools, Graph
from interp_dsl.plan.tasks import CircuitOf
from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize, Method
from interp_dsl.runs.circuit_file import circuit_path, circuits_of
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.folder import RunFolder
from tests.circuits.test_curves import PUBLISHED
from tests.models.test_graph import GPT2

from .searching import (
    GREEDY,
    TOP,
    evaluation,
    finding,
    gap,
    kept_in,
    ran,
    row_of,
    rows,
    search,
    setting,
)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Bools]:
    """Everything that is told of one circuit."""
    findings = [
        finding("complement"),
        finding("completeness", most=2, sets=3, seed=1),
        finding("minimality", sets=2, seed=1),
        finding("cpr"),
        finding("cmd"),
        finding("random_circuits", n=19, seed=5),
        finding("shuffled_pairs", n=3, seed=5),
    ]
    folder = ran(
        tmp_path_factory.mktemp("proven"), search("greedy", **GREEDY), evaluation(*findings)
    )
    return folder, kept_in(folder)


def test_completeness(proven: tuple[RunFolder, Bools]) -> None:
    folder, kept = proven
    place, row = setting(), row_of(folder, "completeness")
    assert row["base"] == pytest.approx(abs(place.means(kept) - place.means(place.full)), abs=1e-5)
    drawn = criteria.random_sets(place.graph, kept, 3, seed=1)
    tried = criteria.incompleteness(place, kept, drawn)
    worst = max(criteria.worst_set(place, kept, 2)[1], *tried)
    assert row["value"] == pytest.approx(worst, abs=1e-5)
    assert row["normalized"] == pytest.approx(worst / abs(gap(place)), abs=1e-4)
    assert row["value"] >= row["base"]


def test_minimality_has_a_row_an_edge(proven: tuple[RunFolder, Bools]) -> None:
    folder, kept = proven
    place = setting()
    sets = [place.empty, *criteria.random_sets(place.graph, kept, 2, seed=1)]
    changes: dict[str, float] = {}
    for edge in np.flatnonzero(kept):
        one = place.empty
        one[edge] = True
        pairs = [(kept & ~(k & ~one), kept & ~(k | one)) for k in sets]
        changes[str(place.graph.edges[edge])] = max(
            float(abs(place.means(a) - place.means(b))) for a, b in pairs
        )
    found = {r["unit"]: r["value"] for r in rows(folder) if r["metric"] == "minimality"}
    least = found.pop("circuit")
    assert found.keys() == changes.keys()
    for name, change in changes.items():
        assert found[name] == pytest.approx(change, abs=1e-5)
    assert least == min(found.values())


def test_the_complement_is_the_model_without_the_circuit(proven: tuple[RunFolder, Bools]) -> None:
    folder, kept = proven
    row = row_of(folder, "complement")
    wanted = evidence.knocked_out(setting(), kept).normalized
    assert row["value"] == pytest.approx(float(wanted), abs=1e-4)
    assert row["low"] <= row["value"] <= row["high"]


def test_areas_under_faithfulness_over_size(proven: tuple[RunFolder, Bools]) -> None:
    folder, _ = proven
    turns = folder.read_table("found")["score"].to_numpy()
    place = setting()
    sizes = curves.grid_sizes(place.graph.n_edges)
    faithful = [
        (place.means(top_edges(place.graph, turns, n, absolute=False)) - place.means(place.empty))
        / gap(place)
        for n in sizes.tolist()
    ]
    assert row_of(folder, "cpr")["value"] == pytest.approx(curves.cpr(faithful), abs=1e-4)
    assert row_of(folder, "cmd")["value"] == pytest.approx(curves.cmd(faithful), abs=1e-4)
    shares = ["0.1%", "0.2%", "0.5%", "1%", "2%", "5%", "10%", "20%", "50%", "100%"]
    told = [row_of(folder, "cpr", share)["value"] for share in shares]
    assert told == pytest.approx(faithful, abs=1e-4)


def test_nulls_are_p_values(proven: tuple[RunFolder, Bools]) -> None:
    folder, kept = proven
    place = setting()
    own = float(evidence.faithfulness(place, kept).normalized)
    draws = {
        "random_circuits": nulls.random_null(place, int(kept.sum()), 19, seed=5),
        "shuffled_pairs": nulls.shuffled_null(place, kept, 3, seed=5),
    }
    for name, drawn in draws.items():
        row = row_of(folder, name)
        assert row["base"] == pytest.approx(drawn.mean(), abs=1e-4)
        assert row["value"] == (1 + (drawn >= own).sum()) / (1 + len(drawn))


# ---- against a true circuit


def true_circuit(folder: RunFolder, edges: Sequence[int], path: Path, **about: Any) -> Path:
    held = Circuit.load(circuit_path(folder.path, "found"))
    kept = np.zeros(len(held.table), dtype=bool)
    kept[list(edges)] = True
    replace(held, table=held.table.with_columns(pl.Series("kept", kept)), **about).save(path)
    return path


@pytest.mark.parametrize("area", ["pessimistic", "trapezoid"])
def test_the_roc_curve_of_thresholds(area: str, tmp_path: Path) -> None:
    thresholds = (1.0, 3.0, 5.0, 7.0)
    tasks = [
        search("greedy", **GREEDY),
        search("top_edges", by=CircuitOf("found"), **{**TOP, "n": None, "threshold": thresholds}),
    ]
    first = ran(tmp_path / "first", tasks[0])
    truth = true_circuit(first, range(0, 30, 2), tmp_path / "truth.json")
    about = finding("roc_auc", truth=str(truth), truth_sha256="", area=area)
    check = evaluation(about, finding("faithfulness"), step="best", thresholds=thresholds)
    folder = ran(tmp_path / "second", *tasks, check)
    (row,) = [r for r in rows(folder) if r["metric"] == "roc_auc"]
    assert row["threshold"] is None and len(rows(folder)) == 5
    kept = [c.table["kept"].to_numpy() for c in circuits_of(folder.path, "best").values()]
    points = curves.roc_points(kept, np.isin(np.arange(len(kept[0])), np.arange(0, 30, 2)))
    wanted = {"pessimistic": curves.auc_pessimistic, "trapezoid": curves.auc_trapezoid}[area]
    assert row["value"] == pytest.approx(wanted(points))
    assert 0 < row["value"] < 1


@pytest.mark.parametrize(
    ("task", "metric", "pessimistic", "trapezoid"),
    [
        ("docstring", "kl", 0.982, 0.985),
        ("docstring", "task", 0.972, 0.977),
        ("greater-than", "kl", 0.853, 0.910),
        ("greater-than", "task", 0.461, 0.559),
        ("ioi", "kl", 0.869, 0.886),
        ("ioi", "task", 0.589, 0.670),
    ],
)
def test_published_areas_come_out(
    task: str, metric: str, pessimistic: float, trapezoid: float, tmp_path: Path
) -> None:
    """Conmy et al. 2023, table 2: circuits over their graphs, direct edges among them, with as many
    true and false edges as the authors' published sweeps, against a file of the true circuit."""
    small = task == "docstring"
    layers, heads = (4, 8) if small else (12, 12)
    shape = replace(GPT2, n_layers=layers, n_heads=heads, d_mlp=0 if small else GPT2.d_mlp)
    graph = Graph(shape, direct=True)
    points = pl.read_csv(PUBLISHED).filter(task=task, metric=metric, level="edge")
    n_true = points["positives"][0]
    assert n_true + points["negatives"][0] == graph.n_edges

    def keeping(n_right: int, n_wrong: int) -> Circuit:
        edges = [*graph.edges[:n_right], *graph.edges[n_true : n_true + n_wrong]]
        columns = {
            **{name: [getattr(edge, name) for edge in edges] for name in KEY},
            **{name: [True] * len(edges) for name in ("kept", "evaluated")},
            **{name: [None] * len(edges) for name in ("order", "effect", "score", "margin")},
        }
        size = GraphSize(layers, heads, graph.n_edges)
        return Circuit(pl.DataFrame(columns), size, Method("acdc"), Fingerprint("m", "ab" * 32))

    keeping(n_true, 0).save(tmp_path / "true.json")
    counts = points.select("true_positives", "false_positives").iter_rows()
    found = [keeping(*count) for count in counts]
    for area, wanted in (("pessimistic", pessimistic), ("trapezoid", trapezoid)):
        about = finding("roc_auc", truth=str(tmp_path / "true.json"), truth_sha256="", area=area)
        bench: Any = SimpleNamespace(graph=graph)
        none = torch.zeros(1)
        (row,) = FUNCTIONS["roc_auc"](Case(bench, found[0], found, about, 0, none, none, none, 0))
        assert round(float(row["value"] or 0.0), 3) == wanted


def test_what_cannot_be_measured_is_told(tmp_path: Path) -> None:
    first = ran(tmp_path / "first", search("greedy", **GREEDY))
    empty = true_circuit(first, [], tmp_path / "empty.json")
    other = true_circuit(
        first, [0, 1], tmp_path / "other.json", model=Fingerprint("other", "ab" * 32)
    )
    for path, why in ((empty, "some of the edges"), (other, "another model")):
        about = finding("roc_auc", truth=str(path), truth_sha256="", area="pessimistic")
        with pytest.raises(InterpError) as caught:
            ran(tmp_path / path.stem, search("greedy", **GREEDY), evaluation(about))
        (told,) = caught.value.diagnostics
        assert told.code == "E656" and why in told.notes[0]


def test_evidence_that_does_not_fit_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> list[Any]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(FUNCTIONS, "cpr", full)
    with pytest.raises(InterpError) as caught:
        ran(tmp_path, search("greedy", **GREEDY), evaluation(finding("cpr")))
    (told,) = caught.value.diagnostics
    assert told.code == "E640" and "all 8 examples" in told.message


def test_a_circuit_on_its_own_prompts_is_said_to_be_so(tmp_path: Path) -> None:
    folder = ran(tmp_path, search("greedy", **GREEDY), evaluation(finding("faithfulness")))
    notes = [e["text"] for e in folder.events() if e["event"] == "note"]
    assert any("check: the circuit was found on these very prompts" in note for note in notes)
