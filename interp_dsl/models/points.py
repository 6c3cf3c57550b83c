"""How a site's name maps to a TransformerLens hook, and to its canonical form.

Names are the legacy ones, which every bridge resolves. Canonical is [batch, position, index,
width]; a form says what the hook's own tensor looks like:

    flat      [B, T, W]           one index
    heads     [B, T, H, W]
    units     [B, T, N]           index = unit, width 1
    pattern   [B, H, Q, K]        position = query, index = head, width = keys"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from interp_dsl.plan.places import Site

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


def canonical(raw: Tensor, form: Form) -> Tensor:
    """The hook's tensor as [B, T, index, width]; a view."""
    match form:
        case "flat":
            return raw.unsqueeze(2)
        case "units":
            return raw.unsqueeze(3)
        case "pattern":
            return raw.permute(0, 2, 1, 3)
        case _:
            return raw


def native(x: Tensor, form: Form) -> Tensor:
    """The inverse of `canonical`."""
    match form:
        case "flat":
            return x.squeeze(2)
        case "units":
            return x.squeeze(3)
        case "pattern":
            return x.permute(0, 2, 1, 3)
        case _:
            return x


def as_named(site: Site) -> Site:
    """A hook that only works as a site of ours is that site: returning a new tensor at
    `hook_resid_mid` would leave the skip connection as it was, the pattern's positions are not on
    its second axis, and TransformerLens computes the inputs of heads and MLPs when asked to."""
    if site.kind != "hook" or site.hook is None:
        return site
    parts = site.hook.split(".")
    if len(parts) >= 3 and parts[0] == "blocks" and parts[1].isdigit():
        rest = ".".join(parts[2:])
        if rest in _OURS:
            return Site(_OURS[rest], int(parts[1]))
    return site


_OURS = {
    "hook_resid_mid": "resid_mid",
    "attn.hook_pattern": "pattern",
    "hook_q_input": "q_input",
    "hook_k_input": "k_input",
    "hook_v_input": "v_input",
    "hook_mlp_in": "mlp_in",
}
