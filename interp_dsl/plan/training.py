"""What fitting dictionaries takes."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.cost import UNKNOWN, Cost, Sizes, stopped, whole
from interp_dsl.plan.dictionaries import EvaluateDictionary, Fit, Fitted
from interp_dsl.plan.memory import BYTES
from interp_dsl.plan.places import Site

PRODUCTS = {"relu": 5, "jumprelu": 5, "gated": 7}
"""Dense products of inputs × d_in × width that a step takes; of others the encoder's one, and what
the features that are on take."""
COPIES = 7
"""Of each parameter: itself, its gradient and Adam's two moments; all but the gradient once more
while a checkpoint is written."""


def fit_cost(task: Fit, known: Sizes) -> Cost:
    """Prompts as far as the last site, and the training steps; held are the buffer, parameters and
    moments, and at the peak the features of one step."""
    model = known.models.get(task.run.model)
    if model is None or task.width is None or any(d.d_in is None for d in task.dictionaries):
        return UNKNOWN
    prompts = -(-task.steps * task.inputs // max(1, task.width - 1))
    harvest = stopped(task.sites, model, prompts, task.width, task.batch)
    training = sum(step_flops(d, task.inputs) for d in task.dictionaries) * task.steps
    largest = max(step_bytes(d, task.inputs) for d in task.dictionaries)
    return replace(
        harvest,
        flops=(harvest.flops or 0.0) + training,
        bytes=buffer_bytes(task) + sum(map(parameter_bytes, task.dictionaries)),
        peak=max(harvest.peak or 0, largest),
        is_bound=False,
    )


def fit_plain(task: Fit, known: Sizes) -> Cost:
    """A plain loop: for each dictionary a whole pass of its own, and the same training."""
    model = known.models.get(task.run.model)
    found = fit_cost(task, known)
    if model is None or found.passes is None or task.width is None:
        return UNKNOWN
    last = (Site("resid_post", model.n_layers - 1),)
    one = stopped(last, model, found.passes, task.width, task.batch)
    unembedding = 2.0 * (one.tokens or 0) * model.d_model * model.d_vocab
    training = sum(step_flops(d, task.inputs) for d in task.dictionaries) * task.steps
    times = len(task.dictionaries)
    return Cost(found.passes * times, flops=((one.flops or 0) + unembedding) * times + training)


def step_flops(one: Fitted, inputs: int) -> float:
    """Of the matrix products of one training step."""
    width, d = int(one.option("width")), one.d_in or 0
    product: float = 2.0 * inputs * d * width
    if one.architecture in PRODUCTS:
        return PRODUCTS[one.architecture] * product
    on: float = min(1.0, one.option("k") / width)
    return product * (1 + 4 * on)


def buffer_bytes(task: Fit) -> int:
    """The block of activations in hand."""
    widths = {d.target: d.d_in or 0 for d in task.dictionaries}
    return BYTES * task.buffer * sum(widths.values())


def parameter_bytes(one: Fitted) -> int:
    width, d = int(one.option("width")), one.d_in or 0
    return BYTES * COPIES * (2 * width * d + 2 * width + d)


def step_bytes(one: Fitted, inputs: int) -> int:
    """Features of one step: two tensors of all of them, pre-activations and a slope."""
    return BYTES * 2 * inputs * int(one.option("width"))


COMPARED = 3
"""Passes whose logits an evaluation holds at once: clean, ablated, and one dictionary's."""


def judging_cost(task: EvaluateDictionary, known: Sizes) -> Cost:
    """Activations once; where measures splice, whole passes: clean, a zero and a mean at each
    site, and one for each dictionary."""
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    model, data = found
    batch = task.batch or data.n
    total = stopped(task.sites, model, data.n, data.width, task.batch)
    if task.splices:
        times = 1 + 2 * len(task.targets) + len(task.of.fitted)
        total += whole(task.run, data.n * times, known, batch=batch)
    if any(m.function == "sparse_probing" for m in task.measures):
        widths = sum((d.d_in or 0) + int(d.option("width")) for d in task.of.fitted)
        total = replace(total, bytes=(total.bytes or 0) + BYTES * data.n * widths)
    products = sum(4.0 * (d.d_in or 0) * d.option("width") for d in task.of.fitted)
    flops = (total.flops or 0.0) + products * data.n * data.width * (2 if task.splices else 1)
    return replace(total, flops=flops, is_bound=task.splices)
