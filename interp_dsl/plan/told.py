"""How a plan tells of fitting dictionaries, and of continuing texts."""

from __future__ import annotations

from collections.abc import Iterator

from interp_dsl.plan.changes import show_run
from interp_dsl.plan.dictionaries import EvaluateDictionary, Fit, Fitted, Inspect
from interp_dsl.plan.generation import Generate
from interp_dsl.plan.sizes import Sizes
from interp_dsl.plan.training import buffer_bytes, is_rounded, parameter_bytes, step_bytes
from interp_dsl.plan.written import quantity

MAIN = ("k", "l1", "l0", "target", "norm", "lr", "seed")
"""Options that are told; the manifest has all of them."""


def show_runs(task: Fit | EvaluateDictionary | Inspect) -> str:
    """The runs of a task, those of further models too."""
    return " and ".join(map(show_run, task.runs))


def reads(task: Fit) -> str:
    """The passes that a fit takes of its data."""
    if task.objective != "mse":
        return "one plain pass for all, and for each dictionary one more, there and back"
    who = "one pass of each model" if task.beside else "one pass for all"
    return f"{who}, which ends after the last site"


def title(task: Fit) -> str:
    count = len(task.dictionaries)
    noun = "dictionary" if count == 1 else "dictionaries"
    return f"step {task.step}: fit {count} {noun} to {quantity(task.learned).rstrip()} tokens"


def fitted(task: Fit, known: Sizes) -> Iterator[str]:
    """Each dictionary; how often the data is passed, where its size is known; what is held."""
    for one in task.dictionaries:
        yield shape(one)
    share = f"{task.inputs:,} activations, shuffled in blocks of {task.buffer:,}"
    if task.objective != "mse":
        share = f"whole prompts, {task.inputs:,} tokens each but for what is left of a prompt"
    yield f"{task.steps:,} steps of {share}{_passes(task, known)}"
    if task.objective != "mse":
        what = {"kl": "the divergence of", "ce": "the cross-entropy of"}[task.objective]
        yield f"the loss: {what} what the model says with each spliced in"
        alone = {"gated": "what the gate rebuilds", "matryoshka": "what inner prefixes rebuild"}
        for part in {alone[d.architecture] for d in task.dictionaries if d.architecture in alone}:
            yield f"and the squared error of {part} alone, as in a plain fit"
        for one in (d for d in task.dictionaries if d.downstream):
            streams = f"{len(one.downstream)} stream{'s' * (len(one.downstream) > 1)}"
            weight = one.option("downstream")
            yield f"and {weight:g} times the squared error in {streams} behind {one.place}"
    if any(map(is_rounded, task.dictionaries)):
        yield "dense products of bfloat16, all else float32"
    if task.workers > 1:
        each = task.inputs // task.workers
        yield f"{task.workers} processes with all parameters, {each:,} activations of a step each"
    if task.store is not None:
        yield _stored(task, known)
    if all(one.d_in is not None for one in task.dictionaries):
        parameters = task.workers * sum(map(parameter_bytes, task.dictionaries))
        step = max(step_bytes(one, task.inputs) for one in task.dictionaries)
        following = " and as much for the next" if task.looks_ahead else ""
        yield (
            f"buffer {quantity(buffer_bytes(task))}B{following}, parameters, moments and a "
            f"checkpoint {quantity(parameters)}B, a step {quantity(step)}B"
        )


def _stored(task: Fit, known: Sizes) -> str:
    """What becomes of activations."""
    if task.stored_by:
        return f"activations are read from {task.store}, where step {task.stored_by} keeps them"
    data, widths = known.data.get(task.run.data), buffer_bytes(task) / task.buffer
    most = "" if data is None else f", at most {quantity(data.n * data.width * widths)}B"
    return f"activations of all the data are kept in {task.store}{most}; read where they are there"


def shape(one: Fitted) -> str:
    """`L6.resid_pre: 768 → 24,576, topk(k=32)`; of a transcoder, which rebuilds another width than
    it reads, `L6.mlp_in to L6.mlp: 768 → 24,576 → 768`"""
    read, made = ("?" if d is None else f"{d:,}" for d in (one.d_in, one.d_rebuilt))
    sizes = f"{read} → {one.option('width'):,}" + (f" → {made}" if one.onto else "")
    skip = " with a skip connection" if one.given.get("skip") else ""
    return f"{one.place}: {sizes}, {_architecture(one)}{skip}"


def _architecture(one: Fitted) -> str:
    options = one.given
    told = [f"{k}={_said(options[k])}" for k in MAIN if options.get(k) is not None]
    return f"{one.architecture}({', '.join(told)})" if told else one.architecture


def _said(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _passes(task: Fit, known: Sizes) -> str:
    data = known.data.get(task.run.data)
    if data is None:
        return ""
    times = task.learned / (data.n * max(1, data.width - 1))
    return "" if times <= 1 else f"; the data is passed {times:.1f} times"


def choosing(task: Generate) -> str:
    """How tokens are chosen."""
    how = "the most likely token each time"
    if task.temperature:
        how = f"drawn at temperature {task.temperature:g}, top_p {task.top_p:g}, seed {task.seed}"
    return f"{how}; keys and values are kept, and the plain model reads along"
