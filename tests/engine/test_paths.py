"""Paths of several edges, and what else lets an effect through, against loops by hand: a hop at a
time, a node at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.edits import Edit
from interp_dsl.models.graph import Graph
from interp_dsl.plan.algebra import Travel
from interp_dsl.plan.names import hops, target_of
from interp_dsl.plan.places import Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Sweep
from tests.circuits.models import double, executor_of
from tests.circuits.plain import Plain

from .plans import LAST, Ran, run
from .test_edge_sweep import DATA, Hooks, edges, plan, read_gap

FAMILIES = ("plain", "attn_only", "gpt2", "gpt_neox", "llama", "gemma2")
EVERYTHING = torch.arange(DATA.sides["clean"].tokens.shape[1]).expand(DATA.n, -1)


def swept(units: list[Unit], name: str, path: Path, travel: Travel | None = None, **options) -> Ran:  # type: ignore[no-untyped-def]
    made = plan(units, **options)
    sweep = made.tasks[-1]
    assert isinstance(sweep, Sweep)
    made = replace(made, tasks=(*made.tasks[:-1], replace(sweep, travel=travel)))
    return run(made, executor_of(name), path, d=DATA)


class ByFormula(Plain):
    """The plain loop, with paths walked hop by hop. `frozen`: roots of norms are taken as they
    were, in turn, in the run of the same example that nothing is changed in."""

    def __init__(self, name: str, frozen: bool = False) -> None:
        model = double(name)
        super().__init__(model, Graph(model.description.shape))
        self.frozen, self.roots = frozen, list[Tensor]()
        self.replays: list[Tensor] | None = None
        clean, corrupt = (torch.from_numpy(DATA.sides[s].tokens) for s in ("clean", "corrupt"))
        self.tokens, self.other = clean, self.outputs(corrupt)

    def root(self, x: Tensor) -> Tensor:
        if self.replays is not None:
            return self.replays.pop(0)
        found = super().root(x)
        self.roots.append(found)
        return found

    def gap(self, *paths: str) -> Tensor:
        """The gap [n] with paths that share no node between changed at once."""
        rows = [self._example(row, paths) for row in range(DATA.n)]
        return read_gap(torch.stack(rows).float(), DATA, "clean")

    def _example(self, row: int, paths: tuple[str, ...]) -> Tensor:
        tokens = self.tokens[row]
        self.replays, self.roots = None, []
        size = (len(self.graph.senders), len(tokens), self.shape.d_model)
        self._run(tokens, [], torch.zeros(size).double())
        roots = self.roots
        ablated, last = self.other[:, row].clone(), []
        for path in paths:
            walked = self.other[:, row]
            *inner, final = hops(path)
            for hop, then in pairwise([*inner, final]):
                self.replays = list(roots) if self.frozen else None
                written = self._run(tokens, [hop], walked)[1]
                node = then.partition(" -> ")[0]
                walked = walked.clone()
                walked[self.graph.senders.index(node)] = written[node]
            sender = self.graph.senders.index(final.partition(" -> ")[0])
            ablated[sender] = walked[sender]
            last.append(final)
        self.replays = list(roots) if self.frozen else None
        return self._run(tokens, last, ablated)[0]

    def _run(
        self, tokens: Tensor, out: list[str], ablated: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        kept = torch.ones(self.graph.n_edges).double()
        for name in out:
            start, _, end = name.partition(" -> ")
            for number, edge in enumerate(self.graph.edges):
                if edge.source == start and end in (edge.target, str(edge).partition(" -> ")[2]):
                    kept[number] = 0
        return self.one(tokens, kept, ablated, None)


def paths_of(name: str) -> list[str]:
    """Paths through queries, keys, values, whole heads and MLPs of a model of two layers."""
    heads = ["L0H1 -> L1H3.k -> logits", "L0H0 -> L1H2.q -> logits", "embed -> L0H1.v -> logits"]
    heads += [
        "embed -> L0H1 -> L1H0.v",
        "L0H2 -> L1H1 -> logits",
        "embed -> L0H3.v -> L1H0.k -> logits",
    ]
    mlps = ["L0H1 -> L0.mlp -> L1H3.k", "embed -> L0.mlp -> L1.mlp -> logits"]
    shape = executor_of(name).facts.shape
    if shape.attn_only:
        return heads
    return heads + (mlps[1:] if shape.parallel else mlps)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_path_equals_its_formula(name: str, tmp_path: Path) -> None:
    paths = paths_of(name)
    ran = swept([edges(path) for path in paths], name, tmp_path)
    byhand = ByFormula(name)
    assert ran.table["unit"].to_list() == paths
    np.testing.assert_allclose(ran.values, torch.stack([byhand.gap(p) for p in paths]), atol=2e-5)
    assert np.abs(ran.table["effect"]).max() > 1e-3


@pytest.mark.parametrize("name", ["plain", "gpt2", "gpt_neox"])
def test_a_path_equals_its_hooks(name: str, tmp_path: Path) -> None:
    """Each hop a run of its own with one edit, of which only what the next node writes is kept."""
    hooks = Hooks(executor_of(name))
    paths = paths_of(name)
    wanted = []
    for path in paths:
        value = hooks.other
        *inner, final = hops(path)
        for hop, then in pairwise([*inner, final]):
            node = then.partition(" -> ")[0]
            value = value | {node: written(hooks, [*split(hop)], value, node)}
        wanted.append(hooks.values([*split(final)], value))
    ran = swept([edges(path) for path in paths], name, tmp_path)
    np.testing.assert_allclose(ran.values, torch.stack(wanted), atol=2e-5)


def split(edge: str) -> list[tuple[str, str, str]]:
    """An edge as hooks take it; of one to a whole head, three."""
    start, _, end = edge.partition(" -> ")
    node, _, channel = end.rpartition(".")
    if channel in ("q", "k", "v"):
        return [(start, node, channel)]
    if end == "logits" or end.endswith(".mlp"):
        return [(start, end, end.rpartition(".")[2])]
    return [(start, end, channel) for channel in "qkv"]


def written(
    hooks: Hooks, ends: list[tuple[str, str, str]], ablated: dict[str, Tensor], node: str
) -> Tensor:
    """What a node writes [n, T, D] where these edges carry `ablated`."""
    target = target_of(node)
    edits = [hooks.edit(*end, ablated, EVERYTHING) for end in ends]
    tokens = torch.from_numpy(DATA.sides["clean"].tokens)
    held = hooks.executor.forward(tokens, None, edits, sites=(target.site,)).sites[target.site]
    return held[:, :, target.index or 0]


def test_paths_at_once(tmp_path: Path) -> None:
    """Nodes of one path do not see another's, and those that share a node give it both."""
    byhand = ByFormula("plain")
    apart = ["L0H1 -> L1H3.k -> logits", "L0H1 -> L1.mlp -> logits", "L0H2 -> L1H0 -> logits"]
    ran = swept([edges(*apart), edges(*apart, "L0H1 -> logits")], "plain", tmp_path / "a")
    np.testing.assert_allclose(ran.values[0], byhand.gap(*apart), atol=2e-5)
    np.testing.assert_allclose(ran.values[1], byhand.gap(*apart, "L0H1 -> logits"), atol=2e-5)
    shared = edges(
        "L0H1 -> L1H3.k -> logits", "L0H2 -> L1H3.k -> logits", "L0H2 -> L1H3.v -> logits"
    )
    ran = swept([shared], "plain", tmp_path / "b")
    hooks = Hooks(executor_of("plain"))
    ends = [("L0H1", "L1H3", "k"), ("L0H2", "L1H3", "k"), ("L0H2", "L1H3", "v")]
    both = {"L1H3": written(hooks, ends, hooks.other, "L1H3")}
    wanted = hooks.values([("L1H3", "logits", "logits")], both)
    np.testing.assert_allclose(ran.values[0], wanted, atol=2e-5)


