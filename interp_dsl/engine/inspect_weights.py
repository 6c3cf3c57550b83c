"""What the weights alone say of features: the tokens that they write, the features closest to
them, how much they write at each of several places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from interp_dsl.dictionaries.crossing import cosines, lengths, relative
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.likeness import nearest
from interp_dsl.dictionaries.reading import BINS
from interp_dsl.engine.kept_dictionaries import decoders, read_dictionaries
from interp_dsl.engine.scores import Scored
from interp_dsl.engine.state import State, token_text
from interp_dsl.models.readout import ReadOut
from interp_dsl.plan.dictionaries import Fitted, InspectWeights
from interp_dsl.plan.reading import ROWS
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import LOGIT_COLUMNS, NEAREST_COLUMNS, NORM_COLUMNS, polars_types


def inspect_weights(task: InspectWeights, state: State, folder: RunFolder) -> Scored:
    """The table of an inspection; of logits also, of the `features` by number, the `histogram`
    [features, BINS] over the vocabulary and its `edges` [features, BINS + 1]."""
    executor = state.models[task.model]
    (dictionary,) = read_dictionaries(folder, task.of, executor.device)
    numbers = torch.tensor(task.features or range(dictionary.d_sae), device=executor.device)
    if task.method == "nearest":
        return Scored(_nearest(dictionary, numbers, task.given["top"]), {})
    (fitted,) = task.of.fitted
    if task.method == "norms":
        parts = decoders(folder, task.of.step, fitted, dictionary)
        return Scored(_norms([part[numbers] for part in parts], numbers, fitted), {})
    out = ReadOut(executor)

    def logits() -> Iterator[tuple[Tensor, Tensor]]:
        for part in torch.split(numbers, ROWS):
            yield part, out.logits(fitted.onto or fitted.target, dictionary.tensors["W_dec"][part])

    shown = token_text(executor.facts)
    rows: list[dict[str, Any]] = []
    counts: list[Tensor] = []
    edges: list[Tensor] = []
    for part, found in logits():
        n = min(task.given["top"], found.shape[1])
        ends = {"top": found.topk(n, dim=1), "bottom": found.topk(n, dim=1, largest=False)}
        held = {end: (x.values.tolist(), x.indices.tolist()) for end, x in ends.items()}
        for i, feature in enumerate(part.tolist()):
            for end, (values, ids) in held.items():
                rows += _ends(feature, end, values[i], ids[i], shown)
        for kept, made in zip((counts, edges), histograms(found), strict=True):
            kept.append(made)
    tensors = {
        "features": numbers.cpu().numpy(),
        "histogram": torch.cat(counts).numpy(),
        "edges": torch.cat(edges).numpy(),
    }
    return Scored(pl.DataFrame(rows, schema=polars_types(LOGIT_COLUMNS)), tensors)


def _ends(
    feature: int, end: str, values: list[float], ids: list[int], shown: Callable[[int], str]
) -> Iterator[dict[str, Any]]:
    """The rows of one feature at one end."""
    about = {"feature": feature, "end": end}
    for rank, (value, token) in enumerate(zip(values, ids, strict=True), 1):
        yield {**about, "rank": rank, "id": token, "token": shown(token), "logit": value}


def _nearest(dictionary: Dictionary, numbers: Tensor, top: int) -> pl.DataFrame:
    cosines, others = nearest(dictionary.tensors["W_dec"].float(), numbers, top)
    columns = {
        "feature": numbers.repeat_interleave(cosines.shape[1]),
        "other": others.flatten(),
        "cosine": cosines.flatten(),
    }
    held = {name: column.cpu().numpy() for name, column in columns.items()}
    return pl.DataFrame(held, schema=polars_types(NEAREST_COLUMNS))


def _norms(parts: Sequence[Tensor], numbers: Tensor, fitted: Fitted) -> pl.DataFrame:
    """A row a feature and place."""
    norms, like = lengths(parts), cosines(parts)
    shares, none = relative(norms), torch.full_like(norms[:, 0], torch.nan)
    columns = {
        "feature": numbers.repeat_interleave(len(parts)),
        "norm": norms.flatten(),
        "relative_norm": shares.flatten(),
        "cosine": torch.stack([none if c is None else c for c in like], 1).flatten(),
    }
    held: dict[str, Any] = {name: column.cpu().numpy() for name, column in columns.items()}
    held["place"] = [target.place for target in fitted.read] * len(numbers)
    table = pl.DataFrame(held, schema_overrides=polars_types(NORM_COLUMNS)).select(*NORM_COLUMNS)
    return table.with_columns(pl.col("cosine").fill_nan(None))


def histograms(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of values [m, V] how many lie in each of BINS equal parts between its least and
    its largest [m, BINS], and where these begin and end [m, BINS + 1]."""
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    width = (high - low).clamp_min(torch.finfo(values.dtype).tiny)
    place = ((values - low) / width * BINS).long().clamp_max(BINS - 1)
    counts = torch.zeros(len(values), BINS, dtype=torch.int64, device=values.device)
    counts.scatter_add_(1, place, torch.ones_like(place))
    steps = torch.linspace(0, 1, BINS + 1, device=values.device)
    return counts.cpu(), (low + steps * (high - low)).cpu()
