"""`record SITES of SIDE [at …] keep N`: activations of N examples, kept for looking at."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.places import ALL
from interp_dsl.plan.tasks import Record
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.sweeps import NARROWING
from interp_dsl.verbs.values import Call, Change, Side, SourceTerm, Step, UnitSet


def _check(call: Call, checks: Checks) -> Step:
    units: UnitSet = call.objects[0]
    side: Side = call.one("of")
    keep = call.one("keep")
    model = checks.model_of(call)
    if not isinstance(units.units, Explicit):
        checks.error(
            "E306", "`record` takes places that are known before the run", call.spans["objects"]
        )
    if any(site.kind == "edge" for site in checks.sites(units.units)):
        checks.error("E306", "an edge holds nothing to record", call.spans["objects"])
    if any(site.kind == "feature" for site in checks.sites(units.units)):
        checks.error(
            "E306",
            "features are not recorded",
            call.spans["objects"],
            help="inspect them: inspect features(sae) by examples() on DATA",
        )
    if keep is not None and keep < 1:
        checks.error("E302", "keep at least one example", call.spans["keep"])
    seen = Change(replace(units, model=model), SourceTerm("zero"), ())
    checks.check_change(call, seen, "of", "of")
    checks.check_contexts(call, model, side, "of")
    return Step(call.name, "record", "recording", model, units=units.units)


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    assert step.model is not None and isinstance(step.units, Explicit)
    run = lowering.run(call.one("of"), step.model)
    lowering.forward(run, sites=sites(step.units, {}))
    targets = tuple(t for u in step.units.units for t in u.targets)
    lowering.add(
        Record(
            f"record:{step.name}",
            step.name,
            run,
            targets,
            ALL,
            call.one("keep") or 8,
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "record",
    "Keep activations or attention patterns of some examples, for looking at.",
    Clause("units", "the places", required=True, many=True),
    {
        "of": Clause("side", "whose run", required=True),
        "keep": Clause("int", "how many examples; 8 when left out"),
        "at": NARROWING["at"],
        "layers": NARROWING["layers"],
    },
    _check,
    _lower,
    "step seen = record patterns layers 0..1 of ioi.clean keep 16",
)