def test_positions_are_the_last_receivers(tmp_path: Path) -> None:
    paths = ["L0H1 -> L1H3.k -> logits", "embed -> L0H1 -> L1H0.v"]
    everywhere = swept([edges(p) for p in paths], "plain", tmp_path / "a")
    at_end = swept([edges(p, at=LAST) for p in paths], "plain", tmp_path / "b")
    np.testing.assert_allclose(at_end.values[0], everywhere.values[0], atol=2e-5)
    assert np.abs(at_end.values[1] - everywhere.values[1]).max() > 1e-4
    hooks = Hooks(executor_of("plain"))
    moved = {"L0H1": written(hooks, split("embed -> L0H1"), hooks.other, "L0H1")}
    np.testing.assert_allclose(
        at_end.values[1], hooks.values([("L0H1", "L1H0", "v")], moved, LAST), atol=2e-5
    )


def test_each_position_by_itself(tmp_path: Path) -> None:
    """A unit a position, the path before the last receiver at all of them."""
    hooks = Hooks(executor_of("plain"))
    moved = {"L0H1": written(hooks, split("embed -> L0H1"), hooks.other, "L0H1")}
    places = [Positions("index", index=i) for i in range(EVERYTHING.shape[1])]
    ran = swept([edges("embed -> L0H1 -> L1H0.v", at=p) for p in places], "plain", tmp_path)
    wanted = [hooks.values([("L0H1", "L1H0", "v")], moved, p) for p in places]
    np.testing.assert_allclose(ran.values, torch.stack(wanted), atol=2e-5)
    assert ran.table["position"].to_list() == [str(p) for p in places]


