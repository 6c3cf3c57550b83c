"""`perturb SITE of SIDE along DIRECTIONS by LENGTHS measure …`: sensitive directions (Gurnee 2024;
Heimersheim & Mendel 2024; Lee & Heimersheim 2024, arXiv 2410.12555).

Without `measure` it runs nothing: its name is an intervention, which moves the place by one length
along one direction."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.models.sites import width
from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.metrics import METRICS, calls, needs
from interp_dsl.plan.places import Length
from interp_dsl.plan.tasks import Reach
from interp_dsl.verbs import curves, sweeps
from interp_dsl.verbs.directions import BASELINES, SHRINKING
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

OPTIONS = Function(
    "using",
    "How curves are read.",
    {
        "thresholds": Parameter(
            "numbers", (0.1, 0.5), "effects whose length is looked for", least=0
        ),
        "against": Parameter("word", None, "the direction that others are compared with"),
        "scale": Parameter(
            "dictionaries", None, "what directions are as long as at 1x: a dictionary's error"
        ),
    },
)


def _check(call: Call, checks: Checks) -> Step:
    units: UnitSet = call.objects[0]
    side: Side = call.one("of")
    model = checks.model_of(call)
    curves.check_places(call, checks)
    options = call.one("using") or OPTIONS.defaults
    directions = curves.check_directions(call, checks, model, options["scale"])
    lengths = curves.check_lengths(call, checks)
    _check_scale(call, checks, lengths)
    source = SourceTerm("moved", side, directions=directions, lengths=lengths)
    change = Change(replace(units, model=model), source, ())
    _check_vectors(call, checks, change, directions)
    if "measure" not in call.clauses:
        return _intervention(call, checks, change, model)
    paths = tuple((d.name, d.n) for d in directions)
    about = CurveTerm(paths, lengths)
    step = curves.step_of(call, checks, change, model, side, about)
    step = replace(step, thresholds=options["thresholds"])
    checks.check_contexts(call, model, side, "of")
    checks.check_metrics(call, step, side)
    _check_baseline(call, checks, directions)
    for metric in (d.metric for d in directions if d.metric is not None):
        _check_slope(call, checks, metric, step, side)
    curves.check_idle(call, checks, step, side, None)
    curves.check_few(call, checks, step, side, "of")
    curves.check_first(call, checks)
    return step


def _check_components(call: Call, checks: Checks, one: DirectionTerm, wide: int) -> None:
    """A place has no more principal components than dimensions."""
    if one.n > wide:
        checks.error(
            "E661",
            f"`{one.name}` asks for {one.n:,} principal components of a place of width {wide:,}",
            call.spans["along"],
            label="they span no more dimensions than the place has",
            help=f"write components(n={wide})",
        )


def _check_scale(call: Call, checks: Checks, lengths: tuple[Length, ...]) -> None:
    """What counts in a dictionary's error is written so."""
    options = call.one("using") or OPTIONS.defaults
    counted = next((length.scale for length in lengths if length.value), "own")
    if options["scale"] is not None and counted != "own":
        checks.error(
            "E302",
            "lengths that count in a dictionary's error are in x",
            call.spans["by"],
            help="write by 0x..2x every 0.25x",
        )


def _check_vectors(
    call: Call, checks: Checks, change: Change, directions: tuple[DirectionTerm, ...]
) -> None:
    """Vectors are of this model and as wide as the places, which the side has."""
    vectors = tuple(d.vector for d in directions if d.vector is not None)
    checks.check_change(call, replace(change, along=vectors), "along", "of")
    kinds = checks.sites(change.units.units)
    shape = (
        change.units.model.facts.shape if change.units.model and change.units.model.facts else None
    )
    for one in directions:
        wide = {width(site, shape) for site in kinds} if shape and one.file else set()
        if one.file is not None and wide - {one.file.width}:
            checks.error(
                "E306",
                f"`{one.name}` has the width {one.file.width}",
                call.spans["along"],
                label=f"the place has {', '.join(str(w) for w in sorted(wide, key=str))}",
            )
        if one.kind == "components" and shape:
            _check_components(call, checks, one, min(width(s, shape) or one.n for s in kinds))
        if one.source is not None:
            toward = replace(change, source=one.source)
            checks.check_change(call, toward, "along", "of")


