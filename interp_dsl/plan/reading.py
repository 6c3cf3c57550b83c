"""What looking at features takes."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.cost import UNKNOWN, Cost, whole
from interp_dsl.plan.dictionaries import Inspect, InspectWeights
from interp_dsl.plan.memory import BYTES
from interp_dsl.plan.relating import BUDGET, PAIR_BYTES
from interp_dsl.plan.sizes import Sizes
from interp_dsl.plan.training import harvested

ROWS = 1024
"""Features whose directions are multiplied at once with all of the vocabulary or dictionary."""


def counted(task: Inspect | InspectWeights) -> int:
    """How many features are looked at."""
    (fitted,) = task.of.fitted
    return int(fitted.option("width")) if task.features is None else len(task.features)


def pairs_at_once(task: Inspect) -> int:
    """Features that are related in one pass with all others of their dictionary."""
    (fitted,) = task.of.fitted
    return max(1, min(counted(task), BUDGET // (PAIR_BYTES * int(fitted.option("width")))))


def reading_cost(task: Inspect, known: Sizes) -> Cost:
    """Activations and their features: once; of examples once more, and again where intervals of
    them are wanted; of pairs once for each block of them. An ablation is two whole passes more of
    each feature's prompts."""
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    _, data = found
    (fitted,) = task.of.fitted
    width, features = int(fitted.option("width")), counted(task)
    times, pairs, held = 1, 0.0, 0
    if task.method == "cofiring":
        rows = pairs_at_once(task)
        times, pairs, held = -(-features // rows), 4.0 * features * width, PAIR_BYTES * rows * width
    elif task.method == "examples":  # the last pass is for the tokens around them
        times = 3 if task.given["intervals"] else 2
    total = harvested(task.sites, data.n * times, data.width, task.batch, known)
    products = 2.0 * (fitted.d_in or 0) * width * times + pairs
    total = replace(total, flops=(total.flops or 0.0) + products * data.n * data.width, bytes=held)
    if task.method == "ablation":
        prompts = features * min(task.given["prompts"], data.n)
        total += whole(task.run, 2 * prompts, known, batch=task.batch or data.n)
        total = replace(total, is_bound=True)
    return total


def weights_cost(task: InspectWeights, known: Sizes) -> Cost:
    """Products of the features' directions with the unembedding, or with all other directions."""
    model = known.models.get(task.model)
    (fitted,) = task.of.fitted
    if model is None or fitted.d_in is None:
        return UNKNOWN
    if task.method == "norms":
        return Cost(flops=4.0 * counted(task) * fitted.d_in)
    if task.method == "logits":
        others, width = model.d_vocab, model.d_model
    else:
        others, width = int(fitted.option("width")), fitted.d_in
    features = counted(task)
    peak = BYTES * min(features, ROWS) * others
    return Cost(flops=2.0 * features * width * others, peak=peak)
