"""What the C library keeps of memory that nothing holds any more."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Give it back to the system, where the library can (glibc). Tensors of many sizes leave holes
    between those that stay, which would add up from shard to shard."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # another library, another system
        return None
    return found