def _check_slope(call: Call, checks: Checks, metric: Metric, step: Step, side: Side) -> None:
    """A direction up a metric's slope needs one, of the run alone."""
    flat = [c.function for c in calls(metric.term) if not METRICS[c.function].smooth]
    if flat or "reference" in needs(metric.term):
        checks.error(
            "E306",
            f"there is no direction up the slope of `{metric.name}`",
            call.spans["along"],
            label="it has none" if flat else "it is a distance, 0 where it begins",
            help="write gradient(logit_diff()) or gradient(logprob())",
        )
        return
    alone = replace(step, metrics=(metric,))
    checks.check_metrics(call, alone, side)
    checks.check_tokens(call, alone, side)


def _intervention(call: Call, checks: Checks, change: Change, model: Model) -> Step:
    """A step that others run under."""
    (first, *others), lengths = change.source.directions, change.source.lengths
    if others or first.n > 1 or len(lengths) > 1:
        checks.error(
            "E306",
            "an intervention moves along one direction by one length",
            call.spans["along"] if others or first.n > 1 else call.spans["by"],
            label="this step has no `measure`",
            help="name one, or measure what all of them do",
        )
    if first.kind in (*curves.OWN, "gradient"):
        checks.error(
            "E306",
            "an intervention moves along a direction that is known before it",
            call.spans["along"],
            label="this one depends on the activation itself",
            help="patch or ablate the place instead",
        )
    for word in ("under", "using"):
        if word in call.clauses:
            checks.error("E306", f"an intervention takes no `{word}`", call.spans[word])
    units = change.units.units
    return Step(call.name, call.verb, "intervention", model, units=units, change=change)


def _check_baseline(call: Call, checks: Checks, directions: tuple[DirectionTerm, ...]) -> None:
    """The direction that others are compared with is one of them. Lint 44: it does not shrink."""
    names = list(dict.fromkeys(n for d in directions for n in (d.base, d.name)))
    kinds = {d.kind for d in directions}
    against: str | None = (call.one("using") or OPTIONS.defaults)["against"]
    if against is not None and against not in names:
        checks.error(
            "E302",
            f"this step has no direction `{against}`",
            call.spans["using"],
            label=f"it has {', '.join(names)}",
        )
    if against in SHRINKING or (kinds & {*SHRINKING} and not kinds & {*BASELINES}):
        checks.warn(
            "W44",
            "a direction toward another activation is no baseline",
            call.spans["using" if against in SHRINKING else "along"],
            help="compare with covariance() or difference(), which do not shrink the activation",
        )


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    if step.result != "scores" or step.change is None:
        return
    directions = step.change.source.directions
    pairs = ((d.name, _baseline(call, d, directions)) for d in directions)
    against = tuple((one, other) for one, other in pairs if other is not None)
    curves.lower(call, step, lowering, (call.one("of"),), Reach(step.thresholds, against))


def _baseline(call: Call, one: DirectionTerm, directions: tuple[DirectionTerm, ...]) -> str | None:
    """The direction that one is compared with: the one named, else the best baseline; as long as
    the error of the same dictionary, where directions are as long as one."""
    against: str | None = (call.one("using") or OPTIONS.defaults)["against"]
    if against is None and len({d.base for d in directions}) == 1:
        return None
    label = one.name.removeprefix(one.base)
    beside = [d for d in directions if d.name.removeprefix(d.base) in ("", label)]
    if against is not None:
        found = [d.name for d in beside if against in (d.name, d.base)] or [against]
    else:
        found = [d.name for kind in BASELINES for d in beside if d.kind == kind]
    return found[0] if found else None


VERB = Verb(
    "perturb",
    "Move a place along directions, further and further, and measure.",
    Clause("units", "the places, one moved at a time", required=True, many=True),
    {
        "of": Clause("side", "the side whose run is moved and measured", required=True),
        "along": Clause("direction", "the directions", required=True, many=True),
        "by": Clause("length", "how far: in L2, % of the norm, or x", required=True, many=True),
        "measure": sweeps.MEASURING["measure"],
        "under": sweeps.MEASURING["under"],
        "using": Clause("options", "thresholds, and what is compared with", options=OPTIONS),
        **sweeps.NARROWING,
    },
    _check,
    _lower,
    "step sens = perturb L1.resid_pre of ioi.clean at END along random(n=8), covariance(n=8)\n"
    "  by 0..20 every 2 measure kl()",
)
