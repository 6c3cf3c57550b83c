"""Estimates from their tasks, against the mathematics called directly, and against real patches
where these must be the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.attribution import edges as of_edges
from interp_dsl.circuits.attribution.atp_star import atp_star
from interp_dsl.circuits.attribution.direct import direct_logit_attribution
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.hisp import hisp
from interp_dsl.circuits.attribution.nodes import attribution_patching, integrated_gradients
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.data.types import Answer, Data
from interp_dsl.engine import edge_estimates
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.graph import Graph
from interp_dsl.plan.algebra import (
    Constant,
    Edges,
    Explicit,
    FromRun,
    Intervention,
    Mean,
    Metric,
    MetricCall,
    Noise,
    Resample,
    Source,
    Top,
    Units,
    Zero,
)
from interp_dsl.plan.memory import SHARE
from interp_dsl.plan.names import edge_name
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Attribute, AttributeEdges, Forward, Plan, Sweep, Task, Variant
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import is_estimated
from tests.circuits.models import executor_of

from .plans import CLEAN, CORRUPT, END, FIRST, GAP, HEADS, LAST, LOADS, folder_in, sites_in, unit
from .tiny import Given, Tiny, pairs, side, singles

DATA = pairs(n=6, length=5)
KL = Metric("kl", MetricCall("kl"))
OPTIONS: dict[str, dict[str, Any]] = {
    "atp": {},
    "hisp": {},
    "dla": {},
    "ig": {"steps": 3, "at": "inputs", "rule": "right"},
    "atp_star": {"qk_fix": True, "grad_drop": True},
    "eap": {},
    "clean_corrupt": {},
    "eap_ig": {"steps": 3, "at": "inputs", "rule": "right"},
}
SPAN = Positions("label", label="S")
PAIRED = FromRun(CORRUPT)


def attribute(
    units: Units,
    method: str = "atp",
    source: Source = PAIRED,
    verify: int = 0,
    metrics: tuple[Metric, ...] = (GAP,),
    **options: Any,
) -> Attribute:
    held = tuple(sorted({**OPTIONS[method], **options}.items()))
    variant, change = Variant(CLEAN, CORRUPT), Intervention(units, source)
    return Attribute("a", "who", variant, method, held, metrics, CLEAN, change, verify=verify)


def of_edges_task(method: str, source: Source, verify: int = 0, **options: Any) -> AttributeEdges:
    held = tuple(sorted({**OPTIONS[method], **options}.items()))
    variant = Variant(CLEAN, CORRUPT)
    about = (method, held, (GAP, KL), CLEAN)
    return AttributeEdges("a", "who", variant, *about, source, Edges(), verify=verify)


def done(
    task: Task, model: Any, tmp_path: Path, data: Data = DATA, more: tuple[Task, ...] = ()
) -> RunFolder:
    """A run of a task, behind forwards that keep every site that its units name."""
    units = task.intervention.units if isinstance(task, Attribute) else Explicit(())
    sites = (*sites_in(units), Site("embed")) if isinstance(units, Explicit) else ()
    forwards = tuple(Forward(f"f{i}", r, sites, (GAP, KL)) for i, r in enumerate((CLEAN, CORRUPT)))
    folder = folder_in(tmp_path)
    execute(Plan((*LOADS, *forwards, *more, task)), folder, loaders=Given(model, d=data))
    return folder


def table(folder: RunFolder, metric: str = "gap") -> pl.DataFrame:
    return folder.read_table("who").filter(pl.col("metric") == metric)


def by_example(folder: RunFolder) -> np.ndarray:
    return np.asarray(folder.read_tensors("who")["effect"])


def examples(data: Data = DATA) -> Examples:
    """The clean prompts, and the logit difference written out."""
    answers, wrongs = (
        torch.tensor([a.alternatives[0][0] for a in held or ()])
        for held in (data.answers, data.wrongs)
    )

    def gap(logits: Tensor) -> Tensor:
        rows = torch.arange(len(logits))
        return logits[rows, 0, answers] - logits[rows, 0, wrongs]

    clean = data.sides["clean"]
    return Examples(
        torch.from_numpy(clean.tokens), gap, torch.from_numpy(clean.lengths - 1)[:, None]
    )


def corrupt_at(model: Any, *sites: Site) -> dict[Site, Tensor]:
    tokens = torch.from_numpy(DATA.sides["corrupt"].tokens)
    with torch.no_grad():
        found: dict[Site, Tensor] = model.forward(tokens, None, (), sites).sites
    return found


# ---- the mathematics called directly

NODES = (*HEADS.units, unit("mlp_out", 0), unit("mlp_out", 1))
MODEL = "plain"


def test_attribution_patching(tmp_path: Path) -> None:
    model = executor_of(MODEL)
    some = (unit("head", 0, 1), unit("head", 1, 0, LAST), unit("q", 1, 1), unit("neuron", 0, 3))
    sites = sites_in(Explicit(some))
    found = attribution_patching(model, examples(), corrupt_at(model, *sites)).contributions()
    wanted = [
        found[sites[0]][1].sum(1),
        found[sites[1]][0][:, -1],
        found[sites[2]][1].sum(1),
        found[sites[3]][3].sum(1),
    ]
    folder = done(attribute(Explicit(some)), model, tmp_path)
    np.testing.assert_allclose(by_example(folder), torch.stack(wanted), atol=2e-6)
    means = torch.stack(wanted).mean(1)
    np.testing.assert_allclose(table(folder)["effect"], means, atol=2e-6)
    assert table(folder)["value"].is_null().all() and means.abs().max() > 1e-2


@pytest.mark.parametrize("at", ["inputs", "site"])
def test_paths(at: str, tmp_path: Path) -> None:
    model, site = executor_of(MODEL), Site("z", 0)
    source = corrupt_at(model, site, Site("embed"))
    source = source if at == "inputs" else {site: source[site]}
    wanted = (
        integrated_gradients(model, examples(), source, 4, at, "midpoint")
        .contributions()[site]
        .sum(2)
    )
    units = Explicit((unit("z", 0, 0), unit("z", 0, 1)))
    task = attribute(units, "ig", steps=4, at=at, rule="midpoint")
    np.testing.assert_allclose(by_example(done(task, model, tmp_path)), wanted[:2], atol=2e-6)


@pytest.mark.parametrize("grad_drop", [False, True])
def test_atp_star(grad_drop: bool, tmp_path: Path) -> None:
    model, site = executor_of(MODEL), Site("k", 1)
    wanted = atp_star(model, examples(), corrupt_at(model, site), True, grad_drop)[site][1]
    units = Explicit((unit("k", 1, 1), unit("k", 1, 1, FIRST)))
    folder = done(attribute(units, "atp_star", grad_drop=grad_drop), model, tmp_path)
    np.testing.assert_allclose(by_example(folder)[0], wanted.sum(1), atol=2e-6)
    np.testing.assert_allclose(by_example(folder)[1], wanted[:, 0], atol=2e-6)
    assert wanted.abs().max() > 1e-4


def test_head_importance_has_no_single_examples(tmp_path: Path) -> None:
    model = executor_of(MODEL)
    plain = by_example(done(attribute(Explicit(NODES)), model, tmp_path / "plain"))
    layers = torch.tensor([u.targets[0].site.layer for u in NODES])
    wanted = hisp(torch.from_numpy(plain).double(), layers)
    folder = done(attribute(Explicit(NODES), "hisp"), model, tmp_path / "hisp")
    np.testing.assert_allclose(table(folder)["effect"], wanted, rtol=1e-5)
    assert table(folder)["low"].is_null().all() and table(folder)["normalized"].is_null().all()
    assert folder.read_tensors("who").keys() == {"base"}


def test_direct_attribution_adds_up(tmp_path: Path) -> None:
    model = executor_of(MODEL)
    forward = EdgeForward(model.model, Graph(model.facts.shape, split_embed=True))
    direct = direct_logit_attribution(forward, examples())
    every = [Unit((t,)) for t in (Target(Site("embed")), Target(Site("pos_embed")))]
    heads = range(model.facts.shape.n_heads)
    for layer in range(model.facts.shape.n_layers):
        every += [unit("head", layer, h) for h in heads] + [unit("mlp_out", layer)]
    folder = done(attribute(Explicit(tuple(every)), "dla", Zero()), model, tmp_path)
    np.testing.assert_allclose(by_example(folder), direct.senders, atol=2e-6)
    base = folder.read_tensors("who")["base"][0]
    np.testing.assert_allclose(by_example(folder).sum(0) + direct.bias.numpy(), base, atol=1e-5)


@pytest.mark.parametrize("method", ["eap", "clean_corrupt", "inputs", "activations"])
def test_edges(method: str, tmp_path: Path) -> None:
    model = executor_of(MODEL)
    graph = Graph(model.facts.shape)
    forward = EdgeForward(model.model, graph)
    ablated = forward.outputs(torch.from_numpy(DATA.sides["corrupt"].tokens))
    function = {
        "eap": of_edges.eap,
        "clean_corrupt": of_edges.clean_corrupt,
        "inputs": lambda *given: of_edges.eap_ig(*given, 3),
        "activations": lambda *given: of_edges.eap_ig_activations(*given, 3),
    }[method]
    wanted = function(forward, examples(), ablated)
    options = {} if method in OPTIONS else {"at": method}
    task = of_edges_task("eap_ig" if options else method, PAIRED, **options)
    folder = done(task, model, tmp_path)
    assert table(folder)["unit"].to_list() == [edge_name(*edge) for edge in graph.edges]
    np.testing.assert_allclose(by_example(folder)[::2], wanted.T, atol=2e-6)


# ---- real patches

LINEAR = [Zero(), Constant(0.5), Noise(0.3), PAIRED, Resample(CORRUPT, 1), Mean(CORRUPT)]


@pytest.mark.parametrize("source", LINEAR, ids=lambda s: type(s).__name__)
def test_what_goes_to_the_logits_in_a_straight_line_is_estimated_exactly(
    source: Source, tmp_path: Path
) -> None:
    """Tiny has no norms: its logits are linear in what the last MLP writes, and in the last
    stream. The estimate then is the patch, at any positions and in any company."""
    last = [unit("mlp_out", 1, at=at) for at in (ALL, END, SPAN, FIRST)]
    stream = unit("resid_post", 1, at=END)
    both = Unit((*unit("mlp_out", 1, at=FIRST).targets, *unit("mlp_out", 1, at=END).targets))
    units = Explicit((*last, stream, both))
    folder = done(attribute(units, source=source, verify=9), Tiny(), tmp_path)
    found = table(folder)
    assert found["verified"].null_count() == 0
    np.testing.assert_allclose(found["effect"], found["verified"], atol=1e-5)
    assert found["effect"].abs().max() > 1e-2
    about = folder.step_facts("who")
    assert about["estimated"] == "atp" and about["verified"]["gap"]["pearson"] > 0.999


def test_a_patch_is_run_for_the_largest_alone(tmp_path: Path) -> None:
    folder = done(attribute(HEADS, verify=2, metrics=(GAP, KL)), Tiny(), tmp_path)
    found = table(folder)
    best = found.sort(pl.col("effect").abs(), descending=True)["unit"][:2].to_list()
    some = found.filter(pl.col("verified").is_not_null())
    assert sorted(some["unit"]) == sorted(best)
    by_kl = table(folder, "kl").filter(pl.col("verified") > 0)
    assert by_kl["unit"].to_list() == some["unit"].to_list()
    assert "verified" not in folder.step_facts("who")  # two are too few to compare
    variants, change = (Variant(CLEAN, CORRUPT),), Intervention(HEADS, PAIRED)
    sweep = Sweep("s", "real", variants, change, (GAP,), CLEAN)
    real = done(sweep, Tiny(), tmp_path / "real", more=(_keeping(),)).read_table("real")
    wanted = real.filter(pl.col("unit").is_in(best))["effect"]
    np.testing.assert_allclose(some["verified"], wanted, atol=1e-6)


def _keeping() -> Forward:
    return Forward("k", CORRUPT, sites_in(HEADS), (GAP, KL))


def test_an_edge_is_patched_for_real(tmp_path: Path) -> None:
    """What goes straight to the logits, with nothing behind it but the final norm; all else by
    hand: every edge but one kept."""
    model = executor_of(MODEL)
    graph = Graph(model.facts.shape)
    forward = EdgeForward(model.model, graph)
    given = examples()
    ablated = forward.outputs(torch.from_numpy(DATA.sides["corrupt"].tokens))
    folder = done(of_edges_task("eap_ig", PAIRED, verify=3), model, tmp_path)
    some = table(folder).filter(pl.col("verified").is_not_null())
    assert len(some) == 3
    names = [edge_name(*edge) for edge in graph.edges]
    for name, verified in some.select("unit", "verified").iter_rows():
        kept = torch.ones(graph.n_edges, dtype=torch.bool)
        whole = given.metric(forward.logits(given.tokens, kept, ablated, given.reads))
        kept[names.index(name)] = False
        out = given.metric(forward.logits(given.tokens, kept, ablated, given.reads))
        assert verified == pytest.approx(float((out - whole).mean()), abs=1e-5)


# ---- rows, batches, what is refused


def test_rows_say_that_they_are_estimates(tmp_path: Path) -> None:
    folder = done(attribute(HEADS, metrics=(GAP, KL)), Tiny(), tmp_path)
    rows = folder.read_table("who")
    assert is_estimated(rows) and rows["verified"].is_null().all()
    assert rows["metric"].to_list() == ["gap", "kl"] * 4
    base = folder.read_tensors("who")["base"]
    np.testing.assert_allclose(rows["base"], base.mean(1), atol=1e-6)
    assert (rows["low"] <= rows["effect"]).all() and (rows["effect"] <= rows["high"]).all()
    assert (table(folder, "kl")["effect"].abs() < 1e-6).all()  # at the clean run it has no slope


def test_batches_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = (attribute(HEADS, "ig"), of_edges_task("eap_ig", Mean(CORRUPT)))
    models = (Tiny(), executor_of(MODEL))
    whole = [by_example(done(t, m, tmp_path / "a")) for t, m in zip(tasks, models, strict=True)]
    monkeypatch.setattr("interp_dsl.engine.site_estimates.SLOPED", 1)
    monkeypatch.setattr("interp_dsl.engine.edges.WRITTEN", 1)
    small = [by_example(done(t, m, tmp_path / "b")) for t, m in zip(tasks, models, strict=True)]
    for a, b in zip(whole, small, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_a_batch_of_edges_is_no_larger_than_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slopes keep several times what senders write: so much fewer of it is made at once."""
    batches: list[Tensor] = []

    def eap(forward: EdgeForward, examples: Examples, ablated: Tensor, options: object) -> Tensor:
        batches.append(ablated)
        return torch.zeros(len(examples.tokens), forward.graph.n_edges)

    monkeypatch.setitem(edge_estimates.METHODS, "eap", eap)
    done(of_edges_task("eap", FromRun(CORRUPT)), executor_of(MODEL), tmp_path / "a")
    n = DATA.n
    whole = batches[0]
    assert {one.shape for one in batches} == {whole.shape} and whole.shape[1] == n
    batches.clear()
    monkeypatch.setattr("interp_dsl.engine.edges.WRITTEN", SHARE * whole.numel() // 2)
    done(of_edges_task("eap", FromRun(CORRUPT)), executor_of(MODEL), tmp_path / "b")
    assert {one.shape[1] for one in batches} == {n // 2}


def test_units_of_an_earlier_step(tmp_path: Path) -> None:
    first = attribute(HEADS, "atp")
    top = Intervention(Top("who", 2, "gap"), PAIRED)
    real = Sweep("s", "real", (Variant(CLEAN, CORRUPT),), top, (GAP,), CLEAN)
    folder = done(real, Tiny(), tmp_path, more=(_keeping(), first))
    best = table(folder).sort(pl.col("effect").abs(), descending=True)["unit"][:2].to_list()
    assert folder.read_table("real")["unit"].to_list() == best


def test_prompts_of_different_lengths(tmp_path: Path) -> None:
    """At a label, where the sides' own tokens answer to each other."""
    ends = {"clean": [(2, 3), (4, 5)], "corrupt": [(3, 4), (2, 3)]}
    prompts = {"clean": [[1, 2, 3], [4, 5, 6, 7, 8]], "corrupt": [[1, 9, 9, 3], [4, 2, 8]]}
    sides = {k: side(k, p, END=ends[k]) for k, p in prompts.items()}
    data = Data("uneven", sides, singles(1, 2), singles(3, 4))
    task = attribute(Explicit((unit("mlp_out", 1, at=END),)), verify=1)
    folder = done(task, Tiny(), tmp_path, data)
    row = table(folder).row(0, named=True)
    assert row["effect"] == pytest.approx(row["verified"], abs=1e-5)
    assert abs(row["effect"]) > 1e-3


ACROSS = Unit((*HEADS.units[0].targets, *HEADS.units[3].targets))
OVERLAPPING = Unit((*unit("head", 0, 1).targets, *unit("head", 0, 1, END).targets))
LONG = Metric("logprob", MetricCall("logprob"))


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (attribute(Explicit((OVERLAPPING,))), "E654"),
        (attribute(Explicit((unit("head", 0, 0, END),)), "dla", Zero()), "E654"),
        (attribute(Explicit((unit("q", 0, 0),)), "dla", Zero()), "E654"),
        (attribute(Explicit((ACROSS,)), "hisp"), "E654"),
        (attribute(Explicit(())), "E643"),
        (attribute(HEADS, metrics=(LONG,)), "E651"),
    ],
    ids=["overlap", "position", "query", "layers", "none", "sequence"],
)
def test_what_is_refused(task: Attribute, code: str, tmp_path: Path) -> None:
    data = DATA
    if code == "E651":
        answers = (Answer(((1, 2),)),) * 6
        data = Data("long", DATA.sides, answers, template=DATA.template)
    more = () if code != "E651" else (Forward("l", CLEAN, (), (LONG,)),)
    with pytest.raises(InterpError) as caught:
        _plain(task, data, more, tmp_path)
    assert caught.value.diagnostics[0].code == code


def _plain(task: Attribute, data: Data, more: tuple[Task, ...], tmp_path: Path) -> None:
    forwards = more or (Forward("f", CLEAN, sites_in(HEADS), (GAP,)), _keeping())
    plan = Plan((*LOADS, *forwards, task))
    execute(plan, folder_in(tmp_path), loaders=Given(executor_of(MODEL), d=data))


@pytest.mark.parametrize("method", ["atp_star", "dla"])
def test_methods_that_the_hooks_do_not_run(method: str, tmp_path: Path) -> None:
    with pytest.raises(InterpError) as caught:
        done(attribute(HEADS, method), Tiny(), tmp_path)
    assert caught.value.diagnostics[0].code == "E650"
