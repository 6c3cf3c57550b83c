"""How long heavy libraries took to import, so that it can be told apart from the work. No torch."""

from __future__ import annotations

import sys
import time
from importlib import import_module

_untold: dict[str, float] = {}


def timed(module: str, library: str | None = None) -> None:
    """Import a module. Where this process has not imported it before, the time that took, with all
    that came along, counts as that of `library` (the module's own) until `taken` is asked."""
    if module in sys.modules:
        return
    started = time.monotonic()
    import_module(module)
    _untold[library or module.partition(".")[0]] = time.monotonic() - started


def taken() -> dict[str, float]:
    """Library to seconds, of the imports since this was last asked."""
    found = dict(_untold)
    _untold.clear()
    return found
