"""What continuing texts takes, and how many prompts are continued at once."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.cost import UNKNOWN, Cost, whole
from interp_dsl.plan.device import Device
from interp_dsl.plan.generation import Generate
from interp_dsl.plan.memory import batch_bytes
from interp_dsl.plan.sizes import Sizes
from interp_dsl.plan.tasks import DataSize, ModelSize
from interp_dsl.plan.work import Reads, Work


def generation_cost(task: Generate, known: Sizes) -> Cost:
    """Every token once, keys and values kept; by hooks the whole text for every token. At most: a
    text may end before."""
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    model, data = found
    rows, width = data.n * task.streams, data.width + task.tokens
    batch = min(task.batch or data.n, data.n)
    if task.run.model in known.hooked:
        longest = _longer(known, task, task.tokens)
        return replace(whole(task.run, rows * task.tokens, longest, batch=batch), is_bound=True)
    t = width - 1
    layer = Work(t, t, t, t if model.d_mlp else 0, pairs=t * width).times(model.n_layers)
    work = (layer + Work(unembed=task.tokens * model.d_vocab)).times(rows)
    peak = batch * (_held(task, model, data) + batch_bytes(model, 1, data.width, Reads(1)))
    return Cost(rows, rows * t, work.flops(model), 0, is_bound=True, peak=peak)


def generation_plain(task: Generate, known: Sizes) -> Cost:
    """A plain loop: the whole text anew for every token."""
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    rows = found[1].n * task.streams
    each = (whole(task.run, rows, _longer(known, task, more)) for more in range(task.tokens))
    return sum(each, Cost())


def generation_batch(task: Generate, known: Sizes, device: Device, unknown: int) -> int:
    """Prompts that are continued at once, `unknown` of them where sizes are not known."""
    found = known.of(task.run)
    if found is None:
        return unknown
    model, data = found
    row = _held(task, model, data) + batch_bytes(model, 1, data.width, Reads(1))
    return max(1, min(data.n, device.tokens, device.budget // row))


def _held(task: Generate, model: ModelSize, data: DataSize) -> int:
    """Keys and values of a prompt while it is continued: its own model's and the plain one's."""
    kv = 2 * model.n_kv_heads * model.d_head
    return 2 * model.number * model.n_layers * (data.width + task.tokens) * kv


def _longer(known: Sizes, task: Generate, more: int) -> Sizes:
    """The sizes with so many tokens behind each prompt."""
    data = known.data[task.run.data]
    wider = replace(data, width=data.width + more)
    return replace(known, data={**known.data, task.run.data: wider})
