"""Every place of every architecture: a change there changes the logits, and by the same amount in
the compiled executor, in the hooked one, and in TransformerLens used by hand.

The last is a hook written out here, at TransformerLens's own name of the place, without anything of
ours. What it cannot do stands in CANNOT, with the reason, and is tried all the same: the day it
can, the line has to go. A place that an architecture lacks is refused by both executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled import gate
from interp_dsl.models.edits import Edit
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.points import POINTS
from interp_dsl.models.sites import UNLAYERED, missing
from interp_dsl.plan.places import INPUT_SITES, Site, Target
from tests.models.checkpoints import NATIVE
from tests.models.running import MODELS, compiled, executor, prompts

pytestmark = pytest.mark.usefixtures("device")

ROW, POSITION, LENGTH = 1, 3, 6
EFFECT, TOLERANCE = 1e-3, 1e-5

# TransformerLens's name of a place, and how its tensor is indexed there.
BY_POSITION = (ROW, POSITION)
NAMES: dict[str, tuple[str, Callable[[int], tuple[Any, ...]]]] = {
    "embed": ("hook_embed", lambda index: BY_POSITION),
    "pos_embed": ("hook_pos_embed", lambda index: BY_POSITION),
    "resid_pre": ("blocks.{}.hook_resid_pre", lambda index: BY_POSITION),
    "q_input": ("blocks.{}.hook_q_input", lambda index: (ROW, POSITION, index)),
    "k_input": ("blocks.{}.hook_k_input", lambda index: (ROW, POSITION, index)),
    "v_input": ("blocks.{}.hook_v_input", lambda index: (ROW, POSITION, index)),
    "q": ("blocks.{}.attn.hook_q", lambda index: (ROW, POSITION, index)),
    "k": ("blocks.{}.attn.hook_k", lambda index: (ROW, POSITION, index)),
    "v": ("blocks.{}.attn.hook_v", lambda index: (ROW, POSITION, index)),
    "pattern": ("blocks.{}.attn.hook_pattern", lambda index: (ROW, index, POSITION)),
    "z": ("blocks.{}.attn.hook_z", lambda index: (ROW, POSITION, index)),
    "head": ("blocks.{}.attn.hook_result", lambda index: (ROW, POSITION, index)),
    "attn_out": ("blocks.{}.hook_attn_out", lambda index: BY_POSITION),
    "resid_mid": ("blocks.{}.hook_resid_mid", lambda index: BY_POSITION),
    "mlp_in": ("blocks.{}.hook_mlp_in", lambda index: BY_POSITION),
    "neuron": ("blocks.{}.mlp.hook_post", lambda index: (ROW, POSITION, [index])),
    "mlp_out": ("blocks.{}.hook_mlp_out", lambda index: BY_POSITION),
    "resid_post": ("blocks.{}.hook_resid_post", lambda index: BY_POSITION),
}
NO_RESULTS = "a native model does not compute the heads' results", NotImplementedError
NO_INPUTS = "nor does it take their inputs apart", NotImplementedError
SWITCHES = {
    "head": "set_use_attn_result",
    "mlp_in": "set_use_hook_mlp_in",
    **dict.fromkeys(INPUT_SITES, "set_use_split_qkv_input"),
}
CANNOT: dict[tuple[str, str], tuple[str, type[Exception]]] = {
    **{(name, "head"): NO_RESULTS for name in NATIVE},
    **{(name, kind): NO_INPUTS for name in NATIVE for kind in INPUT_SITES},
    ("attn_only", "resid_mid"): ("a block without an MLP has no point after attention", KeyError),
}


def theirs(model: HookedExecutor, tokens: Tensor, site: Site, index: int, value: Tensor) -> Tensor:
    """Logits with one entry of a place set, by TransformerLens alone. At hook_resid_mid the tensor
    itself is written to, as transformer_lens.patching does: a new one would leave the skip
    connection as it was."""
    name, where = NAMES[site.kind]
    name, bridge = name.format(site.layer), model.bridge

    def hook(x: Tensor, hook: Any) -> Tensor:
        x = x if site.kind == "resid_mid" else x.clone()
        x[where(index)] = value.to(x.device)
        return x

    switch = SWITCHES.get(site.kind)
    with torch.no_grad():
        if switch:
            getattr(bridge, switch)(True)
        try:
            logits = bridge.run_with_hooks(tokens.to(model.device), fwd_hooks=[(name, hook)])
        finally:
            if switch:
                getattr(bridge, switch)(False)
    return logits.float().cpu()


def one(site: Site, index: int, value: Tensor) -> Edit:
    at = torch.tensor([[POSITION]])
    return Edit(site, torch.tensor([ROW]), torch.tensor([index]), at, at > 0, value)


def same(mine: Tensor, other: Tensor) -> None:
    assert gate.relative_difference(mine, other) <= TOLERANCE


def layers(kind: str, model: HookedExecutor) -> list[int | None]:
    return [None] if kind in UNLAYERED else [*range(model.facts.shape.n_layers)]


def test_every_place_has_a_name() -> None:
    assert NAMES.keys() == POINTS.keys()


def by_hooks(
    model: HookedExecutor, tokens: Tensor, site: Site, index: int, value: Tensor
) -> Tensor:
    """Logits of the hooked executor. Where its bridge does not show a head's own input, what that
    head makes of the value is found by giving it to the whole layer, and set at the head alone."""
    if model.shows(site):
        return model.forward(tokens, None, [one(site, index, value)]).logits
    with pytest.raises(InterpError, match="E601"):
        model.forward(tokens, None, [one(site, index, value)])
    made = Site(site.kind.removesuffix("_input"), site.layer)
    whole = one(Site("resid_pre", site.layer), 0, value)
    found = model.forward(tokens, None, [whole], sites=[made]).sites[made][ROW, POSITION, index]
    return model.forward(tokens, None, [one(made, index, found)]).logits


@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("name", MODELS)
def test_a_change(name: str, kind: str) -> None:
    hooked, ours = executor(name), compiled(name)
    tokens = prompts(hooked, 2, LENGTH)
    for layer in layers(kind, hooked):
        site = Site(kind, layer)
        if missing(Target(site), hooked.facts.shape) is not None:
            for model in (hooked, ours):
                with pytest.raises(InterpError):
                    model.forward(tokens, None, [one(site, 0, torch.ones(1))])
            continue
        plain = ours.forward(tokens, None, sites=[site])
        x = plain.sites[site]
        index = x.shape[2] - 1
        value = x[ROW, POSITION, index].flip(0) + 1
        changed = by_hooks(hooked, tokens, site, index, value)
        assert (changed - plain.logits).abs().max() > EFFECT
        same(ours.forward(tokens, None, [one(site, index, value)]).logits, changed)
        if (name, kind) in CANNOT:
            with pytest.raises(CANNOT[name, kind][1]):
                theirs(hooked, tokens, site, index, value)
        else:
            same(changed, theirs(hooked, tokens, site, index, value))
