"""Estimates of a whole plan: every task's, their sum, and what a plain loop would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.cost import UNKNOWN, Cost, cost, whole
from interp_dsl.plan.edges import edges_plain
from interp_dsl.plan.factors import factor_plain
from interp_dsl.plan.growing import generation_plain
from interp_dsl.plan.metrics import needs
from interp_dsl.plan.rewrite import parts
from interp_dsl.plan.sizes import Sizes, sizes, units_of
from interp_dsl.plan.slopes import attribution_plain
from interp_dsl.plan.tasks import (
    Attribute,
    AttributeEdges,
    BuildData,
    Evaluate,
    EvaluateCircuit,
    EvaluateDictionary,
    EvaluateNodes,
    Factor,
    Fit,
    Generate,
    Inspect,
    InspectWeights,
    KeepPairs,
    LoadDictionary,
    NodeTask,
    Plan,
    Record,
    Relate,
    Search,
    SearchNodes,
    SelfTest,
    Step,
    Sweep,
)
from interp_dsl.plan.training import fit_plain


@dataclass(frozen=True)
class Estimates:
    """`tasks` by id. The sums leave out `unknown`, tasks whose size only the run knows: `total`,
    whose bytes and peak are the most that a run holds besides the weights; `steps`, what of it is
    for the steps and not for the self-test and the screens; `plain_loop`, what a plain loop over
    the steps would take."""

    sizes: Sizes
    tasks: Mapping[str, Cost]
    total: Cost
    steps: Cost
    plain_loop: Cost
    unknown: tuple[str, ...]

    def to_data(self) -> dict[str, Any]:
        """As JSON holds it; null where a size is not known."""
        return {
            "tasks": [{"id": task, **_data(found)} for task, found in self.tasks.items()],
            "total": {**_data(self.total), "unknown": list(self.unknown)},
            "plain_loop": _data(self.plain_loop),
        }


def _data(found: Cost) -> dict[str, Any]:
    return {f.name: getattr(found, f.name) for f in fields(found)}


def estimates(plan: Plan) -> Estimates:
    """The estimates of a plan."""
    known = sizes(plan)
    found = {task.id: cost(task, known) for task in plan.tasks}
    measured = {name: one for name, one in found.items() if one.flops is not None}
    total = sum(measured.values(), Cost())
    extra = {t.id for t in plan.tasks if isinstance(t, SelfTest | KeepPairs)}
    loops = [_plain(t, known) for t in plan.tasks if isinstance(t, Step) and t.id in measured]
    loops += [found[t.id] for t in plan.tasks if isinstance(t, BuildData)]
    return Estimates(
        known,
        found,
        total,
        sum((one for name, one in measured.items() if name not in extra), Cost()),
        sum((loop for loop in loops if loop.flops is not None), Cost()),
        tuple(name for name in found if name not in measured),
    )


def _plain(task: Step, known: Sizes) -> Cost:
    """A step as a loop over its units: each a whole pass with all logits, after a pass of every
    run that the step reads."""
    if isinstance(task, Search | EvaluateCircuit):
        return edges_plain(task, known)
    if isinstance(task, Attribute | AttributeEdges):
        return attribution_plain(task, known)
    if isinstance(task, Factor):
        return factor_plain(task, known)
    if isinstance(task, Fit):
        return fit_plain(task, known)
    own = LoadDictionary | EvaluateDictionary | Inspect | InspectWeights | Relate | NodeTask
    if isinstance(task, own):
        return cost(task, known)
    if isinstance(task, Generate):
        return generation_plain(task, known)
    total = sum((whole(run, None, known) for run in runs_of(task)), Cost())
    if isinstance(task, Sweep):
        units = units_of(task, known)
        for variant in task.variants:
            data = known.data.get(variant.into.data)
            rows = None if units is None or data is None else len(units) * data.n
            total += UNKNOWN if rows is None else whole(variant.into, rows, known)
    return total


def runs_of(task: Step) -> tuple[Run, ...]:
    """The runs whose forwards a step reads, each once; that of a reference where a metric
    compares."""
    match task:
        case Record(run=run):
            return tuple(dict.fromkeys(parts(run, Run)))
        case Generate(continuations=continued):  # it runs these itself
            return tuple(dict.fromkeys(parts(tuple(one.run.under for one in continued), Run)))
        case Sweep(variants=variants, intervention=change):
            found = [*parts(variants, Run), *parts(change, Run)]
        case Evaluate(variants=variants):
            found = [*parts(variants, Run)]
        case (
            SearchNodes(variant=variant, intervention=change)
            | EvaluateNodes(variant=variant, intervention=change)
        ):
            found = [*parts(variant, Run), *parts(change, Run)]
        case Attribute(variants=variants, intervention=change):
            found = [*parts(variants, Run), *parts(change, Run)]
        case AttributeEdges(variant=variant):  # it runs its source itself
            found = [*parts(variant, Run)]
        case Fit() | EvaluateDictionary() | Inspect() | Relate():  # these run their data themselves
            return ()
        case LoadDictionary() | InspectWeights():
            return ()
        case Search() | EvaluateCircuit() | Factor():  # these run their sides themselves
            found = []
    if any("reference" in needs(m.term) for m in task.metrics):
        found.append(task.reference)
    return tuple(dict.fromkeys(found))


def readers(plan: Plan) -> dict[Run, tuple[str, ...]]:
    """The steps that read each run, in order."""
    found: dict[Run, tuple[str, ...]] = {}
    for task in (t for t in plan.tasks if isinstance(t, Step)):
        for run in runs_of(task):
            found[run] = (*found.get(run, ()), task.step)
    return found