def test_paths_that_make_others_are_refused(tmp_path: Path) -> None:
    crossed = edges("L0H0 -> L1H0.k -> logits", "L0H1 -> L1H0.k -> L1.mlp")
    sender = edges("L0H0 -> L1H0.k -> logits", "L1H0 -> L1.mlp")
    carried = edges("L0H0 -> L1H0.k", "embed -> logits")
    through = Travel(through=("mlps",))
    for number, (unit, travel) in enumerate(((crossed, None), (sender, None), (carried, through))):
        with pytest.raises(InterpError) as caught:
            swept([unit], "plain", tmp_path / str(number), travel)
        assert caught.value.diagnostics[0].code == "E657"
    whole = edges("L0H0 -> L1H0.k -> logits", "L1H0 -> logits")
    ran = swept([whole, edges("L1H0 -> logits")], "plain", tmp_path / "whole")
    np.testing.assert_allclose(ran.values[0], ran.values[1], atol=2e-5)


# ---- through and freeze


def test_a_batch_of_any_size_gives_the_same(tmp_path: Path) -> None:
    units = [edges(path) for path in paths_of("gpt2")] + [edges("embed -> L0H0.q")]
    travel = Travel(("mlps",), ("norms",))
    found = [
        swept(units, "gpt2", tmp_path / str(number), travel, rows=rows, shard=shard, late=late)
        for number, (rows, shard, late) in enumerate(
            [(1, 1, True), (100, None, True), (5, 3, False)]
        )
    ]
    for other in found[1:]:
        assert other.table["unit"].to_list() == found[0].table["unit"].to_list()
        np.testing.assert_allclose(other.values, found[0].values, atol=1e-5)


class Set:
    """Edits that set sites, or some of their indices, to what they are in a run."""

    def __init__(self, hooks: Hooks, sites: list[Site]) -> None:
        self.hooks, self.sites = hooks, sites
        tokens = torch.from_numpy(DATA.sides["clean"].tokens)
        self.held = hooks.executor.forward(tokens, None, sites=tuple(sites)).sites

    def edits(self, but: tuple[str, ...] = ()) -> list[Edit]:
        """All of them, but these places."""
        found = []
        for site in self.sites:
            for index in range(self.held[site].shape[2]):
                if Target(site, index).place not in but:
                    found.append(self.one(site, index, self.held[site][:, :, index]))
        return found

    def one(self, site: Site, index: int, value: Tensor) -> Edit:
        rows = torch.arange(DATA.n)
        valid = torch.ones_like(EVERYTHING, dtype=torch.bool)
        return Edit(site, rows, torch.full((DATA.n,), index), EVERYTHING, valid, value, "set")


