"""Architectures by name, from their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    Relu,
    TopK,
)


def architecture(
    name: str, options: Mapping[str, Any], length: float, parts: tuple[int, ...] = ()
) -> Architecture:
    """An architecture with its options. `length` is the mean length of the inputs that it will
    see, to which jumprelu's bandwidth and threshold are relative; `parts` the widths of a
    crosscoder's places."""
    top = {key: options[key] for key in ("k", "alpha", "k_aux") if key in options}
    match name:
        case "relu":
            return Relu(options["l1"], options["norm"], parts)
        case "topk":
            return TopK(**top)
        case "batch_topk":
            return BatchTopK(**top)
        case "matryoshka":
            return Matryoshka(**top, prefixes=tuple(options["prefixes"]))
        case "jumprelu":
            relative = options["bandwidth"], options["threshold"], length
            return JumpRelu(options["l0"], options["target"], *relative)
        case "gated":
            return Gated(options["l1"])
    raise ValueError(f"there is no architecture {name!r}")
