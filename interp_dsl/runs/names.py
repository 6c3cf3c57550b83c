"""How a run folder is known, and names of steps as file names."""

from __future__ import annotations

import re
from pathlib import Path

from interp_dsl.runs.files import read_json

MANIFEST = "manifest.json"


def holds_run(path: Path) -> bool:
    """Whether a folder is a run's; other programs write manifests too."""
    try:
        manifest = read_json(path / MANIFEST)
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"stem", "status", "created"} <= manifest.keys()


def is_safe(name: str) -> bool:
    """Whether the grammar would let this be a name, with an alias in front."""
    return bool(re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name))


def safe(step: str) -> str:
    """A step's name as a file name; ValueError for what the grammar would not let be a name."""
    if not is_safe(step):
        raise ValueError(f"{step!r} is no name of a step")
    return step
