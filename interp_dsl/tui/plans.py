"""The plan of a run folder."""

from __future__ import annotations

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder


def read_plan(folder: RunFolder) -> Plan | None:
    """The run's plan, None where there is none or another version's."""
    try:
        return folder.read_plan()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
