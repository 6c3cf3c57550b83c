"""Searches beside ACDC and evidence from their tasks: the same as the mathematics called directly,
on a metric written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.circuits import criteria, curves, evidence, nulls
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.found import finished
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.probing import probe
from interp_dsl.circuits.pruning import prune_edges
from interp_dsl.circuits.ranked import top_edges
from interp_dsl.circuits.setting import Setting
from interp_dsl.engine.evidence import FUNCTIONS
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.graph import Bools
from interp_dsl.plan.algebra import Edges, Finding, Metric
from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit, Plan, Search
from interp_dsl.runs.circuit import Circuit, Fingerprint
from interp_dsl.runs.circuit_file import circuit_path, circuits_of
from interp_dsl.runs.folder import RunFolder
from interp_dsl.verbs.methods import SEARCHES
from tests.circuits.models import executor_of

from .plans import CLEAN, GAP, LOADS, folder_in
from .test_circuits import DATA, KL, PAIRED, REFERENCE, by_plain
from .tiny import Given

LEARNED = {"steps": 12, "lr": 0.3, "mask": 0.9, "seed": 3}
GREEDY = {"n": 6, "limit": None, "share": 0.2}
TOP = {"n": 9, "threshold": None, "absolute": False, "grown": False}


def search(method: str, metric: Metric = KL, by: CircuitOf | None = None, **options: Any) -> Search:
    name = "best" if by else "found"
    return Search(
        f"search:{name}",
        name,
        CLEAN,
        PAIRED,
        Edges(),
        method,
        tuple(sorted(options.items())),
        (metric,),
        CLEAN,
        options.get("threshold") or (),
        by=by,
    )


def evaluation(*findings: Finding, step: str = "found", **about: Any) -> EvaluateCircuit:
    circuit = CircuitOf(step, about.pop("thresholds", ()))
    return EvaluateCircuit(
        "evaluate:check", "check", circuit, CLEAN, about.pop("source", PAIRED), findings, CLEAN
    )


def finding(function: str, metric: Metric = KL, **arguments: Any) -> Finding:
    named = replace(metric, name=function)
    return Finding(function, named, function, tuple(sorted(arguments.items())))


def ran(tmp_path: Path, *tasks: Search | EvaluateCircuit) -> RunFolder:
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, REFERENCE, *tasks))
    execute(plan, folder, loaders=Given(executor_of("plain"), d=DATA))
    return folder


def setting(metric: Metric = KL, sign: int = 1) -> Setting:
    graph, _, tokens, ablated, measure = by_plain(metric.name)

    def values(logits: Tensor) -> Tensor:
        found = torch.stack([measure(one) for one in logits.flatten(0, -4)])
        return sign * found.view(*logits.shape[:-2])

    return Setting(EdgeForward(executor_of("plain").model, graph), tokens, ablated, values)


def kept_in(folder: RunFolder, step: str = "found") -> Bools:
    kept: Bools = folder.read_table(step)["kept"].to_numpy()
    return kept


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return folder.read_table("check").to_dicts()


# ---- searches


@pytest.mark.parametrize("metric", [KL, GAP], ids=lambda m: m.name)
def test_elimination(metric: Metric, tmp_path: Path) -> None:
    """Effects and the limit in the metric's own sign: a logit difference is worse when it falls."""
    sign = 1 if metric is KL else -1
    wanted = finished(greedy(setting(metric, sign), 6, share=0.2))
    folder = ran(tmp_path / "n", search("greedy", metric, **GREEDY))
    table = folder.read_table("found")
    assert (kept_in(folder) == wanted.kept).all() and 0 < wanted.kept.sum() <= 6
    assert table["effect"].to_numpy() == pytest.approx(sign * wanted.effect, abs=1e-5)
    assert (table["score"].to_numpy() == wanted.scores).all()
    assert (table["order"].to_numpy() == wanted.scores - 1).all()
    assert table["evaluated"].all()
    limit = float(setting(metric).means(wanted.kept))
    stopped = ran(
        tmp_path / "limit",
        search("greedy", metric, **{**GREEDY, "n": 0, "limit": limit + 1e-4 * sign}),
    )
    (about,) = stopped.step_facts("found")["circuits"]
    assert sign * about["metrics"][metric.name] <= sign * limit + 1e-3
    assert about["edges"] <= wanted.kept.sum()


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("subnetwork_probing", {"strength": 0.5}),
        ("edge_pruning", {"n": 9, "multiplier_lr": 1.0, "warmup": 0.7}),
    ],
)
@pytest.mark.parametrize("metric", [KL, GAP], ids=lambda m: m.name)
def test_learned_masks(method: str, own: dict[str, Any], metric: Metric, tmp_path: Path) -> None:
    place = setting(metric, 1 if metric is KL else -1)
    if method == "edge_pruning":
        wanted = finished(prune_edges(place, **LEARNED, **own))  # type: ignore[arg-type]
        scores = np.exp(wanted.scores)
    else:
        wanted = finished(probe(place, **LEARNED, **own))  # type: ignore[arg-type]
        scores = wanted.scores
    folder = ran(tmp_path, search(method, metric, **LEARNED, **own))
    table = folder.read_table("found")
    assert (kept_in(folder) == wanted.kept).all() and wanted.kept.any()
    assert table["score"].to_numpy() == pytest.approx(scores, abs=1e-4)
    assert table["effect"].is_null().all() and not table["evaluated"].any()
    events = [e for e in folder.events() if e["event"] == "edges"]
    assert events[-1]["done"] == events[-1]["total"] == LEARNED["steps"]


