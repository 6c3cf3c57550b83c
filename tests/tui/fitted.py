"""Runs with dictionaries, fitted and read or at their fits, made by hand."""

from __future__ import annotations

from pathlib import Path

from interp_dsl.runs.folder import RunFolder
from tests.runs import dictionaries as made
from tests.tui import viewed
from tests.tui.made import Writer

STEPS = ("sae", "many", "fires", "often", "rare", "writes", "near", "beside", "lost")


def begun(root: Path) -> RunFolder:
    folder = viewed.bare(root, "dictionaries")
    folder.write_experiment(made.TEXT)
    folder.write_plan(made.plan())
    return folder


def finished(root: Path) -> RunFolder:
    """A run that has fitted and read its dictionaries."""
    folder = begun(root)
    made.write_tables(folder.path)
    return viewed.ended(folder, *STEPS)


def fitting(root: Path, points: int = made.STEPS) -> RunFolder:
    """A run that is at its second fit; the process is this one: release it."""
    folder = begun(root)
    assert folder.acquire()
    folder.update_manifest(pid=4242, host="gpu-07")
    tell = Writer(folder)
    tasks = [{"id": f"fit:{s}", "kind": "Fit", "step": s, "total": 4096} for s in ("sae", "many")]
    tell("run_started", tasks=tasks, resumed=False)
    for step, labels, end in (("sae", (None,), made.STEPS), ("many", ("k=4", "k=16"), points)):
        tell("task_started", task=f"fit:{step}", step=step, total=4096)
        for row in made.points(labels, end):
            told = {"at" if k == "step" else k: v for k, v in row.items()}
            tell("fit", step=step, total=made.STEPS, **told)
            tell("progress", task=f"fit:{step}", done=row["tokens"], total=4096)
        if step == "sae":
            ended = {"seconds": 2.0, "memory": 48_000_000, "reused": False}
            tell("task_finished", task="fit:sae", step="sae", **ended)
    return folder


def left(folder: RunFolder) -> None:
    folder.log.close()
    folder._lock.release()
