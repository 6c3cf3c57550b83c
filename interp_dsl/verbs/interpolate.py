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
            "number", _DEFAULT.height, "how many times as steep as a line a jump is", least=0
        ),
        "floor": Parameter(
            "number", _DEFAULT.floor, "a curve whose ends are no further apart is left out", least=0
        ),
    },
)
LINE = (DirectionTerm("line", "line"),)
STEPS = tuple(Length(i / 20, "own") for i in range(21))
"""Shares of the way where nothing is said."""


def _check(call: Call, checks: Checks) -> Step:
    units: UnitSet = call.objects[0]
    start: Side = call.one("from")
    end: SourceTerm = call.one("to")
    model = checks.model_of(call)
    curves.check_places(call, checks)
    is_nowhere = end.kind == "side" and end.side == start
    if end.kind in ("noise", "blocked") or is_nowhere:
        what = "this path has no length" if is_nowhere else f"`{end.kind}` is no end of a path"
        checks.error("E306", what, call.spans["to"], help="name another side, or resample(SIDE)")
    terms = curves.named(call.clauses.get("along", LINE))
    directions = tuple(replace(term, source=end) for term in terms)
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
    source = SourceTerm("moved", start, directions=directions, lengths=lengths)
    change = Change(replace(units, model=model), source, ())
    ways = _ways(call)
    paths = tuple((d.name, 1) for d in directions)
    about = CurveTerm(paths, lengths, _labels(ways), True)
    step = curves.step_of(call, checks, change, model, start, about)
    for side, other in ways:
        way = replace(call, clauses={**call.clauses, "from": (side,)})
        checks.check_change(way, replace(change, source=other), "to", "from")
        checks.check_contexts(way, model, side, "from")
        checks.check_metrics(way, step, side)
    reached = end.side if end.kind == "side" and not is_nowhere else None
    curves.check_idle(call, checks, step, start, reached)
    curves.check_few(call, checks, step, start, "from")
    curves.check_first(call, checks)
    return step


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
    regions = Regions(options["refine"], float(options["jump"]), float(options["floor"]))
    curves.lower(call, step, lowering, sides, regions)


VERB = Verb(
    "interpolate",
    "Move a place from what it is on one side to what it is on another, step by step, and measure.",
    Clause("units", "the places, one moved at a time", required=True, many=True),
    {
        "from": Clause("side", "whose prompts are run, and where paths begin", required=True),
        "to": Clause("source", "where they lead", required=True),
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
