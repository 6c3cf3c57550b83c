"""What an experiment is run on: token ids as numpy arrays, labels, answers. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """n prompts of one side, padded on the right.

    tokens: [n, T]; lengths: [n] real tokens; labels: name -> [n, 2] start and end (exclusive) of
    the label's tokens in each prompt, (0, 0) where it has none; read: [n] position whose logits
    predict the answer; texts: the prompts as text, None for token data; mask: [n, T] attention
    mask where the data brings one of its own (else every real token is seen)."""

    name: str
    tokens: Ints
    lengths: Ints
    read: Ints
    labels: dict[str, Ints] = field(default_factory=dict)
    texts: tuple[str, ...] | None = None
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Answer:
    """One example's answer (or wrong answer). A class has several alternatives, each of one
    token; a sequence is one alternative of several tokens."""

    alternatives: tuple[tuple[int, ...], ...]

    @property
    def is_single(self) -> bool:
        return len(self.alternatives) == 1 and len(self.alternatives[0]) == 1

    @property
    def is_sequence(self) -> bool:
        return any(len(a) > 1 for a in self.alternatives)


@dataclass(frozen=True)
class Data:
    """A dataset ready to run. Sides pair by row. `columns` are further fields of a file or the
    slots of a template, one value an example; `template` [n] numbers the template of each row;
    `origin`: where it came from, as the manifest says it."""

    name: str
    sides: dict[str, Side]
    answers: tuple[Answer, ...] | None = None
    wrongs: tuple[Answer, ...] | None = None
    columns: dict[str, tuple[object, ...]] = field(default_factory=dict)
    template: Ints | None = None
    seed: int = 0
    origin: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(next(iter(self.sides.values())).tokens)

    @property
    def answer_tokens(self) -> tuple[int, ...]:
        """The tokens that answers, right and wrong, begin with, in order."""
        answers = (*(self.answers or ()), *(self.wrongs or ()))
        return tuple(sorted({tokens[0] for a in answers for tokens in a.alternatives}))

    @property
    def is_paired(self) -> bool:
        return {"clean", "corrupt"} <= self.sides.keys()

    @property
    def first_side(self) -> str:
        """The clean side of a pair, or the one side there is."""
        return "clean" if "clean" in self.sides else next(iter(self.sides))
