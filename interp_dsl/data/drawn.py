"""What a task's generator draws: examples as token ids in numpy arrays, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from interp_dsl.data.types import Ints

Split = Literal["train", "heldout", "all"]
SPLITS: tuple[Split, ...] = ("train", "heldout", "all")

BOS = 0
PAD = 1


@dataclass(frozen=True)
class TaskData:
    """n examples of a task, each read where the next token is the answer.

    clean, corrupt: [n, T] token ids padded on the right (corrupt is None where a task has no
    pairs); answer: [n] one token each; wrong: [n] one token each, or [n, k] the different tokens
    of a class; position: [n] where the answer is read; lengths: [n] real tokens, the same on both
    sides; labels: name -> [n, 2] start and end (exclusive), valid on both sides; template: [n]
    number of the form that made the row; texts: the clean prompts."""

    name: str
    clean: Ints
    corrupt: Ints | None
    answer: Ints
    wrong: Ints
    position: Ints
    lengths: Ints
    labels: dict[str, Ints]
    template: Ints
    texts: tuple[str, ...]


def split_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def one_token(place: Ints) -> Ints:
    """The spans [n, 2] of one token at each place."""
    return np.stack([place, place + 1], axis=1).astype(np.int64)


def padded(rows: Sequence[Sequence[int]]) -> Ints:
    tokens = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for row, words in zip(tokens, rows, strict=True):
        row[: len(words)] = words
    return tokens
