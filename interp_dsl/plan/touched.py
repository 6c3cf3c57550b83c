"""Which sites of which runs a plan keeps or changes."""

from __future__ import annotations

from collections.abc import Iterator

from interp_dsl.plan.algebra import (
    Combined,
    Explicit,
    Filtered,
    Grouped,
    OfCircuit,
    Placed,
    Points,
    Run,
    Top,
    Units,
)
from interp_dsl.plan.places import Site
from interp_dsl.plan.tasks import (
    Attribute,
    Evaluate,
    EvaluateDictionary,
    EvaluateNodes,
    Fit,
    Forward,
    Generate,
    Inspect,
    Plan,
    SearchNodes,
    Sweep,
)


def touched(plan: Plan) -> Iterator[tuple[Run, Site]]:
    """Every site that a run keeps or that an intervention on it may change. The units behind
    `top(step)` are those of that step, which stands in the plan too; those of a circuit are no
    hooks."""
    for task in plan.tasks:
        match task:
            case Forward(run=run, seen=sites):
                yield from ((run, site) for site in sites)
                yield from _under(run)
            case Sweep(variants=variants, intervention=change):
                for variant in variants:
                    yield from ((variant.into, site) for site in sites_in(change.units))
                    yield from _under(variant.into)
            case (
                SearchNodes(variant=variant, intervention=change)
                | EvaluateNodes(variant=variant, intervention=change)
            ):
                yield from ((variant.into, site) for site in sites_in(change.units))
                yield from _under(variant.into)
            case Attribute(variants=variants, intervention=change):
                for variant in variants:
                    yield from ((variant.into, site) for site in sites_in(change.units))
                    yield from _under(variant.into)
            case Fit(run=run) | EvaluateDictionary(run=run) | Inspect(run=run):
                yield from ((of, site) for of, held in task.sites.items() for site in held)
                yield from _under(run)
            case Generate(continuations=found):
                for one in found:
                    yield from _under(one.run)
            case Evaluate(variants=variants):
                for variant in variants:
                    yield from _under(variant.into)


def _under(run: Run) -> Iterator[tuple[Run, Site]]:
    for change in run.under:
        yield from ((run, site) for site in sites_in(change.units))


def sites_in(units: Units) -> Iterator[Site]:
    """The sites of units, as far as the text names them."""
    match units:
        case Explicit(units=items):
            yield from (target.site for unit in items for target in unit.targets)
        case Combined(left=left, right=right):
            yield from sites_in(left)
            yield from sites_in(right)
        case (
            Filtered(units=inner) | Grouped(units=inner) | Placed(units=inner) | Points(units=inner)
        ):
            yield from sites_in(inner)
        case Top() | OfCircuit():
            return
