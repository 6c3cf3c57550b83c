"""A person's own code, named as "module:function" by `python(…)`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def own_function(target: str, folder: str | Path | None) -> Callable[..., Any]:
    """The function that a target names; its module is looked for in `folder` first. Whether the
    code may run is asked before. Raises ImportError, AttributeError or ValueError."""
    module, _, name = target.partition(":")
    search = [str(folder)] if folder else []
    sys.path[:0] = search
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    finally:
        del sys.path[: len(search)]
    return found
