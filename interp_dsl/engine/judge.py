"""How well fitted dictionaries do: what they make of activations, and what the model makes of
what they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from interp_dsl.dictionaries.crossing import lengths, relative
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.measures import (
    Ratio,
    Rebuilt,
    Reconstruction,
    Spread,
    divergences,
    losses,
    score,
)
from interp_dsl.engine.harvest import Block, Harvest, joined
from interp_dsl.engine.kept_dictionaries import decoders, read_dictionaries
from interp_dsl.engine.likeness import Compared, Likeness
from interp_dsl.engine.probing import Probing
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored
from interp_dsl.engine.splice import spliced
from interp_dsl.engine.splitting import split_rows
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import ratio_bounds
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import EvaluateDictionary, Fitted, Judged, run_of
from interp_dsl.plan.places import Target, model_name
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table

GROUPS = 1000
"""Examples are drawn anew in so many groups at most, neighbours together."""
DENSITIES = {"freq_over_1_percent": 0.01, "freq_over_10_percent": 0.1}

Losses = dict[str, dict[Any, Tensor]]
Judgement = tuple[Scored, dict[str, pl.DataFrame]]
Place = tuple[Target, ...]
"""What a dictionary rebuilds of a model: an activation, or several side by side."""


@dataclass(frozen=True)
class Part:
    """What dictionary `number` rebuilds of one model."""

    number: int
    place: Place

    @property
    def model(self) -> str | None:
        """The name of its model, where the dictionary is of several."""
        of = self.place[0].model
        return None if of is None else model_name(of)


def judge(task: EvaluateDictionary, state: State, folder: RunFolder, report: Report) -> Judgement:
    """A row a dictionary and measure, with the values that a score is made of; the tensors hold
    `value` of single examples, NaN where there is none, and each feature's `density`. Further
    tables by name: `splits` and `probes`."""
    harvest = Harvest(task.runs, task.read, state, 0, task.batch, report)
    n = state.data[task.run.data].n
    found = read_dictionaries(folder, task.of, harvest.device)
    parts = [Part(i, place) for i, one in enumerate(task.of.fitted) for place in one.parts]
    held = [Reconstruction(found[part.number].d_sae, n) for part in parts]
    spreads: dict[Place, Spread] = {}
    likeness = Likeness(task, found, folder, harvest.device)
    probing = Probing(task, found, state, report)

    def seen(examples: Tensor) -> None:
        owner, block = harvest.of(examples)
        references = likeness.beside(block)
        rebuilt: list[Rebuilt] = []
        compared: list[Compared] = []
        for i, (one, dictionary) in enumerate(zip(task.of.fitted, found, strict=True)):
            x = joined(block, one.read)
            f = dictionary.encode(x)
            for place, made in _by_part(one, dictionary.decode(f, x), block):
                rebuilt.append(Rebuilt.of(f, made, joined(block, place)))
            compared.append(likeness.compared(i, f, references))
            probing.see(i, examples, owner, f, x)
        # nothing was added yet where memory ran out, and the same examples come again
        for place in task.rebuilt:
            y = joined(block, place)
            spreads.setdefault(place, Spread(n, y.shape[1])).add(owner, y)
        for sums, new in zip(held, rebuilt, strict=True):
            sums.add(owner, new)
        for i, block_of in enumerate(compared):
            likeness.add(i, block_of)

    harvest.through(seen)
    means = {t: s.mean for t, s in spreads.items()}
    passed = _passed(task, harvest, found, means) if task.splices else {}
    shares = _shares(task, found, folder) if task.beside else {}
    scored = _scored(task, parts, held, spreads, passed, likeness, probing, shares, state.seed)
    return scored, {**split_rows(task, likeness), **probing.rows()}


def _shares(
    task: EvaluateDictionary, found: Sequence[Dictionary], folder: RunFolder
) -> dict[Part, Tensor]:
    """The relative norms [d_sae] of what each part writes among all of its dictionary's."""
    held: dict[Part, Tensor] = {}
    for i, (one, dictionary) in enumerate(zip(task.of.fitted, found, strict=True)):
        own = dict(zip(one.read, decoders(folder, task.of.step, one, dictionary), strict=True))
        norms = lengths([torch.cat([own[t] for t in place], 1) for place in one.parts])
        held |= {Part(i, p): x for p, x in zip(one.parts, relative(norms).T.cpu(), strict=True)}
    return held


def _by_part(one: Fitted, made: Tensor, block: Block) -> Iterator[tuple[Place, Tensor]]:
    """What a dictionary makes [R, d_out], of each model apart."""
    widths = [sum(block[target].shape[1] for target in place) for place in one.parts]
    yield from zip(one.parts, torch.split(made, widths, 1), strict=True)


