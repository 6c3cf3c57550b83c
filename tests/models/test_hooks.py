"""Hooks and modules by name, and the places that they are."""

from __future__ import annotations

import pytest

from interp_dsl.models.hooks import POINTS, hook_name, target_of_hook, target_of_module
from interp_dsl.plan.names import target_of
from interp_dsl.plan.places import Site, Target

PLACES = {
    "embed": ("hook_embed", None),
    "L3.resid_pre": ("blocks.3.hook_resid_pre", None),
    "L0.resid_mid": ("blocks.0.hook_resid_mid", None),
    "L11.resid_post": ("blocks.11.hook_resid_post", None),
    "L3.attn_out": ("blocks.3.hook_attn_out", None),
    "L3.mlp": ("blocks.3.hook_mlp_out", None),
    "L3.mlp_in": ("blocks.3.hook_mlp_in", None),
    "neurons layers 3": ("blocks.3.mlp.hook_post", None),
    "L3H7.z": ("blocks.3.attn.hook_z", 7),
    "L3H7.q": ("blocks.3.attn.hook_q", 7),
    "L3H7": ("blocks.3.attn.hook_result", 7),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_and_its_hook_are_each_others(place: str) -> None:
    hook, head = PLACES[place]
    target = target_of(place)
    assert target.place == place
    assert (hook_name(target), target.index) == (hook, head)
    assert target_of_hook(hook, head) == target


def test_sites_whose_tensor_is_edited_where_it_stands_have_the_name_of_that_hook() -> None:
    moved = ("resid_mid", "mlp_in", "head")  # edited elsewhere, or named otherwise by the bridge
    for kind in ("resid_pre", "resid_post", "attn_out", "mlp_out", "neuron", "q", "k", "v", "z"):
        assert kind not in moved
        assert hook_name(Target(Site(kind, 2))) == POINTS[kind].hook.format(2)


@pytest.mark.parametrize(
    ("hook", "head"),
    [
        ("blocks.3.attn.hook_z", None),
        ("blocks.3.hook_resid_pre", 2),
        ("blocks.3.ln2.hook_normalized", None),
        ("blocks.x.hook_resid_pre", None),
        ("ln_final.hook_normalized", None),
        ("blocks.3.hook_resid_pre.more", None),
    ],
)
def test_hooks_that_are_no_place(hook: str, head: int | None) -> None:
    assert target_of_hook(hook, head) is None


@pytest.mark.parametrize(
    ("module", "place"),
    [
        ("layers.3", "L3.resid_post"),
        ("h.5.mlp", "L5.mlp"),
        ("transformer.h.5.attn", "L5.attn_out"),
        ("gpt_neox.layers.8.attention", "L8.attn_out"),
        ("model.layers.10.self_attn", "L10.attn_out"),
        ("resid_post_layer_12", "L12.resid_post"),
        ("neuron_layer_0", "neurons layers 0"),
    ],
)
def test_modules_and_their_places(module: str, place: str) -> None:
    assert target_of_module(module) == target_of(place)


@pytest.mark.parametrize("module", ["layers.3.mlp.act", "embed_in", "layers", "odd_layer_3", ""])
def test_modules_that_are_no_place(module: str) -> None:
    assert target_of_module(module) is None