@pytest.mark.parametrize("name", ["plain", "gpt2", "gpt_neox"])
def test_mlps_let_the_effect_through(name: str, tmp_path: Path) -> None:
    """The sender's output is set, all other heads stay, MLPs respond; into a key, that key alone is
    then as it was there."""
    hooks = Hooks(executor_of(name))
    heads = Set(hooks, [Site("head", layer) for layer in range(2)])
    tokens = torch.from_numpy(DATA.sides["clean"].tokens)
    wanted = []
    for sender in ("L0H1", "L1H2"):
        target = target_of(sender)
        one = heads.one(target.site, target.index or 0, hooks.other[sender])
        wanted.append(hooks.gap("clean", [*heads.edits((sender,)), one]))
    site, one = Site("k", 1), heads.one(Site("head", 0), 1, hooks.other["L0H1"])
    edits = [*heads.edits(("L0H1",)), one]
    key = hooks.executor.forward(tokens, None, edits, sites=(site,)).sites[site]
    wanted.append(hooks.gap("clean", [heads.one(site, 3, key[:, :, 3])]))
    units = [edges("L0H1 -> logits"), edges("L1H2 -> logits"), edges("L0H1 -> L1H3.k")]
    ran = swept(units, name, tmp_path / "a", Travel(through=("mlps",)))
    np.testing.assert_allclose(ran.values, torch.stack(wanted), atol=2e-5)
    alone = swept(units, name, tmp_path / "b")
    assert np.abs(ran.values - alone.values).max() > 1e-4


def test_everything_between_lets_it_through(tmp_path: Path) -> None:
    """Then an edge to the logits is all that the sender does."""
    hooks = Hooks(executor_of("plain"))
    sites = Set(hooks, [Site("head", 0)])
    wanted = [
        hooks.gap("clean", [sites.one(Site("head", 0), head, hooks.other[f"L0H{head}"])])
        for head in range(4)
    ]
    units = [edges(f"L0H{head} -> logits") for head in range(4)]
    ran = swept(units, "plain", tmp_path, Travel(through=("heads", "mlps")))
    np.testing.assert_allclose(ran.values, torch.stack(wanted), atol=2e-5)


def test_a_path_through_others_is_their_sum(tmp_path: Path) -> None:
    """Without norms and MLPs, with patterns frozen, everything is linear: what all heads let
    through is what each does."""
    frozen = ("patterns",)
    ways = ["L0H1 -> logits", *(f"L0H1 -> L1H{head}.v -> logits" for head in range(4))]
    each = swept([edges(way) for way in ways], "attn_only", tmp_path / "a", Travel((), frozen))
    through = Travel(("heads",), frozen)
    whole = swept([edges("L0H1 -> logits")], "attn_only", tmp_path / "b", through)
    np.testing.assert_allclose(each.table["effect"].sum(), whole.table["effect"][0], atol=2e-5)
    assert abs(float(each.table["effect"][0]) - float(whole.table["effect"][0])) > 1e-3


@pytest.mark.parametrize("name", ["plain", "gpt2", "gpt_neox", "llama"])
def test_patterns_are_frozen(name: str, tmp_path: Path) -> None:
    """Queries and keys of all heads set to what they are in the run."""
    hooks = Hooks(executor_of(name))
    held = Set(hooks, [Site(kind, layer) for kind in ("q", "k") for layer in range(2)])
    ends = [("L0H1", "logits", "logits"), ("embed", "L0.mlp", "mlp"), ("embed", "L0H0", "q")]
    wanted = [
        hooks.gap("clean", [hooks.edit(*end, hooks.other, EVERYTHING), *held.edits()])
        for end in ends
    ]
    units = [edges("L0H1 -> logits"), edges("embed -> L0.mlp"), edges("embed -> L0H0.q")]
    ran = swept(units, name, tmp_path, Travel(freeze=("patterns",)))
    np.testing.assert_allclose(ran.values, torch.stack(wanted), atol=2e-5)
    np.testing.assert_allclose(ran.table["effect"][2], 0, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_norms_are_frozen(name: str, tmp_path: Path) -> None:
    paths = [*paths_of(name), "L0H1 -> logits", "embed -> L0H0.v"]
    byhand = ByFormula(name, frozen=True)
    ran = swept([edges(p) for p in paths], name, tmp_path, Travel(freeze=("norms",)))
    np.testing.assert_allclose(ran.values, torch.stack([byhand.gap(p) for p in paths]), atol=2e-5)
