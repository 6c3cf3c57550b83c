"""Edges patched and ablated, against hooks: what a receiver reads alone is moved by how the sender
differs, and nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformer_lens import patching

from interp_dsl.data.types import Data
from interp_dsl.engine.execute import execute
from interp_dsl.engine.sources import draws
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit
from interp_dsl.models.graph import Edge, Graph
from interp_dsl.models.load import load
from interp_dsl.plan.algebra import (
    Constant,
    Edges,
    Explicit,
    FromRun,
    Mean,
    Metric,
    MetricCall,
    Resample,
    Source,
    Zero,
)
from interp_dsl.plan.names import target_of
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Plan, Sweep
from interp_dsl.runs.folder import RunFolder
from tests.circuits.models import executor_of
from tests.models.checkpoints import tiny

from .plans import CLEAN, CORRUPT, END, GAP, LAST, Ran, folder_in, run, sweep_plan
from .tiny import Given, Tiny, pairs

DATA = pairs(n=3, length=5)
PAIRED = FromRun(CORRUPT)
S = Positions("label", label="S")


def edges(*names: str, at: Positions = ALL) -> Unit:
    return Unit(tuple(Target(Site("edge", edge=name), None, at) for name in names))


def plan(units: Sequence[Unit], source: Source = PAIRED, graph: Edges = Edges(), **options) -> Plan:  # noqa: B008
    """A sweep over edges; the runs that it is measured from and normalised by."""
    late = options.pop("late", True)
    options = {"sites": (), "rows": 7, **options}
    made = sweep_plan(Explicit(tuple(units)), source, **options)
    return replace(made, tasks=(*made.tasks[:-1], replace(made.tasks[-1], edges=graph, late=late)))


def swept(units: Sequence[Unit], source: Source, name: str, path: Path, **options) -> Ran:
    return run(plan(units, source, **options), executor_of(name), path, d=DATA)


def read_gap(logits: Tensor, data: Data, side: str) -> Tensor:
    """The logit of the answer less that of the wrong one [n], where a side is read."""
    rows, read = torch.arange(data.n), torch.from_numpy(data.sides[side].read)
    assert data.answers and data.wrongs
    right, wrong = (
        torch.tensor([answer.alternatives[0][0] for answer in held])
        for held in (data.answers, data.wrongs)
    )
    return logits[rows, read, right] - logits[rows, read, wrong]


class Hooks:
    """The same by edits of the plain executor."""

    def __init__(self, executor: CompiledExecutor, data: Data = DATA) -> None:
        self.executor, self.data = executor, data
        self.shape = executor.facts.shape
        layers = range(self.shape.n_layers)
        self.sites = [Site("embed"), *(Site("head", layer) for layer in layers)]
        if self.shape.positional == "standard":
            self.sites.append(Site("pos_embed"))
        if not self.shape.attn_only:
            self.sites += [Site("mlp_out", layer) for layer in layers]
        self.base, self.other = (self.written(side) for side in ("clean", "corrupt"))

    def written(self, side: str) -> dict[str, Tensor]:
        """What each sender writes [n, T, D]; `embed` is both embeddings together."""
        tokens = torch.from_numpy(self.data.sides[side].tokens)
        held = self.executor.forward(tokens, None, sites=tuple(self.sites)).sites
        found: dict[str, Tensor] = {}
        for site, x in held.items():
            indices = range(x.shape[2]) if site.kind == "head" else [None]
            for index in indices:
                found[Target(site, index).place] = x[:, :, index or 0]
        found["both"] = sum(
            (x for name, x in found.items() if name.endswith("embed")), torch.zeros(())
        )
        return found

    def values(
        self, ends: Sequence[tuple[str, str, str]], ablated: dict[str, Tensor], at: Positions = ALL
    ) -> Tensor:
        """The gap [n] where each (sender, target, channel) carries `ablated` [n, T, D]."""
        where = State(0, {}, {"d": self.data}).slots(CLEAN, at).index
        return self.gap("clean", [self.edit(*end, ablated, where) for end in ends])

    def gap(self, name: str, edits: Sequence[Edit] = ()) -> Tensor:
        """The gap [n] of a side."""
        side = self.data.sides[name]
        logits = self.executor.forward(torch.from_numpy(side.tokens), None, edits).logits
        return read_gap(logits, self.data, name)

    def edit(
        self, sender: str, target: str, channel: str, ablated: dict[str, Tensor], where: Tensor
    ) -> Edit:
        rows, index = torch.arange(self.data.n), torch.zeros(self.data.n, dtype=torch.long)
        if target == "logits":
            site = Site("resid_post", self.shape.n_layers - 1)
        elif channel == "mlp":
            site = Site("mlp_in", target_of(target).site.layer)
        else:
            site = Site(f"{channel}_input", target_of(target).site.layer)
            index = index + (target_of(target).index or 0)
        sender = "both" if sender == "embed" else sender
        moved = (ablated[sender] - self.base[sender])[rows[:, None], where]
        valid = torch.ones_like(where, dtype=torch.bool)
        return Edit(site, rows, index, where, valid, moved, "add")


def receiving(shape, edge: Edge) -> list[tuple[str, str]]:
    """The receivers of what hooks change at one place, and that place: for keys and values all
    query heads of a group."""
    size = shape.n_heads // shape.n_kv_heads if edge.channel in "kv" else 1
    if size == 1:
        return [(edge.target, edge.target)]
    found = target_of(edge.target)
    group = (found.index or 0) // size
    layer = found.site.layer
    heads = range(group * size, group * size + size)
    return [(f"L{layer}H{head}", f"L{layer}H{group}") for head in heads]


FAMILIES = ("plain", "attn_only", "gpt2", "gpt_neox", "gpt_neox_sequential", "llama", "mistral")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_edge_equals_its_hook(name: str, tmp_path: Path) -> None:
    hooks = Hooks(executor_of(name))
    wanted: dict[Unit, Tensor] = {}
    for edge in Graph(hooks.shape).edges:
        ends = receiving(hooks.shape, edge)
        dot = f".{edge.channel}" if edge.channel in "qkv" else ""
        unit = edges(*(f"{edge.source} -> {head}{dot}" for head, _ in ends))
        wanted[unit] = hooks.values([(edge.source, ends[0][1], edge.channel)], hooks.other)
    ran = swept(list(wanted), PAIRED, name, tmp_path)
    assert (np.abs(ran.table["effect"]) > 1e-3).mean() > 0.3
    assert ran.table["unit"].to_list() == [unit.place for unit in wanted]
    np.testing.assert_allclose(ran.values, torch.stack(list(wanted.values())), atol=2e-5)


def test_a_head_reads_its_own_of_a_shared_key(tmp_path: Path) -> None:
    """With grouped queries, one head's edge is not the group's."""
    one, two = "L0H0 -> L1H0.k", "L0H0 -> L1H1.k"
    ran = swept([edges(one), edges(two), edges(one, two)], PAIRED, "llama", tmp_path)
    hooks = Hooks(executor_of("llama"))
    wanted = hooks.values([("L0H0", "L1H0", "k")], hooks.other)
    np.testing.assert_allclose(ran.values[2], wanted, atol=2e-5)
    first, second, both = (row["effect"] for row in ran.rows())
    assert len({round(x, 5) for x in (first, second, both)}) == 3


def test_an_edge_to_a_head_is_its_three_inputs(tmp_path: Path) -> None:
    hooks = Hooks(executor_of("plain"))
    ran = swept([edges("L0.mlp -> L1H2")], PAIRED, "plain", tmp_path)
    wanted = hooks.values([("L0.mlp", "L1H2", c) for c in "qkv"], hooks.other)
    np.testing.assert_allclose(ran.values[0], wanted, atol=2e-5)


def test_several_edges_at_once_and_at_positions(tmp_path: Path) -> None:
    hooks = Hooks(executor_of("plain"))
    names = ("embed -> L0.mlp", "L0H1 -> L1H3.v")
    ends = [("embed", "L0.mlp", "mlp"), ("L0H1", "L1H3", "v")]
    units = [
        edges(*names),
        edges("embed -> L0.mlp", at=S),
        edges("L0H1 -> L1H3.v", at=S),
        edges("L0H1 -> logits", at=LAST),
        edges("L0H1 -> logits"),
        edges("L0H1 -> logits", at=Positions("first")),
    ]
    ran = swept(units, PAIRED, "plain", tmp_path)
    wanted = [
        hooks.values(ends, hooks.other),
        hooks.values(ends[:1], hooks.other, S),
        hooks.values(ends[1:], hooks.other, S),
        hooks.values([("L0H1", "logits", "logits")], hooks.other, END),
    ]
    np.testing.assert_allclose(ran.values[:4], torch.stack(wanted), atol=2e-5)
    np.testing.assert_allclose(ran.values[3], ran.values[4], atol=2e-5)
    np.testing.assert_allclose(ran.table["effect"][5], 0, atol=2e-5)
    assert ran.table["position"].to_list() == ["all", "S", "S", "last", "all", "first"]


def test_the_embeddings_apart(tmp_path: Path) -> None:
    """The positions are the same on both sides: all of the embedding's effect is the tokens'."""
    units = [edges("embed -> L0H0.v"), edges("pos_embed -> L0H0.v")]
    apart = swept(units, PAIRED, "gpt2", tmp_path / "a", graph=Edges(split_embed=True))
    whole = swept(units[:1], PAIRED, "gpt2", tmp_path / "b")
    np.testing.assert_allclose(apart.values[0], whole.values[0], atol=2e-5)
    np.testing.assert_allclose(apart.table["effect"][1], 0, atol=2e-5)


def test_ablations(tmp_path: Path) -> None:
    executor = executor_of("plain")
    hooks = Hooks(executor)
    drawn = draws(CORRUPT, CLEAN, 3, State(0, {"m": executor}, {"d": DATA}))
    ends, unit = ("L0H1", "L1H3", "v"), edges("L0H1 -> L1H3.v")

    def same(name: str, source: Source, value: Tensor) -> None:
        ran = swept([unit], source, "plain", tmp_path / name, other=None)
        wanted = hooks.values([ends], {"L0H1": value.expand_as(hooks.base["L0H1"])})
        np.testing.assert_allclose(ran.values[0], wanted, atol=2e-5)
        assert ran.table["normalized"].null_count() == 1

    other = hooks.other["L0H1"]
    same("zero", Zero(), torch.zeros(()))
    same("number", Constant(0.5), torch.tensor(0.5))
    same("mean", Mean(CORRUPT), other.mean(0, keepdim=True))
    same("all", Mean(CORRUPT, "all"), other.mean((0, 1), keepdim=True))
    same("resample", Resample(CORRUPT, 3), other[drawn])


def test_identities(tmp_path: Path) -> None:
    """A run patched into itself changes nothing; all edges at once from another run, and nothing is
    left of this one."""
    graph = Graph(executor_of("plain").facts.shape)
    names = [str(edge) for edge in graph.edges]
    same = swept([edges(n) for n in names], FromRun(CLEAN), "plain", tmp_path / "s", other=None)
    np.testing.assert_allclose(same.table["effect"], 0, atol=1e-5)
    whole = swept([edges(*names)], PAIRED, "plain", tmp_path / "w")
    wanted = Hooks(executor_of("plain")).gap("corrupt")
    np.testing.assert_allclose(whole.values[0], wanted, atol=2e-5)


def test_edges_into_linear_logits_add_up(tmp_path: Path) -> None:
    """Without norms the gap is linear in the final stream: single effects sum to the joint one,
    which is the whole difference."""
    shape = executor_of("attn_only").facts.shape
    names = [str(e) for e in Graph(shape).edges if e.target == "logits"]
    ran = swept([edges(n) for n in names] + [edges(*names)], PAIRED, "attn_only", tmp_path)
    effect = ran.table["effect"]
    np.testing.assert_allclose(effect[:-1].sum(), effect[-1], atol=1e-4)
    whole = Hooks(executor_of("attn_only")).gap("corrupt")
    np.testing.assert_allclose(ran.values[-1], whole, atol=2e-5)


def test_a_batch_of_any_size_gives_the_same(tmp_path: Path) -> None:
    names = ["L0H1 -> L1H3.v", "embed -> L0.mlp", "L1H0 -> logits"]
    units = [*map(edges, names), edges(names[0], at=S)]
    kl = Metric("kl", MetricCall("kl"))
    found = []
    ways = [(1, 1, True), (2, 3, True), (100, None, True), (9, 2, False)]
    for number, (rows, shard, late) in enumerate(ways):
        made = plan(units, metrics=(GAP, kl), rows=rows, shard=shard, late=late)
        found.append(run(made, executor_of("plain"), tmp_path / str(number), d=DATA))
    for other in found[1:]:
        assert other.table["unit"].to_list() == found[0].table["unit"].to_list()
        np.testing.assert_allclose(other.values, found[0].values, atol=1e-5)
    assert found[0].table["low"].null_count() == 0


def test_a_stopped_sweep_goes_on_after_its_last_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interp_dsl.engine import edge_sweep

    units = [edges(str(edge)) for edge in Graph(executor_of("plain").facts.shape).edges[:6]]
    made, given = plan(units, shard=2), Given(executor_of("plain"), d=DATA)
    whole = run(made, executor_of("plain"), tmp_path / "whole", d=DATA)
    plain, seen = edge_sweep.EdgeSweeper.run, []

    def dies(self, shard):
        if len(seen) == 2:
            raise RuntimeError("lost")
        seen.append(shard.number)
        return plain(self, shard)

    monkeypatch.setattr(edge_sweep.EdgeSweeper, "run", dies)
    folder = folder_in(tmp_path)
    with pytest.raises(RuntimeError, match="lost"):
        execute(made, folder, loaders=given)
    seen.clear()
    again = RunFolder.open(folder.path)
    assert execute(made, again, loaders=given).status == "done"
    assert seen == [2]
    assert again.read_table("who").equals(whole.table)
    told = [e for e in again.events() if e["event"] == "progress" and e["task"] == "s"]
    assert (told[-1]["done"], told[-1]["total"]) == (6, 6)


def test_what_is_no_edge_is_refused(tmp_path: Path) -> None:
    for model, unit, code in (
        (executor_of("plain"), edges("L1H0 -> L0H0.q"), "E201"),
        (executor_of("plain"), edges("L0H0 -> L7H0.q"), "E201"),
        (Tiny(), edges("L0H0 -> L1H0.q"), "E650"),
    ):
        with pytest.raises(InterpError) as caught:
            run(plan([unit]), model, tmp_path / f"{code}{unit.place}", d=DATA)
        assert caught.value.diagnostics[0].code == code


def test_a_sweep_of_edges_has_a_key_of_its_own() -> None:
    made = plan([edges("L0H0 -> L1H0.q")]).tasks[-1]
    assert isinstance(made, Sweep) and made.edges == Edges()


def test_direct_paths_equal_transformer_lens(tmp_path: Path) -> None:
    spec = {"kind": "checkpoint", "folder": str(tiny("gpt2"))}
    bridge = load(spec, "cpu", executor="hooked").bridge
    tokens = {name: torch.from_numpy(side.tokens) for name, side in DATA.sides.items()}
    caches = {side: bridge.run_with_cache(tokens[side])[1] for side in tokens}
    for channel in "qkv":
        units = [edges(f"L0H{a} -> L1H{b}.{channel}") for a in range(4) for b in range(4)]
        ran = swept(units, PAIRED, "gpt2", tmp_path / channel)
        wanted = [
            patching.get_act_patch_direct_path(
                bridge, tokens["clean"], caches["corrupt"], caches["clean"],
                lambda logits: read_gap(logits, DATA, "clean").mean(), 0, head, channel, False,
            )[1]
            for head in range(4)
        ]  # fmt: skip
        np.testing.assert_allclose(ran.table["value"], torch.cat(wanted), atol=1e-5)
        assert np.abs(ran.table["effect"]).max() > 1e-4
