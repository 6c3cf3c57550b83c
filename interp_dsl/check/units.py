"""Units: places, families, filters and algebra."""

from __future__ import annotations

import re
from dataclasses import replace

from interp_dsl.check.literals import literal
from interp_dsl.check.models import declared_model, find_model
from interp_dsl.check.positions import positions
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import (
    Argument,
    Attribute,
    Binary,
    Call,
    Clause,
    Expr,
    Index,
    Name,
    Phrase,
    SetOf,
    String,
)
from interp_dsl.models.sites import FAMILIES, family, missing
from interp_dsl.plan.algebra import Combined, Explicit, Filtered, Grouped, Placed, Top, Units
from interp_dsl.plan.places import HEAD_SITES, RESIDUAL_SITES, Site, Target, Unit
from interp_dsl.plan.units import depends, expand
from interp_dsl.verbs.values import Model, UnitSet

_HEAD = re.compile(r"L(\d+)H(\d+)$")
_LAYER = re.compile(r"L(\d+)$")
_WHOLE = ("embed", "pos_embed", "logits")
GROUPS = ("together", "pairs", "growing", "windows", "top")


def units(expr: Expr, scope: Scope, model: Model | None = None) -> UnitSet:
    """The places that an expression names. `model` is the model that a prefix has given."""
    found = _units(expr, scope, model)
    return replace(found, units=_settle(found.units))


def _settle(found: Units) -> Units:
    """Units that need no results are spelled out at once (`each` waits for the data)."""
    return found if depends(found) else Explicit(expand(found, _no_rows, None))


def _no_rows(step: str) -> list[dict[str, object]]:
    raise AssertionError(f"static units asked for the rows of {step}")


def _units(expr: Expr, scope: Scope, model: Model | None) -> UnitSet:
    match expr:
        case Name(id=name):
            return _name(name, expr.span, scope, model)
        case String(value=hook):
            return _single(Target(Site("hook", None, hook)), expr.span, scope, model)
        case Attribute():
            return _attribute(expr, scope, model)
        case Index():
            return _neurons(expr, scope, model)
        case SetOf(items=items):
            return _union([units(item, scope, model) for item in items], expr.span, scope)
        case Binary(op="|" | "&" | "-" as op, left=left, right=right):
            a, b = units(left, scope, model), units(right, scope, model)
            return UnitSet(Combined(op, a.units, b.units), _one_model([a, b], expr.span, scope))
        case Call(function=function) if function in GROUPS:
            return _group(expr, scope, model)
        case Call():
            raise scope.unknown(
                expr.function, expr.name_span, "a function of units", list(GROUPS), "E203"
            )
        case Phrase():
            return _phrase(expr, scope, model)
        case Binary(op="->"):
            raise scope.reject(
                "E306",
                "an arrow between places is not a unit",
                expr.span,
                label="a path",
                help="patch one place at a time: {L0H1, L1H2}",
            )
    raise scope.reject(
        "E300",
        "places of the model are wanted here",
        expr.span,
        help=f"write L0H1, L2.mlp, L3.resid_pre, or a family: {', '.join(FAMILIES[:6])} …",
    )


def _union(parts: list[UnitSet], span: Span, scope: Scope) -> UnitSet:
    if not parts:
        raise scope.reject("E302", "this set of places is empty", span)
    total = parts[0].units
    for part in parts[1:]:
        total = Combined("|", total, part.units)
    return UnitSet(total, _one_model(parts, span, scope))


def _one_model(parts: list[UnitSet], span: Span, scope: Scope) -> Model | None:
    models = {p.model.name: p.model for p in parts if p.model}
    if len(models) > 1:
        raise scope.reject(
            "E307", f"places of two models in one set: {' and '.join(models)}", span,
            help="write a step for each model",
        )
    return next(iter(models.values()), None)


# ---- names and places


def _name(name: str, span: Span, scope: Scope, model: Model | None) -> UnitSet:
    declared = scope.find(name, ("units", "let"))
    if declared:
        return _declared(declared)
    if match := _HEAD.match(name):
        layer, head = int(match[1]), int(match[2])
        return _single(Target(Site("head", layer), head), span, scope, model)
    if name in _WHOLE:
        return _single(Target(Site(name)), span, scope, model)
    if name in FAMILIES:
        return _family(name, span, scope, model)
    if _LAYER.match(name):
        raise scope.reject(
            "E300", f"`{name}` is a layer, not a place", span,
            help=f"write {name}.resid_pre, {name}.mlp, {name}.attn_out or {name}H0",
        )
    candidates = [*scope.declared_as("units"), *FAMILIES, *_WHOLE]
    raise scope.unknown(name, span, "a place or set of places", candidates)


