"""Features that are a quasi-boolean function of features below (Balcells et al. 2024, arXiv
2410.08869), and how good a gate each is.

AND: the upper feature is on only where each of two to k lower ones is (necessity). OR: it is on
wherever one of them is (sufficiency). Both hold of features that are no gates, such as nested ones;
so each gate is scored:

    AND  precision P(j on | all on), recall P(all on | j on)
    OR   precision P(j on | any on), recall P(any on | j on)
    F1 = 2 n(gate, j) / (n(gate) + n(j)),  beside the F1 of the best single lower feature

An AND whose size follows that of one input (r^2 over the tokens that it is on) is a special case of
that input, gated by the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.geometry.similarity import Related, Stream

KINDS = {"and": "necessity", "or": "sufficiency"}
FOLLOWS = 0.9
"""The r^2 from which a feature's size is that of an input."""


@dataclass(frozen=True)
class Gate:
    """Lower features `inputs` into the upper feature `output`."""

    kind: str
    output: int
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Scored:
    """A gate with its scores. `single` is the F1 of its best input alone; `support` the tokens that
    gate and output are both on; `child_of` the input whose size the output has, where it has one's
    alone."""

    gate: Gate
    precision: float
    recall: float
    f1: float
    single: float
    support: int
    child_of: int | None

    @property
    def is_better(self) -> bool:
        """Whether the gate tells the output better than its best input does."""
        return self.f1 > self.single


def candidates(
    related: Related, kind: str, least: float = 0.999, most: int = 2
) -> tuple[Gate, ...]:
    """Upper features with two to `most` lower ones that reach `least` in the gate's measure. What
    `relate` was told to keep must hold these pairs."""
    reached = related.values[KINDS[kind]] >= least
    found: dict[int, list[int]] = {}
    for i, j in zip(related.below[reached].tolist(), related.above[reached].tolist(), strict=True):
        found.setdefault(j, []).append(i)
    return tuple(
        Gate(kind, output, tuple(sorted(inputs)))
        for output, inputs in sorted(found.items())
        if 2 <= len(inputs) <= most
    )


def scored(
    stream: Stream,
    gates: Sequence[Gate],
    thresholds: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
) -> tuple[Scored, ...]:
    """The scores of gates in one pass over the tokens."""
    sums = [_Sums(len(gate.inputs)) for gate in gates]
    for a, b in stream():
        below, above = a > thresholds[0], b > thresholds[1]
        for gate, held in zip(gates, sums, strict=True):
            inputs = list(gate.inputs)
            held.add(
                gate.kind, a[:, inputs], below[:, inputs], b[:, gate.output], above[:, gate.output]
            )
    return tuple(held.scored(gate) for gate, held in zip(gates, sums, strict=True))


class _Sums:
    """What a gate's scores are made of, over tokens."""

    def __init__(self, k: int) -> None:
        self.counts = torch.zeros(3, dtype=torch.float64)
        self.inputs = torch.zeros(2, k, dtype=torch.float64)
        self.moments = torch.zeros(k + 1, k + 1, dtype=torch.float64)
        self.means = torch.zeros(k + 1, dtype=torch.float64)

    def add(self, kind: str, a: Tensor, below: Tensor, b: Tensor, above: Tensor) -> None:
        gate = below.all(1) if kind == "and" else below.any(1)
        self.counts += torch.stack([gate.sum(), above.sum(), (gate & above).sum()]).cpu()
        self.inputs += torch.stack([below.sum(0), (below & above[:, None]).sum(0)]).cpu()
        sizes = torch.cat([b[above, None], a[above]], 1).cpu().double()
        self.moments += sizes.T @ sizes
        self.means += sizes.sum(0)

    def scored(self, gate: Gate) -> Scored:
        on, output, both = self.counts.tolist()
        singles = 2 * self.inputs[1] / (self.inputs[0] + output)
        return Scored(
            gate,
            both / on if on else 0.0,
            both / output if output else 0.0,
            2 * both / (on + output) if on + output else 0.0,
            float(singles.max()),
            int(both),
            self._parent(gate, output) if gate.kind == "and" else None,
        )

    def _parent(self, gate: Gate, n: float) -> int | None:
        """The one input whose size the output's follows."""
        if n < 3:
            return None
        covariance = self.moments - torch.outer(self.means, self.means) / n
        variance = covariance.diagonal()
        explained = covariance[0, 1:].square() / (variance[0] * variance[1:])
        (follows,) = (explained >= FOLLOWS).nonzero(as_tuple=True)
        return gate.inputs[int(follows[0])] if len(follows) == 1 else None
