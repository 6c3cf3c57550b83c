"""Means over examples and how sure they are: a seeded percentile bootstrap, standard errors, the
normalised effect.

The draws are those of transformer_lens.utilities.statistics.bootstrap_ci with the same generator:
resamples of `n` indices in chunks of 256. As a mean needs only how often each example was drawn,
the resamples are one matrix [B, n] of counts, made once, which ÷ n is multiplied with the values of
all cells."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CONFIDENCE = 0.95
RESAMPLES = 1000
GAP_FLOOR = 0.5  # logits; lint 11: a smaller gap divides by next to nothing
_CHUNK = 256
_CELLS = 4096
_WEIGHTS = 2**20
"""Weights that are kept, and multiplied with at once: counts take a quarter of their memory."""


def generator(seed: int, *labels: object) -> torch.Generator:
    """A CPU generator for a seed and labels, the same in every process (SHA-256 of both)."""
    key = ":".join([str(seed), *map(str, labels)]).encode()
    derived = int.from_bytes(hashlib.sha256(key).digest()[:8], "little") & (2**63 - 1)
    return torch.Generator().manual_seed(derived)


@lru_cache(maxsize=8)
def resampling(n: int, seed: int, resamples: int = RESAMPLES) -> Tensor:
    """Weights [resamples, n], float64, rows summing to 1: how often a resample drew each of n
    examples, ÷ n."""
    return _drawn(n, seed, resamples).double() / n


@lru_cache(maxsize=8)
def _drawn(n: int, seed: int, resamples: int = RESAMPLES) -> Tensor:
    """How often each resample drew each example [resamples, n]."""
    drawn, source = torch.zeros(resamples, n, dtype=torch.int16), generator(seed)
    for part in torch.split(drawn, _CHUNK):
        index = torch.randint(0, n, part.shape, generator=source)
        part.scatter_add_(1, index, torch.ones((), dtype=torch.int16).expand(part.shape))
    return drawn


def _means(values: Tensor, seed: int) -> NDArray[np.float64]:
    """The means [resamples, cells] of values [n, cells] over the resamples."""
    n, values = len(values), values.double()
    if RESAMPLES * n <= _WEIGHTS:
        means = resampling(n, seed) @ values
    else:
        parts = torch.split(_drawn(n, seed), max(1, _WEIGHTS // n))
        means = torch.cat([(part.double() / n) @ values for part in parts])
    found: NDArray[np.float64] = means.numpy()
    return found


def bounds(values: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The 95 % percentile bootstrap interval of the mean: values [n, cells] -> low, high [cells],
    float64."""
    parts = [
        _tails(_means(values[:, i : i + _CELLS], seed)) for i in range(0, values.shape[1], _CELLS)
    ]
    low, high = torch.from_numpy(np.concatenate(parts, axis=1))
    return low, high


def ratio_bounds(over: Tensor, under: Tensor, seed: int) -> tuple[float, float]:
    """The same interval of a ratio of means, mean(over) ÷ mean(under), of values [n] each: both
    means of the same resamples, of which those without an effect of `under` stand last."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = _means(over[:, None], seed) / _means(under[:, None], seed)
    low, high = _tails(ratios)
    return float(low[0]), float(high[0])


def compared(over: Tensor, under: Tensor, seed: int, rounding: float) -> dict[str, float | None]:
    """`ratio` of mean effects, mean(over) ÷ mean(under) of values [n] each, with its bounds, none
    for those that are infinite; nothing where `under` has no effect above `rounding`."""
    if not float(under.mean()) > rounding or not bool(over.mean().isfinite()):
        return {}
    low, high = (x if abs(x) < torch.inf else None for x in ratio_bounds(over, under, seed))
    ratio = float(over.mean() / under.mean())
    return {"ratio": ratio, "ratio_low": low, "ratio_high": high}


def median_bounds(values: Tensor, seed: int) -> tuple[float, float]:
    """The same interval of the median of values [n], over the same resamples, in each of which a
    value counts as often as it was drawn."""
    n, held = len(values), values.double().sort()
    drawn = (resampling(n, seed)[:, held.indices] * n).round().cumsum(1)
    ends = [held.values[(drawn > place).int().argmax(1)] for place in ((n - 1) // 2, n // 2)]
    low, high = _tails(((ends[0] + ends[1]) / 2)[:, None].numpy())
    return float(low[0]), float(high[0])


def _tails(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two quantiles [2, cells] of means [resamples, cells], linear between neighbours as
    torch.quantile has them, without sorting all."""
    last = len(means) - 1
    places = [last * (1 - CONFIDENCE) / 2, last * (1 + CONFIDENCE) / 2]
    below = [math.floor(p) for p in places]
    around = sorted({*below, *(min(b + 1, last) for b in below)})
    columns = np.partition(np.ascontiguousarray(means.T), around, axis=1)
    return np.stack(
        [
            columns[:, b] + (p - b) * (columns[:, min(b + 1, last)] - columns[:, b])
            for p, b in zip(places, below, strict=True)
        ]
    )


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of values [n]; 0 for a single example, which has no spread."""
    return float(values.double().std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def gap(base: Tensor, other: Tensor | None, in_logits: bool) -> float | None:
    """The mean of other − base [n], by which effects are normalised; None where there is no other
    run or the gap is under lint 11's floor: two standard errors of the paired gap, for metrics
    counted in logits also half a logit."""
    if other is None:
        return None
    paired = other.double() - base.double()
    mean = float(paired.mean())
    floor = max(2 * standard_error(paired), GAP_FLOOR if in_logits else 0.0)
    return None if mean == 0 or abs(mean) < floor else mean
