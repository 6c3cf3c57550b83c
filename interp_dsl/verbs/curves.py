"""What `perturb` and `interpolate` share: places that are moved along paths, and how they lower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from interp_dsl.plan.algebra import Explicit, Intervention, Points, Units
from interp_dsl.plan.curves import PLANE
from interp_dsl.plan.paths import (
    AlongSlope,
    AlongVector,
    Among,
    Between,
    Components,
    Drawn,
    Moved,
    Path,
    Plane,
    Sized,
    Toward,
)
from interp_dsl.plan.places import Length, Target
from interp_dsl.plan.tasks import Reach, Regions, Sweep, Variant
from interp_dsl.verbs.directions import PATHS
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.rebuilt import (
    check_dictionaries,
    dictionaries_of,
    dictionary_path,
    each_dictionary,
)
from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import (
    Call,
    Change,
    Context,
    CurveTerm,
    DictionaryTerm,
    DirectionTerm,
    Model,
    Side,
    SourceTerm,
    Step,
    UnitSet,
)

FEW = 8
NO_VECTOR = ("pattern", "neuron", "logits", "edge", "hook")
TOWARD = ("toward_random", "toward_real", "toward_zero", "toward", "line", "arc")
OWN = (*TOWARD, "rebuilt", "decoder")
"""Directions that depend on the activation itself."""


def check_places(call: Call, checks: Checks) -> None:
    """Each object is one place that holds a vector, known before the run."""
    units: UnitSet = call.objects[0]
    explicit = units.units.units if isinstance(units.units, Explicit) else None
    if explicit is None or any(len(unit.targets) != 1 for unit in explicit):
        checks.error(
            "E306",
            f"`{call.verb}` moves one place at a time",
            call.spans["objects"],
            help=f"name places: {call.verb} L1.resid_pre",
        )
    wrong = sorted({s.kind for s in checks.sites(units.units)} & {*NO_VECTOR})
    if wrong:
        checks.error(
            "E306",
            f"{wrong[0]} holds no vector to move",
            call.spans["objects"],
            help="name a residual stream, what a layer's part writes, or a head's q, k, v or z",
        )


def check_directions(
    call: Call, checks: Checks, model: Model, scale: DictionaryTerm | None = None
) -> tuple[DirectionTerm, ...]:
    """The directions under names of their own, each of this model and as wide as the places; as
    long as the error of the dictionary `scale`."""
    found = tuple(each_dictionary(named(call.clauses["along"]), scale))
    check_dictionaries(call, checks, found, model)
    for one in found:
        if one.of is not None:
            checks.check_side(call, one.of, model, "along")
        if one.source is not None and one.source.kind == "blocked":
            checks.error("E306", "nothing leads to `blocked`", call.spans["along"])
    return found


def named(terms: Sequence[DirectionTerm]) -> tuple[DirectionTerm, ...]:
    """Terms of one name told apart by a number."""
    names = [term.name for term in terms]
    return tuple(
        replace(t, name=f"{t.name}.{names[:i].count(t.name) + 1}") if names.count(t.name) > 1 else t
        for i, t in enumerate(terms)
    )


def check_lengths(call: Call, checks: Checks) -> tuple[Length, ...]:
    """The lengths in order, each once, counted in one thing."""
    found = [length for part in call.clauses["by"] for length in part]
    if len({length.scale for length in found if length.value}) > 1:
        checks.error(
            "E302",
            "the lengths of a curve are counted in one thing",
            call.spans["by"],
            help="ask for lengths in L2, in % of the typical norm or in x in steps of their own",
        )
    scale = next((length.scale for length in found if length.value), found[0].scale)
    return tuple(Length(value, scale) for value in sorted({length.value for length in found}))


def check_few(call: Call, checks: Checks, step: Step, side: Side, word: str) -> None:
    """Lint 25: too few prompts for an interval that says anything."""
    assert step.model is not None
    n = checks.n_prompts(side, step.model)
    if n is not None and n < FEW:
        checks.warn(
            "W25",
            "a curve over few prompts says little",
            call.spans[word],
            label=f"{n} prompt{'' if n == 1 else 's'}",
            help=f"use {FEW} or more: the interval of fewer is hardly one",
        )


def check_idle(call: Call, checks: Checks, step: Step, side: Side, other: Side | None) -> None:
    """Lint 29: a change that nothing reads, or that is none."""
    why = checks.why_idle(step, side, other)
    if why is not None:
        checks.warn(
            "W29",
            "nothing changes here",
            call.spans.get("at", call.spans["objects"]),
            label=f"{why}, in every prompt",
            help="name a position that what is read depends on, and that differs",
        )


def check_first(call: Call, checks: Checks) -> None:
    """Lint 27: a change of the first token alone."""
    units: UnitSet = call.objects[0]
    explicit = units.units.units if isinstance(units.units, Explicit) else ()
    places = [t.positions for unit in explicit for t in unit.targets]
    if any(p.kind == "first" or p.index == 0 for p in places):
        checks.warn(
            "W27",
            "this moves the first token",
            call.spans.get("at", call.spans["objects"]),
            help="its activation is unlike all others: name another position, or all - first",
        )


def step_of(
    call: Call, checks: Checks, change: Change, model: Model, side: Side, term: CurveTerm
) -> Step:
    """The checked step of a measured curve."""
    units = change.units.units
    step = Step(
        call.name,
        call.verb,
        "scores",
        model,
        call.clauses["measure"],
        units,
        change,
        lacks=("normalized",),
        contexts=tuple(c.name for c in call.clauses.get("under", ())),
        n_rows=checks.count(units, model, side),
        curves=term,
    )
    return step


# ---- lowering


def moved(change: Change, model: Model, into: Side, lowering: Lowering) -> Intervention:
    """A change along directions bound to a model, the passes that it is made from asked for."""
    term, units = change.source, change.units.units
    home = term.side or into
    models = term.models or (model,)
    paths = tuple(_sized(one, models, home, units, lowering) for one in term.directions)
    counts = tuple((p.name, getattr(p, "n", 1)) for p in paths)
    run = None
    if any(length.scale == "norm" for length in term.lengths):
        run = lowering.run(home, model)
        lowering.forward(run, moments=_places(units))
    return Intervention(Points(units, counts, term.lengths), Moved(paths, run))


def _sized(
    term: DirectionTerm, models: tuple[Model, ...], side: Side, units: Units, lowering: Lowering
) -> Path:
    path = _path(term, models, side, units, lowering)
    return path if term.sized is None else Sized(path, dictionaries_of(term.sized, lowering))


def _path(
    term: DirectionTerm, models: tuple[Model, ...], side: Side, units: Units, lowering: Lowering
) -> Path:
    touched, model = sites(units, {}), models[0]
    match term.kind:
        case "vector":
            assert term.vector is not None
            return AlongVector(term.name, lowering.vector(term.vector, model))
        case "file":
            assert term.file is not None
            return AlongVector(term.name, term.file)
        case "gradient":
            assert term.metric is not None
            return AlongSlope(term.name, term.metric)
        case "toward" | "toward_zero" | "line" | "arc":
            source = term.source or SourceTerm("zero")
            if term.kind in PATHS and source.kind == "side" and source.side is not None:
                sides = (side, source.side)
                ends = tuple(lowering.run(one, m) for m in models for one in sides)
                for run in ends:
                    lowering.forward(run, sites=touched)
                return Between(term.name, ends, term.kind)
            if source.kind == "others":
                return Among(term.name, lowering.run(side, model), term.n, term.kind)
            how = term.kind if term.kind in PATHS else "line"
            return Toward(term.name, lowering.source(source, model, touched), how)
        case "random":
            return Drawn(term.name, "random", term.n, term.seed)
    run = lowering.run(term.of or side, model)
    if term.dictionary is not None:
        lowering.forward(run, sites=touched)
        return dictionary_path(term, run, lowering)
    if term.kind in ("difference", "toward_real"):
        lowering.forward(run, sites=touched)
    else:
        lowering.forward(run, moments=_places(units))
    if term.kind == "components":
        return Components(term.name, run, term.n)
    return Drawn(term.name, term.kind, term.n, term.seed, run)


def _places(units: Units) -> tuple[Target, ...]:
    """The places of units, whatever their positions."""
    assert isinstance(units, Explicit)
    found = (Target(t.site, t.index or 0) for unit in units.units for t in unit.targets)
    return tuple(dict.fromkeys(found))


def lower(
    call: Call, step: Step, lowering: Lowering, sides: Sequence[Side], curves: Reach | Regions
) -> None:
    """The passes of the runs that are moved, and the sweep over the points."""
    assert step.model is not None and step.change is not None and step.curves is not None
    model, first, source = step.model, sides[0], step.change.source
    change = lowering.intervention(step.change, model, first)
    if isinstance(curves, Regions) and curves.slice:
        assert isinstance(change.source, Moved)
        plane = Plane(PLANE, change.source.paths[0])
        change = replace(change, source=replace(change.source, paths=(*change.source.paths, plane)))
    models = source.models or (model,)
    labels = step.curves.sides or ("",) * len(sides)
    variants = [
        variant
        for one in models
        for side, label in zip(sides, labels, strict=True)
        for variant in _variants(call, step, one, side, label, lowering)
    ]
    for one in models:
        lowering.checks(first, one)
    lowering.add(
        Sweep(
            f"sweep:{step.name}",
            step.name,
            tuple(variants),
            change,
            step.metrics,
            lowering.reference(first, model),
            curves=curves,
            place=place_of(call.verb_span),
        )
    )


def _variants(
    call: Call, step: Step, model: Model, side: Side, label: str, lowering: Lowering
) -> Iterator[Variant]:
    """A side of a model as it is, or under each context, measured."""
    assert step.change is not None and step.curves is not None
    terms = step.change.source.directions
    keeps = any(term.kind in OWN or term.sized is not None for term in terms)
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    for context in contexts or (Context("", ()),):
        run = lowering.variant_run(side, context.changes, model)
        lowering.measured(run, step.metrics, lowering.reference(side, model))
        if keeps:
            lowering.forward(run, sites=sites(step.change.units.units, {}))
        columns = {"under": context.name, "side": label}
        columns["model"] = model.name if step.curves.models else ""
        yield Variant(run, None, tuple((name, told) for name, told in columns.items() if told))
