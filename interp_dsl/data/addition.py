"""Addition modulo 113: the task of modadd-113 (Nanda et al. 2023, "Progress measures for grokking
via mechanistic interpretability").

A prompt is `a b =`; the answer, read at `=`, is the token of a + b modulo 113. There is no BOS:
a token's id is its number, and `=` comes last."""

from __future__ import annotations

from functools import cache

import numpy as np

from interp_dsl.data.drawn import Split, TaskData, one_token
from interp_dsl.data.types import Ints

MODULUS = 113
EQUALS = MODULUS
ADDITION_WORDS = (*map(str, range(MODULUS)), "=")
"""The vocabulary of modadd-113: a word's place is its token id."""

HELDOUT_SHARE = 0.3


@cache
def addends(split: Split) -> Ints:
    """The pairs (a, b) of a split: [m, 2], in rising order. Of all 12,769, 30% are held out."""
    both = np.stack(np.divmod(np.arange(MODULUS**2), MODULUS), axis=1)
    order = np.random.default_rng(0).permutation(len(both))
    cut = round(HELDOUT_SHARE * len(both))
    chosen = {"heldout": order[:cut], "train": order[cut:], "all": order}[split]
    return both[np.sort(chosen)].astype(np.int64)


def addition_prompts(pairs: Ints) -> Ints:
    """`a b =` of pairs [n, 2]: token ids [n, 3]."""
    return np.concatenate([pairs, np.full((len(pairs), 1), EQUALS)], axis=1).astype(np.int64)


def addition_task(n: int, seed: int, split: Split) -> TaskData:
    """n different pairs; as many as there are give each once. Corrupt: another first addend, whose
    sum is the wrong answer. Labels: A, B the addends, END the `=`."""
    pairs = addends(split)
    if n > len(pairs):
        raise ValueError(f"modadd-113 has {len(pairs)} pairs in {split}, not {n}")
    rng = np.random.default_rng(seed)
    chosen = pairs[rng.permutation(len(pairs))[:n]]
    shift = rng.integers(1, MODULUS, size=n)
    other = np.stack([(chosen[:, 0] + shift) % MODULUS, chosen[:, 1]], axis=1)
    clean = addition_prompts(chosen)
    place = {"A": 0, "B": 1, "END": 2}
    return TaskData(
        "modadd-113",
        clean,
        addition_prompts(other),
        answer=chosen.sum(1) % MODULUS,
        wrong=other.sum(1) % MODULUS,
        position=np.full(n, 2),
        lengths=np.full(n, 3),
        labels={name: one_token(np.full(n, at)) for name, at in place.items()},
        template=np.zeros(n, dtype=np.int64),
        texts=tuple(f"{a} {b} =" for a, b in chosen),
    )
