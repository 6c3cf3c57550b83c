"""Attention patterns for the page's script: of each example the sides, their tokens, and the
attention of every head as bytes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_dsl.runs.prompts import vocabulary
from interp_dsl.runs.text import printable

MOST = 400_000
"""Entries of the patterns of a dataset, or of a recording, that a page can hold."""

Arrays = Mapping[str, NDArray[np.generic]]
Example = dict[str, Any]
_HEAD = re.compile(r"L(\d+)H(\d+)\.pattern")


def packed(
    patterns: NDArray[np.generic], layers: Sequence[int], tokens: Iterable[str]
) -> dict[str, Any]:
    """Patterns [layer, head, query, key] with the numbers of their layers: a byte an entry, 255 for
    an attention of 1."""
    shares = np.clip(np.nan_to_num(patterns.astype(np.float32)), 0, 1)
    data = np.rint(shares * 255).astype(np.uint8).tobytes()
    return {
        "layers": [f"L{layer}" for layer in layers],
        "heads": patterns.shape[1],
        "size": patterns.shape[2],
        "tokens": list(map(printable, tokens)),
        "data": base64.b64encode(data).decode("ascii"),
    }


def fitting(examples: Iterable[Example]) -> tuple[tuple[Example, ...], bool]:
    """The first examples, as many as a page can hold, and whether some had to be left out."""
    found: list[Example] = []
    room = MOST
    for example in examples:
        room -= sum(len(side["data"]) * 3 // 4 for side in example["sides"].values())
        if room < 0:
            return tuple(found), True
        found.append(example)
    return tuple(found), False


def recorded(arrays: Arrays, side: str) -> tuple[tuple[Example, ...], bool]:
    """The whole patterns that a `record` step keeps, as `fitting` gives them; none where it
    recorded only some queries. Heads that were not recorded are empty."""
    heads = {(int(m[1]), int(m[2])): m[0] for n in arrays if (m := _HEAD.fullmatch(n))}
    whole = {at: name for at, name in heads.items() if _is_square(arrays[name])}
    if not whole:
        return (), False
    layers = sorted({layer for layer, _ in whole})
    width, texts = 1 + max(head for _, head in whole), vocabulary(arrays)

    def example(i: int) -> Example:
        size = int(arrays["lengths"][i])
        held = np.zeros((len(layers), width, size, size), np.float32)
        for (layer, head), name in whole.items():
            held[layers.index(layer), head] = arrays[name][i, :size, :size]
        tokens = [texts.get(int(t), f"#{t}") for t in arrays["tokens"][i, :size]]
        return {"example": i, "sides": {side: packed(held, layers, tokens)}}

    return fitting(map(example, range(len(arrays["lengths"]))))


def _is_square(pattern: NDArray[np.generic]) -> bool:
    return pattern.ndim == 3 and pattern.shape[1] == pattern.shape[2]
