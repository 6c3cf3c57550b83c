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
    start,
    sum_of_squares,
    where_on,
)
from interp_dsl.dictionaries.architectures.screening import screen_of
from interp_dsl.dictionaries.codes import SPARSE, Codes, Dense, batch_top_k, of_rows, top_k
from interp_dsl.dictionaries.selection import Known, largest

ALPHA = 1 / 32
Part = tuple[Codes, Tensor]
"""Some of the features, and their decoder."""
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
        decoder, levels = codes.weight(params["decoder"]), self.levels(len(params["decoder"]))
        parts = [(codes.part(*ends), decoder[slice(*ends)]) for ends in pairwise((0, *levels))]
        errors, inner = _errors(parts, wanted), 0
        if now.alone is not None:
            errors, inner = _errors(parts, now.alone), len(parts) - 1
            errors[-1] += now.alone - wanted
        weight, error = share(wanted) / len(errors), errors[-1]
        terms = {"mse": _squares(errors[inner:], weight)}
        if inner:
            terms["prefixes"] = _squares(errors[:inner], weight)
        slope, gradients = _nested(parts, seen, errors, weight)
        dead = _numbers(now.dead if self.alpha else None, seen)
        if len(dead):
            terms["auxk"] = self._revive(params, seen, now, dead, error, gradients)
        fired, pull = codes.total((codes.values > 0).to(seen.dtype)), gradients["b_enc"]
        held = self.held(codes, now)
        return Found(terms, gradients, error, slope, 2 * weight, pull, fired, held)

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
        dead: Tensor,
        error: Tensor,
        gradients: Params,
    ) -> Tensor:
        """AuxK; its gradients are added to those at hand."""
        by = now.products
        pre = by.addmm(params["b_enc"][dead], seen, params["encoder"][dead].T)
        k = min(self.k_aux or error.shape[1] // 2, len(dead))
        is_all = k == len(dead)
        on = Dense(pre.clamp_min_(0)) if is_all else top_k(pre, k, k / len(dead) <= SPARSE)
        codes = on.by(by)
        decoder, weight = codes.weight(params["decoder"][dead]), self.alpha * share(error)
        off = codes.decode(decoder).add_(error)
        for name, learned in _gradients(codes, decoder, seen, off, weight).items():
            gradients[name].index_add_(0, dead, learned)
        return weight * sum_of_squares(off)


def _errors(parts: list[Part], wanted: Tensor) -> list[Tensor]:
    """What each nested dictionary rebuilds, less what is wanted: [B, d_out] each."""
    errors: list[Tensor] = []
    for codes, decoder in parts:
        made = codes.decode(decoder)
        errors.append(made.add_(errors[-1]) if errors else made.sub_(wanted))
    return errors


def _squares(errors: list[Tensor], weight: float) -> Tensor:
    return torch.stack([weight * sum_of_squares(error) for error in errors]).sum()


def _nested(
    parts: list[Part], seen: Tensor, errors: list[Tensor], weight: float
) -> tuple[Tensor, Params]:
    """The sum of the errors, and the gradients. A feature learns from the levels that hold it: from
    its own to the last."""
    slope = errors[-1]
    learned: list[Params] = []
    for level in reversed(range(len(parts))):
        if level < len(parts) - 1:
            slope = slope + errors[level]
        learned.append(_gradients(*parts[level], seen, slope, weight))
    return slope, learned[0] if len(learned) == 1 else _joined(learned[::-1])


def _gradients(codes: Codes, decoder: Tensor, seen: Tensor, off: Tensor, weight: float) -> Params:
    """Those of weight × Σ ‖f decoder - held constant‖², whose slope along what is decoded is
    2 weight × off [B, d_out]; f the codes of what is seen."""
    d_pre = where_on(codes.slopes(off, decoder).mul_(2 * weight), codes.values)
    return {
        "decoder": codes.outer(codes.values * (2 * weight), off),
        "encoder": codes.outer(d_pre, seen),
        "b_enc": codes.total(d_pre),
    }


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


def _joined(parts: list[Params]) -> Params:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _numbers(dead: Tensor | None, x: Tensor) -> Tensor:
    """The dead features' numbers."""
    if dead is None:
        return torch.empty(0, dtype=torch.int64, device=x.device)
    return dead.nonzero()[:, 0]
