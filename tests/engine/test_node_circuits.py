"""Circuits of nodes searched and evaluated, against patches of what is out, made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.engine.node_bench import NodeBench
from interp_dsl.engine.node_evidence import evaluate_nodes
from interp_dsl.engine.node_search import search_nodes
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import Result, State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    Explicit,
    Filtered,
    Finding,
    FromRun,
    Intervention,
    Literal,
    Metric,
    MetricCall,
    Operation,
    Run,
    ScoreOf,
    Source,
    Zero,
)
from interp_dsl.plan.places import Site, Unit
from interp_dsl.plan.tasks import EvaluateNodes, SearchNodes, Variant

from .plans import CLEAN, CORRUPT, GAP, HEADS
from .test_features import DATA
from .test_live_features import _by_hand, _gap, _read, _setting, _state, of
from .tiny import Tiny, singles

UNITS = (
    *(Unit(of("neurons", n)) for n in range(6)),
    Unit(of("neurons", error=True)),
    *(Unit(of("last", n)) for n in range(6)),
    Unit(of("last", error=True)),
)
TOLD = [_by_hand({}, name)[0][:, -1] for name in ("clean", "corrupt")]
GOOD = replace(
    DATA,
    answers=singles(*(TOLD[0] - TOLD[1]).argmax(1).tolist()),
    wrongs=singles(*(TOLD[0] - TOLD[1]).argmin(1).tolist()),
)
"""Answers that the two sides differ in most."""
OPTIONS: dict[str, dict[str, Any]] = {
    "acdc": {"threshold": (0.3,), "order": "reverse", "absolute": False},
    "greedy": {"n": 4, "limit": None, "share": 0.0},
    "top_nodes": {"n": None, "threshold": None, "faithfulness": None, "absolute": True},
}


def _hand(out: set[int], source: Source, side: str = "clean") -> Tensor:
    """The logit difference [n] with some of the units out, set to zero or to the other side."""
    new = {}
    for name, first in (("neurons", 0), ("last", 7)):
        f, e = _read("corrupt", name)
        if isinstance(source, Zero):
            f, e = 0 * f, 0 * e
        numbers = tuple(n for n in range(6) if first + n in out)
        new[name] = _setting(numbers, f, e if first + 6 in out else None)
    return _gap(_by_hand(new, side)[0], GOOD)


def _search(
    state: State, report: Report, method: str, units: Any = UNITS, source: Source | None = None,
    by: str | None = None, **options: Any,
) -> tuple[dict[str, bool], Any, dict[str, Any]]:  # fmt: skip
    held = tuple(sorted({**OPTIONS[method], **options}.items()))
    change = Intervention(Explicit(tuple(units)), source or FromRun(CORRUPT))
    ranking = ScoreOf(by, "gap", "effect") if by else None
    task = SearchNodes("s", "found", Variant(CLEAN, None), method, held, (GAP,), CLEAN, change,
                       by=ranking)  # fmt: skip
    scored, facts = search_nodes(task, state, report)
    rows = scored.table.to_dicts()
    state.results["found"] = Result(rows, {})
    return {str(r["unit"]): r["kept"] for r in rows}, scored, facts


def _evaluated(
    state: State,
    report: Report,
    *findings: Finding,
    source: Source | None = None,
    into: Run = CLEAN,
) -> dict[str, dict[str, Any]]:
    units = Explicit(UNITS)
    kept = Filtered(units, Operation("==", (ScoreOf("found", "gap", "kept"), Literal(True))))
    change = Intervention(units, FromRun(CORRUPT))
    task = EvaluateNodes("e", "check", Variant(CLEAN, None), findings, CLEAN, change, kept)
    table = evaluate_nodes(task, state, report).table
    return {f"{r['metric']}[{r['unit']}]": r for r in table.iter_rows(named=True)}


def test_what_is_out_is_changed_at_once(tmp_path: Path) -> None:
    """Features and errors of two layers: those of the later read what the earlier have become."""
    state, report = _state(tmp_path, data=GOOD)
    random = np.random.default_rng(0)
    kept = random.random((5, len(UNITS))) < 0.5
    kept[0], kept[1] = True, False
    for source in (FromRun(CORRUPT), Zero()):
        change = Intervention(Explicit(UNITS), source)
        options = tuple(OPTIONS["greedy"].items())
        task = SearchNodes(
            "s", "found", Variant(CLEAN, None), "greedy", options, (GAP,), CLEAN, change
        )
        bench = NodeBench(task, state, report)
        found = bench.values(np.concatenate([kept, kept[:2]]))[0]
        wanted = [_hand({*np.flatnonzero(~row).tolist()}, source) for row in kept]
        np.testing.assert_allclose(found[:5], torch.stack(wanted), rtol=1e-5, atol=5e-5)
        np.testing.assert_allclose(found[5:], found[:2])
    corrupt = state.kept(CORRUPT).values[GAP.term]
    every = Intervention(Explicit(UNITS), FromRun(CORRUPT))
    empty = NodeBench(replace(task, intervention=every), state, report).values(kept[1:2])[0, 0]
    np.testing.assert_allclose(empty, corrupt, atol=5e-5)  # a whole stream is the other run's


def test_acdc_over_features_of_two_layers(tmp_path: Path) -> None:
    """From the last place to the first, of one place the last feature first."""
    state, report = _state(tmp_path, data=GOOD)
    found, scored, facts = _search(state, report, "acdc")
    order = [13, *range(12, 6, -1), 6, *range(5, -1, -1)]
    out: set[int] = set()
    score = float(_hand(out, FromRun(CORRUPT)).mean())
    for unit in order:
        value = float(_hand({*out, unit}, FromRun(CORRUPT)).mean())
        row = scored.table.row(unit, named=True)
        assert row["base"] == pytest.approx(score, abs=1e-4)
        assert row["value"] == pytest.approx(value, abs=1e-4)
        assert row["effect"] == pytest.approx(value - score, abs=2e-4)
        if score - value < 0.3:  # a logit difference is worse when it falls
            out, score = {*out, unit}, value
    assert [*found.values()] == [n not in out for n in range(len(UNITS))]
    assert 0 < len(out) < len(UNITS)
    assert facts["nodes"] == len(UNITS) - len(out)
    assert facts["metrics"]["gap"]["circuit"] == pytest.approx(score, abs=1e-4)


def test_elimination_over_heads_is_that_by_hand(tmp_path: Path) -> None:
    state, report = _state(tmp_path, data=GOOD)
    from interp_dsl.engine.forwards import run_forward
    from interp_dsl.plan.tasks import Forward

    for run in (CLEAN, CORRUPT):
        run_forward(
            Forward("f", run, (Site("head", 0), Site("head", 1)), (GAP,)), (), state, report
        )
    tokens = {name: torch.from_numpy(s.tokens) for name, s in DATA.sides.items()}
    sites = (Site("head", 0), Site("head", 1))
    theirs = Tiny().forward(tokens["corrupt"], None, (), sites).sites

    def gap(out: set[tuple[int, int]]) -> float:
        def change(site: Site, x: Tensor) -> Tensor:
            x = x.clone()
            for layer, head in out:
                if site == Site("head", layer):
                    x[:, :, head] = theirs[site][:, :, head]
            return x

        return float(_gap(Tiny().run(tokens["clean"], change), GOOD).mean())

    every = [(layer, head) for layer in (0, 1) for head in (0, 1)]
    out: set[tuple[int, int]] = set()
    while len(out) < 3:
        out = max(({*out, one} for one in every if one not in out), key=gap)
    found, _, _ = _search(state, report, "greedy", HEADS.units, n=1)
    (told,) = [e for e in report.folder.events() if e["event"] == "nodes"][-1:]
    assert (told["step"], told["kept"], told["done"]) == ("found", 1, told["total"])
    assert told["score"] == pytest.approx(gap(out), abs=1e-4)
    assert [unit for unit, kept in found.items() if kept] == [
        f"L{layer}H{head}" for layer, head in every if (layer, head) not in out
    ]


def test_an_elimination_with_nothing_to_do_keeps_all(tmp_path: Path) -> None:
    """No node has been tried, so none has an effect, and none leads."""
    state, report = _state(tmp_path, data=GOOD)
    found, scored, _ = _search(state, report, "greedy", n=14)
    assert all(found.values()) and scored.table["effect"].null_count() == 14
    assert report.top("found", scored.table.to_dicts()) == []


def test_the_best_of_a_ranking(tmp_path: Path) -> None:
    state, report = _state(tmp_path, data=GOOD)
    effects = [
        float((_hand({u}, FromRun(CORRUPT)) - _hand(set(), Zero())).mean()) for u in range(14)
    ]
    rows = [
        {"unit": u.place, "position": u.position, "metric": "gap", "effect": e}
        for u, e in zip(UNITS, effects, strict=True)
    ]
    state.results["quick"] = Result(rows, {})
    ranked = sorted(range(14), key=lambda u: -abs(effects[u]))
    found, scored, _ = _search(state, report, "top_nodes", by="quick", n=5)
    assert [u for u, kept in enumerate(found.values()) if kept] == sorted(ranked[:5])
    np.testing.assert_allclose(scored.table["effect"], effects)
    few, _, _ = _search(state, report, "top_nodes", by="quick", faithfulness=0.8)
    full, empty = (float(_hand(o, FromRun(CORRUPT)).mean()) for o in (set(), {*range(14)}))

    def faithful(n: int) -> float:
        out = {*ranked[n:]}
        return (float(_hand(out, FromRun(CORRUPT)).mean()) - empty) / (full - empty)

    n = sum(few.values())
    assert [u for u, kept in enumerate(few.values()) if kept] == sorted(ranked[:n])
    assert faithful(n) >= 0.8 > faithful(n - 1)
    state.results["quick"] = Result(rows[:-1], {})
    with pytest.raises(InterpError, match="E610"):
        _search(state, report, "top_nodes", by="quick", n=5)


def test_findings_of_a_circuit_of_nodes(tmp_path: Path) -> None:
    state, report = _state(tmp_path, data=GOOD)
    found, _, _ = _search(state, report, "greedy", n=8)
    kept = {u for u, is_kept in enumerate(found.values()) if is_kept}
    every, errors = {*range(14)}, {6, 13}

    def mean(inside: set[int]) -> float:
        return float(_hand(every - inside, FromRun(CORRUPT)).mean())

    full, empty = mean(every), mean(set())

    def share(inside: set[int]) -> float:
        return (mean(inside) - empty) / (full - empty)

    def finding(function: str | None, **given: Any) -> Finding:
        name = "_".join([function or "gap", *map(str, given.values())])
        metric = Metric(name, MetricCall("logit_diff"))
        return Finding(name, metric, function, tuple(given.items()))

    told = _evaluated(
        state,
        report,
        finding("faithfulness", errors="found"),
        finding("faithfulness", errors="in"),
        finding("faithfulness", errors="out"),
        finding("complement"),
        finding(None),
        finding("completeness", errors="found", most=1, sets=0, seed=0),
        finding("minimality", sets=0, seed=0),
        finding("random_circuits", n=9, seed=0),
    )
    near = {"abs": 2e-4}
    assert told["faithfulness_found[circuit]"]["value"] == pytest.approx(share(kept), **near)
    assert told["faithfulness_in[circuit]"]["value"] == pytest.approx(share(kept | errors), **near)
    assert told["faithfulness_out[circuit]"]["value"] == pytest.approx(share(kept - errors), **near)
    assert told["complement[circuit]"]["value"] == pytest.approx(share(every - kept), **near)
    row = told["gap[circuit]"]
    assert row["value"] == pytest.approx(mean(kept), **near)
    assert row["base"] == pytest.approx(empty, **near)
    assert row["normalized"] == pytest.approx(share(kept), **near)
    gaps = {
        frozenset(k): abs(mean(kept - k) - mean(every - k)) for k in ({*()}, *({u} for u in kept))
    }
    complete = told["completeness_found_1_0_0[circuit]"]
    assert complete["base"] == pytest.approx(gaps[frozenset()], **near)
    assert complete["value"] == pytest.approx(max(gaps.values()), **near)
    each = {u: abs(mean(kept - {u}) - mean(kept)) for u in kept}
    for u, change in each.items():
        row = told[f"minimality_0_0[{UNITS[u].place}]"]
        assert row["value"] == pytest.approx(change, **near)
    least = told["minimality_0_0[circuit]"]["value"]
    assert least == pytest.approx(min(each.values()), **near)
    assert 0.1 <= told["random_circuits_9_0[circuit]"]["value"] <= 1


def test_a_search_without_units_and_without_a_gap(tmp_path: Path) -> None:
    state, report = _state(tmp_path, data=GOOD)
    with pytest.raises(InterpError, match="E643"):
        _search(state, report, "greedy", ())
    rows = [{"unit": UNITS[0].place, "position": "all", "metric": "gap", "effect": 1.0}]
    state.results["quick"] = Result(rows, {})
    same = FromRun(CLEAN)
    with pytest.raises(InterpError, match="E659"):
        _search(state, report, "top_nodes", UNITS[:1], same, "quick", faithfulness=0.9)
