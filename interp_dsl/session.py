"""From a file to a finished run: the one way that the command line and Python both take.

1. check the text, with the configurations of its models at hand; errors end it here
2. make the plan
3. take the folder: the newest unfinished run with the very same plan, else a new one
4. execute, taking over finished steps of other runs; what happens goes to the folder and to a
   watcher"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.source import Source

if TYPE_CHECKING:
    from interp_dsl.check import Checked, Experiment
    from interp_dsl.plan.tasks import Plan
    from interp_dsl.runs.events import Event
    from interp_dsl.runs.folder import RunFolder

RUNS = Path("runs")
ABSENT = frozenset({"E451", "E452", "E456"})
"""Codes of models whose files are missing or broken: nothing that the text could say better."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a file is read and run. `out` names the run's folder itself, `runs` the folder of runs
    where it gets one; `fresh` neither resumes nor reuses; `seed` replaces the plan's; `verify`
    compares compiled models with TransformerLens's again."""

    params: Mapping[str, str] = field(default_factory=dict)
    out: Path | None = None
    runs: Path = RUNS
    fresh: bool = False
    trust: bool = False
    allow: Sequence[Path] = ()
    device: str | None = None
    seed: int | None = None
    verify: bool = False


class Watcher(Protocol):
    """Who wants to know how a run goes."""

    def checked(self, diagnostics: Sequence[Diagnostic]) -> None: ...

    def started(self, folder: RunFolder, resumed: bool) -> None: ...

    def event(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run: done, or stopped (cancelled by a mark, interrupted by Ctrl-C); whether
    all claims that were checked held, and what kept some from being decided."""

    folder: RunFolder
    status: str
    claims_held: bool
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def was_stopped(self) -> bool:
        return self.status in ("cancelled", "interrupted")


def checked(source: Source, settings: Settings) -> Checked:
    """A checked text with all its diagnostics; no network is used."""
    from interp_dsl.check import check_source

    return check_source(source, settings.params, settings.allow, settings.trust)


def prepared(source: Source, settings: Settings) -> Checked:
    """A checked text, what its check needs of models brought from the hub before."""
    from interp_dsl.models.facts import fetching

    with fetching():
        return checked(source, settings)


def experiment_of(found: Checked) -> Experiment:
    """The experiment of a checked text; InterpError where it has errors, of the environment where
    all that is wrong is a model that is not there."""
    if found.experiment is None:
        errors = {d.code for d in found.diagnostics if d.severity == "error"}
        raise InterpError(*found.diagnostics, exit_code=3 if errors <= ABSENT else 2)
    return found.experiment


def plan_of(found: Checked, settings: Settings) -> Plan:
    """The plan of a checked text; InterpError where it has errors."""
    from interp_dsl.check import plan_experiment

    plan = plan_experiment(experiment_of(found), settings.device or "auto")
    return plan if settings.seed is None else replace(plan, seed=settings.seed)


def run_file(path: Path, settings: Settings, watcher: Watcher) -> Ran:
    """Check, plan and execute a file. Errors of the program and of the run are InterpErrors."""
    from interp_dsl.runs.find import with_finished_steps

    found = prepared(read_source(path), settings)
    plan = plan_of(found, settings)
    watcher.checked(found.diagnostics)
    folder, resumed = _folder(found.source, plan, settings)
    watcher.started(folder, resumed)
    folder.log.listener = watcher.event
    others = [] if settings.fresh else with_finished_steps(settings.runs)
    reuse = [other for other in others if other.path != folder.path]
    return _execute(plan, folder, reuse, settings)


def _execute(plan: Plan, folder: RunFolder, reuse: list[RunFolder], settings: Settings) -> Ran:
    from interp_dsl.models.imports import timed

    timed("interp_dsl.engine.execute", "torch")
    from interp_dsl.engine.execute import execute

    outcome = execute(plan, folder, trusted=settings.trust, reuse=reuse, verify=settings.verify)
    held = all(claim["ok"] for claim in outcome.claims)
    return Ran(folder, outcome.status, held, outcome.diagnostics)


def _folder(source: Source, plan: Plan, settings: Settings) -> tuple[RunFolder, bool]:
    """The folder to write, and whether a run goes on in it."""
    from interp_dsl.plan import serialise

    text = serialise.dumps(plan)
    stem = source.path.stem if source.path else "text"
    old = None if settings.fresh else _unfinished(stem, text, settings)
    if old is not None:
        old.write_plan(plan)
        return old, True
    folder = _new_folder(stem, settings)
    folder.write_experiment(source.text)
    folder.write_plan(plan)
    folder.update_manifest(
        file=source.path and source.path.resolve(), params=dict(plan.params), seeds=_seeds(plan)
    )
    return folder, False


def _seeds(plan: Plan) -> dict[str, Any]:
    """Every seed of a plan: the bootstrap's, and each dataset's by its name."""
    from interp_dsl.plan.tasks import BuildData

    data = [task for task in plan.tasks if isinstance(task, BuildData)]
    drawn = {task.name: task.spec["seed"] for task in data if "seed" in task.spec}
    return {"bootstrap": plan.seed, **drawn}


def _unfinished(stem: str, plan: str, settings: Settings) -> RunFolder | None:
    from interp_dsl.plan.serialise import same_work
    from interp_dsl.runs.find import UNFINISHED, resumable
    from interp_dsl.runs.folder import RunFolder
    from interp_dsl.runs.names import holds_run

    if settings.out is None:
        return resumable(settings.runs, stem, plan)
    if not holds_run(settings.out):
        return None
    folder = RunFolder.open(settings.out)
    if folder.is_alive():
        raise _taken(settings.out)
    is_same = (settings.out / "plan.json").is_file() and same_work(folder.plan_text, plan)
    return folder if is_same and folder.status in UNFINISHED else None


def _new_folder(stem: str, settings: Settings) -> RunFolder:
    from interp_dsl.runs.folder import RunFolder

    if settings.out is None:
        return RunFolder.create(settings.runs, stem, datetime.now())
    try:
        return RunFolder.create_at(settings.out, stem, datetime.now())
    except FileExistsError:
        raise InterpError(
            Diagnostic(
                "E705",
                f"{settings.out} is not empty and holds no unfinished run of this plan",
                help="name another folder with --out, or leave --out away",
            ),
            exit_code=3,
        ) from None


def require_file(path: Path) -> None:
    """InterpError E700 where `path` is no file."""
    if path.is_file():
        return
    near = sorted(path.parent.glob("*.interp"))[:8] if path.parent.is_dir() else []
    raise InterpError(
        Diagnostic(
            "E700",
            f"there is no file {path}",
            notes=(f"here are: {', '.join(p.name for p in near)}",) if near else (),
        ),
        exit_code=3,
    )


def read_source(path: Path) -> Source:
    """A file's text; InterpError E700 where there is none, E710 where it is no text."""
    require_file(path)
    try:
        return Source(path.read_text(encoding="utf-8"), path)
    except (UnicodeDecodeError, OSError) as error:
        raise InterpError(
            Diagnostic("E710", f"{path} cannot be read as text", notes=(str(error),)), exit_code=3
        ) from None


def _taken(path: Path) -> InterpError:
    return InterpError(
        Diagnostic(
            "E706",
            f"another process is writing {path}",
            help="wait for it to end, or stop it first",
        ),
        exit_code=3,
    )
