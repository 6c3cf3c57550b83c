"""What relating the features of two layers takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from interp_dsl.plan.cost import UNKNOWN, Cost, stopped
from interp_dsl.plan.dictionaries import Fitted, Relate
from interp_dsl.plan.sizes import Sizes

PAIR_BYTES = 80
"""Of each pair of features while they are related (geometry.similarity.sums_bytes)."""
SUMS_BYTES = 16
"""Of these the two sums, which stay while a pass goes on."""
FEATURE_BYTES = 9
"""Of each feature of a batch's tokens: its activation and whether it is on, both in float32, and
the byte that the latter is made of."""
BUDGET = 2 * 2**30
"""Bytes that the pairs of a pass may take."""


def rows_of(fitted: Sequence[Fitted]) -> int:
    """How many lower features are related in one pass with all of the next layer's."""
    widest = max(int(above.option("width")) for above in fitted[1:])
    lower = max(int(below.option("width")) for below in fitted[:-1])
    return max(1, min(lower, BUDGET // (PAIR_BYTES * widest)))


def relate_cost(task: Relate, known: Sizes) -> Cost:
    """Activations of both layers of each pair, once for each block of lower features; their
    features, and two products of all pairs."""
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    model, data = found
    tokens, total = data.n * data.width, Cost()
    batch = min(task.batch or data.n, data.n) * data.width
    pairs = task.rows * max(int(above.option("width")) for above in task.fitted[1:])
    for below, above in pairwise(task.fitted):
        lower, upper = int(below.option("width")), int(above.option("width"))
        times = -(-lower // task.rows) + 1 + (1 if task.given["active"] else 0)
        sites = (below.target.site, above.target.site)
        passes = stopped(sites, model, data.n * times, data.width, task.batch)
        encoding = 2.0 * times * ((below.d_in or 0) * lower + (above.d_in or 0) * upper)
        features = FEATURE_BYTES * batch * (lower + upper)
        total += replace(
            passes,
            flops=(passes.flops or 0) + tokens * (encoding + 2 * 2.0 * lower * upper),
            peak=(passes.peak or 0) + features,
        )
        verified = task.given["verify"] and task.given["verify"] + 1
        prompts = min(data.n, task.given["prompts"])
        total += stopped(sites, model, prompts * verified, data.width, task.batch)
    peak = max(total.peak or 0, (PAIR_BYTES - SUMS_BYTES) * pairs)
    return replace(total, bytes=SUMS_BYTES * pairs, peak=peak, is_bound=True)
