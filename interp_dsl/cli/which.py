"""Which run and which step somebody means."""

from __future__ import annotations

from pathlib import Path

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.runs.find import latest, list_runs
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.names import holds_run

LATEST = "latest"


def find_run(name: str, root: Path) -> RunFolder:
    """The run that `name` says: a folder, the beginning of a folder's name in `root`, or
    `latest`. Raises InterpError E701, E702."""
    path = Path(name)
    if holds_run(path):
        return RunFolder.open(path)
    if name == LATEST and (newest := latest(root)):
        return newest
    runs = list_runs(root)
    exact = [run for run in runs if run.path.name == name]
    found = exact or [run for run in runs if run.path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    raise _ambiguous(name, found) if found else _missing(name, root, runs)


def find_step(folder: RunFolder, step: str) -> str:
    """`step` where the run has it. Raises InterpError E703."""
    if step in folder.steps:
        return step
    recorded = f"what it recorded is in {folder.tensors_path(step)}"
    raise InterpError(
        Diagnostic(
            "E703",
            f"{folder.path.name} has no table of a step {step}",
            notes=(f"it has: {', '.join(folder.steps) or 'none'}",),
            help=recorded if folder.has_tensors(step) else _near(step, folder.steps),
        ),
        exit_code=3,
    )


def _missing(name: str, root: Path, runs: list[RunFolder]) -> InterpError:
    names = [run.path.name for run in runs]
    note = f"the newest in {root}: {', '.join(names[:4])}" if names else f"{root} holds no runs"
    return InterpError(
        Diagnostic("E701", f"there is no run {name}", notes=(note,), help=_near(name, names)),
        exit_code=3,
    )


def _ambiguous(name: str, found: list[RunFolder]) -> InterpError:
    names = ", ".join(run.path.name for run in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return InterpError(
        Diagnostic(
            "E702",
            f"{name} begins the names of {len(found)} runs",
            notes=(names + more,),
            help="write more of the name, or latest for the newest of all",
        )
    )


def _near(name: str, names: list[str]) -> str | None:
    near = suggest(name, names)
    return f"did you mean {near}?" if near else None
