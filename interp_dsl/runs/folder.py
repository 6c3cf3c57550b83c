"""The run folder: everything that a run is, readable with polars and safetensors alone.

    experiment.interp               the text as run
    manifest.json                   parameters, seeds, versions, host and process, fingerprints, …
    plan.json                       what the text meant
    events.jsonl                    what happened, as it happened
    tables/<step>.parquet           results
    <step>.circuit.json             a circuit that a search has found
    tensors/<step>.safetensors      values of single examples, activations
    parts/<step>/…                  finished shards of a step that has not ended
    claims.json                     every claim with the value found
    cancel                          there while someone wants the run stopped
    lock                            held by the process that writes

Files are written whole and renamed into place; `events.jsonl` alone grows."""

from __future__ import annotations

import os
import platform
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl.plan import serialise
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs import parts as part_files
from interp_dsl.runs.events import Event, EventLog
from interp_dsl.runs.files import read_json, remove_temporaries, write_json, write_text
from interp_dsl.runs.lock import FolderLock
from interp_dsl.runs.names import MANIFEST, holds_run, safe
from interp_dsl.runs.versions import versions

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


class RunFolder:
    """One run on disk. The writer holds `acquire()`; any number of readers look on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = EventLog(path / "events.jsonl")
        self._lock = FolderLock(path / "lock")
        self._writing = threading.RLock()

    @classmethod
    def create(cls, root: Path, stem: str, when: datetime) -> RunFolder:
        """A new folder `<stem>-<when>` under `root`, its name unlike any that is there."""
        name = f"{stem}-{when:%Y%m%d-%H%M%S}"
        root.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = root / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                continue
            return cls._begin(path, stem, when)

    @classmethod
    def create_at(cls, path: Path, stem: str, when: datetime) -> RunFolder:
        """A new run in the very folder named, which must be missing or empty."""
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise FileExistsError(f"{path} is not empty")
        return cls._begin(path, stem, when)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run in a folder; FileNotFoundError where there is none."""
        if not holds_run(path):
            raise FileNotFoundError(f"{path} holds no run")
        return cls(path)

    @classmethod
    def _begin(cls, path: Path, stem: str, when: datetime) -> RunFolder:
        folder = cls(path)
        created = when.isoformat(timespec="microseconds")
        about = {"stem": stem, "status": "created", "created": created, "versions": versions()}
        write_json(path / MANIFEST, about)
        return folder

    # ---- manifest

    @property
    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says now."""
        held: dict[str, Any] = read_json(self.path / MANIFEST)
        return held

    def update_manifest(self, **fields: Any) -> None:
        """Set fields of the manifest and leave the others."""
        with self._writing:
            write_json(self.path / MANIFEST, {**self.manifest, **fields})

    @property
    def stem(self) -> str:
        return str(self.manifest["stem"])

    @property
    def status(self) -> str:
        """created, running, interrupted (its process is gone), or what the run ended with: done,
        failed, cancelled."""
        status = str(self.manifest.get("status", "created"))
        return "interrupted" if status == "running" and not self.is_alive() else status

    def finish_step(self, step: str, key: str, **facts: Any) -> None:
        """Note that a step's results are all there, under its key."""
        with self._writing:
            steps = {**self.manifest.get("steps", {}), step: {"key": key, **facts}}
            self.update_manifest(steps=steps)

    def step_facts(self, step: str) -> dict[str, Any]:
        """What was noted of a finished step, besides its key."""
        held = self.manifest.get("steps", {}).get(step, {})
        return {name: value for name, value in held.items() if name != "key"}

    def is_finished(self, step: str, key: str) -> bool:
        """Whether a step's results under a key are all there."""
        return self.step_keys.get(step) == key

    @property
    def step_keys(self) -> dict[str, str]:
        """The finished steps and their keys."""
        return {step: str(held["key"]) for step, held in self.manifest.get("steps", {}).items()}

    # ---- the writer

    def acquire(self) -> bool:
        """Become the one process that writes here; False while another is. Clears the mark of a
        cancel and what a killed writer left half written. True at once for the writer itself."""
        if self._lock.is_mine:
            return True
        if not self._lock.acquire():
            return False
        (self.path / "cancel").unlink(missing_ok=True)
        remove_temporaries(self.path)
        self.update_manifest(
            status="running",
            host=platform.node(),
            pid=os.getpid(),
            started=_now(),
            finished=None,
            versions=versions(),
        )
        return True

    def release(self, status: str) -> None:
        """End writing, with what the run came to."""
        self.update_manifest(status=status, finished=_now())
        self.log.close()
        self._lock.release()

    def is_alive(self) -> bool:
        """Whether a process is writing here."""
        return self._lock.is_held

    def cancel(self) -> None:
        """Ask the writer to stop after the shard in hand."""
        (self.path / "cancel").touch()

    @property
    def cancelled(self) -> bool:
        return (self.path / "cancel").exists()

    def write_experiment(self, text: str) -> None:
        write_text(self.path / "experiment.interp", text)

    @property
    def experiment(self) -> str:
        """The text as run."""
        return (self.path / "experiment.interp").read_text(encoding="utf-8")

    def write_plan(self, plan: Plan) -> None:
        write_text(self.path / "plan.json", serialise.dumps(plan) + "\n")

    @property
    def plan_text(self) -> str:
        """The plan's JSON, to be compared."""
        return (self.path / "plan.json").read_text(encoding="utf-8").rstrip("\n")

    def read_plan(self) -> Plan:
        return serialise.loads(self.plan_text)

    # ---- events

    def event(self, kind: str, **fields: Any) -> Event:
        return self.log.append(kind, **fields)

    def events(self) -> Iterator[Event]:
        """The events so far."""
        return self.log.read()

    def follow(self, poll: float = 0.1) -> Iterator[Event]:
        """The events so far and those to come, as long as a process writes here."""
        return self.log.follow(lambda: not self.is_alive(), poll)

    # ---- results

    def write_table(self, step: str, table: pl.DataFrame) -> None:
        part_files.write_frame(self._table(step), table)

    def read_table(self, step: str) -> pl.DataFrame:
        return part_files.read_frame(self._table(step))

    def has_table(self, step: str) -> bool:
        return self._table(step).is_file()

    @property
    def steps(self) -> list[str]:
        """The steps that have a table: in the order they were finished, then by name."""
        held = {p.stem: None for p in sorted((self.path / "tables").glob("*.parquet"))}
        finished = [step for step in self.manifest.get("steps", {}) if step in held]
        return list(dict.fromkeys([*finished, *held]))

    def write_tensors(self, step: str, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        part_files.write_arrays(self.tensors_path(step), tensors)

    def read_tensors(self, step: str) -> dict[str, NDArray[np.generic]]:
        return part_files.read_arrays(self.tensors_path(step))

    def has_tensors(self, step: str) -> bool:
        return self.tensors_path(step).is_file()

    def tensors_path(self, step: str) -> Path:
        return self.path / "tensors" / f"{safe(step)}.safetensors"

    def write_claims(self, claims: Sequence[Mapping[str, Any]]) -> None:
        """Keep the claims, each with the fields of a `claim` event."""
        write_json(self.path / "claims.json", list(claims))

    @property
    def claims(self) -> list[dict[str, Any]]:
        """The claims as found; none before the run has come to them."""
        path = self.path / "claims.json"
        return list(read_json(path)) if path.exists() else []

    # ---- shards

    def write_part(
        self,
        step: str,
        shard: int,
        table: pl.DataFrame,
        tensors: Mapping[str, NDArray[np.generic]],
        key: str,
    ) -> None:
        """Keep a finished shard of a step; it survives whatever happens to the process."""
        self._parts(step).write(shard, table, tensors, key)

    def parts(self, step: str, key: str) -> list[int]:
        """The numbers of the shards that are done under this key, in order."""
        return self._parts(step).finished(key)

    def read_part(
        self, step: str, shard: int, key: str
    ) -> tuple[pl.DataFrame, dict[str, NDArray[np.generic]]]:
        return self._parts(step).read(shard, key)

    @property
    def unfinished(self) -> list[str]:
        """The steps that have rows of finished shards and no table yet. What a search has noted of
        how far it is, is no row of its table."""
        found = {p.parent.name: p for p in sorted((self.path / "parts").glob("*/*.parquet"))}
        return [
            step
            for step, path in found.items()
            if not self.has_table(step) and not part_files.names_columns(path, "done", "total")
        ]

    def finished_shards(self, step: str) -> int:
        """How many shards of a step that has not ended are done, under whichever key."""
        return len(self._parts(step))

    def read_so_far(self, step: str) -> pl.DataFrame | None:
        """The rows of a step's finished shards, for looking at; None where there are none."""
        return self._parts(step).so_far()

    def merge(
        self, step: str, key: str, order: Sequence[int] | None = None, **facts: Any
    ) -> pl.DataFrame:
        """Make the parts of a key the step's one table and tensors (`joined`), note the step as
        finished and remove the parts."""
        table, tensors = self.joined(step, key, order)
        self.write_tensors(step, tensors)
        self.write_table(step, table)
        self.finish_step(step, key, **facts)
        self.drop_parts(step)
        return table

    def joined(
        self, step: str, key: str, order: Sequence[int] | None = None
    ) -> tuple[pl.DataFrame, dict[str, NDArray[np.generic]]]:
        """The parts of a key as one. `order` are the numbers of the parts' rows, shard after shard,
        as the table has them."""
        import numpy as np
        import polars as pl

        held = [self.read_part(step, shard, key) for shard in self.parts(step, key)]
        if not held:
            raise FileNotFoundError(f"step {step} has no finished shard under this key")
        table = pl.concat([frame for frame, _ in held])
        tensors = {n: np.concatenate([t[n] for _, t in held]) for n in held[0][1]}
        if order is not None:
            table, tensors = table[order], {n: x[order] for n, x in tensors.items()}
        return table, tensors

    def keep_part(self, step: str, shard: int, key: str) -> None:
        """Remove all parts of a step but one, which holds what they held and more."""
        self._parts(step).keep_only(shard, key)

    def drop_parts(self, step: str) -> None:
        self._parts(step).drop()

    def size(self) -> int:
        """Bytes on disk."""
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file())

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        shutil.rmtree(self.path)

    def _table(self, step: str) -> Path:
        return self.path / "tables" / f"{safe(step)}.parquet"

    def _parts(self, step: str) -> part_files.Parts:
        return part_files.Parts(self.path / "parts" / safe(step))


def _now() -> str:
    return datetime.now().isoformat(timespec="seconds")
