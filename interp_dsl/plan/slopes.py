"""Estimates of what it costs to estimate effects.

A slope is a pass forward and one back, which multiplies twice as much; a metric has its own. Units
cost next to nothing, but where a path is walked for each of their sites."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import Intervention, Run
from interp_dsl.plan.cost import UNKNOWN, Cost, whole
from interp_dsl.plan.dictionaries import DictionaryOf
from interp_dsl.plan.memory import sloped_bytes, writers
from interp_dsl.plan.paths import CELLS, AlongSlope, Decoders, Moved
from interp_dsl.plan.rewrite import parts
from interp_dsl.plan.sizes import Sizes, units_of
from interp_dsl.plan.tasks import Attribute, AttributeEdges, Attribution, ModelSize, Sweep
from interp_dsl.plan.touched import sites_in
from interp_dsl.plan.work import EVERYWHERE, answering

FORWARD_AND_BACK = 3


def attribution_cost(task: Attribution, known: Sizes) -> Cost:
    """Slopes, passes that show what is changed, and real patches."""
    found_ones = [_of_variant(replace(task, variant=v, more=()), known) for v in task.variants]
    return sum(found_ones, Cost())


def _of_variant(task: Attribution, known: Sizes) -> Cost:
    found = known.of(task.variant.into)
    if found is None:
        return UNKNOWN
    model, data = found
    n_slopes = _slopes(task, model, known)
    if n_slopes is None:
        return UNKNOWN
    read = answering(EVERYWHERE, task, data) if isinstance(task, AttributeEdges) else EVERYWHERE
    slopes = whole(task.variant.into, n_slopes * len(task.metrics) * data.n, known, read)
    assert slopes.flops is not None
    slopes = replace(slopes, flops=FORWARD_AND_BACK * slopes.flops)
    plain = whole(task.variant.into, (1 + task.verify) * data.n, known)
    total = slopes + plain + _sources(task, known)
    senders = writers(model) if isinstance(task, AttributeEdges) else 0
    return replace(total, is_bound=True, peak=sloped_bytes(model, data, senders))


def paths_cost(task: Sweep, known: Sizes) -> Cost:
    """Slopes that points of a sweep lie along, one of each metric at each site and variant, and
    what dictionaries make of the places."""
    if not isinstance(task.intervention.source, Moved):
        return Cost()
    return _slopes_cost(task, task.intervention.source, known) + _dictionaries_cost(task, known)


def _dictionaries_cost(task: Sweep, known: Sizes) -> Cost:
    """A pass through each dictionary of the paths, and one for each direction of features."""
    source, total = task.intervention.source, Cost()
    once = dict.fromkeys(parts(source, DictionaryOf))
    drawn = [path for path in parts(source, Decoders) if path.which != "random"]
    again = [of for path in drawn for of in path.of * path.n]
    for variant in task.variants:
        for of in (*once, *again):
            found, fitted = known.of(variant.into), of.fitted[0]
            if found is None or fitted.d_in is None:
                return UNKNOWN
            activations = found[1].n * found[1].width * fitted.d_in
            flops = 4.0 * activations * int(fitted.option("width"))
            total += Cost(flops=flops, bytes=0, is_bound=True, peak=3 * 4 * CELLS)
    return total


def _slopes_cost(task: Sweep, source: Moved, known: Sizes) -> Cost:
    """One pass forward and one back for each metric, site and variant."""
    metrics = [p for p in source.paths if isinstance(p, AlongSlope)]
    n_sites = len(set(sites_in(task.intervention.units))) * len(metrics)
    if not n_sites:
        return Cost()
    found = [whole(v.into, None, known) for v in task.variants for _ in range(n_sites)]
    total = sum(found, Cost())
    back = None if total.flops is None else FORWARD_AND_BACK * total.flops
    return replace(total, flops=back, is_bound=True, peak=0)


def attribution_plain(task: Attribution, known: Sizes) -> Cost:
    """The same effects measured: a whole pass a unit or edge, and the runs that are read."""
    units = task.n_edges if isinstance(task, AttributeEdges) else _count(task, known)
    data = known.data.get(task.variant.into.data)
    if units is None or data is None:
        return UNKNOWN
    passes = [whole(v.into, (units + 1) * data.n, known) for v in task.variants]
    return sum(passes, _sources(task, known))


def _count(task: Attribute, known: Sizes) -> int | None:
    units = units_of(task, known)
    return None if units is None else len(units)


def _sources(task: Attribution, known: Sizes) -> Cost:
    """A pass of each run that an edge's source is taken from; those of units have been run."""
    if isinstance(task, Attribute):
        return Cost()
    return sum((whole(run, None, known) for run in parts(task.source, Run)), Cost())


def _slopes(task: Attribution, model: ModelSize, known: Sizes) -> int | None:
    """How many slopes a metric takes."""
    options = dict(task.options)
    steps = options.get("steps", 1)
    assert isinstance(steps, int)
    match task.method, options.get("at"):
        case "clean_corrupt", _:
            return 2
        case "atp_star", _:
            return model.n_layers if options["grad_drop"] else 1
        case "eap_ig", "activations":
            return steps * (1 + model.n_layers * (2 if model.d_mlp else 1))
        case "ig", "site":
            assert isinstance(task, Attribute)
            n_sites = _sites(task.intervention, units_of(task, known))
            return None if n_sites is None else steps * n_sites
        case _:
            return steps


def _sites(change: Intervention, units: object) -> int | None:
    if not isinstance(units, tuple):
        return None
    return len({change.site(t) for unit in units for t in unit.targets})
