"""What fitting dictionaries takes."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.cost import UNKNOWN, Cost, stopped, whole
from interp_dsl.plan.dictionaries import EvaluateDictionary, Fit, Fitted, SitesOf, run_of
from interp_dsl.plan.memory import BYTES
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.sizes import Sizes

PRODUCTS = {"relu": 5, "jumprelu": 5, "gated": 7}
"""Dense products of inputs × d_in × width that a step takes; of others the encoder's one, and what
the features that are on take."""
COPIES = 7
"""Of each parameter: itself, its gradient and Adam's two moments; all but the gradient once more
while a checkpoint is written."""

ROUNDED = 2
"""Bytes of a number in bfloat16."""


def fit_cost(task: Fit, known: Sizes) -> Cost:
    """Prompts as far as the last site, and the training steps; held are the buffer, parameters and
    moments, and at the peak the features of one step."""
    model = known.models.get(task.run.model)
    if model is None or task.width is None or any(d.d_rebuilt is None for d in task.dictionaries):
        return UNKNOWN
    prompts = _prompts(task)
    if task.store is not None:
        data = known.data.get(task.run.data)
        if data is None:
            return UNKNOWN
        prompts = 0 if task.stored_by else data.n
    harvest = harvested(task.sites, prompts, task.width, task.batch, known)
    if task.objective != "mse":
        harvest = _through_model(task, prompts, known)
    training = sum(step_flops(d, task.inputs) for d in task.dictionaries) * task.steps
    largest = max(step_bytes(d, task.inputs) for d in task.dictionaries)
    return replace(
        harvest,
        flops=(harvest.flops or 0.0) + training,
        bytes=blocks_bytes(task) + task.workers * sum(map(parameter_bytes, task.dictionaries)),
        peak=max(harvest.peak or 0, largest),
        is_bound=False,
    )


def harvested(sites: SitesOf, rows: int, width: int, batch: int | None, known: Sizes) -> Cost:
    """Passes of `rows` prompts, in each run up to the last of its sites."""
    total = Cost()
    for run, held in sites.items():
        model = known.models.get(run.model)
        total += UNKNOWN if model is None else stopped(held, model, rows, width, batch)
    return total


def _through_model(task: Fit, prompts: int, known: Sizes) -> Cost:
    """Whole passes: one plain, and of each dictionary one and its way back, which takes about as
    much as two."""
    batch = -(-task.inputs // max(1, (task.width or 2) - 1))
    return whole(task.run, prompts * (1 + 3 * len(task.dictionaries)), known, batch=batch)


def fit_plain(task: Fit, known: Sizes) -> Cost:
    """A plain loop: for each dictionary a whole pass of its own of every model that it reads (end
    to end the further one too), and the same training."""
    models = [known.models.get(run.model) for run in task.runs]
    found = fit_cost(task, known)
    if found.passes is None or task.width is None:
        return UNKNOWN
    prompts, times = _prompts(task), len(task.dictionaries)
    flops = sum(step_flops(d, task.inputs) for d in task.dictionaries) * task.steps
    if task.objective != "mse":
        one = _through_model(replace(task, dictionaries=task.dictionaries[:1]), prompts, known)
        return Cost((one.passes or 0) * times, flops=flops + (one.flops or 0) * times)
    for model in models:
        if model is None:
            return UNKNOWN
        last = (Site("resid_post", model.n_layers - 1),)
        one = stopped(last, model, prompts, task.width, task.batch)
        unembedding = 2.0 * (one.tokens or 0) * model.d_model * model.d_vocab
        flops += ((one.flops or 0) + unembedding) * times
    return Cost(prompts * times * len(models), flops=flops)


def _prompts(task: Fit) -> int:
    """Prompts that hold the activations which are learned from."""
    return -(-task.learned // max(1, (task.width or 2) - 1))


def step_flops(one: Fitted, inputs: int) -> float:
    """Of the matrix products of one training step."""
    width = int(one.option("width"))
    read, made = (2.0 * inputs * (d or 0) * width for d in (one.d_in, one.d_rebuilt))
    skipped = 4.0 * inputs * _skip(one)
    if one.architecture in PRODUCTS:
        return 2 * read + (PRODUCTS[one.architecture] - 2) * made + skipped
    on: float = min(1.0, one.option("k") / width)
    return read + 2 * on * (read + made) + skipped


def buffer_bytes(task: Fit) -> int:
    """A block of activations."""
    widths: dict[Target, int] = {}
    for one in task.dictionaries:
        if one.onto is not None:
            widths[one.onto] = one.d_out or 0
        # a crosscoder stands alone, so the first place may stand for all of its places
        widths[one.target] = one.d_in or 0
    return BYTES * task.buffer * sum(widths.values())


def blocks_bytes(task: Fit) -> int:
    """What is held of them: where the next is made meanwhile, two."""
    return buffer_bytes(task) * (2 if task.looks_ahead else 1)


def parameter_bytes(one: Fitted) -> int:
    width, read, made = int(one.option("width")), one.d_in or 0, one.d_rebuilt or 0
    return BYTES * COPIES * (width * (read + made) + 2 * width + made + _skip(one))


def _skip(one: Fitted) -> int:
    """Elements of a skip connection."""
    return (one.d_in or 0) * (one.d_rebuilt or 0) if one.given.get("skip") else 0


def step_bytes(one: Fitted, inputs: int) -> int:
    """Features of one step: two tensors of all of them, pre-activations and a slope; with products
    of bfloat16 these and both weights rounded."""
    width = int(one.option("width"))
    features = 2 * inputs * width
    rounded = features + width * ((one.d_in or 0) + (one.d_rebuilt or 0))
    return BYTES * features + (ROUNDED * rounded if is_rounded(one) else 0)


def is_rounded(one: Fitted) -> bool:
    """Whether its products are of bfloat16."""
    return one.given.get("dtype") == "bfloat16"


COMPARED = 3
"""Passes whose logits an evaluation holds at once: clean, ablated, and one dictionary's."""


def judging_cost(task: EvaluateDictionary, known: Sizes) -> Cost:
    """Activations once; where measures splice, whole passes: clean, a zero and a mean at each
    site, and one for each dictionary."""
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    _, data = found
    batch = task.batch or data.n
    total = harvested(task.sites, data.n, data.width, task.batch, known)
    if task.splices:
        runs, parts = task.runs, [part for one in task.of.fitted for part in one.parts]
        spliced = [run_of(runs, part[0]) for part in (*task.rebuilt, *task.rebuilt, *parts)]
        for run in runs:
            total += whole(run, data.n * (1 + spliced.count(run)), known, batch=batch)
    if any(m.function == "sparse_probing" for m in task.measures):
        widths = sum((d.d_in or 0) + int(d.option("width")) for d in task.of.fitted)
        total = replace(total, bytes=(total.bytes or 0) + BYTES * data.n * widths)
    products = sum(
        2.0 * ((d.d_in or 0) + (d.d_rebuilt or 0)) * d.option("width") for d in task.of.fitted
    )
    flops = (total.flops or 0.0) + products * data.n * data.width * (2 if task.splices else 1)
    return replace(total, flops=flops, is_bound=task.splices)
