"""What the model loses without a feature: an activation x becomes x - f d at all tokens of a
prompt, f the feature there and d its decoder row, what the dictionary leaves unexplained kept
(Bricken et al. 2023). Told are the changes on the tokens that it fires on, and on those behind."""

from __future__ import annotations

from typing import Any

import polars as pl
import torch
from torch import Tensor

from interp_dsl.dictionaries.measures import divergences, losses
from interp_dsl.dictionaries.reading import Drawn
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.harvest import joined
from interp_dsl.engine.inspect_reader import Reader
from interp_dsl.engine.report import Report
from interp_dsl.engine.splice import spliced
from interp_dsl.engine.statistics import ratio_bounds
from interp_dsl.runs.schema import ABLATION_COLUMNS, polars_types

SUMS = ("n", "activation", "loss", "kl", "others", "after")
"""Over a prompt: the tokens that the feature fires on, what it is there, the changes there; the
other tokens behind the first of them, and the change of the loss there."""


def ablated(reader: Reader, report: Report, seed: int) -> pl.DataFrame:
    """A row a feature."""
    prompts, features = _drawn(reader)
    sums = {name: torch.zeros(len(prompts), dtype=torch.float64) for name in SUMS}

    def work(start: int, stop: int) -> None:
        for name, values in _changes(reader, prompts[start:stop], features[start:stop]).items():
            sums[name][start:stop] = values.double().cpu()
        report.progress(stop, len(prompts))

    in_batches(len(prompts), reader.harvest.rows, work, report.note)
    rows = [
        _row(number, {name: x[features == i] for name, x in sums.items()}, seed)
        for i, number in enumerate(reader.numbers)
    ]
    return pl.DataFrame(rows, schema=polars_types(ABLATION_COLUMNS))


def _row(number: int, sums: dict[str, Tensor], seed: int) -> dict[str, Any]:
    totals = {name: float(x.sum()) for name, x in sums.items()}
    n, others = totals["n"], totals["others"]
    row: dict[str, Any] = {"feature": number, "prompts": len(sums["n"]), "n": int(n)}
    if n:
        row |= {name: totals[name] / n for name in ("activation", "loss", "kl")}
        row["low"], row["high"] = ratio_bounds(sums["loss"], sums["n"], seed)
    row["n_after"] = int(others)
    return row | ({"after": totals["after"] / others} if others else {})


def _drawn(reader: Reader) -> tuple[Tensor, Tensor]:
    """Prompts and the features, by their place among those looked at, that are ablated in them:
    only tokens count from which the next one is predicted."""
    given, harvest = reader.task.given, reader.harvest
    generator = torch.Generator().manual_seed(given["seed"])
    drawn = Drawn(len(reader.numbers), given["prompts"], generator)

    def work(examples: Tensor) -> None:
        _, block = harvest.of(examples)
        kept, predicts = harvest.kept(examples), _predicts(reader, examples)
        on = (reader.features(joined(block, reader.read)) > 0).cpu() & predicts[kept][:, None]
        owner = torch.arange(len(examples)).repeat_interleave(kept.sum(1))
        fires = torch.zeros(len(examples), on.shape[1]).index_add_(0, owner, on.float())
        drawn.add(fires > 0, examples)

    harvest.through(work)
    return drawn.pairs()


def _predicts(reader: Reader, examples: Tensor) -> Tensor:
    """From which positions [B, T] of examples the next token is predicted."""
    predicted, _ = reader.harvest.predicted(examples)
    return torch.nn.functional.pad(predicted.cpu(), (0, 1))


def _changes(reader: Reader, prompts: Tensor, features: Tensor) -> dict[str, Tensor]:
    """The sums of pairs [P] of a prompt and a feature that is taken out of it."""
    harvest, device = reader.harvest, reader.harvest.device
    once, place = torch.unique(prompts, return_inverse=True)
    logits, block = harvest.whole(once)
    clean = logits[reader.task.run][:, :-1].log_softmax(-1)
    x, y = joined(block, reader.read), joined(block, reader.rebuilt)
    kept, widths = harvest.kept(prompts), [block[t].shape[1] for t in reader.rebuilt]
    row, _ = kept.nonzero(as_tuple=True)
    # the rows of x that are of each pair's prompt, one after another
    lengths = harvest.kept(once).sum(1)
    first = lengths.cumsum(0) - lengths
    begins = kept.sum(1).cumsum(0) - kept.sum(1)
    source = (first[place][row] + torch.arange(len(row)) - begins[row]).to(device)
    numbers = torch.tensor(reader.numbers)[features][row].to(device)
    f = reader.dictionary.encode(x)[source, numbers]
    out = y[source] - f[:, None] * reader.dictionary.tensors["W_dec"][numbers]
    edits = spliced(reader.rebuilt, widths, kept, out)
    log = harvest.logits(reader.task.run, prompts, edits)[:, :-1].log_softmax(-1)
    predicted, targets = harvest.predicted(prompts)
    before = clean[place.to(device)]
    loss = losses(log, targets) - losses(before, targets)
    there = torch.zeros(kept.shape, device=device, dtype=f.dtype)
    there[kept.to(device)] = f
    on = (there[:, :-1] > 0) & predicted
    behind = (on.cumsum(1) > 0) & ~on & predicted
    return {
        "n": on.sum(1),
        "activation": (there[:, :-1] * on).sum(1),
        "loss": (loss * on).sum(1),
        "kl": (divergences(before, log) * on).sum(1),
        "others": behind.sum(1),
        "after": (loss * behind).sum(1),
    }
