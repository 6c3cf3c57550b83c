"""`ablate UNITS with SOURCE on SIDE measure …`: take units out, one at a time, and measure."""

from __future__ import annotations

from interp_dsl.verbs import sweeps
from interp_dsl.verbs.lowering import Lowering
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import Call, Step


def _check(call: Call, checks: Checks) -> Step:
    return sweeps.check(call, checks, "with", "on")


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    sweeps.lower(call, step, lowering, "on")


VERB = Verb(
    "ablate",
    "Set each unit to a source that carries no signal, one at a time, and measure.",
    Clause("units", "the units, one ablated at a time", required=True, many=True),
    {
        "with": Clause("source", "zero, mean, resample, noise, blocked, a number", required=True),
        "on": Clause("side", "the side whose run is ablated and measured"),
        **sweeps.MEASURING,
        **sweeps.NARROWING,
    },
    _check,
    _lower,
    "step out = ablate heads with mean(ioi.corrupt) on ioi.clean measure logit_diff()",
)
