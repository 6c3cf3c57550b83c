"""Which places a model has, and what its sites look like. No torch."""

from __future__ import annotations

from collections.abc import Callable

from interp_dsl.models.shape import Shape
from interp_dsl.plan.places import HEAD_SITES, Site, Target

KV_SITES = ("k", "v", "k_input", "v_input")
MLP_SITES = ("mlp_in", "mlp_out", "neuron")
UNLAYERED = ("embed", "pos_embed", "logits", "hook")


def missing(target: Target, shape: Shape) -> str | None:
    """Why a model of this shape lacks a place, as a short sentence; None when it has it. Whether a
    hook exists is known only once the model runs."""
    kind, layer, index = target.site.kind, target.site.layer, target.index
    if kind == "pos_embed" and shape.positional != "standard":
        return f"the model has no position embedding: its positions are {shape.positional}"
    if kind in UNLAYERED:
        return None
    if layer is None or not 0 <= layer < shape.n_layers:
        return f"the model has layers 0..{shape.n_layers - 1}"
    if kind in MLP_SITES and shape.attn_only:
        return "the model has attention only, no MLPs"
    if kind == "resid_mid" and shape.parallel:
        return "attention and MLP run in parallel here: there is no stream between them"
    count = n_indices(target.site, shape)
    if index is None or count is None or 0 <= index < count:
        return None
    return _out_of_range(kind, shape, count)


def _out_of_range(kind: str, shape: Shape, count: int) -> str:
    if kind == "neuron":
        return f"an MLP of the model has neurons 0..{count - 1}"
    if kind in KV_SITES and shape.n_kv_heads != shape.n_heads:
        return (
            f"the model has key/value heads 0..{count - 1}, each shared by "
            f"{shape.n_heads // shape.n_kv_heads} query heads"
        )
    if kind in HEAD_SITES:
        return f"a layer of the model has heads 0..{count - 1}"
    return f"{kind} has no parts to number"


_BEFORE_MLP = ("resid_pre", *HEAD_SITES, "attn_out", "resid_mid")
_IN_LAYER = (*_BEFORE_MLP, "mlp_in", "neuron", "mlp_out", "resid_post")
"""In the order in which a layer computes them."""


def reaches(changed: Site, read: Site, parallel: bool) -> bool:
    """Whether a change of one place can move another, of a layer: one lies before the other, or
    they are the same. In a `parallel` model a layer's MLP does not see its attention. Where a hook
    acts is not known, so that it may."""
    assert read.layer is not None
    if changed.kind == "hook" or changed.layer is None or changed.layer < read.layer:
        return True
    if changed.layer > read.layer:
        return False
    if parallel and read.kind == "mlp_out" and changed.kind in _BEFORE_MLP[1:]:
        return False
    return _IN_LAYER.index(changed.kind) <= _IN_LAYER.index(read.kind)


def width(site: Site, shape: Shape) -> int | None:
    """The canonical form's last axis. None for a pattern, whose width is the prompt's length, and
    for a hook."""
    match site.kind:
        case "pattern" | "hook":
            return None
        case "q" | "k" | "v" | "z":
            return shape.d_head
        case "neuron":
            return 1
        case "logits":
            return shape.d_vocab_out
        case _:
            return shape.d_model


def n_indices(site: Site, shape: Shape) -> int | None:
    """The canonical form's index axis: heads, key/value heads, neurons or 1; None for a hook."""
    if site.kind == "hook":
        return None
    if site.kind == "neuron":
        return shape.d_mlp
    if site.kind in KV_SITES:
        return shape.n_kv_heads
    return shape.n_heads if site.kind in HEAD_SITES else 1


def _indexed(kind: str) -> Callable[[Shape], tuple[Target, ...]]:
    def members(shape: Shape) -> tuple[Target, ...]:
        sites = [Site(kind, layer) for layer in range(shape.n_layers)]
        return tuple(Target(s, i) for s in sites for i in range(n_indices(s, shape) or 0))

    return members


def _layered(kind: str) -> Callable[[Shape], tuple[Target, ...]]:
    def members(shape: Shape) -> tuple[Target, ...]:
        targets = [Target(Site(kind, layer)) for layer in range(shape.n_layers)]
        return tuple(t for t in targets if missing(t, shape) is None)

    return members


def _embed(shape: Shape) -> tuple[Target, ...]:
    return (Target(Site("embed")),)


def _nodes(shape: Shape) -> tuple[Target, ...]:
    """What writes to the residual stream, in the order of the layers."""
    parts = _layered("mlp_out")(shape)
    writers = sorted((*_indexed("head")(shape), *parts), key=lambda t: t.site.layer or 0)
    return (*_embed(shape), *writers)


_FAMILIES: dict[str, Callable[[Shape], tuple[Target, ...]]] = {
    "heads": _indexed("head"),
    "queries": _indexed("q"),
    "keys": _indexed("k"),
    "values": _indexed("v"),
    "patterns": _indexed("pattern"),
    "mlps": _layered("mlp_out"),
    "neurons": _indexed("neuron"),
    "resid_pre": _layered("resid_pre"),
    "resid_mid": _layered("resid_mid"),
    "resid_post": _layered("resid_post"),
    "attn_out": _layered("attn_out"),
    "mlp_out": _layered("mlp_out"),
    "embed": _embed,
    "nodes": _nodes,
}
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)


def family(name: str, shape: Shape) -> tuple[Target, ...] | None:
    """The targets of a family by layer, then by index; empty where this shape has none of them,
    None when there is no family of that name."""
    return _FAMILIES[name](shape) if name in _FAMILIES else None