def _passed(
    task: EvaluateDictionary,
    harvest: Harvest,
    found: Sequence[Dictionary],
    means: dict[Place, Tensor],
) -> Losses:
    """Sums over each example's predictions of text: cross-entropies `ce` and divergences `kl` from
    the clean run, of the clean run by model, of each place under zero and under its mean, and of
    each part."""
    counts = harvest.predictions.double()
    sums: Losses = {"ce": {}, "kl": {}, "tokens": {"": counts}}
    ablations = {str(m.given["ablation"]) for m in task.measures if m.function in SCORES}
    has_kl = any(m.function == "kl_div_score" for m in task.measures)

    def add(kind: str, name: Any, values: Tensor, predicted: Tensor, examples: Tensor) -> None:
        held = sums[kind].setdefault(name, torch.zeros_like(counts))
        held[examples] = (values * predicted.to(values.device)).sum(1).double().cpu()

    def work(examples: Tensor) -> None:
        predicted, targets = harvest.predicted(examples)
        logits, block = harvest.whole(examples)
        clean = {run: x[:, :-1].log_softmax(-1) for run, x in logits.items()}
        for run, log in clean.items():
            add("ce", ("clean", run), losses(log, targets.to(log.device)), predicted, examples)

        def under(name: Any, place: Place, values: Tensor) -> None:
            widths, run = [block[target].shape[1] for target in place], harvest.run_of(place[0])
            device = clean[run].device
            edits = spliced(place, widths, harvest.kept(examples), values.to(device))
            log = harvest.logits(run, examples, edits)[:, :-1].log_softmax(-1)
            add("ce", name, losses(log, targets.to(device)), predicted, examples)
            if has_kl:
                add("kl", name, divergences(clean[run], log), predicted, examples)

        for place in task.rebuilt:
            y = joined(block, place)
            if "zero" in ablations:
                under((place, "zero"), place, torch.zeros_like(y))
            if "mean" in ablations:
                mean = means[place].to(y.device, y.dtype)
                under((place, "mean"), place, mean.expand_as(y))
        for i, (one, dictionary) in enumerate(zip(task.of.fitted, found, strict=True)):
            made = dictionary.reconstruct(joined(block, one.read))
            for place, own in _by_part(one, made, block):
                under(Part(i, place), place, own)

    harvest.through(work)
    return sums


# ---- the table


def _scored(
    task: EvaluateDictionary,
    parts: Sequence[Part],
    held: Sequence[Reconstruction],
    spreads: dict[Place, Spread],
    passed: Losses,
    likeness: Likeness,
    probing: Probing,
    shares: dict[Part, Tensor],
    seed: int,
) -> Scored:
    rows: list[dict[str, Any]] = []
    values: list[Tensor] = []
    tensors = {}
    several, has_models = len(task.of.fitted) > 1, bool(task.beside)
    for part, made in zip(parts, held, strict=True):
        i, one, ratios = part.number, task.of.fitted[part.number], made.ratios(spreads[part.place])
        about = {"unit": "dictionary", "position": "all", "n": len(spreads[part.place].count)}
        about |= {"dictionary": one.label} if several else {}
        is_first = part.place == one.parts[0]
        for measure in task.measures:
            of = {"model": part.model} if measure.is_by_model and has_models else {}
            if not of and not is_first:
                continue
            if measure.function in ratios:
                told = {measure.name: ratios[measure.function]}
            elif passed and measure.function in SCORES:
                told = _by_passes(measure, part, run_of(task.runs, part.place[0]), passed)
            elif measure in probing.measures:
                told = probing.told(i, measure)
            else:
                for name, value in _of_features(measure, part, made, likeness, shares).items():
                    rows.append({**about, **of, "metric": name, "value": value})
                    values.append(torch.full_like(spreads[part.place].count, torch.nan))
                continue
            rows += [{**about, **of, "metric": k, **_told(r, seed)} for k, r in told.items()]
            values += [r.over / r.under for r in told.values()]
        tensors[f"{one.label}/density" if several else "density"] = made.density.float().numpy()
    tensors["value"] = torch.stack(values).float().numpy()
    extra = {"dictionary": "text"} if several else {}
    extra |= {"model": "text"} if has_models else {}
    return Scored(score_table(rows, extra), tensors)  # type: ignore[arg-type]


def _of_features(
    measure: Judged,
    part: Part,
    made: Reconstruction,
    likeness: Likeness,
    shares: dict[Part, Tensor],
) -> dict[str, float]:
    """What is measured on features, not on examples."""
    if measure.function == "exclusive":
        is_own = shares[part][made.density > 0] >= measure.given["least"]
        return {measure.name: float(is_own.double().mean())}
    told = likeness.of(part.number, measure)
    return {measure.name: _of_density(measure.function, made.density)} if told is None else told


SCORES = ("ce_loss_score", "loss_recovered", "kl_div_score")


def _by_passes(measure: Judged, part: Part, run: Run, passed: Losses) -> dict[str, Ratio]:
    """A score, and the mean losses that it is made of."""
    tokens, clean = passed["tokens"][""], ("clean", run)
    ablation = (part.place, str(dict(measure.arguments)["ablation"]))
    if measure.function == "kl_div_score":
        kl = passed["kl"]
        return {
            measure.name: score(kl[ablation], kl[part], torch.zeros_like(tokens)),
            "kl_div_with_sae": Ratio(kl[part], tokens),
            "kl_div_with_ablation": Ratio(kl[ablation], tokens),
        }
    ce = passed["ce"]
    found = {measure.name: score(ce[ablation], ce[part], ce[clean])}
    if measure.function == "ce_loss_score":
        raw = {"without_sae": clean, "with_sae": part, "with_ablation": ablation}
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
