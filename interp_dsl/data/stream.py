"""An endless, shuffled stream of a dataset's tokens: which rows a block of it holds, in which
order.

A pass over the data goes through all examples, in an order of its own. The stream is cut into
blocks, and each block's rows are shuffled as a whole: so a row's place within its block is uniform,
and a block of a prompt's neighbours holds prompts from anywhere. A block depends on the seed and
its number alone: nothing but a number need be kept to take the stream up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.types import Ints, Side


def tokens_kept(side: Side, bos: int | None) -> NDArray[np.bool_]:
    """Which tokens [n, T] are text: neither padding nor BOS."""
    real: NDArray[np.bool_] = np.arange(side.tokens.shape[1])[None] < side.lengths[:, None]
    if side.mask is not None:
        real = real & side.mask
    return real if bos is None else real & (side.tokens != bos)


@dataclass(frozen=True)
class Stretch:
    """Examples of one pass, in order, whose kept tokens from `start` to `stop` are wanted, counted
    through all of them."""

    examples: Ints
    start: int
    stop: int


@dataclass(frozen=True)
class Stream:
    """`counts` [n] of kept tokens an example, at least one in all."""

    counts: Ints
    seed: int

    @property
    def a_pass(self) -> int:
        """Tokens of one pass over the data."""
        return int(self.counts.sum())

    def stretches(self, start: int, stop: int) -> Iterator[Stretch]:
        """The tokens `start` to `stop` of the stream, a stretch a pass."""
        while start < stop:
            number, first = divmod(start, self.a_pass)
            last = min(self.a_pass, first + stop - start)
            order = self.order(number)
            ends = self.counts[order].cumsum()
            begin = int(np.searchsorted(ends, first, side="right"))
            end = int(np.searchsorted(ends, last, side="left")) + 1
            before = int(ends[begin - 1]) if begin else 0
            yield Stretch(order[begin:end], first - before, last - before)
            start += last - first

    def order(self, number: int) -> Ints:
        """The order of the examples in a pass, counted from 0."""
        return np.random.default_rng((self.seed, 0, number)).permutation(len(self.counts))

    def examples(self, start: int, count: int) -> Ints:
        """`count` examples from number `start` on, pass after pass."""
        n = len(self.counts)
        passes = range(start // n, (start + count - 1) // n + 1)
        orders = np.concatenate([self.order(number) for number in passes])
        first = start - passes[0] * n
        return orders[first : first + count]

    def reaching(self, tokens: int) -> int:
        """How many of the first examples hold so many tokens together."""
        passes, rest = divmod(tokens, self.a_pass)
        ends = self.counts[self.order(passes)].cumsum()
        more = int(np.searchsorted(ends, rest)) + 1 if rest else 0
        return passes * len(self.counts) + more

    def tokens_in(self, count: int) -> int:
        """The tokens of the first `count` examples."""
        passes, rest = divmod(count, len(self.counts))
        return passes * self.a_pass + int(self.counts[self.order(passes)[:rest]].sum())

    def shuffled(self, block: int, size: int) -> Ints:
        """The order [size] in which a block's rows are used."""
        return np.random.default_rng((self.seed, 1, block)).permutation(size)
