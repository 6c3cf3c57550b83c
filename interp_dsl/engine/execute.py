"""Runs a plan: walks its tasks in order, keeps what each leaves, writes the run folder.

Policy stands in the plan. What is decided here is only what need not be done again: a step whose
key is finished, in this folder or in another, is taken over; a forward that nothing unfinished
reads is left out; what a run has left is dropped when nothing reads it any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from interp_dsl.data.build import build
from interp_dsl.data.types import Data
from interp_dsl.engine.claims import check_claim
from interp_dsl.engine.clock import Clock
from interp_dsl.engine.interrupts import Stopped, watched
from interp_dsl.engine.own import require_trust
from interp_dsl.engine.state import State
from interp_dsl.engine.walk import Walk
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.compiled.choice import Choice
from interp_dsl.models.executor import Executor
from interp_dsl.models.load import load
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """How a run ended: done, cancelled or interrupted; its claims as `claims.json` holds them; what
    kept claims from being decided."""

    status: str
    claims: tuple[dict[str, Any], ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


class Loaders(Protocol):
    """Where models and data come from."""

    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> Executor: ...

    def data(
        self, name: str, spec: Mapping[str, Any], facts: ModelFacts | None, trusted: bool
    ) -> Data: ...


@dataclass(frozen=True)
class _Installed:
    """The package's own models and data. `verify` as in models/load.py."""

    verify: bool

    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> Executor:
        choice: Choice = "hooked" if spec.get("executor") == "hooked" else "auto"
        return load(spec, device, trusted=trusted, executor=choice, verify=self.verify)

    def data(
        self, name: str, spec: Mapping[str, Any], facts: ModelFacts | None, trusted: bool
    ) -> Data:
        return build(name, spec, facts, trusted=trusted)


def execute(
    plan: Plan,
    folder: RunFolder,
    *,
    trusted: bool = False,
    reuse: Sequence[RunFolder] = (),
    loaders: Loaders | None = None,
    verify: bool = False,
) -> Outcome:
    """Run a plan into a folder, going on from whatever the folder holds already.

    `reuse`: other runs whose finished steps may be taken over. `verify`: compiled models are
    compared with TransformerLens's even where a verdict is kept.
    Raises InterpError for what the user can mend (E600 to E649 and those of models and data), its
    exit code 3 where the environment is at fault, else 1; the folder then says failed, and a later
    call goes on after the last finished shard. E644 when another process writes the folder."""
    if not folder.acquire():
        raise InterpError(
            Diagnostic(
                "E644",
                f"another process is writing {folder.path}",
                help="wait for it to end, or stop it first",
            ),
            exit_code=3,
        )
    clock, status = Clock(folder), "failed"
    try:
        with watched(folder) as stop:
            walk = Walk(
                plan,
                folder,
                State(plan.seed),
                stop,
                clock,
                reuse,
                loaders or _Installed(verify),
                trusted,
                plan.device,
            )
            outcome = _run(walk)
        status = outcome.status
        return outcome
    except KeyboardInterrupt:
        status = "interrupted"
        return Outcome(status)
    except InterpError as error:
        folder.event("failed", diagnostics=[_plain(d) for d in error.diagnostics])
        if error.exit_code == 2:  # the text was found good before: what fails now is the run
            error.exit_code = 1
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        folder.event("failed", diagnostics=[{"code": None, "message": told}])
        raise
    finally:
        clock.tell()
        folder.event("run_finished", status=status, seconds=clock.work, imports=clock.imports)
        folder.update_manifest(seconds={"imports": clock.imports, "work": clock.work})
        folder.release(status)


def _run(walk: Walk) -> Outcome:
    plan, folder = walk.plan, walk.folder
    require_trust(plan, walk.trusted)
    tasks = [
        {"id": t.id, "kind": type(t).__name__, "step": getattr(t, "step", None), "total": None}
        for t in plan.tasks
    ]
    folder.event("run_started", tasks=tasks, resumed=bool(folder.step_keys) or _has_parts(folder))
    walk.clock.tell()
    for note in plan.notes:
        folder.event("note", text=note)
    try:
        walk.all_tasks()
    except Stopped as stopped:
        return Outcome(stopped.status)
    checked = [check_claim(claim, walk.state) for claim in plan.claims]
    for claim in checked:
        folder.event("claim", **claim.fields)
    folder.write_claims([c.fields for c in checked])
    diagnostics = tuple(d for c in checked for d in c.diagnostics)
    return Outcome("done", tuple(c.fields for c in checked), diagnostics)


def _has_parts(folder: RunFolder) -> bool:
    return any((folder.path / "parts").glob("*/*.parquet"))


def _plain(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "message": diagnostic.message,
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
    }
