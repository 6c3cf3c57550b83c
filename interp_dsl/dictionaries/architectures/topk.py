"""TopK and its kin: the number of features that are on is given, not paid for.

    topk        the k largest of each input (Gao et al. 2024, arXiv 2406.04093)
    batch_topk  the B·k largest of a batch (Bussmann et al. 2024, arXiv 2412.06410); what is left
                encodes by a threshold, the moving average of the smallest value that was on
    matryoshka  batch_topk whose first features must do alone too: the squared error is a mean
                over nested prefixes of the dictionary (Bussmann et al. 2025, arXiv 2503.17547,
                who sum it)

The loss is the mean over the batch of mean (x - x̂)², and alpha times AuxK: the same of the error e,
held constant, rebuilt by the k_aux dead features of largest pre-activation (Gao et al., A.2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Found,
    Now,
    Params,
    Sizes,
    affine,
    chunks,
    share,
    squared,
    start,
)
from interp_dsl.dictionaries.codes import SPARSE, Codes, Dense, batch_top_k, of_rows, top_k
from interp_dsl.dictionaries.selection import largest

ALPHA = 1 / 32
_MEMORY, _PARTS = 100, 10
"""Batches that a threshold is averaged over, and into how many such spans a shorter fit falls: over
all of it, the average would lag behind what it follows."""


@dataclass(frozen=True)
class TopK:
    """`k_aux` None is half of d. `sparse` None chooses by the share of features on."""

    k: int
    alpha: float = ALPHA
    k_aux: int | None = None
    sparse: bool | None = None
    name = "topk"
    has_unit_norm = True
    convention = "mean"

    def initial(self, sizes: Sizes, generator: torch.Generator) -> Params:
        return start(sizes, generator)

    def encode(self, params: Params, seen: Tensor, dead: Tensor, now: Now) -> tuple[Codes, Tensor]:
        """The features of a batch that are on, and the pre-activations of the dead ones."""
        width, found, left = len(params["encoder"]), [], []
        for rows, pre in chunks(seen, width, "pre", room=now.room):
            affine(params, seen[rows], pre)
            found.append(largest(pre, self.k))
            left.append(pre.index_select(1, dead))
        values, index = (torch.cat(x) for x in zip(*found, strict=True))
        return of_rows(values, index, width, self._is_sparse(width)), torch.cat(left)

    def levels(self, width: int) -> tuple[int, ...]:
        """How many features each of the nested dictionaries has."""
        return (width,)

    def loss(self, params: Params, seen: Tensor, wanted: Tensor, now: Now) -> Found:
        """One dense product, encode; the rest of the features that are on alone."""
        dead = _numbers(now.dead if self.alpha else None, seen)
        codes, left = self.encode(params, seen, dead, now)
        mse, error, slope, gradients = self._nested(params, seen, wanted, codes)
        terms = {"mse": mse}
        if len(dead):
            terms["auxk"] = self._revive(params, seen, left, dead, -error, gradients)
        fired = codes.total((codes.values > 0).to(seen.dtype))
        pull = gradients["b_enc"]
        return Found(terms, gradients, error, slope, pull, fired, self.held(codes, now))

    def held(self, codes: Codes, now: Now) -> Params:
        return {}

    def thresholds(self, params: Params, held: Params) -> Tensor | None:
        return None

    def _is_sparse(self, width: int) -> bool:
        return self.k / width <= SPARSE if self.sparse is None else self.sparse

    def _nested(
        self, params: Params, seen: Tensor, wanted: Tensor, codes: Codes
    ) -> tuple[Tensor, Tensor, Tensor, Params]:
        """The squared error, a mean over the levels; the last level's error; the slope along it;
        the gradients. A feature learns from the levels that hold it: from its own to the last."""
        decoder = params["decoder"]
        bounds = list(pairwise((0, *self.levels(len(decoder)))))
        parts = [codes.part(*b) for b in bounds]
        error, mse, slopes = -wanted, wanted.new_zeros(()), []
        for part, (first, stop) in zip(parts, bounds, strict=True):
            error = error + part.decode(decoder[first:stop])
            loss, slope = squared(error, share(wanted) / len(bounds))
            mse = mse + loss
            slopes.append(slope)
        g, learned = slopes.pop(), []
        for part, (first, stop) in reversed([*zip(parts, bounds, strict=True)]):
            d_pre = part.slopes(g, decoder[first:stop]) * (part.values > 0)
            learned.append(
                {
                    "decoder": part.outer(part.values, g),
                    "encoder": part.outer(d_pre, seen),
                    "b_enc": part.total(d_pre),
                }
            )
            if slopes:
                g = g + slopes.pop()
        gradients = learned[0] if len(learned) == 1 else _joined(learned[::-1])
        return mse, error, g, gradients

    def _revive(
        self,
        params: Params,
        seen: Tensor,
        pre: Tensor,
        dead: Tensor,
        target: Tensor,
        gradients: Params,
    ) -> Tensor:
        """AuxK, of the dead features' pre-activations; its gradients are added to those at hand."""
        k = min(self.k_aux or target.shape[1] // 2, len(dead))
        is_all = k == len(dead)
        codes = Dense(pre.clamp_min(0)) if is_all else top_k(pre, k, k / len(dead) <= SPARSE)
        decoder = params["decoder"][dead]
        loss, g = squared(codes.decode(decoder) - target, self.alpha * share(target))
        d_pre = codes.slopes(g, decoder) * (codes.values > 0)
        gradients["decoder"].index_add_(0, dead, codes.outer(codes.values, g))
        gradients["encoder"].index_add_(0, dead, codes.outer(d_pre, seen))
        gradients["b_enc"].index_add_(0, dead, codes.total(d_pre))
        return loss


@dataclass(frozen=True)
class BatchTopK(TopK):
    name = "batch_topk"

    def encode(self, params: Params, seen: Tensor, dead: Tensor, now: Now) -> tuple[Codes, Tensor]:
        width = len(params["encoder"])
        pre = affine(params, seen, now.room("pre", seen, len(seen), width))
        return batch_top_k(pre, self.k, self._is_sparse(width), now.crew), pre.index_select(1, dead)

    def held(self, codes: Codes, now: Now) -> Params:
        """The threshold: the mean of the smallest values of about the last tenth of the batches, a
        hundred at most."""
        on = now.crew.least(torch.where(codes.values > 0, codes.values, torch.inf).amin())
        count = now.held.get("batches", on.new_zeros(())) + 1
        old = now.held.get("threshold", torch.zeros_like(on))
        weight = (_PARTS / (count + _PARTS - 1)).clamp_min(1 / _MEMORY)
        threshold = old + (on - old) * weight
        return {"threshold": torch.where(on.isfinite(), threshold, old), "batches": count}

    def thresholds(self, params: Params, held: Params) -> Tensor:
        return held["threshold"].expand_as(params["b_enc"])


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """`prefixes`: the shares of the features that each nested dictionary has, the last of them
    1."""

    prefixes: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
    name = "matryoshka"

    def levels(self, width: int) -> tuple[int, ...]:
        sizes = (max(1, round(share * width)) for share in self.prefixes)
        return tuple(dict.fromkeys(sizes))


def _joined(parts: list[Params]) -> Params:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _numbers(dead: Tensor | None, x: Tensor) -> Tensor:
    """The dead features' numbers."""
    if dead is None:
        return torch.empty(0, dtype=torch.int64, device=x.device)
    return dead.nonzero()[:, 0]
