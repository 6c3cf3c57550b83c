"""What a plan says of sizes before it runs: of models, of data, and how many units a step has."""

from __future__ import annotations

from dataclasses import dataclass

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
from interp_dsl.plan.curves import closer
from interp_dsl.plan.device import expected
from interp_dsl.plan.metrics import METRICS, calls
from interp_dsl.plan.places import Positions, Unit
from interp_dsl.plan.tasks import (
    Attribute,
    Attribution,
    BuildData,
    DataSize,
    Evaluate,
    EvaluateCircuit,
    Factor,
    LoadModel,
    ModelSize,
    NodeTask,
    Plan,
    Regions,
    Search,
    Sweep,
)
from interp_dsl.plan.units import depends, expand

Ats = frozenset[Positions | None]
Measuring = Sweep | Evaluate | Search | EvaluateCircuit | Attribution | Factor | NodeTask
"""Tasks that measure metrics, which may compare with a reference."""


@dataclass(frozen=True)
class Sizes:
    """Sizes by task id; which models run by hooks; where metrics of other runs read a run's
    logits; the kind of device."""

    models: dict[str, ModelSize]
    data: dict[str, DataSize]
    hooked: frozenset[str]
    compared: dict[Run, Ats]
    device: str

    def of(self, run: Run) -> tuple[ModelSize, DataSize] | None:
        """The sizes of a run's model and data, None unless both are known."""
        model, data = self.models.get(run.model), self.data.get(run.data)
        return None if model is None or data is None else (model, data)


def sizes(plan: Plan) -> Sizes:
    """What a plan's tasks say of sizes."""
    loads = [t for t in plan.tasks if isinstance(t, LoadModel)]
    compared: dict[Run, Ats] = {}
    for task in plan.tasks:
        if isinstance(task, Measuring):
            wanted = [c for m in task.metrics for c in calls(m.term)]
            ats = {c.at for c in wanted if "reference" in METRICS[c.function].needs}
            if ats:
                for run in task.references if isinstance(task, Sweep) else (task.reference,):
                    compared[run] = compared.get(run, frozenset()) | ats
    return Sizes(
        {t.id: t.size for t in loads if t.size},
        {t.id: t.size for t in plan.tasks if isinstance(t, BuildData) and t.size},
        frozenset(t.id for t in loads if t.spec.get("executor") == "hooked"),
        compared,
        expected(plan.device).kind,
    )


def units_of(task: Sweep | Attribute | NodeTask, known: Sizes) -> tuple[Unit, ...] | None:
    """The units of a step, None where they wait for a result or the data."""
    first = task.variants[0] if isinstance(task, Sweep) else task.variant
    units, data = task.intervention.units, known.data.get(first.into.data)
    if depends(units) or (data is None and _has_each(units)):
        return None

    def no_rows(step: str) -> list[dict[str, object]]:
        raise AssertionError(step)

    found = expand(units, no_rows, data.width if data else None)
    curves = task.curves if isinstance(task, Sweep) else None
    return (*found, *closer(found, curves)) if isinstance(curves, Regions) else found


def _has_each(units: Units) -> bool:
    match units:
        case Explicit(units=items):
            return any("each" in str(t.positions) for u in items for t in u.targets)
        case Combined(left=left, right=right):
            return _has_each(left) or _has_each(right)
        case Placed(units=inner, positions=where):
            return any("each" in str(p) for p in where) or _has_each(inner)
        case Filtered(units=inner) | Grouped(units=inner) | Points(units=inner):
            return _has_each(inner)
        case Top() | OfCircuit():
            return False
