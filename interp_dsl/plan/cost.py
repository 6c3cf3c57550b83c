"""Estimates: rows, tokens, FLOPs and bytes of a plan's tasks, where sizes are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.plan.algebra import Combined, Explicit, Filtered, Grouped, Placed, Run, Top, Units
from interp_dsl.plan.places import Site
from interp_dsl.plan.tasks import (
    BuildData,
    DataSize,
    Evaluate,
    Forward,
    KeepPairs,
    LoadModel,
    ModelSize,
    Plan,
    Record,
    SelfTest,
    Sweep,
    Task,
)
from interp_dsl.plan.units import depends, expand

BYTES = 4


@dataclass(frozen=True)
class Sizes:
    """Sizes by task id."""

    models: dict[str, ModelSize]
    data: dict[str, DataSize]


@dataclass(frozen=True)
class Cost:
    """`passes` rows through the model, `tokens` in them, `flops` of their matrix products,
    `bytes` kept in memory afterwards. None where a size is not known beforehand."""

    passes: int | None = 0
    tokens: int | None = 0
    flops: float | None = 0.0
    bytes: int | None = 0

    def __add__(self, other: Cost) -> Cost:
        def add(a: float | None, b: float | None) -> float | None:
            return None if a is None or b is None else a + b

        return Cost(
            add(self.passes, other.passes),  # type: ignore[arg-type]
            add(self.tokens, other.tokens),  # type: ignore[arg-type]
            add(self.flops, other.flops),
            add(self.bytes, other.bytes),  # type: ignore[arg-type]
        )


def sizes(plan: Plan) -> Sizes:
    models = {t.id: t.size for t in plan.tasks if isinstance(t, LoadModel) and t.size}
    data = {t.id: t.size for t in plan.tasks if isinstance(t, BuildData) and t.size}
    return Sizes(models, data)


def row_bytes(run: Run, known: Sizes) -> int | None:
    """Peak bytes of one row in a forward pass: residual copies, queries to outputs, scores and
    patterns, MLP activations, logits at every position."""
    model, data = known.models.get(run.model), known.data.get(run.data)
    if model is None or data is None:
        return None
    t = data.width
    heads = model.n_heads
    per_token = 6 * model.d_model + 4 * heads * model.d_head + 3 * model.d_mlp + model.d_vocab
    return BYTES * (t * per_token + 3 * heads * t * t)


def row_flops(model: ModelSize, width: int) -> float:
    """FLOPs of the matrix products of one row of `width` tokens, two a multiply-add."""
    attention = 2 * model.d_model * model.d_head * (model.n_heads + model.n_kv_heads)
    mixing = 2 * width * model.n_heads * model.d_head
    mlp = (3 if model.is_gated else 2) * model.d_model * model.d_mlp
    layer = attention + mixing + mlp
    return 2.0 * width * (model.n_layers * layer + model.d_model * model.d_vocab)


def site_bytes(site: Site, model: ModelSize, data: DataSize) -> int:
    """Bytes of one captured site for all examples."""
    width = {
        "q": model.n_heads * model.d_head,
        "z": model.n_heads * model.d_head,
        "k": model.n_kv_heads * model.d_head,
        "v": model.n_kv_heads * model.d_head,
        "head": model.n_heads * model.d_model,
        "pattern": model.n_heads * data.width,
        "neuron": model.d_mlp,
        "logits": model.d_vocab,
    }.get(site.kind, model.d_model)
    return BYTES * data.n * data.width * width


def n_units(units: Units, width: int | None) -> int | None:
    """How many units an expression makes, None where that waits for a result or the data."""
    if depends(units) or (width is None and _has_each(units)):
        return None

    def no_rows(step: str) -> list[dict[str, object]]:
        raise AssertionError(step)

    return len(expand(units, no_rows, width))


def _has_each(units: Units) -> bool:
    match units:
        case Explicit(units=items):
            return any("each" in str(t.positions) for u in items for t in u.targets)
        case Combined(left=left, right=right):
            return _has_each(left) or _has_each(right)
        case Placed(units=inner, positions=where):
            return any("each" in str(p) for p in where) or _has_each(inner)
        case Filtered(units=inner) | Grouped(units=inner):
            return _has_each(inner)
        case Top():
            return False


def cost(task: Task, known: Sizes) -> Cost:
    """The estimate of one task."""
    match task:
        case Forward(run=run):
            return _rows_cost(run, 1, known) + _captured(task, known)
        case Sweep(variants=variants):
            data = known.data.get(variants[0].into.data)
            n = n_units(task.intervention.units, data.width if data else None)
            return _rows_cost(variants[0].into, n and n * len(variants), known)
        case SelfTest(clean=run, corrupt=corrupt, pairs=pairs):
            return _few(run, pairs * (4 if corrupt else 2), known)
        case KeepPairs(runs=runs, pairs=pairs):
            return _few(runs[0], pairs * len(runs), known)
        case Evaluate() | Record() | LoadModel() | BuildData():
            return Cost()


def _rows_cost(run: Run, times: int | None, known: Sizes) -> Cost:
    data = known.data.get(run.data)
    if data is None or times is None:
        return Cost(None, None, None, 0)
    return _few(run, data.n * times, known)


def _few(run: Run, rows: int, known: Sizes) -> Cost:
    model, data = known.models.get(run.model), known.data.get(run.data)
    if data is None or model is None:
        return Cost(None, None, None, 0)
    return Cost(rows, rows * data.width, rows * row_flops(model, data.width), 0)


def _captured(task: Forward, known: Sizes) -> Cost:
    model, data = known.models.get(task.run.model), known.data.get(task.run.data)
    if model is None or data is None:
        return Cost(bytes=None if task.sites else 0)
    return Cost(bytes=sum(site_bytes(s, model, data) for s in task.sites))
