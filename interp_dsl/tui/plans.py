"""The plan of a run folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder


def read_plan(folder: RunFolder) -> Plan | None:
    """The run's plan, None where there is none or another version's."""
    try:
        return _plan(folder.path.absolute(), (folder.path / "plan.json").stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@lru_cache(maxsize=4)
def _plan(path: Path, changed: int) -> Plan:
    """The plan of a folder as it was when its file was last changed."""
    return RunFolder(path).read_plan()
