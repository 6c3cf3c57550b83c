"""Sites in their canonical form, and in the form of their hooks (hooks.py)."""

from __future__ import annotations

from torch import Tensor

from interp_dsl.models.hooks import ORDER, POINTS, Form, Point, point
from interp_dsl.plan.places import Site

__all__ = ["ORDER", "POINTS", "Form", "Point", "as_named", "canonical", "native", "point"]


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
