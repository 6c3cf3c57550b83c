"""How a site's name maps to a TransformerLens hook, and which place a hook or a Hugging Face module
is. No torch.

Names are the legacy ones, which every bridge resolves. Canonical is [batch, position, index,
width]; a form says what the hook's own tensor looks like:

    flat      [B, T, W]           one index
    heads     [B, T, H, W]
    units     [B, T, N]           index = unit, width 1
    pattern   [B, H, Q, K]        position = query, index = head, width = keys"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from interp_dsl.plan.places import RESIDUAL_SITES, Site, Target

Form = Literal["flat", "heads", "units", "pattern"]


class Point(NamedTuple):
    hook: str
    form: Form


# In the order in which a forward pass reaches them.
POINTS: dict[str, Point] = {
    "embed": Point("hook_embed", "flat"),
    "pos_embed": Point("hook_pos_embed", "flat"),
    "resid_pre": Point("blocks.{}.hook_resid_pre", "flat"),
    "q_input": Point("blocks.{}.hook_q_input", "heads"),
    "k_input": Point("blocks.{}.hook_k_input", "heads"),
    "v_input": Point("blocks.{}.hook_v_input", "heads"),
    "q": Point("blocks.{}.attn.hook_q", "heads"),
    "k": Point("blocks.{}.attn.hook_k", "heads"),
    "v": Point("blocks.{}.attn.hook_v", "heads"),
    "pattern": Point("blocks.{}.attn.hook_pattern", "pattern"),
    "z": Point("blocks.{}.attn.hook_z", "heads"),
    "head": Point("blocks.{}.attn.hook_out", "heads"),
    "attn_out": Point("blocks.{}.hook_attn_out", "flat"),
    "resid_mid": Point("blocks.{}.hook_attn_out", "flat"),
    "mlp_in": Point("blocks.{}.ln2.hook_in", "flat"),
    "neuron": Point("blocks.{}.mlp.hook_post", "units"),
    "mlp_out": Point("blocks.{}.hook_mlp_out", "flat"),
    "resid_post": Point("blocks.{}.hook_resid_post", "flat"),
}
ORDER = (*POINTS, "hook")


def point(kind: str, layer: int | None) -> Point:
    """The hook that a site's edits are made at. `head` and `resid_mid` are not tensors of their
    own there: their edits are added to the attention's output."""
    template, form = POINTS[kind]
    return Point(template.format(layer), form)


# ---- names of others

_BY_NAME = {
    "embed": "hook_embed",
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_in": "hook_mlp_in",
    "mlp_out": "hook_mlp_out",
    "neuron": "mlp.hook_post",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "z": "attn.hook_z",
    "head": "attn.hook_result",
}
"""What TransformerLens users call the tensors that are these sites."""
_BY_HEAD = ("q", "k", "v", "z", "head")
_KINDS = {name: kind for kind, name in _BY_NAME.items()}
_MODULES = {
    None: "resid_post",
    "mlp": "mlp_out",
    "attn": "attn_out",
    "self_attn": "attn_out",
    "attention": "attn_out",
}


def hook_name(target: Target) -> str:
    """The hook at which TransformerLens users find a target's site."""
    name = _BY_NAME[target.site.kind]
    return name if target.site.layer is None else f"blocks.{target.site.layer}.{name}"


def target_of_hook(hook: str, head: int | None = None) -> Target | None:
    """The place of a hook, of one head where it has heads; None where it is no place of ours."""
    if hook == "hook_embed":
        return Target(Site("embed"))
    match = re.fullmatch(r"blocks\.(\d{1,6})\.([\w.]+)", hook)
    kind = _KINDS.get(match[2]) if match else None
    if match is None or kind is None or (head is None) == (kind in _BY_HEAD):
        return None
    return Target(Site(kind, int(match[1])), head)


def target_of_module(name: str) -> Target | None:
    """The place of what a Hugging Face module puts out (`layers.3`, `transformer.h.3.mlp`), or of a
    name as dictionary_learning gives them (`resid_post_layer_3`); None where it is none of ours."""
    named = re.fullmatch(r"(\w+)_layer_(\d{1,6})", name)
    if named is not None:
        known = named[1] in (*RESIDUAL_SITES, "neuron")
        return Target(Site(named[1], int(named[2]))) if known else None
    module = re.fullmatch(r"(?:[\w.]+\.)?(?:layers|h|blocks)\.(\d{1,6})(?:\.(\w+))?", name)
    if module is None or module[2] not in _MODULES:
        return None
    return Target(Site(_MODULES[module[2]], int(module[1])))
