"""Work in batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.room import is_out_of_memory

TOKENS = 16_384
"""Tokens of a batch where the plan names no size."""


def default_rows(width: int) -> int:
    """Prompts of `width` tokens a batch, where the plan names no number."""
    return max(1, TOKENS // max(1, width))


def in_batches(
    total: int, size: int, work: Callable[[int, int], None], note: Callable[[str], None]
) -> int:
    """Call work(start, stop) until `total` rows are done, halving the batch each time memory runs
    out: rows whose work ran out come again, so work adds to nothing before it can no longer do so.
    Returns the size it ended with. Raises InterpError E640 when one row is too much."""
    start = 0
    while start < total:
        stop = min(total, start + size)
        try:
            work(start, stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = _halved(stop - start, note)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        else:
            start = stop
    return size


def too_many(n: int) -> InterpError:
    """What cannot be done in batches did not fit."""
    return InterpError(
        Diagnostic(
            "E640",
            f"this holds what every node writes for all {n} examples, which is more than the "
            "memory there is",
            help="take fewer examples: DATA where index < 32",
        ),
        exit_code=3,
    )


def _halved(size: int, note: Callable[[str], None]) -> int:
    if size == 1:
        raise InterpError(
            Diagnostic(
                "E640",
                "one prompt alone does not fit into memory",
                help="use shorter prompts, a smaller model, bfloat16, or a larger device",
            ),
            exit_code=3,
        )
    note(f"out of memory at {size} rows a batch; going on with {size // 2}")
    return size // 2
