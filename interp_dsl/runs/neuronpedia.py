"""Features of a dictionary as batches of Neuronpedia's dashboards: the files `batch-0.json` and so
on that SAEDashboard 0.8 writes and Neuronpedia's importer reads, 128 features in each.

From the tables and tensors of `inspect`: examples (activations by interval, the histogram of those
above 0), density, logits (both ends, the histogram) and cofiring (correlated features). What a run
has not recorded is empty, and so is what no step records: correlated neurons, and the decoder's
weights by head."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from interp_dsl.plan.dictionaries import Fitted, Inspect
from interp_dsl.plan.tasks import LoadModel
from interp_dsl.plan.written import written_side
from interp_dsl.runs.features import Ends, Read, dictionaries, ends
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.prompts import vocabulary
from interp_dsl.runs.training import step_of

if TYPE_CHECKING:
    import polars as pl

BATCH = 128
ALIGNED = 3
"""Elements of a decoder row that are told, those of the largest values."""
TOP = -1.0
"""The least activation and the share of a group that is of the largest, in SAEDashboard's words."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """What a run has recorded of a dictionary's features: tables and tensors by what is in them;
    how many prompts the examples are from, and how many tokens these have at most."""

    name: str
    data: str
    prompts: int
    width: int
    tables: Mapping[str, pl.DataFrame]
    tensors: Mapping[str, Mapping[str, Any]]


def dashboards(folder: RunFolder, step: str) -> dict[str, dict[str, bytes]]:
    """The files of each of a step's dictionaries, by its label. Those of which no examples are
    recorded are left out."""
    plan = folder.read_plan()
    found = {}
    for read in dictionaries(plan, folder):
        if step_of(read.name) != step or not any(map(folder.has_tensors, read.examples[-1:])):
            continue
        task = next(t for t in plan.tasks if isinstance(t, Inspect) and t.step == read.examples[-1])
        model = next(t for t in plan.tasks if isinstance(t, LoadModel) and t.id == task.run.model)
        (fitted,) = task.of.fitted
        recorded = _recorded(folder, read, task)
        about = {
            "model_id": str(model.spec.get("name", model.name)),
            "layer": fitted.target.site.layer or 0,
            "sae_set": _set_name(step, fitted),
            "sae_id_suffix": None,
        }
        decoder = folder.read_tensors(step)[f"{fitted.label}/W_dec" if fitted.label else "W_dec"]
        features = list(_features(recorded, decoder))
        found[fitted.label] = {
            f"batch-{i}.json": json.dumps(
                {**about, "features": features[first : first + BATCH]}, ensure_ascii=False
            ).encode()
            for i, first in enumerate(range(0, len(features), BATCH))
        }
    return found


def _set_name(step: str, fitted: Fitted) -> str:
    """The set that a dictionary is one of: its step, with what tells it from its neighbours."""
    label = "".join(c if c.isalnum() else "-" for c in fitted.label).strip("-")
    return f"{step}-{label}" if label else step


def _recorded(folder: RunFolder, read: Read, task: Inspect) -> Recorded:
    last = {what: steps[-1] for what, steps in read.steps.items() if steps}
    tensors = {w: folder.read_tensors(s) for w, s in last.items() if folder.has_tensors(s)}
    about = folder.manifest.get("data", {}).get(task.run.data.removeprefix("data:"), {})
    return Recorded(
        read.name,
        written_side(task.run),
        int(about.get("n", 0)),
        task.width or 0,
        {what: folder.read_table(s) for what, s in last.items()},
        tensors,
    )


def _features(held: Recorded, decoder: Any) -> Iterator[Json]:
    """All features that fire in the examples, or are among the densities or the logits."""
    numbers = {n for table in held.tables.values() for n in table["feature"].to_list()}
    texts = vocabulary(held.tensors["examples"])
    rows = held.tables["examples"].with_row_index("row")
    examples = {int(str(k[0])): part for k, part in rows.group_by("feature", maintain_order=True)}
    order = {how: _order(tensors) for how, tensors in held.tensors.items()}
    for number in sorted(numbers):
        direction = decoder[number]
        at = {how: places.get(number) for how, places in order.items()}
        yield {
            "feature_index": number,
            **_aligned(direction),
            "correlated_neurons_indices": [],
            "correlated_neurons_l1": [],
            "correlated_neurons_pearson": [],
            **_correlated(held, number),
            **_logits(held, number, at.get("logits")),
            **_firing(held, number, at.get("examples")),
            "n_prompts_total": held.prompts,
            "n_tokens_in_prompt": held.width,
            "dataset": held.data,
            "decoder_weights_dist": [],
            "activations": list(
                _activations(held, examples.get(number), at.get("examples"), texts)
            ),
            "vector": [],
        }


def _order(tensors: Mapping[str, Any]) -> dict[int, int]:
    """The rows of features in tensors that have one for each."""
    return (
        {n: i for i, n in enumerate(tensors["features"].tolist())} if "features" in tensors else {}
    )


def _aligned(direction: Any) -> Json:
    """The largest elements of a decoder row, and their share of its L1 norm."""
    best = (-direction).argsort(kind="stable")[:ALIGNED]
    whole = abs(direction).sum() or 1.0
    return {
        "neuron_alignment_indices": best.tolist(),
        "neuron_alignment_values": _rounded(direction[best]),
        "neuron_alignment_l1": _rounded(abs(direction[best]) / whole),
    }


def _correlated(held: Recorded, number: int) -> Json:
    import polars as pl

    table = held.tables.get("cofiring")
    rows = None if table is None else table.filter(pl.col("feature") == number)
    return {
        "correlated_features_indices": [] if rows is None else rows["other"].to_list(),
        "correlated_features_l1": [] if rows is None else _rounded(rows["cosine"]),
        "correlated_features_pearson": [] if rows is None else _rounded(rows["pearson"]),
    }


def _logits(held: Recorded, number: int, at: int | None) -> Json:
    table, tensors = held.tables.get("logits"), held.tensors.get("logits")
    found_ends: Ends = ([], []) if table is None else ends(table, number)
    top, bottom = found_ends
    found: Json = {}
    for name, end in (("neg", bottom), ("pos", top)):
        found[f"{name}_str"] = [token for token, _ in end]
        found[f"{name}_values"] = _rounded([value for _, value in end])
    heights: list[int] = []
    edges: Sequence[float] = ()
    if tensors is not None and at is not None:
        heights, edges = tensors["histogram"][at].tolist(), tensors["edges"][at].tolist()
    bars = {"heights": heights, "values": _middles(edges)}
    return found | {f"logits_hist_data_bar_{name}": bar for name, bar in bars.items()}


def _firing(held: Recorded, number: int, at: int | None) -> Json:
    """On which share of tokens a feature fires, and the histogram of how much."""
    import polars as pl

    tensors, densities = held.tensors["examples"], held.tables.get("densities")
    rows = None if densities is None else densities.filter(pl.col("feature") == number)
    known = [] if rows is None else rows["density"].to_list()
    heights = [] if at is None else tensors["histogram"][at].tolist()
    most = _maximum(held.tables["examples"].filter(pl.col("feature") == number))
    edges = [most * i / len(heights) for i in range(len(heights) + 1)] if heights else ()
    return {
        "frac_nonzero": known[0] if known else 0.0,
        "freq_hist_data_bar_values": _middles(edges),
        "freq_hist_data_bar_heights": heights,
    }


def _activations(
    held: Recorded, rows: pl.DataFrame | None, at: int | None, texts: Mapping[int, str]
) -> Iterator[Json]:
    """The contexts of a feature by group: its largest, then its intervals from the highest down,
    with the share of all tokens that each contains."""
    if rows is None:
        return
    tensors, most = held.tensors["examples"], _maximum(rows)
    n_intervals = tensors["inside"].shape[1] if at is not None else 0
    n = _tokens(held)
    for row in rows.iter_rows(named=True):
        tokens, values = tensors["tokens"][row["row"]], tensors["values"][row["row"]]
        middle = len(tokens) // 2
        interval = row["interval"]
        group = {"bin_min": TOP, "bin_max": most, "bin_contains": TOP}
        if interval is not None and at is not None:
            group = {
                "bin_min": most * (interval - 1) / n_intervals,
                "bin_max": most * interval / n_intervals,
                "bin_contains": int(tensors["inside"][at][interval - 1]) / n if n else 0.0,
            }
        is_there = tokens >= 0
        yield {
            **{name: _short(value) for name, value in group.items()},
            "tokens": [texts.get(t, f"#{t}") for t in tokens[is_there].tolist()],
            "values": _rounded(values[is_there]),
            "qualifying_token_index": int(is_there[:middle].sum()),
        }


def _tokens(held: Recorded) -> int:
    """Tokens of all text, where densities tell it."""
    densities = held.tables.get("densities")
    return int(densities["n"][0]) if densities is not None and len(densities) else 0


def _maximum(rows: pl.DataFrame) -> float:
    most = rows["activation"].max()
    return most if isinstance(most, float) else 0.0


def _middles(edges: Sequence[float]) -> list[float]:
    """Where the bars between edges stand."""
    return _rounded([(a + b) / 2 for a, b in pairwise(edges)])


def _rounded(values: Any) -> list[float]:
    return [_short(float(v)) for v in values]


def _short(value: float) -> float:
    """Six figures of a number."""
    return float(f"{value:.6g}")
