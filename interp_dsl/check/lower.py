"""From a checked experiment to its plan: every step lowered in order, then the passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interp_dsl.check.program import Experiment
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.passes import optimise
from interp_dsl.plan.tasks import Plan
from interp_dsl.plan.units import steps_of
from interp_dsl.verbs.lowering import Lowering, frozen


def plan_experiment(experiment: Experiment, device: str = "auto") -> Plan:
    """The plan of an experiment for a device, all passes done. A parameter's sweep is refused
    (E503), and what waits for a model's configuration (E308)."""
    return optimise(replace(lower(experiment), device=device))


def lower(experiment: Experiment) -> Plan:
    """The plan before any pass: each step asks for all that it needs."""
    _refuse_sweeps(experiment)
    session = experiment.session
    if session.deferred:
        raise InterpError(*session.deferred)
    done: set[str] = set()

    def step(name: str) -> None:
        if name in done:
            return
        done.add(name)
        verb, call = session.calls[name]
        verb.lower(call, session.steps[name], lowering)

    lowering = Lowering(step, session.steps, session.data, experiment.several_models)
    for name in experiment.steps:
        step(name)
    for claim in experiment.claims:
        lowering.require(steps_of(claim.test))
    params: tuple[tuple[str, Any], ...] = tuple(sorted(frozen(session.used_params).items()))
    return Plan(
        tuple(lowering.tasks),
        experiment.claims,
        experiment.views,
        params,
        notes=tuple(session.waiting),
    )


def _refuse_sweeps(experiment: Experiment) -> None:
    if not experiment.open_sweeps:
        return
    raise InterpError(
        *(
            Diagnostic(
                "E503",
                f"running over the values of `{name}` is not built yet",
                span,
                label="checked, and not run",
                help=f"fix it for this run: -p {name}=VALUE",
            )
            for name, span in experiment.open_sweeps
        )
    )
