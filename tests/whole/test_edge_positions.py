"""Edges by position from the text to the tables, against patches of one edge and position."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import interp_dsl
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_table import key_of

MODEL = """
model m = bundled("induction-2l")
dataset d = repeated_tokens(pairs=6, half=8)
dataset e = repeated_tokens(pairs=6, half=8, seed=5)
metric gap = logit_diff()
"""
PROGRAM = """
step quick  = attribute edges at END, A1 by eap(verify=top(6)) from d.corrupt into d.clean
              measure gap
step whole  = patch edges at END, A1 from d.corrupt into d.clean measure gap
step found  = search edges at END, A1 by acdc(threshold=[0.01, 0.5]) from d.corrupt into d.clean
              measure kl(), gap
step best   = search edges at END, A1 by top_edges(by=quick, n=7) from d.corrupt into d.clean
              measure gap
step fewer  = search (heads -> logits) at last by greedy(n=2) from d.corrupt into d.clean
              measure gap
step every_ = search edges at each by acdc(threshold=0.05) from mean(d.corrupt) into d.clean
              measure kl()
step again  = search every_.edges by acdc(threshold=0.1) from mean(d.corrupt) into d.clean
              measure kl()
step out    = patch together((edges at {END, A1}) - best.edges) from d.corrupt into d.clean
              measure gap
step both   = evaluate found on e measure faithfulness(gap), gap, minimality(gap)
step held   = evaluate best on d measure gap, complement(gap)
step same   = evaluate every_ on d measure kl(), cpr()
expect (embed -> L0H0.v at A1) in best.edges
expect size(best.edges & (edges at A1)) > 0
expect both[embed -> L0H0.v at A1, threshold=0.5].minimality > 0
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> interp_dsl.Run:
    folder = tmp_path_factory.mktemp("positions")
    (folder / "x.interp").write_text(MODEL + PROGRAM)
    return interp_dsl.run(folder / "x.interp", out=folder / "run")


def test_estimates_beside_patches(run: interp_dsl.Run) -> None:
    key = ["unit", "position"]
    estimates, patches = run.scores("quick"), run.scores("whole")
    assert len(estimates) == len(patches) == 2 * 81
    assert set(estimates["position"]) == {"END", "A1"}
    joined = estimates.join(patches, on=key, suffix="_of_patch")
    assert len(joined) == 2 * 81
    verified = joined.drop_nulls("verified")
    assert len(verified) == 6 and set(verified["position"]) == {"END", "A1"}
    assert (verified["verified"] - verified["effect_of_patch"]).abs().max() < 1e-4
    ends = joined.filter(pl.col("unit").str.ends_with("logits"), pl.col("position") == "END")
    assert (ends["effect"] - ends["effect_of_patch"]).abs().max() < 0.6
    assert ends["effect"].min() < -2


def test_tables_and_circuits(run: interp_dsl.Run) -> None:
    table = run.scores("found")
    rest = "all - together(END, A1)"
    assert len(table) == 2 * 3 * 81 and set(table["position"]) == {"END", "A1", rest}
    searched = pl.col("position") != rest
    assert table.filter(~searched)["kept"].all() and not table.filter(~searched)["evaluated"].any()
    judged = table.filter(searched)
    assert judged["order"].null_count() == 0 and 0 < judged["kept"].sum() < 40
    loose, tight = (run.circuit("found", threshold) for threshold in (0.01, 0.5))
    assert tight.size < loose.size and tight.graph.n_edges == 3 * 81
    compared = loose.diff(tight)
    assert len(compared.only_left) >= loose.size - tight.size
    assert (loose & tight).size == len(compared.both) == tight.size - len(compared.only_right)
    path = run.path / "found-0.01.circuit.json"
    assert Circuit.load(path) == loose and '"position": "A1"' in path.read_text()
    assert "v at A1" in tight.to_dot() and 'attr.name="position"' in tight.to_graphml()
    with pytest.raises(InterpError, match="different graphs"):
        loose.diff(run.circuit("every_"))


def test_the_best_at_their_positions(run: interp_dsl.Run) -> None:
    best, quick = run.scores("best"), run.scores("quick")
    kept = best.filter("kept", pl.col("position") != "all - together(END, A1)")
    names = {edge_name(*row) for row in kept.select(key_of(kept)).iter_rows()}
    top = quick.sort(pl.col("effect").abs(), descending=True).head(7)
    assert names == {f"{unit} at {at}" for unit, at in top.select("unit", "position").iter_rows()}
    assert run.circuit("fewer").size == 2 * 81 - 8 + 2


def test_measured_as_patched(run: interp_dsl.Run) -> None:
    """A circuit is the run in which all edges that it lacks are patched at once, each at its own
    position."""
    out, held = run.scores("out"), run.scores("held").filter(metric="gap")
    assert len(out) == 1 and len(held) == 1
    assert held["value"][0] == pytest.approx(out["value"][0], abs=1e-4)
    assert abs(out["effect"][0]) > 0.1
    both = run.scores("both").filter(metric="gap")
    assert len(both) == 2 and both["value"].n_unique() == 2


def test_searches_go_on_from_circuits(run: interp_dsl.Run) -> None:
    """Edges of a circuit by position are searched again at their positions."""
    first, again = run.circuit("every_"), run.circuit("again")
    assert set(first.table["position"]) == {*map(str, range(12))}
    kept = first.edges.select("source", "target", "channel", "position")
    searched = again.table.drop_nulls("order").select(kept.columns)
    assert set(searched.iter_rows()) == set(kept.iter_rows()) and 0 < len(kept) < 40
    rows = run.scores("same")
    assert rows.filter(metric="cpr", unit="circuit")["value"][0] is not None


def test_claims_hold(run: interp_dsl.Run) -> None:
    assert [claim["ok"] for claim in run.claims] == [True] * 3, run.claims


@pytest.mark.parametrize(
    ("steps", "code", "said"),
    [
        (
            "step c = search edges at END, last by acdc(threshold=0.1) from d.corrupt into d.clean"
            " measure kl()",
            "E658",
            "is of two places",
        ),
        (
            "dataset f = repeated_tokens(pairs=6, half=9)\n"
            "step c = search edges at each by acdc(threshold=0.1) from d.corrupt into d.clean"
            " measure kl()\nstep x = evaluate c on f measure kl()",
            "E658",
            "is of no place of the circuit",
        ),
        (
            "step s = attribute edges at END by eap() from d.corrupt into d.clean measure gap\n"
            "step c = search edges at A1 by top_edges(by=s, n=3) from d.corrupt into d.clean"
            " measure gap",
            "E655",
            "does not rank",
        ),
    ],
)
def test_refused_when_run(tmp_path: Path, steps: str, code: str, said: str) -> None:
    (tmp_path / "x.interp").write_text(MODEL + steps)
    with pytest.raises(InterpError, match=said) as raised:
        interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    assert raised.value.diagnostics[0].code == code
