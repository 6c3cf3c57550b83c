"""Edges from the text to the table: the optimised plan gives what the plain one does, and the words
of the language name the same edges in whatever way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from torch import Tensor

import interp_dsl
from interp_dsl.check import check_source
from interp_dsl.check.lower import lower
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.language.source import Source
from interp_dsl.plan.cost import cost
from interp_dsl.plan.passes import optimise
from interp_dsl.plan.sizes import sizes
from interp_dsl.plan.tasks import Sweep
from interp_dsl.plan.units import expand
from tests.devices import here
from tests.docs.reference import REPOSITORY

from .test_optimised import NAMES, PRELUDE, executors, plain, table

UNITS = (
    "edges",
    "edges at S2, END",
    "heads -> {queries, mlps, logits}",
    "(heads layers 0) -> together(values)",
    "pairs({embed, L0H1} -> L1.mlp)",
    "together(edges) at together(S1, END)",
    "{L0.mlp -> L1H0, L1H1 -> logits} at all - first",
    "embed -> (heads layers 0) -> {L1H0.v, L0.mlp, L1.mlp} -> logits",
    "{L0H1, embed} -> L0.mlp -> together(heads layers 1) -> logits",
    "(L0H1 -> L1H3.k) | (embed -> L0H2.v -> L1H3.k) at each",
)
TRAVELS = (
    "",
    "using through=mlps",
    "using freeze={patterns, norms}",
    "using through={heads, mlps}, freeze=norms",
    "under gone, together(gone, dull) using through=mlps",
    "along told",
)
SOURCES = ("ioi.corrupt", "mean(ioi.corrupt, per=all)", "resample(ioi.clean, seed=2)", "zero")
FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma2")


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("at", "using"),
    [
        *((at, 0) for at in range(len(UNITS))),
        (7, 1),
        (8, 2),
        (0, 2),
        (2, 3),
        (3, 1),
        (0, 4),
        (7, 4),
        (2, 5),
        (8, 5),
    ],
)
def test_optimised_equals_plain(at: int, using: int, tmp_path: Path) -> None:
    name, source = FAMILIES[at % len(FAMILIES)], SOURCES[at % len(SOURCES)]
    folder, _, compiled = executors(name, 2, here())
    text = f'model m = checkpoint("{folder}")'
    text += PRELUDE.format(seed=at, names=NAMES, places='["store"]')
    text += "step gone = ablate {L0H1, L1.mlp} with mean(ioi.clean, per=all)\n"
    text += "step dull = ablate L0.mlp at END with zero along told\n"
    text += "let told = mean(L0.resid_post of ioi.clean at END)\n"
    text += f"step who = patch {UNITS[at]} from {source} into ioi.clean {TRAVELS[using]} "
    text += "measure gap\n" if at % 2 else "measure gap, kl()\n"
    checked = check_source(Source(text), allow=[folder])
    assert checked.experiment is not None, checked.diagnostics
    lowered = lower(checked.experiment)
    ours = table(optimise(lowered), compiled, tmp_path / "a")
    reference = table(plain(lowered), compiled, tmp_path / "b")
    assert isinstance(ours, pl.DataFrame) and isinstance(reference, pl.DataFrame)
    keys = ["unit", "position", "metric", *(["under"] if "under" in TRAVELS[using] else [])]
    assert ours.select(keys).equals(reference.select(keys))
    assert float(ours["effect"].abs().max()) > 1e-5
    for column in ("base", "value", "effect", "low", "high"):
        assert (ours[column] - reference[column]).abs().max() < 1e-5, column


PROGRAM = """
model m = bundled("induction-2l")
dataset d = repeated_tokens(pairs=6, half=8)
metric gap = logit_diff()
units heads0 = heads layers 0
step circuit = search edges by acdc(threshold=0.1) from d.corrupt into d.clean measure kl()
step whole  = patch edges from d.corrupt into d.clean measure gap
step some   = patch (heads layers 0) -> {keys layers 1} from d.corrupt into d.clean measure gap
step strong = patch edges where whole.gap.effect < -1 from d.corrupt into d.clean measure gap
step best   = patch top(whole, 3) from d.corrupt into d.clean measure gap
step inside = patch circuit.edges from d.corrupt into d.clean measure gap
step rest   = patch edges - circuit.edges from d.corrupt into d.clean measure gap
step sender = patch heads0 -> together(keys layers 1) from d.corrupt into d.clean measure gap
step reader = patch together(heads0) -> (keys layers 1) from d.corrupt into d.clean measure gap
"""


def test_edges_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(PROGRAM)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")

    def scores(step: str) -> dict[str, float]:
        rows = run.scores(step)
        return dict(zip(rows["unit"], rows["effect"], strict=True))

    whole = scores("whole")
    assert len(whole) == 81
    for step in ("some", "strong", "best", "inside", "rest"):
        for unit, effect in scores(step).items():
            assert effect == pytest.approx(whole[unit], abs=1e-4), (step, unit)
    assert set(scores("some")) == {f"L0H{a} -> L1H{b}.k" for a in range(4) for b in range(4)}
    assert set(scores("strong")) == {unit for unit, effect in whole.items() if effect < -1}
    ranked = sorted(whole, key=lambda unit: abs(whole[unit]), reverse=True)
    assert list(scores("best")) == ranked[:3]
    assert len(scores("inside")) == run.circuit("circuit").size
    assert set(scores("inside")) | set(scores("rest")) == set(whole)
    keys = ", ".join(f"L0H2 -> L1H{b}.k" for b in range(4))
    heads = ", ".join(f"L0H{a} -> L1H3.k" for a in range(4))
    assert list(scores("sender"))[2] == f"together({keys})"
    assert list(scores("reader"))[3] == f"together({heads})"


ANSWERS = """
model m = bundled("induction-2l")
dataset d = repeated_tokens(pairs=6, half=8)
metric gap = logit_diff()
step circuit = search edges by acdc(threshold=0.3) from d.corrupt into d.clean measure gap
step greedy  = search (heads -> logits) by greedy(n=3) from d.corrupt into d.clean measure gap
step check   = evaluate circuit on d measure faithfulness(gap), gap
step slopes  = attribute edges by eap_ig(steps=2) from d.corrupt into d.clean measure gap
step patches = patch edges from d.corrupt into d.clean measure gap
"""


def test_the_answers_tokens_alone_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all tokens do; and of the others no logit is made where edges are out."""
    (tmp_path / "x.interp").write_text(ANSWERS)
    made: set[int] = set()
    unembedded = EdgeForward.unembedded

    def watched(self: EdgeForward, x: Tensor) -> Tensor:
        logits = unembedded(self, x)
        made.add(logits.shape[-1])
        return logits

    monkeypatch.setattr(EdgeForward, "unembedded", watched)
    few = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "few")
    n_tokens = made.pop()
    assert not made and n_tokens <= 12
    monkeypatch.setattr("interp_dsl.plan.passes.compares", lambda metrics: False)
    whole = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "whole")
    assert min(made) > n_tokens
    for step in ("circuit", "greedy", "check", "slopes", "patches"):
        ours, theirs = few.scores(step), whole.scores(step)
        assert ours.columns == theirs.columns and len(ours) == len(theirs) > 0
        for column in ours.columns:
            if ours[column].dtype.is_float():
                apart = (ours[column] - theirs[column]).abs().max()
                assert apart is None or apart < 1e-4, (step, column)
            else:
                assert ours[column].equals(theirs[column]), (step, column)


