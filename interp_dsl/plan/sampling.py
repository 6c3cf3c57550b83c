"""What sampling a dataset from a model takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.cost import UNKNOWN, Cost, whole
from interp_dsl.plan.memory import batch_bytes
from interp_dsl.plan.sizes import Sizes
from interp_dsl.plan.tasks import BuildData
from interp_dsl.plan.work import Reads, Work

TOKENS = 16_384
"""Tokens of the texts that are written at once."""


def rows_at_once(context: int) -> int:
    """Texts of `context` tokens that are written at once."""
    return max(1, TOKENS // context)


def is_sampled(task: BuildData) -> bool:
    return task.spec.get("kind") == "sampled"


def sampling_cost(task: BuildData, known: Sizes) -> Cost:
    """Every token but the last of each text once, keys and values kept; by hooks the whole text for
    every token."""
    writer = str(task.spec["model"])
    model, size = known.models.get(writer), task.size
    if model is None or size is None:
        return UNKNOWN
    t = size.width - 1
    batch = min(size.n, rows_at_once(size.width))
    if writer in known.hooked:
        read = replace(known, data={**known.data, task.id: replace(size, width=t)})
        return whole(Run(writer, task.id, task.name), size.n * t, read, batch=batch)
    layer = Work(t, t, t, t if model.d_mlp else 0, pairs=t * t).times(model.n_layers)
    work = (layer + Work(unembed=t * model.d_vocab)).times(size.n)
    held = 2 * model.number * model.n_layers * t * model.n_kv_heads * model.d_head
    peak = batch * (held + batch_bytes(model, 1, 1, Reads(1)))
    return Cost(size.n, size.n * t, work.flops(model), 0, peak=peak)


def sampling_told(task: BuildData) -> Iterator[str]:
    """How the tokens are chosen, for `interp plan`."""
    spec = task.spec
    nucleus = "" if spec["top_p"] == 1 else f", top_p {spec['top_p']:g}"
    how = f"drawn at temperature {spec['temperature']:g}{nucleus}, seed {spec['seed']}"
    how = how if spec["temperature"] else "the most likely token each time"
    yield f"written by {str(spec['model']).removeprefix('model:')}: {how}"
