"""`patch UNITS from SOURCE into SIDE measure …`: causal patching of activations.

Noising (from corrupt into clean) and denoising (from clean into corrupt) are both this verb
(Heimersheim & Nanda 2024, arXiv 2404.15255)."""

from __future__ import annotations

from interp_dsl.verbs import sweeps
from interp_dsl.verbs.lowering import Lowering
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import Call, Step


def _check(call: Call, checks: Checks) -> Step:
    return sweeps.check(call, checks, "from", "into")


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    sweeps.lower(call, step, lowering, "into")


VERB = Verb(
    "patch",
    "Replace each unit by what it is in another run, one at a time, and measure.",
    Clause("units", "the units, one patched at a time", required=True, many=True),
    {
        "from": Clause("source", "where the new activations come from", required=True),
        "into": Clause("side", "the side whose run is patched and measured"),
        **sweeps.MEASURING,
        **sweeps.NARROWING,
    },
    _check,
    _lower,
    "step who = patch heads from ioi.corrupt into ioi.clean measure logit_diff()",
)
