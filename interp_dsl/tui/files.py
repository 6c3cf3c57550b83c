"""Names of the files that screens write."""

from __future__ import annotations

import re
from pathlib import Path


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """`stem` and `suffix` in `folder`, with a number where that name is taken; characters that
    have a meaning to a shell become `_`."""
    clean = re.sub(r"[^\w.+=-]+", "_", stem).strip("_.") or "interp"
    path, number = folder / f"{clean}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{clean}-{number}{suffix}"
    return path
