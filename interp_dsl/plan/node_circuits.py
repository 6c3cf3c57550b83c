"""Tasks about circuits of nodes: which of some units a metric needs, and how good they are."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from interp_dsl.plan.algebra import Finding, Intervention, Metric, Run, ScoreOf, Units
from interp_dsl.plan.circuits import Variant
from interp_dsl.plan.origin import Json, Place


@dataclass(frozen=True, slots=True)
class SearchNodes:
    """Find which of an intervention's units stay as they are, all others being changed at once: the
    result is a score table named `step`, a row a unit, of the first metric, which drives the
    search. The others are measured of what it finds.

    `options` are all of the method's, none left open. `by` ranks the units, where the method starts
    from a ranking. `circuits`: how many are measured at most, where that is known beforehand."""

    id: str
    step: str
    variant: Variant
    method: str
    options: tuple[tuple[str, Json], ...]
    metrics: tuple[Metric, ...]
    reference: Run
    intervention: Intervention
    _: KW_ONLY
    by: ScoreOf | None = None
    circuits: int | None = None
    key: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class EvaluateNodes:
    """How good a circuit of nodes is: a score table named `step`, a row a finding. `kept` are the
    units of the intervention that stay as they are."""

    id: str
    step: str
    variant: Variant
    findings: tuple[Finding, ...]
    reference: Run
    intervention: Intervention
    kept: Units
    _: KW_ONLY
    circuits: int | None = None
    key: str | None = None
    place: Place | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that the findings are made of."""
        return tuple(dict.fromkeys(f.metric for f in self.findings))


NodeTask = SearchNodes | EvaluateNodes
