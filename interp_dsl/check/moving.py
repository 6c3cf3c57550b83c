"""Metrics of how far a place moves: `distance(L2.resid_post)`."""

from __future__ import annotations

from collections.abc import Sequence

from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Argument, Attribute, Name
from interp_dsl.models.sites import missing, reaches
from interp_dsl.plan.algebra import Explicit, Metric
from interp_dsl.plan.metrics import MOVING, calls, needs
from interp_dsl.plan.places import ALL, Site, Target
from interp_dsl.verbs.values import Call, Step, UnitSet

EVERYWHERE = ("perturb", "interpolate", "patch", "ablate")


def moving_place(found: UnitSet, argument: Argument, scope: Scope) -> Site:
    """The site of the place that a distance is of: one vector at each position, of whatever model
    a step runs."""
    expr, units = argument.value, found.units
    targets = [t for u in units.units for t in u.targets] if isinstance(units, Explicit) else []
    if len(targets) != 1 or targets[0].site.kind not in MOVING or targets[0].positions != ALL:
        raise scope.reject(
            "E306",
            "`distance` is of one place that holds a vector at each position",
            expr.span,
            label=f"one of {', '.join(MOVING)} of a layer",
            help="write distance(L1.resid_post); `at` says where it is read",
        )
    if isinstance(expr, Attribute) and not isinstance(expr.value, Name):
        raise scope.reject(
            "E306",
            "a metric is measured in the model of its step",
            expr.span,
            help=f"write distance({targets[0].place})",
        )
    return targets[0].site


def check_moving(call: Call, step: Step, changed: Sequence[Site], scope: Scope) -> None:
    """A step measures distances of places that its models have and its changes can move. `changed`
    are all sites that it may change."""
    for metric in step.metrics:
        if "stream" not in needs(metric.term):
            continue
        if call.verb not in EVERYWHERE or any(site.kind == "edge" for site in changed):
            scope.error(
                "E306",
                f"`{metric.name}` is measured by {', '.join(EVERYWHERE[:-1])} and {EVERYWHERE[-1]} "
                "of places",
                call.spans["measure"],
                label="how far a place moves from where it is without the step's change",
                help="measure kl(), or logit_diff()",
            )
            continue
        for site in dict.fromkeys(c.site for c in calls(metric.term) if c.site is not None):
            _check_site(call, step, metric, site, changed, scope)


def _check_site(
    call: Call, step: Step, metric: Metric, site: Site, changed: Sequence[Site], scope: Scope
) -> None:
    place, span = Target(site).place, call.spans["measure"]
    models = (step.change.source.models if step.change else ()) or (step.model,)
    shapes = [(m.name, m.facts.shape) for m in models if m is not None and m.facts is not None]
    for name, shape in shapes:
        if wrong := missing(Target(site), shape):
            scope.error("E201", f"`{name}` has no place {place}", span, label=wrong)
            return
    parallel = any(shape.parallel for _, shape in shapes)
    ends = [end for one in changed for end in (one.ends[1] if one.feature else (one,))]
    if ends and not any(reaches(one, site, parallel) for one in ends):
        scope.error(
            "E306",
            f"nothing that this changes comes before {place}",
            span,
            label=f"`{metric.name}` is 0 whatever is done",
            help=f"measure it of a later place, or change L{site.layer}.resid_pre",
        )
