"""On what features fire: their largest activations, and activations from everywhere between 0 and
their maximum, as Towards Monosemanticity shows them (Bricken et al. 2023): equally spaced intervals
of a feature's activations, so that what it means weakly is seen too, never the top alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """Activations [features, slots] and the numbers of the tokens that they are of; the activation
    is 0 where a slot is empty."""

    activation: Tensor
    token: Tensor


class Largest:
    """The `n` largest activations of each feature, and how often and how much each fires."""

    def __init__(self, features: int, n: int) -> None:
        self.best = torch.zeros(features, n)
        self.token = torch.zeros(features, n, dtype=torch.int64)
        self.fired = torch.zeros(features, dtype=torch.int64)
        self.total = torch.zeros(features, dtype=torch.float64)
        self.count = 0

    def add(self, f: Tensor, token: Tensor) -> None:
        """f [rows, features], of tokens with these numbers [rows]."""
        f = f.float().cpu()
        tokens = token.expand(f.shape[1], -1)
        values, index = torch.cat([self.best, f.T], 1).topk(self.best.shape[1], dim=1)
        self.token = torch.cat([self.token, tokens], 1).gather(1, index)
        self.best = values
        self.fired += (f > 0).sum(0)
        self.total += f.double().sum(0)
        self.count += len(f)

    @property
    def seen(self) -> Seen:
        return Seen(self.best, self.token)

    @property
    def maximum(self) -> Tensor:
        """The largest activation of each feature, 0 where it never fires."""
        return self.best[:, 0]


BINS = 50
"""Bars of a histogram, as dashboards have them."""


class Intervals:
    """One activation of each feature, drawn at random, from each of `n` equally spaced intervals
    between 0 and its maximum; how many there are in each, `inside` [features, n], and in finer
    ones, `counts` [features, BINS]."""

    def __init__(self, maximum: Tensor, n: int, generator: torch.Generator) -> None:
        self.maximum, self.n, self.generator = maximum, n, generator
        size = len(maximum) * n
        self.inside = torch.zeros(len(maximum), n, dtype=torch.int64)
        self.counts = torch.zeros(len(maximum), BINS, dtype=torch.int64)
        self.key = torch.zeros(size)
        self.best = torch.zeros(size)
        self.token = torch.zeros(size, dtype=torch.int64)

    def add(self, f: Tensor, token: Tensor) -> None:
        """f [rows, features], of tokens with these numbers [rows]."""
        f = f.float().cpu()
        row, feature = f.nonzero(as_tuple=True)
        values = f[row, feature]
        share = values / self.maximum[feature]
        bar = feature * BINS + (share * BINS).long().clamp_max(BINS - 1)
        self.counts.view(-1).index_add_(0, bar, torch.ones_like(bar))
        slot = feature * self.n + (share * self.n).long().clamp_max(self.n - 1)
        self.inside.view(-1).index_add_(0, slot, torch.ones_like(slot))
        key = 1 - torch.rand(
            len(values), generator=self.generator
        )  # above 0, as no slot's first is
        self.key.scatter_reduce_(0, slot, key, "amax")
        won = key == self.key[slot]
        self.best[slot[won]] = values[won]
        self.token[slot[won]] = token[row[won]]

    @property
    def seen(self) -> Seen:
        return Seen(self.best.view(-1, self.n), self.token.view(-1, self.n))


class Drawn:
    """At most `n` prompts for each feature, drawn at random of those that it fires on."""

    def __init__(self, features: int, n: int, generator: torch.Generator) -> None:
        self.generator = generator
        self.key = torch.zeros(features, n)
        self.prompt = torch.zeros(features, n, dtype=torch.int64)

    def add(self, fires: Tensor, prompts: Tensor) -> None:
        """fires [B, features], of prompts with these numbers [B]."""
        drawn = 1 - torch.rand(fires.shape, generator=self.generator)  # above 0
        key = torch.cat([self.key, (drawn * fires).T], 1)
        self.key, index = key.topk(self.key.shape[1], dim=1)
        held = torch.cat([self.prompt, prompts.expand(len(key), -1)], 1)
        self.prompt = held.gather(1, index)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The prompts and features of all draws, [pairs] each, by prompt and then by feature."""
        feature, slot = (self.key > 0).nonzero(as_tuple=True)
        prompt = self.prompt[feature, slot]
        order = (prompt * len(self.key) + feature).argsort()
        return prompt[order], feature[order]


def alignment(encoder: Tensor, decoder: Tensor) -> Tensor:
    """The cosine of each feature's encoder, a column of W_enc [d_in, d_sae], and decoder, a row of
    W_dec [d_sae, d_in]."""
    found: Tensor = torch.nn.functional.cosine_similarity(encoder.T, decoder, dim=1)
    return found
