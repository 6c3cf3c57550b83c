"""What the C library keeps of memory that nothing holds any more."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

WITHIN, BETWEEN = 2**28, 2**27
"""Bytes that are kept while something goes on, and between one thing and the next."""
LARGEST = 2**25
"""Bytes of one tensor that can be kept: more glibc refuses."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What the two are called in malloc.h."""


@cache
def keep() -> None:
    """Keep what is freed for what comes next, where the library can be told to (glibc): it would
    give it back at once, and get it anew page by page, which costs small passes a tenth of their
    time."""
    tell = _found("mallopt")
    if tell is not None:
        tell(TRIM_THRESHOLD, WITHIN)
        tell(MMAP_THRESHOLD, LARGEST)


def give_back() -> None:
    """Give it back to the system where it is much and the library can (glibc). Tensors of many
    sizes leave holes between those that stay, which would add up from shard to shard."""
    trim, count = _found("malloc_trim"), _found("mallinfo2")
    if trim is not None and (count is None or _free(count) > BETWEEN):
        trim(0)


class _Info(ctypes.Structure):
    """As malloc.h has it; `fordblks` is what is free."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _free(count: Callable[..., Any]) -> int:
    """Bytes that the library keeps."""
    count.restype = _Info  # type: ignore[attr-defined]
    found: int = count().fordblks
    return found


@cache
def _found(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):  # another library, another system
        return None
    return found
