"""Runs in a folder of runs: all of them, the newest, the one to go on with, those to take from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interp_dsl.plan.serialise import same_work
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.names import holds_run

UNFINISHED = ("created", "interrupted", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What `interp runs` says of a run. `when` is the time it was made, as ISO text."""

    path: Path
    stem: str
    status: str
    when: str
    bytes: int
    claims_held: int
    claims: int


def list_runs(root: Path) -> list[RunFolder]:
    """The runs in `root`, newest first."""
    if not root.is_dir():
        return []
    found = [RunFolder(p) for p in root.iterdir() if holds_run(p)]
    return sorted(found, key=lambda f: (str(f.manifest["created"]), f.path.name), reverse=True)


def latest(root: Path) -> RunFolder | None:
    """The run that was last begun or gone on with."""

    def begun(folder: RunFolder) -> tuple[str, str]:
        manifest = folder.manifest
        created = str(manifest["created"])
        return str(manifest.get("started", created))[:19], created

    return max(list_runs(root), key=begun, default=None)


def summary(folder: RunFolder) -> RunSummary:
    """What a run is and came to."""
    manifest, claims = folder.manifest, folder.claims
    return RunSummary(
        path=folder.path,
        stem=str(manifest["stem"]),
        status=folder.status,
        when=str(manifest["created"]),
        bytes=folder.size(),
        claims_held=sum(bool(c["ok"]) for c in claims),
        claims=len(claims),
    )


def resumable(root: Path, stem: str, plan: str) -> RunFolder | None:
    """The newest run of the same file whose plan (its JSON) asks for the same work, that has not
    ended well and that nobody writes."""
    for folder in list_runs(root):
        if folder.stem != stem or folder.status not in UNFINISHED:
            continue
        if (folder.path / "plan.json").is_file() and same_work(folder.plan_text, plan):
            return folder
    return None


def with_finished_steps(root: Path) -> list[RunFolder]:
    """The runs that hold finished steps, newest first: another run may take those over."""
    return [folder for folder in list_runs(root) if folder.step_keys]
