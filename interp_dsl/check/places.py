"""Places of a model and its families: `L9H6`, `L3.mlp[512]`, `base.L13.resid_pre`, `heads`."""

from __future__ import annotations

import re
from dataclasses import replace

from interp_dsl.check.literals import is_whole, literal
from interp_dsl.check.models import (
    declared_model,
    find_model,
    known_model,
    model,
    which_model,
)
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Argument, Attribute, Expr, Hook, Index, Name
from interp_dsl.models.shape import Shape
from interp_dsl.models.sites import FAMILIES, family, missing
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.places import HEAD_SITES, RESIDUAL_SITES, Site, Target, Unit
from interp_dsl.verbs.values import Model, UnitSet

_HEAD = re.compile(r"L(\d{1,6})H(\d{1,6})")
_LAYER = re.compile(r"L(\d{1,6})")
_HOOK = re.compile(r"blocks\.(\d{1,6})\.[\w.]*hook_\w+|(ln_final\.|unembed\.)?hook_\w+")
WHOLE = ("embed", "pos_embed", "logits")


def place_or_family(name: str, span: Span, scope: Scope, model: Model | None) -> UnitSet | None:
    """The place or family behind a bare word, None when it is neither."""
    if match := _HEAD.fullmatch(name):
        return _single(Target(Site("head", int(match[1])), int(match[2])), span, scope, model)
    if name in WHOLE:
        return _single(Target(Site(name)), span, scope, model)
    if name in FAMILIES:
        return _family(name, span, scope, model)
    if _LAYER.fullmatch(name):
        raise scope.reject(
            "E300",
            f"`{name}` is a layer, not a place",
            span,
            help=f"write {name}.resid_pre, {name}.mlp, {name}.attn_out or {name}H0",
        )
    return None


def is_place(name: str) -> bool:
    """Whether a bare word is a place or a family, or begins one (`L3` of `L3.mlp`)."""
    known = (*WHOLE, *FAMILIES, "edges")
    return name in known or bool(_HEAD.fullmatch(name) or _LAYER.fullmatch(name))


def listed(scope: Scope, model: Model | None) -> list[str]:
    """The families and whole places that a model has, to choose from; all where it is not known."""
    used = known_model(scope, model)
    shape = used.facts.shape if used and used.facts else None
    if shape is None:
        return [*FAMILIES, *WHOLE]
    families = [name for name in FAMILIES if family(name, shape)]
    return families + [name for name in WHOLE if missing(Target(Site(name)), shape) is None]


def hook_place(hook: str, span: Span, scope: Scope, model: Model | None) -> UnitSet:
    """A TransformerLens hook's whole tensor."""
    match = _HOOK.fullmatch(hook)
    if match is None:
        raise scope.reject(
            "E201",
            f'there is no hook "{hook}"',
            span,
            help='hooks are called as in "blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"',
        )
    used = known_model(scope, model)
    if match[1] and used and used.facts and int(match[1]) >= used.facts.shape.n_layers:
        raise scope.reject(
            "E201",
            f"this model has no layer {match[1]}",
            span,
            label=f"{used.name} has layers 0..{used.facts.shape.n_layers - 1}",
        )
    return UnitSet(Explicit((Unit((Target(Site("hook", None, hook)),)),)), used)


def prefixed_hook(expr: Hook, scope: Scope) -> UnitSet:
    """`base."blocks.1.attn.hook_z"`"""
    owner = model(expr.model, scope)
    return hook_place(expr.name.value, expr.name.span, scope, owner)


def sited(expr: Attribute, scope: Scope, model: Model | None) -> UnitSet:
    """`L9H6.q`, `L3.resid_pre`, the same behind a model, `m.heads`."""
    owner = find_model(expr.value, scope)
    if owner is not None:
        prefixed = declared_model(owner)
        found = place_or_family(expr.name, expr.name_span, scope, prefixed)
        if found is None:
            known = listed(scope, prefixed)
            raise scope.unlisted("E200", expr.name, expr.name_span, "a place or family", known)
        return found
    place, model = _unprefixed(expr.value, scope, model)
    if match := _HEAD.fullmatch(place):
        if expr.name in HEAD_SITES and expr.name != "head":
            target = Target(Site(expr.name, int(match[1])), int(match[2]))
            return _single(target, expr.span, scope, model)
    elif match := _LAYER.fullmatch(place):
        kind = "mlp_out" if expr.name == "mlp" else expr.name
        if kind in RESIDUAL_SITES:
            return _single(Target(Site(kind, int(match[1]))), expr.span, scope, model)
    raise _unknown_site(expr, place, scope, model)


