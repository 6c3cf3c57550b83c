"""How well fitted dictionaries do: what they make of activations, and what the model makes of
what they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from interp_dsl.dictionaries.measures import (
    Ratio,
    Rebuilt,
    Reconstruction,
    Spread,
    divergences,
    losses,
    score,
)
from interp_dsl.engine.harvest import Harvest
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.engine.likeness import Compared, Likeness
from interp_dsl.engine.probing import Probing
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored
from interp_dsl.engine.splice import splice
from interp_dsl.engine.splitting import split_rows
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import ratio_bounds
from interp_dsl.plan.dictionaries import EvaluateDictionary, Judged
from interp_dsl.plan.places import Target
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table

GROUPS = 1000
"""Examples are drawn anew in so many groups at most, neighbours together."""
DENSITIES = {"freq_over_1_percent": 0.01, "freq_over_10_percent": 0.1}

Losses = dict[str, dict[Any, Tensor]]
Judgement = tuple[Scored, dict[str, pl.DataFrame]]


def judge(task: EvaluateDictionary, state: State, folder: RunFolder, report: Report) -> Judgement:
    """A row a dictionary and measure, with the values that a score is made of; the tensors hold
    `value` of single examples, NaN where there is none, and each feature's `density`. Further
    tables by name: `splits` and `probes`."""
    harvest = Harvest(task.run, task.read, state, 0, task.batch, report)
    n = state.data[task.run.data].n
    found = read_dictionaries(folder, task.of, harvest.device)
    held = [Reconstruction(d, n) for d in found]
    spreads: dict[Target, Spread] = {}
    likeness = Likeness(task, found, folder, harvest.device)
    probing = Probing(task, found, state, report)

    def seen(examples: Tensor) -> None:
        owner, block = harvest.of(examples)
        references = likeness.beside(block)
        rebuilt: list[Rebuilt] = []
        compared: list[Compared] = []
        for one, dictionary in zip(task.of.fitted, found, strict=True):
            f = dictionary.encode(block[one.target])
            rebuilt.append(Rebuilt.of(dictionary, block[one.target], f))
            compared.append(likeness.compared(len(compared), f, references))
            probing.see(len(rebuilt) - 1, examples, owner, f, block[one.target])
        # nothing was added yet where memory ran out, and the same examples come again
        for target in task.targets:
            x = block[target]
            spreads.setdefault(target, Spread(n, x.shape[1])).add(owner, x)
        for i, made in enumerate(held):
            made.add(owner, rebuilt[i])
            likeness.add(i, compared[i])

    harvest.through(seen)
    means = {t: s.mean for t, s in spreads.items()}
    passed = _passed(task, harvest, held, means) if task.splices else {}
    scored = _scored(task, held, spreads, passed, likeness, probing, state.seed)
    return scored, {**split_rows(task, likeness), **probing.rows()}


def _passed(
    task: EvaluateDictionary,
    harvest: Harvest,
    held: Sequence[Reconstruction],
    means: dict[Target, Tensor],
) -> Losses:
    """Sums over each example's predictions of text: cross-entropies `ce` and divergences `kl` from
    the clean run, of the clean run, of each target under zero and under its mean, and of each
    dictionary by its number."""
    counts = harvest.predictions.double()
    found: Losses = {"ce": {}, "kl": {}, "tokens": {"": counts}}
    ablations = {str(dict(m.arguments)["ablation"]) for m in task.measures if m.arguments}
    has_kl = any(m.function == "kl_div_score" for m in task.measures)

    def add(kind: str, name: Any, values: Tensor, predicted: Tensor, examples: Tensor) -> None:
        sums = found[kind].setdefault(name, torch.zeros_like(counts))
        sums[examples] = (values * predicted).sum(1).double().cpu()

    def work(examples: Tensor) -> None:
        predicted, targets = harvest.predicted(examples)
        logits, block = harvest.whole(examples)
        clean = logits[:, :-1].log_softmax(-1)
        add("ce", "clean", losses(clean, targets), predicted, examples)

        def under(name: Any, target: Target, values: Tensor) -> None:
            edits = splice(target, harvest.kept(examples), values)
            log = harvest.logits(examples, edits)[:, :-1].log_softmax(-1)
            add("ce", name, losses(log, targets), predicted, examples)
            if has_kl:
                add("kl", name, divergences(clean, log), predicted, examples)

        for target in task.targets:
            x = block[target]
            if "zero" in ablations:
                under((target, "zero"), target, torch.zeros_like(x))
            if "mean" in ablations:
                mean = means[target].to(x.device, x.dtype)
                under((target, "mean"), target, mean.expand_as(x))
        for i, (one, made) in enumerate(zip(task.of.fitted, held, strict=True)):
            under(i, one.target, made.dictionary.reconstruct(block[one.target]))

    harvest.through(work)
    return found


# ---- the table


def _scored(
    task: EvaluateDictionary,
    held: Sequence[Reconstruction],
    spreads: dict[Target, Spread],
    passed: Losses,
    likeness: Likeness,
    probing: Probing,
    seed: int,
) -> Scored:
    rows: list[dict[str, Any]] = []
    values: list[Tensor] = []
    tensors = {}
    several = len(task.of.fitted) > 1
    for i, (one, made) in enumerate(zip(task.of.fitted, held, strict=True)):
        ratios = made.ratios(spreads[one.target])
        about = {"unit": "dictionary", "position": "all", "n": len(spreads[one.target].count)}
        about |= {"dictionary": one.label} if several else {}
        for measure in task.measures:
            if measure.function in ratios:
                told = {measure.name: ratios[measure.function]}
            elif passed and measure.function in SCORES:
                told = _by_passes(measure, i, one.target, passed)
            elif measure in probing.measures:
                told = probing.told(i, measure)
            else:
                numbers = likeness.of(i, measure)
                if numbers is None:
                    numbers = {measure.name: _of_density(measure.function, made.density)}
                for name, value in numbers.items():
                    rows.append({**about, "metric": name, "value": value})
                    values.append(torch.full_like(spreads[one.target].count, torch.nan))
                continue
            rows += [{**about, "metric": k, **_told(r, seed)} for k, r in told.items()]
            values += [r.over / r.under for r in told.values()]
        tensors[f"{one.label}/density" if several else "density"] = made.density.float().numpy()
    tensors["value"] = torch.stack(values).float().numpy()
    extra = {"dictionary": "text"} if several else {}
    return Scored(score_table(rows, extra), tensors)  # type: ignore[arg-type]


SCORES = ("ce_loss_score", "loss_recovered", "kl_div_score")


def _by_passes(measure: Judged, i: int, target: Target, passed: Losses) -> dict[str, Ratio]:
    """A score, and the mean losses that it is made of."""
    tokens = passed["tokens"][""]
    ablation = (target, str(dict(measure.arguments)["ablation"]))
    if measure.function == "kl_div_score":
        kl = passed["kl"]
        return {
            measure.name: score(kl[ablation], kl[i], torch.zeros_like(tokens)),
            "kl_div_with_sae": Ratio(kl[i], tokens),
            "kl_div_with_ablation": Ratio(kl[ablation], tokens),
        }
    ce = passed["ce"]
    found = {measure.name: score(ce[ablation], ce[i], ce["clean"])}
    if measure.function == "ce_loss_score":
        raw = {"without_sae": "clean", "with_sae": i, "with_ablation": ablation}
        found |= {f"ce_loss_{k}": Ratio(ce[name], tokens) for k, name in raw.items()}
    return found


def _of_density(function: str, density: Tensor) -> float:
    match function:
        case "dead":
            return float((density == 0).double().mean())
        case "frac_alive":
            return float((density > 0).double().mean())
    return float((density > DENSITIES[function]).double().mean())


def _told(ratio: Ratio, seed: int) -> dict[str, float]:
    over, under = (_grouped(x) for x in (ratio.over, ratio.under))
    low, high = ratio_bounds(over, under, seed)
    return {"value": ratio.value, "low": low, "high": high}


def _grouped(values: Tensor) -> Tensor:
    """Sums of neighbours, in so many groups that the draws stay small."""
    groups = min(len(values), GROUPS)
    owner = torch.from_numpy(np.arange(len(values)) * groups // len(values))
    return torch.zeros(groups, dtype=values.dtype).index_add_(0, owner, values)
