"""What the C library keeps of memory that nothing holds any more."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

KEPT, LARGEST = 2**28, 2**25
"""Bytes that are kept, and of one tensor that can be: more glibc refuses."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What the two are called in malloc.h."""


@cache
def keep() -> None:
    """Keep what is freed for what comes next, where the library can be told to (glibc): it would
    give it back at once, and get it anew page by page, which costs small passes a tenth of their
    time."""
    tell = _found("mallopt")
    if tell is not None:
        tell(TRIM_THRESHOLD, KEPT)
        tell(MMAP_THRESHOLD, LARGEST)


def give_back() -> None:
    """Give it back to the system, where the library can (glibc). Tensors of many sizes leave holes
    between those that stay, which would add up from shard to shard."""
    trim = _found("malloc_trim")
    if trim is not None:
        trim(0)


@cache
def _found(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):  # another library, another system
        return None
    return found