def _declared(declared: Declared) -> UnitSet:
    value: UnitSet = declared.evaluate(
        lambda: units(declared.node.value, declared.scope)  # type: ignore[union-attr]
    )
    if not isinstance(value, UnitSet):
        raise declared.scope.unknown(declared.name, declared.node.name.span, "places", [])
    return value


def known_model(scope: Scope, model: Model | None) -> Model | None:
    """The model meant where no prefix stands: the only one there is."""
    if model:
        return model
    found = scope.declared_as("model")
    return declared_model(scope.names[found[0]]) if len(found) == 1 else None


def _single(target: Target, span: Span, scope: Scope, model: Model | None) -> UnitSet:
    used = known_model(scope, model)
    if used and used.facts:
        wrong = missing(target, used.facts.shape)
        if wrong:
            raise scope.reject(
                "E201",
                f"this model has no {_noun(target)}",
                span,
                label=f"{used.name}: {wrong}",
                help=_near_place(target, used),
            )
    return UnitSet(Explicit((Unit((target,)),)), model)


def _noun(target: Target) -> str:
    if target.site.kind == "head":
        return f"head {target.place}"
    return "neuron " + target.place if target.site.kind == "neuron" else f"place {target.place}"


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


def _family(name: str, span: Span, scope: Scope, model: Model | None) -> UnitSet:
    used = known_model(scope, model)
    if used is None:
        declared = scope.declared_as("model")
        raise scope.reject(
            "E307",
            f"which model's {name}?" if declared else f"`{name}` needs a model",
            span,
            help=f"write {declared[0]}.{name}" if declared else "declare one: model m = …",
        )
    if used.facts is None:
        raise scope.reject(
            "E308",
            f"the places of `{used.name}` are not known before its configuration is at hand",
            span,
            help="fetch the model first, or name a folder: checkpoint(\"folder\")",
        )
    members = family(name, used.facts.shape)
    if not members:
        raise scope.reject(
            "E201", f"this model has no {name}", span,
            label=f"{used.name} is attention-only" if used.facts.shape.attn_only else used.name,
        )
    return UnitSet(Explicit(tuple(Unit((t,)) for t in members)), model)


def _attribute(expr: Attribute, scope: Scope, model: Model | None) -> UnitSet:
    owner = find_model(expr.value, scope)
    if owner:
        prefixed = declared_model(owner)
        return _name(expr.name, expr.name_span, scope, prefixed) if not _LAYER.match(
            expr.name
        ) else _unknown_site(expr, scope)
    if isinstance(expr.value, Name) and expr.value.id in scope.aliases:
        return _aliased(expr, scope)
    place, model = _unprefixed(expr.value, scope, model)
    if match := _HEAD.match(place):
        if expr.name in HEAD_SITES and expr.name != "head":
            target = Target(Site(expr.name, int(match[1])), int(match[2]))
            return _single(target, expr.span, scope, model)
    elif match := _LAYER.match(place):
        kind = "mlp_out" if expr.name == "mlp" else expr.name
        if kind in RESIDUAL_SITES:
            return _single(Target(Site(kind, int(match[1]))), expr.span, scope, model)
    return _unknown_site(expr, scope)


def _unprefixed(expr: Expr, scope: Scope, model: Model | None) -> tuple[str, Model | None]:
    """`L3` or `base.L3` as the bare place and its model."""
    match expr:
        case Name(id=name):
            return name, model
        case Attribute(value=owner, name=name):
            declared = find_model(owner, scope)
            if declared:
                return name, declared_model(declared)
    return "", model


def _aliased(expr: Attribute, scope: Scope) -> UnitSet:
    assert isinstance(expr.value, Name)
    inner = scope.aliases[expr.value.id]
    declared = inner.find(expr.name, ("units", "let"))
    if declared is None:
        raise inner.unknown(expr.name, expr.name_span, "a set of places", list(inner.names))
    return _declared(declared)


def _unknown_site(expr: Attribute, scope: Scope) -> UnitSet:
    is_head = bool(_HEAD.match(expr.value.span.text.rpartition(".")[2]))
    sites = ["q", "k", "v", "z", "pattern"] if is_head else [*RESIDUAL_SITES, "mlp"]
    raise scope.unknown(expr.name, expr.name_span, "a site", sites, "E201")


def _neurons(expr: Index, scope: Scope, model: Model | None) -> UnitSet:
    """`L3.mlp[512]`, `L3.mlp[0..9]`"""
    value = expr.value
    if isinstance(value, Attribute) and value.name == "mlp":
        place, model = _unprefixed(value.value, scope, model)
        match = _LAYER.match(place)
        if match and expr.arguments:
            found = [
                _single(Target(Site("neuron", int(match[1])), n), expr.span, scope, model)
                for argument in expr.arguments
                for n in _indices(argument, scope)
            ]
            return _union(found, expr.span, scope)
    raise scope.reject(
        "E300", "a neuron is written L3.mlp[512]", expr.span, help="layer, mlp, neuron's number"
    )


