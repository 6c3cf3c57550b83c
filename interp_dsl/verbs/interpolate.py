"""`interpolate SITE from SIDE to SIDE by 0..1 every 0.05 measure …`: stable regions (Janiak,
Karwowski, Mangat, Giglemiani, Petrova & Heimersheim 2024, arXiv 2409.17113).

The prompts are those of the `from` side, and the place goes from what it is there to what it is on
the other; from side to side also back, in the other side's prompts."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.places import Length
from interp_dsl.plan.tasks import Regions
from interp_dsl.verbs import curves, sweeps
from interp_dsl.verbs.lowering import Lowering
from interp_dsl.verbs.signature import Checks, Clause, Function, Parameter, Verb
from interp_dsl.verbs.values import (
    Call,
    Change,
    CurveTerm,
    DirectionTerm,
    Model,
    Side,
    SourceTerm,
    Step,
    UnitSet,
)

_DEFAULT = Regions()
OPTIONS = Function(
    "using",
    "How curves are read.",
    {
        "both": Parameter("bool", True, "also back, in the other side's prompts"),
        "refine": Parameter(
            "int", _DEFAULT.rounds, "how many times a curve is looked at more closely", least=0
        ),
        "jump": Parameter(
            "number", _DEFAULT.height, "how many times as steep as a line a jump is", least=1
        ),
        "floor": Parameter(
            "number", _DEFAULT.floor, "a curve whose ends are no further apart is left out", least=0
        ),
        "gates": Parameter(
            "word",
            _DEFAULT.gates,
            "of which layers neurons are counted that change their sign on the way",
            ("none", "last", "all"),
        ),
        "slice": Parameter(
            "int", _DEFAULT.slice, "a picture of so many by so many points of a plane", least=2
        ),
        "planes": Parameter("int", _DEFAULT.planes, "of so many prompts a picture", least=1),
        "models": Parameter("models", None, "several models whose places are moved: [a, b]"),
    },
)
LINE = (DirectionTerm("line", "line"),)
STEPS = tuple(Length(i / 20, "own") for i in range(21))
"""Shares of the way where nothing is said."""


def _check(call: Call, checks: Checks) -> Step:
    units: UnitSet = call.objects[0]
    start: Side = call.one("from")
    end: SourceTerm = call.one("to")
    models: tuple[Model, ...] = (call.one("using") or OPTIONS.defaults)["models"] or ()
    model = _model(call, checks, models)
    curves.check_places(call, checks)
    ways = _ways(call)
    end = _check_end(call, checks, model)
    terms = curves.named(call.clauses.get("along", LINE))
    directions = tuple(replace(term, source=end, n=_count(end)) for term in terms)
    is_zero = end.kind == "zero" or (end.kind == "constant" and not end.number)
    if is_zero and any(term.kind == "arc" for term in terms):
        checks.error(
            "E306",
            "no arc leads to zero, which has no direction",
            call.spans["along"],
            label="this would be the line again",
            help="write along line()",
        )
    lengths = _lengths(call, checks)
    source = SourceTerm("moved", start, directions=directions, lengths=lengths, models=models)
    change = Change(replace(units, model=model), source, ())
    paths = tuple((d.name, d.n) for d in directions)
    names = tuple(one.name for one in models)
    about = CurveTerm(paths, lengths, _labels(ways), True, names)
    step = curves.step_of(call, checks, change, model, start, about)
    for one in models or (model,):
        _check_ways(call, checks, replace(step, model=one), ways)
        _check_gates(call, checks, one)
    reached = end.side if end.kind == "side" and end.side != start else None
    curves.check_idle(call, checks, step, start, reached)
    if not _lacks_third(call, checks, model):
        curves.check_few(call, checks, step, start, "from")
    curves.check_first(call, checks)
    return step


def _model(call: Call, checks: Checks, models: tuple[Model, ...]) -> Model:
    """The model of the places, one of several where there are."""
    own: Model = call.objects[0].model or models[0] if models else checks.model_of(call)
    if models and own not in models:
        checks.error(
            "E307",
            f"`models` leaves out `{own.name}`, whose places these are",
            call.spans["using"],
            help=f"name it too: models=[{', '.join(m.name for m in (own, *models))}]",
        )
    return own


def _check_ways(
    call: Call, checks: Checks, step: Step, ways: list[tuple[Side, SourceTerm]]
) -> None:
    """What is moved, and where it leads, is in this model and this data."""
    model, change = step.model, step.change
    assert model is not None and change is not None
    change = replace(change, units=replace(change.units, model=model))
    for side, other in ways:
        way = replace(call, clauses={**call.clauses, "from": (side,)})
        checks.check_change(way, replace(change, source=_drawn(other)), "to", "from")
        checks.check_contexts(way, model, side, "from")
        checks.check_metrics(way, step, side)


def _check_end(call: Call, checks: Checks, model: Model) -> SourceTerm:
    """Where paths lead, of others how many there are."""
    start: Side = call.one("from")
    end: SourceTerm = call.one("to")
    options = call.one("using") or OPTIONS.defaults
    is_nowhere = end.kind == "side" and end.side == start
    if end.kind in ("noise", "blocked") or is_nowhere:
        what = "this path has no length" if is_nowhere else f"`{end.kind}` is no end of a path"
        checks.error("E306", what, call.spans["to"], help="name another side, or resample(SIDE)")
    if end.kind not in ("side", "zero", "constant", "others") and options["models"]:
        checks.error(
            "E306",
            "paths of several models lead to a side, to others() or to zero",
            call.spans["to"],
            help="write a step for each model",
        )
    n = checks.n_prompts(start, model)
    if _lacks_third(call, checks, model):
        checks.error(
            "E302",
            "a plane goes through a third activation, of a further prompt",
            call.spans["from"],
            label=f"there {'is one' if n == 1 else f'are {n}'}",
        )
    if end.kind != "others":
        return end
    if end.side != start:
        checks.error(
            "E306",
            "others are of the side on which paths begin",
            call.spans["to"],
            help="write from d.clean to others(d.clean)",
        )
    if n is None and not end.number:
        checks.error("E303", "how many others?", call.spans["to"], help="write others(SIDE, n=8)")
    most = max(1, n - 1) if n is not None else int(end.number) or 1
    if end.number > most:
        checks.error(
            "E302",
            f"each prompt has {most} others here",
            call.spans["to"],
            label="more are asked for",
        )
    return replace(end, number=float(end.number or most))


def _lacks_third(call: Call, checks: Checks, model: Model) -> bool:
    """Whether there is a picture to draw, and no prompt for its third corner."""
    n, wanted = checks.n_prompts(call.one("from"), model), 2 + (call.one("to").kind == "others")
    options = call.one("using") or OPTIONS.defaults
    return bool(options["slice"]) and n is not None and n < wanted


def _count(end: SourceTerm) -> int:
    return int(end.number) if end.kind == "others" else 1


def _drawn(end: SourceTerm) -> SourceTerm:
    """An end as checks of changes know it: others are as those that resample() draws."""
    return replace(end, kind="resample") if end.kind == "others" else end


def _check_gates(call: Call, checks: Checks, model: Model) -> None:
    """Gates are counted by their neurons' signs, which a gated MLP's do not tell."""
    options = call.one("using") or OPTIONS.defaults
    shape = model.facts.shape if model.facts else None
    if options["gates"] == "none" or shape is None:
        return
    if shape.gated or not shape.d_mlp:
        checks.error(
            "E306",
            "gates are counted of MLPs whose neurons have one input",
            call.spans["using"],
            label="these have two" if shape.gated else f"`{model.name}` has no MLPs",
            help="leave `gates` out",
        )


def _ways(call: Call) -> list[tuple[Side, SourceTerm]]:
    """Where paths begin and where they lead; back too, from side to side."""
    start, end = call.one("from"), call.one("to")
    ways = [(start, end)]
    options = call.one("using") or OPTIONS.defaults
    if end.kind == "side" and options["both"]:
        ways.append((end.side, SourceTerm("side", start)))
    return ways


def _labels(ways: list[tuple[Side, SourceTerm]]) -> tuple[str, ...]:
    """What tells two sides apart; nothing where there is one."""
    if len(ways) == 1:
        return ()
    names = [side.side for side, _ in ways]
    if len(set(names)) == len(names):
        return tuple(names)
    named = [f"{side.dataset.name}.{side.side}" for side, _ in ways]
    if len(set(named)) == len(named):
        return tuple(named)
    return ("from", "to")


def _lengths(call: Call, checks: Checks) -> tuple[Length, ...]:
    """Shares of the way from 0 to 1, both ends in."""
    if "by" not in call.clauses:
        return STEPS
    lengths = curves.check_lengths(call, checks)
    ends = (lengths[0].value, lengths[-1].value)
    if len(lengths) < 3 or ends != (0, 1):
        checks.error(
            "E302",
            "a path is walked from 0 to 1",
            call.spans["by"],
            label="nothing lies between"
            if ends == (0, 1)
            else f"this goes from {ends[0]:g} to {ends[1]:g}",
            help="write by 0..1 every 0.05",
        )
    return lengths


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    options = call.one("using") or OPTIONS.defaults
    sides = [side for side, _ in _ways(call)]
    regions = Regions(
        options["refine"],
        float(options["jump"]),
        float(options["floor"]),
        options["gates"],
        options["slice"],
        options["planes"],
    )
    curves.lower(call, step, lowering, sides, regions)


VERB = Verb(
    "interpolate",
    "Move a place from what it is on one side to what it is on another, step by step, and measure.",
    Clause("units", "the places, one moved at a time", required=True, many=True),
    {
        "from": Clause("side", "whose prompts are run, and where paths begin", required=True),
        "to": Clause("end", "where they lead", required=True),
        "by": Clause("share", "shares of the way; 0..1 every 0.05 when left out", many=True),
        "along": Clause("path", "line() when left out, arc()", many=True),
        "measure": Clause("metric", "the metrics", required=True, many=True),
        "under": sweeps.MEASURING["under"],
        "using": Clause("options", "both ways, closer looks, what a jump is", options=OPTIONS),
        **sweeps.NARROWING,
    },
    _check,
    _lower,
    "step regions = interpolate L0.resid_post from ioi.clean to ioi.corrupt at END\n"
    "  by 0..1 every 0.05 measure distance(), kl()",
)
