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
    start,
    sum_of_squares,
)
from interp_dsl.dictionaries.architectures.nesting import Nest, gradients
from interp_dsl.dictionaries.architectures.screening import screen_of
from interp_dsl.dictionaries.codes import SPARSE, Codes, Dense, batch_top_k, of_rows, top_k
from interp_dsl.dictionaries.selection import Known, largest

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

    def encode(self, params: Params, seen: Tensor, now: Now) -> Codes:
        """The features of a batch that are on."""
        by, width, found = now.products, len(params["encoder"]), []
        screen = screen_of(params, now)
        if screen:
            found.append(screen.of(seen).largest(min(self.k, width)))
        else:
            rough = by.rounded(params, "encoder")
            for rows, pre in chunks(seen, width, "pre", room=now.room):
                found.append(largest(affine(rough, seen[rows], pre, by), self.k))
        values, index = (torch.cat(x) for x in zip(*found, strict=True))
        return of_rows(values, index, width, self._is_sparse(width))

    def levels(self, width: int) -> tuple[int, ...]:
        """How many features each of the nested dictionaries has."""
        return (width,)

    def loss(self, params: Params, seen: Tensor, wanted: Tensor, now: Now) -> Found:
        """One dense product, encode; the rest of the features that are on alone."""
        codes = self.encode(params, seen, now).by(now.products)
        decoder = codes.weight(params["decoder"])
        nest = Nest(codes, self.levels(len(decoder)))
        off, count = nest.rebuilt(decoder), len(nest.ends)
        weight, error = share(wanted) / count, off[-1].sub_(wanted)
        off[:-1] -= wanted if now.alone is None else now.alone
        if now.alone is None or count == 1:
            terms = {"mse": weight * sum_of_squares(off)}
        else:
            terms = {"mse": weight * sum_of_squares(error)}
            terms["prefixes"] = weight * sum_of_squares(off[:-1])
        learned = nest.gradients(decoder, seen, off, weight)
        some = _candidates(now) if self.alpha else None
        if some is not None and len(some):
            terms["auxk"] = self._revive(params, seen, now, some, error, learned)
        fired, pull = codes.total((codes.values > 0).to(seen.dtype)), learned["b_enc"]
        held = self.held(codes, now)
        return Found(terms, learned, error, off[0], 2 * weight, pull, fired, held)

    def held(self, codes: Codes, now: Now) -> Params:
        return {}

    def thresholds(self, params: Params, held: Params) -> Tensor | None:
        return None

    def _is_sparse(self, width: int) -> bool:
        return self.k / width <= SPARSE if self.sparse is None else self.sparse

    def _revive(
        self,
        params: Params,
        seen: Tensor,
        now: Now,
        some: Tensor,
        error: Tensor,
        learned: Params,
    ) -> Tensor:
        """AuxK, by some features among which all dead ones are; its gradients are added to those at
        hand. It is 0 where none is dead."""
        assert now.dead is not None
        by = now.products
        pre = by.addmm(params["b_enc"][some], seen, params["encoder"][some].T)
        if now.most is not None:
            pre.masked_fill_(~now.dead[some], -torch.inf)
        k = min(self.k_aux or error.shape[1] // 2, len(some))
        is_all = k == len(some)
        on = Dense(pre.clamp_min_(0)) if is_all else top_k(pre, k, k / len(some) <= SPARSE)
        codes = on.by(by)
        decoder, weight = codes.weight(params["decoder"][some]), self.alpha * share(error)
        off = codes.decode(decoder).add_(error)
        for name, more in gradients(codes, codes, decoder, seen, off, weight).items():
            learned[name].index_add_(0, some, more)
        return weight * sum_of_squares(off) * now.dead.any()


@dataclass(frozen=True)
class BatchTopK(TopK):
    name = "batch_topk"

    def encode(self, params: Params, seen: Tensor, now: Now) -> Codes:
        width = len(params["encoder"])
        screen = screen_of(params, now)
        if screen:
            return batch_top_k(screen.of(seen), self.k, self._is_sparse(width), now.crew)
        pre = affine(params, seen, now.room("pre", seen, len(seen), width), now.products)
        return batch_top_k(Known(pre), self.k, self._is_sparse(width), now.crew)

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


def _candidates(now: Now) -> Tensor | None:
    """The numbers of features among which are all that are dead; None of none. Where it is known
    how many these are at most, nobody need wait to see how many they are."""
    if now.dead is None or now.most == 0:
        return None
    if now.most is None:
        return now.dead.nonzero()[:, 0]
    return now.dead.byte().sort(descending=True, stable=True).indices[: now.most]