def _indices(argument: Argument, scope: Scope) -> list[int]:
    value = literal(argument.value, scope)
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int) and v >= 0 for v in values):
        raise scope.reject("E302", "a neuron's number is a whole number from 0 on", argument.span)
    return values


# ---- phrases and groups


def _phrase(expr: Phrase, scope: Scope, model: Model | None) -> UnitSet:
    found = _union([units(o, scope, model) for o in expr.objects], expr.span, scope)
    for clause in expr.clauses:
        found = narrow(found, clause, scope)
    return found


def narrow(found: UnitSet, clause: Clause, scope: Scope) -> UnitSet:
    """Units with one clause applied: layers, at or where."""
    if clause.word == "layers":
        return UnitSet(_in_layers(found, clause, scope), found.model)
    if clause.word == "at":
        where = tuple(p for v in clause.values for p in positions(v, scope))
        return UnitSet(Placed(found.units, where), found.model)
    if clause.word == "where":
        from interp_dsl.check.expressions import unit_test

        total = found.units
        for value in clause.values:
            total = Filtered(total, unit_test(value, scope))
        return UnitSet(total, found.model)
    raise scope.reject(
        "E210",
        f"places take no clause `{clause.word}`",
        clause.word_span,
        label="they take layers, at and where",
    )


def _in_layers(found: UnitSet, clause: Clause, scope: Scope) -> Explicit:
    wanted: set[int] = set()
    for value in clause.values:
        got = literal(value, scope)
        wanted |= set(got if isinstance(got, list) else [got])
    if not isinstance(found.units, Explicit):
        raise scope.reject(
            "E306", "`layers` filters units that are known before the run", clause.word_span,
            help="put `layers` on the family itself, in brackets",
        )
    kept = tuple(u for u in found.units.units if all(t.site.layer in wanted for t in u.targets))
    if not kept:
        used = known_model(scope, found.model)
        n = used.facts.shape.n_layers if used and used.facts else None
        raise scope.reject(
            "E302",
            "no unit lies in these layers",
            clause.values[0].span,
            label=f"{used.name} has layers 0..{n - 1}" if used and n else "",
        )
    return Explicit(kept)


def _group(expr: Call, scope: Scope, model: Model | None) -> UnitSet:
    if expr.function == "top":
        return UnitSet(_top(expr, scope), model)
    positional = [a for a in expr.arguments if a.name is None]
    if not positional:
        raise scope.reject(
            "E301", f"`{expr.function}` needs places", expr.span,
            help=f"write for example {expr.function}(heads)",
        )
    values = [a.value for a in positional]
    size: int | None = None
    by = None
    if expr.function == "windows":
        size = _size(expr, values, scope)
        values = values[:1]
    if expr.function == "growing" and isinstance(values[0], Phrase):
        from interp_dsl.check.expressions import unit_value

        clauses = [c for c in values[0].clauses if c.word == "by"]
        if clauses:
            by = unit_value(clauses[0].values[0], scope)
            rest = tuple(c for c in values[0].clauses if c.word != "by")
            values[0] = replace(values[0], clauses=rest)
    found = _union([units(v, scope, model) for v in values], expr.span, scope)
    return UnitSet(Grouped(expr.function, found.units, size, by), found.model)


def _size(expr: Call, values: list[Expr], scope: Scope) -> int:
    size = literal(values[1], scope) if len(values) > 1 else None
    if not isinstance(size, int) or size < 1:
        raise scope.reject(
            "E301", "`windows` needs places and a number of layers", expr.span,
            help="write for example windows(mlps, 3)",
        )
    return size


def _top(expr: Call, scope: Scope) -> Top:
    """`top(who, 10)`, `top(who, 10, by=gap.effect)`"""
    from interp_dsl.check.expressions import metric_column, step_of

    positional = [a.value for a in expr.arguments if a.name is None]
    named = {a.name: a.value for a in expr.arguments if a.name}
    if len(positional) != 2 or set(named) - {"by", "absolute"}:
        raise scope.reject(
            "E301", "`top` needs a step and a number", expr.span,
            help="write for example top(who, 10) or top(who, 10, by=gap.effect)",
        )
    step = step_of(positional[0], scope)
    n = literal(positional[1], scope)
    if not isinstance(n, int) or n < 1:
        raise scope.reject("E302", "how many? a whole number from 1 on", positional[1].span)
    metric, column = metric_column(step, named.get("by"), expr.span, scope)
    absolute = bool(literal(named["absolute"], scope)) if "absolute" in named else True
    return Top(step.name, n, metric, column, absolute)
