"""Places that a shape has, and those that it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interp_dsl.models.shape import Shape
from interp_dsl.models.sites import FAMILIES, family, missing, n_indices, width
from interp_dsl.plan.places import Site, Target
from tests.models.running import MODELS, executor, prompts, sites_of

GROUPED = Shape(3, 8, 2, 64, 8, 100, 500, 40, 32)
ATTN_ONLY = replace(GROUPED, d_mlp=0)
PARALLEL = replace(GROUPED, parallel=True, positional="rotary")


@pytest.mark.parametrize(
    ("kind", "layer", "index", "shape", "reason"),
    [
        ("head", 2, 7, GROUPED, None),
        ("head", 3, 0, GROUPED, "the model has layers 0..2"),
        ("head", None, 0, GROUPED, "the model has layers 0..2"),
        ("q", 0, 8, GROUPED, "a layer of the model has heads 0..7"),
        ("k", 0, 1, GROUPED, None),
        ("k", 0, 2, GROUPED, "key/value heads 0..1, each shared by 4 query heads"),
        ("k", 0, 8, replace(GROUPED, n_kv_heads=8), "a layer of the model has heads 0..7"),
        ("neuron", 0, 99, GROUPED, None),
        ("neuron", 0, 100, GROUPED, "neurons 0..99"),
        ("neuron", 0, 0, ATTN_ONLY, "attention only"),
        ("mlp_out", 0, None, ATTN_ONLY, "attention only"),
        ("resid_mid", 0, None, GROUPED, None),
        ("resid_mid", 0, None, PARALLEL, "in parallel"),
        ("resid_pre", 0, 1, GROUPED, "no parts to number"),
        ("pos_embed", None, None, GROUPED, None),
        ("pos_embed", None, None, PARALLEL, "positions are rotary"),
        ("logits", None, None, GROUPED, None),
    ],
)
def test_missing(
    kind: str, layer: int | None, index: int | None, shape: Shape, reason: str | None
) -> None:
    told = missing(Target(Site(kind, layer), index), shape)
    assert told is None if reason is None else told is not None and reason in told


def test_a_hook_is_not_judged_before_the_run() -> None:
    assert missing(Target(Site("hook", hook="blocks.9.anything")), GROUPED) is None


@pytest.mark.parametrize("name", MODELS)
def test_sizes_are_those_of_the_captured_sites(name: str) -> None:
    model = executor(name)
    sites = [*sites_of(model), Site("logits")]
    kept = model.forward(prompts(model, 2, 5), None, sites=sites).sites
    for site in sites:
        size = width(site, model.facts.shape)
        expected = (2, 5, n_indices(site, model.facts.shape), 5 if size is None else size)
        assert tuple(kept[site].shape) == expected, site


def test_families_count_their_members() -> None:
    def count(name: str, shape: Shape) -> int:
        members = family(name, shape)
        assert members is not None
        assert all(missing(member, shape) is None for member in members)
        return len(members)

    assert {name: count(name, GROUPED) for name in FAMILIES} == {
        "heads": 24,
        "queries": 24,
        "keys": 6,
        "values": 6,
        "patterns": 24,
        "mlps": 3,
        "neurons": 300,
        "resid_pre": 3,
        "resid_mid": 3,
        "resid_post": 3,
        "attn_out": 3,
        "mlp_out": 3,
        "embed": 1,
        "nodes": 28,
    }
    assert count("mlps", ATTN_ONLY) == count("neurons", ATTN_ONLY) == 0
    assert count("nodes", ATTN_ONLY) == 25
    assert count("resid_mid", PARALLEL) == 0
    assert family("edges", GROUPED) is None


def test_nodes_come_in_the_order_of_the_layers() -> None:
    nodes = family("nodes", replace(GROUPED, n_layers=2, n_heads=2))
    assert nodes is not None
    places = [node.place for node in nodes]
    assert places == ["embed", "L0H0", "L0H1", "L0.mlp", "L1H0", "L1H1", "L1.mlp"]
