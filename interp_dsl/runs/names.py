"""Names of steps as file names."""

from __future__ import annotations

import re


def safe(step: str) -> str:
    """A step's name as a file name; ValueError for what the grammar would not let be a name."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", step):
        raise ValueError(f"{step!r} is no name of a step")
    return step