def test_the_best_edges_by_another_search(tmp_path: Path) -> None:
    first = search("greedy", **GREEDY)
    folder = ran(tmp_path, first, search("top_edges", by=CircuitOf("found"), **TOP))
    turns = folder.read_table("found")["score"].to_numpy()
    graph = setting().graph
    assert (kept_in(folder, "best") == top_edges(graph, turns, 9, absolute=False)).all()
    table = folder.read_table("best")
    assert (table["score"].to_numpy() == turns).all()
    assert (np.diff(turns[np.argsort(table["order"].to_numpy())]) <= 0).all()
    circuit = Circuit.load(circuit_path(folder.path, "best"))
    assert circuit.method.options["by"] == "found"


def test_the_best_edges_above_several_thresholds(tmp_path: Path) -> None:
    options = {**TOP, "n": None, "threshold": (2.0, 4.0)}
    folder = ran(
        tmp_path,
        search("greedy", **GREEDY),
        search("top_edges", by=CircuitOf("found"), **options),
        evaluation(finding("faithfulness"), step="best", thresholds=(2.0, 4.0)),
    )
    turns = folder.read_table("found")["score"].to_numpy()
    found = circuits_of(folder.path, "best")
    assert list(found) == [2.0, 4.0]
    for threshold, circuit in found.items():
        assert threshold is not None
        wanted = top_edges(setting().graph, turns, threshold=threshold, absolute=False)
        assert (circuit.table["kept"].to_numpy() == wanted).all()
    assert [row["threshold"] for row in rows(folder)] == [2.0, 4.0]


@pytest.mark.parametrize("options", [GREEDY, {**GREEDY, "n": 2, "share": 0.5}])
def test_elimination_measures_no_more_circuits_than_the_plan_says(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = 0
    values = Setting.values

    def counted(self: Setting, kept: Bools) -> Any:
        nonlocal measured
        measured += int(np.prod(kept.shape[:-1]))
        return values(self, kept)

    monkeypatch.setattr(Setting, "values", counted)
    place = setting()
    finished(greedy(place, options["n"], share=options["share"]))
    most = SEARCHES["greedy"].passes(options, place.graph.n_edges)
    assert most / 4 < measured <= most


# ---- evidence


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


def row_of(folder: RunFolder, metric: str, unit: str = "circuit") -> dict[str, Any]:
    (row,) = [r for r in rows(folder) if r["metric"] == metric and r["unit"] == unit]
    return row


def gap(place: Setting) -> float:
    return float(place.means(place.full) - place.means(place.empty))


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
    changes = {}
    for edge in np.flatnonzero(kept):
        one = place.empty
        one[edge] = True
        pairs = [(kept & ~(k & ~one), kept & ~(k | one)) for k in sets]
        changes[str(place.graph.edges[edge])] = max(
            abs(place.means(a) - place.means(b)) for a, b in pairs
        )
    found = {r["unit"]: r["value"] for r in rows(folder) if r["metric"] == "minimality"}
    least = found.pop("circuit")
    assert found.keys() == changes.keys()
    for edge, change in changes.items():
        assert found[edge] == pytest.approx(change, abs=1e-5)
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
    import polars as pl

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


def test_a_ranking_is_of_the_graph_that_is_searched(tmp_path: Path) -> None:
    joined = replace(search("greedy", **GREEDY), edges=Edges(split_qkv=False))
    with pytest.raises(InterpError) as caught:
        ran(tmp_path, joined, search("top_edges", by=CircuitOf("found"), **TOP))
    assert caught.value.diagnostics[0].code == "E655"


def test_a_circuit_on_its_own_prompts_is_said_to_be_so(tmp_path: Path) -> None:
    folder = ran(tmp_path, search("greedy", **GREEDY), evaluation(finding("faithfulness")))
    notes = [e["text"] for e in folder.events() if e["event"] == "note"]
    assert any("check: the circuit was found on these very prompts" in note for note in notes)
