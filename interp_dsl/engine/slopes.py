"""The slope of a metric at a site, in a run as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.nodes import slopes
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.estimates import sequences
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.site_estimates import examples_of, rows_of
from interp_dsl.engine.state import State
from interp_dsl.models.sites import n_indices, width
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.places import Site


def slopes_of(metric: Metric, site: Site, run: Run, state: State) -> Tensor:
    """∂metric/∂site of every example [n, T, index, width]: one pass forward and one back. Raises
    InterpError E651 for answers of several tokens."""
    bench = Bench(run, (metric,), {}, state)
    if len(bench.reads.variants) > 1:
        raise sequences(state.data[run.data].name)
    shape = bench.executor.facts.shape
    count, size = n_indices(site, shape), width(site, shape)
    assert count is not None and size is not None
    n = state.data[run.data].n
    found: list[Tensor] = []

    def work(start: int, stop: int) -> None:
        examples = examples_of(bench, torch.arange(start, stop), 0)
        zeros = torch.zeros(stop - start, bench.width, count, size, dtype=bench.executor.dtype)
        offsets = {site: zeros.to(bench.device)}
        found.append(slopes(bench.executor, examples, offsets).gradients[site])

    in_batches(n, rows_of(bench), work, lambda text: None)
    return torch.cat(found)