def test_the_example_holds(tmp_path: Path) -> None:
    found = interp_dsl.run(REPOSITORY / "examples" / "paths.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_no_more_is_run_than_the_plan_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"whole": 0, "late": 0}
    run, resumed = EdgeForward.run, EdgeForward.resumed

    def counted(self: EdgeForward, embedded: Tensor, *more: object, **named: object) -> object:
        rows["whole"] += embedded.shape[1]
        return run(self, embedded, *more, **named)  # type: ignore[arg-type]

    def taken_up(self: EdgeForward, layer: int, x: Tensor, *more: object) -> Tensor:
        rows["late"] += len(x)
        return resumed(self, layer, x, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(EdgeForward, "run", counted)
    monkeypatch.setattr(EdgeForward, "resumed", taken_up)
    folder, _, compiled = executors("gpt2", 2, "cpu")
    text = f'model m = checkpoint("{folder}")'
    text += PRELUDE.format(seed=0, names=NAMES, places='["store"]')
    text += "step who = patch edges from ioi.corrupt into ioi.clean measure gap\n"
    checked = check_source(Source(text), allow=[folder])
    assert checked.experiment is not None
    plan = optimise(lower(checked.experiment))
    sweep = plan.tasks[-1]
    assert isinstance(sweep, Sweep) and sweep.packing is not None and sweep.late
    small = replace(sweep, packing=replace(sweep.packing, rows=7, shard=40))
    plan = replace(plan, tasks=(*plan.tasks[:-1], small))
    table(plan, compiled, tmp_path)
    estimate = cost(small, sizes(plan))
    assert rows["late"] == 6 * len(expand(small.intervention.units, lambda step: [], None))
    assert estimate.passes is not None and estimate.is_bound
    assert rows["late"] + rows["whole"] <= estimate.passes
