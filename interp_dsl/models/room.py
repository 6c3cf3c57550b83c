"""When memory runs out."""

from __future__ import annotations

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    told = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in told for words in ("out of memory", "can't allocate memory")
    )
