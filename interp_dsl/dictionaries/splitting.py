"""How features of a dictionary split into several of a larger one (Bricken et al. 2023).

A feature of ours is a *part* of the reference's feature whose decoder row is closest to its own,
where their cosine reaches `least`; else it is novel. Only features that fire count. A feature of
the reference has split where it has two parts and more; they cover the tokens that it fires on
where one of them fires too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from interp_dsl.dictionaries.likeness import ROWS

NONE = -1


def parents(reference: Tensor, decoder: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Of decoders [m', d] and [m, d]: of which feature of the reference each of ours [m] is a part,
    NONE where of none, and the largest cosine."""
    known = normalize(reference, dim=1).T
    best = [(normalize(part, dim=1) @ known).max(1) for part in torch.split(decoder, ROWS)]
    cosine = torch.cat([b.values for b in best])
    parent = torch.cat([b.indices for b in best])
    return torch.where(cosine >= least, parent, NONE), cosine


@dataclass(frozen=True)
class Firing:
    """Tokens of a block that features fire on: the reference's [m'], those of them that one of
    their parts fires on too, ours [m], and those of ours that their parent fires on."""

    whole: Tensor
    covered: Tensor
    part: Tensor
    both: Tensor

    @classmethod
    def of(cls, f: Tensor, g: Tensor, parent: Tensor) -> Firing:
        """Of our features f [R, m] and the reference's g [R, m']."""
        on, of = f > 0, g > 0
        some = parent != NONE
        ours, theirs = on[:, some], parent[some]
        hits = torch.zeros(g.shape, device=g.device).index_add_(1, theirs, ours.float())
        both = torch.zeros(f.shape[1], dtype=torch.int64, device=f.device)
        both[some] = (ours & of[:, theirs]).sum(0)
        return cls(of.sum(0), (of & (hits > 0)).sum(0), on.sum(0), both)

    def __add__(self, other: Firing) -> Firing:
        return Firing(
            self.whole + other.whole,
            self.covered + other.covered,
            self.part + other.part,
            self.both + other.both,
        )


class Splits:
    """The parts of a reference's features among ours."""

    def __init__(self, reference: Tensor, decoder: Tensor, least: float) -> None:
        """Of decoders [m', d] and [m, d]."""
        self.parent, self.cosine = parents(reference, decoder, least)
        self.firing: Firing | None = None

    def add(self, block: Firing) -> None:
        """What a block of tokens says."""
        self.firing = block if self.firing is None else self.firing + block

    @property
    def n_parts(self) -> Tensor:
        """How many parts that fire each of the reference's features [m'] has."""
        assert self.firing is not None
        counted = self.parent[(self.parent != NONE) & (self.firing.part > 0)]
        return torch.bincount(counted, minlength=len(self.firing.whole))

    def told(self) -> dict[str, float]:
        """`splitting`: the share of the reference's features that have split; `splitting_parts`:
        how many parts they have on average; `splitting_coverage`: the mean share of a split
        feature's tokens that its parts cover; `splitting_novel`: the share of ours that are part of
        none."""
        assert self.firing is not None
        firing, alive = self.firing, self.firing.whole > 0
        parts, split = self.n_parts, (self.n_parts > 1) & alive
        covered = firing.covered[split] / firing.whole[split]
        return {
            "splitting": _mean(split[alive]),
            "splitting_parts": _mean(parts[alive]),
            "splitting_coverage": _mean(covered),
            "splitting_novel": _mean(self.parent[firing.part > 0] == NONE),
        }


def _mean(values: Tensor) -> float:
    """NaN of none."""
    return float(values.double().mean()) if len(values) else math.nan
