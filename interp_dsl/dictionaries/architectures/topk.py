"""TopK and its kin: the number of features that are on is given, not paid for.

    topk        the k largest of each input (Gao et al. 2024, arXiv 2406.04093)
    batch_topk  the B·k largest of a batch (Bussmann et al. 2024, arXiv 2412.06410); what is left
                encodes by a threshold, the moving average of the smallest value that was on
    matryoshka  batch_topk whose first features must do alone too: the squared error is summed over
                nested prefixes of the dictionary (Bussmann et al. 2025, arXiv 2503.17547)

The loss is the mean over the batch of mean (x - x̂)², and alpha times AuxK: the same of the error e,
held constant, rebuilt by the k_aux dead features of largest pre-activation (Gao et al., A.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Found,
    Now,
    Params,
    affine,
    centred,
    encoder_gradients,
    squared,
    tied,
)
from interp_dsl.dictionaries.codes import SPARSE, Codes, batch_top_k, top_k

ALPHA = 1 / 32
_MEMORY = 100
"""Batches that a threshold is averaged over."""


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

    def initial(self, d: int, width: int, generator: torch.Generator) -> Params:
        return tied(d, width, generator)

    def select(self, pre: Tensor) -> Codes:
        """The features of a batch that are on."""
        return top_k(pre, self.k, self._is_sparse(pre.shape[1]))

    def levels(self, width: int) -> tuple[int, ...]:
        """How many features each of the nested dictionaries has."""
        return (width,)

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """One dense product, encode; the rest of the features that are on alone."""
        seen = centred(params, x)
        pre = affine(params, seen)
        codes = self.select(pre)
        mse, error, d_decoder, d_f, d_bias = self._nested(params, x, codes)
        gradients = encoder_gradients(params, codes, d_f * (codes.values > 0), seen)
        gradients["decoder"] = d_decoder
        gradients["b_dec"] += d_bias
        terms = {"mse": mse}
        if self.alpha and now.dead is not None:
            terms["auxk"] = self._revive(params, seen, pre, now.dead, -error, gradients)
        fired = codes.total((codes.values > 0).to(x.dtype))
        return Found(terms, gradients, error, fired, self.held(codes, now))

    def held(self, codes: Codes, now: Now) -> Params:
        return {}

    def _is_sparse(self, width: int) -> bool:
        return self.k / width <= SPARSE if self.sparse is None else self.sparse

    def _nested(
        self, params: Params, x: Tensor, codes: Codes
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The squared error over all levels, the last level's error, and the gradients of decoder,
        codes and b_dec. A feature's gradient sums over the levels that hold it."""
        decoder, bounds = params["decoder"], (0, *self.levels(len(params["decoder"])))
        masks = [codes.within(*b) if len(bounds) > 2 else None for b in pairwise(bounds)]
        error, losses, slopes = params["b_dec"] - x, [], []
        for mask in masks:
            error = error + _masked(codes, mask).decode(decoder)
            loss, slope = squared(error, 1 / len(masks))
            losses.append(loss)
            slopes.append(slope)
        d_decoder, d_f, g = torch.zeros(()), torch.zeros(()), torch.zeros_like(x)
        for mask, slope in zip(reversed(masks), reversed(slopes), strict=True):
            g = g + slope
            part, d_part = _masked(codes, mask), codes.slopes(g, decoder)
            d_decoder = part.outer(part.values, g) + d_decoder
            d_f = (d_part if mask is None else d_part * mask) + d_f
        return torch.stack(losses).sum(), error, d_decoder, d_f, g.sum(0)

    def _revive(
        self,
        params: Params,
        seen: Tensor,
        pre: Tensor,
        dead: Tensor,
        target: Tensor,
        gradients: Params,
    ) -> Tensor:
        """AuxK; its gradients are added to those at hand."""
        chosen = dead.nonzero()[:, 0]
        if not len(chosen):
            return pre.new_zeros(())
        k = min(self.k_aux or seen.shape[1] // 2, len(chosen))
        codes = top_k(pre[:, chosen], k, k / len(chosen) <= SPARSE)
        few = {name: params[name][chosen] for name in ("encoder", "decoder")}
        loss, g = squared(codes.decode(few["decoder"]) - target, self.alpha)
        d_f = codes.slopes(g, few["decoder"]) * (codes.values > 0)
        added = encoder_gradients(few, codes, d_f, seen)
        gradients["encoder"][chosen] += added["encoder"]
        gradients["b_enc"][chosen] += added["b_enc"]
        gradients["b_dec"] += added["b_dec"]
        gradients["decoder"][chosen] += codes.outer(codes.values, g)
        return loss


@dataclass(frozen=True)
class BatchTopK(TopK):
    name = "batch_topk"

    def select(self, pre: Tensor) -> Codes:
        return batch_top_k(pre, self.k, self._is_sparse(pre.shape[1]))

    def held(self, codes: Codes, now: Now) -> Params:
        """The threshold: the mean of the smallest values so far, of about the last hundred
        batches."""
        on = torch.where(codes.values > 0, codes.values, torch.inf).amin()
        count = now.held.get("batches", on.new_zeros(())) + 1
        old = now.held.get("threshold", on)
        threshold = old + (on - old) * (1 / count).clamp_min(1 / _MEMORY)
        return {"threshold": torch.where(on.isfinite(), threshold, old), "batches": count}


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """`prefixes`: the shares of the features that each nested dictionary has, the last of them 1.
    The squared error is the mean over the dictionaries, so that lr means the same."""

    prefixes: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
    name = "matryoshka"

    def levels(self, width: int) -> tuple[int, ...]:
        return tuple(max(1, round(share * width)) for share in self.prefixes)


def _masked(codes: Codes, mask: Tensor | None) -> Codes:
    if mask is None:
        return codes
    return replace(codes, values=codes.values * mask)
