"""What places are set to: the values of a source, gathered for many rows at once.

A value is asked for by site, named positions, rows' examples and rows' indices, and comes as
[R, k, width] or something that broadcasts to it. k counts the named positions of the changed side;
where values come from another run, its k-th token of a name answers to the changed side's k-th."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.engine.feature_values import Multiples
from interp_dsl.engine.means import Means
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import Memo, State
from interp_dsl.engine.statistics import generator
from interp_dsl.engine.vectors import vector
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import entries, moved
from interp_dsl.plan.algebra import (
    Blocked,
    Constant,
    FromRun,
    Mean,
    Noise,
    Resample,
    Run,
    Source,
    Times,
    ToVector,
    Zero,
)
from interp_dsl.plan.paths import Moved
from interp_dsl.plan.places import Positions, Site, Unit


@dataclass(frozen=True)
class Address:
    """Rows of one site at the same named positions: examples, index [R], in the processor's
    memory. `which` of the `units` each row is for [R]."""

    site: Site
    positions: Positions
    examples: Tensor
    index: Tensor
    units: tuple[Unit, ...] = ()
    which: Tensor | None = None


Values = Callable[[Address], Tensor]


def values_of(source: Source, into: Run, state: State) -> Values:
    """How to get the values of a source when places of `into` are changed."""
    device, dtype = state.device(into), state.executor(into).dtype
    match source:
        case FromRun(run=run):
            n = state.data[into.data].n
            return Elsewhere(state, run, into, torch.arange(n))
        case Resample(run=run, seed=seed):
            return Elsewhere(state, run, into, draws(run, into, seed, state))
        case Mean():
            return Means(state, source, into)
        case Zero():
            return lambda at: torch.zeros(1, 1, 1, device=device, dtype=dtype)
        case Constant(value=value):
            return lambda at: torch.full((1, 1, 1), value, device=device, dtype=dtype)
        case ToVector(vector=wanted):
            held = vector(wanted, state).to(device)
            return lambda at: held[None, None]
        case Times():
            return Multiples(state, source)
        case Noise():
            return _Noises(state, source, into)
        case Moved():
            from interp_dsl.engine.paths import Paths

            return Paths(state, source, into)
        case Blocked():
            raise AssertionError("blocking has no value")


def draws(run: Run, into: Run, seed: int, state: State) -> Tensor:
    """For each example of `into` another example of `run`, at random [n]; never itself where both
    are of the same data. Depends on the seed and the sizes alone."""
    n, pool = state.data[into.data].n, state.data[run.data].n
    if run.data != into.data:
        return torch.randint(0, pool, (n,), generator=generator(seed, "resample"))
    if n < 2:
        raise InterpError(
            Diagnostic(
                "E630",
                f"resample draws another example, and {state.data[run.data].name} has only one",
                help="use more examples, or mean(…) of another side",
            )
        )
    drawn = torch.randint(0, n - 1, (n,), generator=generator(seed, "resample"))
    return drawn + (drawn >= torch.arange(n))


class Elsewhere:
    """Values of another run: example i of the changed side takes those of example pairs[i]."""

    def __init__(self, state: State, run: Run, into: Run, pairs: Tensor) -> None:
        self.state, self.run, self.into, self.pairs = state, run, into, pairs
        self._once = Memo()
        if int(pairs.max()) >= state.data[run.data].n:
            raise InterpError(
                Diagnostic(
                    "E631",
                    f"{state.data[into.data].name} has {len(pairs)} examples and "
                    f"{state.data[run.data].name} only {state.data[run.data].n}",
                    help="values go from example to example: use sides of one dataset",
                )
            )

    def __call__(self, at: Address) -> Tensor:
        captured = self.state.captured(self.run, at.site)
        queries, keys = ends(at.positions)
        mine, where = self.places(queries, at.examples)
        values = entries(captured, mine[:, None], where, at.index[:, None])
        if keys is None:
            return values
        theirs = self._paired(keys)[at.examples]
        ours = self.state.slots(self.into, keys).index[at.examples]
        return place_keys(values, theirs, ours, self.state.side(self.into).tokens.shape[1])

    def places(self, positions: Positions, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Of changed examples [R] those that answer to them, and their positions [R, k]."""
        return self.pairs[examples], self._paired(positions)[examples]

    def _paired(self, positions: Positions) -> Tensor:
        """The source's positions [n, k] that answer to each changed prompt's."""
        return self._once(positions, lambda: self._pair(positions))

    def _pair(self, positions: Positions) -> Tensor:
        ours = self.state.slots(self.into, positions)
        theirs = self.state.slots(self.run, positions)
        width = max(ours.index.shape[1], theirs.index.shape[1])
        valid = _widened(theirs.valid, width)[self.pairs]
        unlike = (_widened(ours.valid, width) != valid).any(1).nonzero()
        if len(unlike):
            raise _unlike(positions, self.into.side, int(unlike[0]), int(self.pairs[unlike[0]]))
        k = ours.index.shape[1]
        index = theirs.index[self.pairs]
        more = index[:, :1].expand(-1, max(0, k - index.shape[1]))
        return torch.cat([index, more], dim=1)[:, :k]


def _widened(valid: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(valid, (0, width - valid.shape[1]))


def place_keys(values: Tensor, theirs: Tensor, ours: Tensor, width: int) -> Tensor:
    """Pattern rows [R, k, keys] of a source with its key positions `theirs` [R, m] moved to `ours`
    [R, m], in rows of `width` keys that are zero elsewhere."""
    k = values.shape[1]
    theirs, ours = moved(theirs, values.device), moved(ours, values.device)
    picked = values.gather(2, theirs[:, None].expand(-1, k, -1))
    empty = values.new_zeros(len(values), k, width)
    return empty.scatter(2, ours[:, None].expand(-1, k, -1), picked)


class _Noises:
    """Gaussian noise for every entry of a site, drawn by (seed, site, example), so that all units
    see the same."""

    def __init__(self, state: State, source: Noise, into: Run) -> None:
        self.state, self.source, self.into = state, source, into
        self._once = Memo()

    def __call__(self, at: Address) -> Tensor:
        own, _ = ends(at.positions)
        where = self.state.slots(self.into, own).index[at.examples]
        drawn = self._once(at.site, lambda: self._draw(at.site))
        return entries(drawn, at.examples[:, None], where, at.index[:, None])

    def _draw(self, site: Site) -> Tensor:
        n, width = self.state.side(self.into).tokens.shape
        shape = (width, *self.state.entry_shape(self.into, site))
        seeds = (generator(self.source.seed, site, i) for i in range(n))
        noise = torch.stack([torch.randn(shape, generator=g) for g in seeds])
        return (noise * self.source.std).to(self.state.device(self.into))


def _unlike(positions: Positions, side: str, example: int, other: int) -> InterpError:
    return InterpError(
        Diagnostic(
            "E632",
            f"{positions} of prompt {example} of {side} does not answer to that of prompt {other}, "
            "which its values come from",
            notes=("the two have different numbers of tokens there",),
            help="choose positions that every prompt has alike, such as LABEL.last or last",
        )
    )