def _unprefixed(expr: Expr, scope: Scope, model: Model | None) -> tuple[str, Model | None]:
    """`L3` or `base.L3` as the bare place and its model."""
    match expr:
        case Name(id=name):
            return name, model
        case Attribute(value=owner, name=name):
            declared = find_model(owner, scope)
            if declared is not None:
                return name, declared_model(declared)
    return "", model


def _unknown_site(expr: Attribute, place: str, scope: Scope, model: Model | None) -> Rejected:
    if _HEAD.fullmatch(place):
        sites = [site for site in HEAD_SITES if site != "head"]
    elif _LAYER.fullmatch(place):
        used = known_model(scope, model)
        shape = used.facts.shape if used and used.facts else None
        sites = [s for s in (*RESIDUAL_SITES, "mlp") if shape is None or not _lacks(s, shape)]
    elif isinstance(expr.value, Name):
        return scope.unknown(expr.value, "a place or set of places", scope.declared_as("units"))
    else:
        return scope.reject("E300", "places of the model are wanted here", expr.span)
    label = f"{place} has {', '.join(sites)}"
    return scope.unlisted("E201", expr.name, expr.name_span, "a site", sites, label=label)


def _lacks(name: str, shape: Shape) -> bool:
    """Whether no layer of a model has a site."""
    kind = "mlp_out" if name == "mlp" else name
    return missing(Target(Site(kind, 0)), shape) is not None


def neurons(expr: Index, scope: Scope, model: Model | None) -> list[UnitSet]:
    """`L3.mlp[512]`, `L3.mlp[0..9]`"""
    value = expr.value
    if isinstance(value, Attribute) and value.name == "mlp":
        place, model = _unprefixed(value.value, scope, model)
        match = _LAYER.fullmatch(place)
        if match and expr.arguments and all(a.name is None for a in expr.arguments):
            site = Site("neuron", int(match[1]))
            return [
                _single(Target(site, n), expr.span, scope, model)
                for argument in expr.arguments
                for n in _indices(argument, scope)
            ]
    chosen = ", ".join(a.span.text for a in expr.arguments)
    is_family = isinstance(value, Name) and value.id in FAMILIES
    raise scope.reject(
        "E300",
        "brackets choose neurons of an MLP",
        expr.span,
        help=f"write {value.span.text} layers {chosen} for those of a layer"
        if is_family
        else "write layer, mlp and the neuron's number: L3.mlp[512]",
    )


def _indices(argument: Argument, scope: Scope) -> list[int]:
    value = literal(argument.value, scope)
    values = value if isinstance(value, list) else [value]
    if not all(is_whole(v) and v >= 0 for v in values):
        raise scope.reject("E302", "a neuron's number is a whole number from 0 on", argument.span)
    return values


# ---- against the model


def _single(target: Target, span: Span, scope: Scope, model: Model | None) -> UnitSet:
    used = known_model(scope, model)
    if used and used.facts:
        wrong = missing(target, used.facts.shape)
        if wrong:
            noun = {"head": "head", "neuron": "neuron"}.get(target.site.kind, "place")
            raise scope.reject(
                "E201",
                f"this model has no {noun} {target.place}",
                span,
                label=f"{used.name}: {wrong}",
                help=_near_place(target, used),
            )
    return UnitSet(Explicit((Unit((target,)),)), used)


def _near_place(target: Target, used: Model) -> str | None:
    """The same place in the nearest layer and head that the model has."""
    assert used.facts
    shape = used.facts.shape
    if target.site.layer is None:
        return None
    layer = min(target.site.layer, shape.n_layers - 1)
    heads = shape.n_kv_heads if target.site.kind in ("k", "v") else shape.n_heads
    index = target.index
    if target.site.kind in HEAD_SITES and index is not None:
        index = min(index, heads - 1)
    near = replace(target, site=replace(target.site, layer=layer), index=index)
    good = near != target and missing(near, shape) is None
    return f"did you mean {near.place}?" if good else None


def unknown_family(name: str, used: Model, span: Span, scope: Scope) -> Rejected:
    """What is told of a family of a model whose configuration is not at hand."""
    return scope.defer(
        "E308",
        f"which {name} `{used.name}` has is not known before its configuration is at hand",
        span,
        help='fetch the model first, or name a folder: checkpoint("folder")',
    )


def _family(name: str, span: Span, scope: Scope, model: Model | None) -> UnitSet:
    used = known_model(scope, model)
    if used is None:
        raise which_model(scope, span, name)
    if used.facts is None:
        raise unknown_family(name, used, span, scope)
    members = family(name, used.facts.shape)
    if not members:
        raise scope.reject(
            "E201",
            f"this model has no {name}",
            span,
            label=f"{used.name} has attention only, no MLPs"
            if used.facts.shape.attn_only
            else f"not in {used.name}",
        )
    return UnitSet(Explicit(tuple(Unit((t,)) for t in members)), used)
