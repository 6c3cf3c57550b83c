"""interp as a user gets it: a whole run of the file, timed from the start of the sweep's task to
its end, tables and intervals included; the model and the runs that it reads are loaded before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from job import Cell, Job
from plan import planned_bytes
from worker import Meter, serve


class Stopwatch:
    """Watches a run and has the meter on while the step's task is at work; `held` is the most
    memory of any task, beyond what was held when the model was loaded."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.on = False
        self.held = 0

    def checked(self, diagnostics: Any) -> None:
        pass

    def started(self, folder: Any, resumed: bool) -> None:
        assert not resumed

    def event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        self.held = max(self.held, event.get("memory") or 0)
        if kind == "task_started" and event["step"] == "raced":
            self.meter.start(anew=True)
            self.on = True
        if kind == "task_finished" and event["step"] == "raced" and self.on:
            self.meter.stop()
            self.on = False


SMALL = """model   m     = bundled("induction-2l")
dataset pairs = repeated_tokens(pairs=4, half=8, seed=0)
metric  gap   = logit_diff()

step small = patch heads from pairs.clean into pairs.corrupt measure gap
"""
"""Loads the libraries that a run needs, whose memory is not the sweep's."""


class Interp:
    def __init__(self, job: Job) -> None:
        from interp_dsl import session
        from interp_dsl.face import open_run

        self.extra: dict[str, Any] = {"planned_bytes": planned_bytes(job)}
        self.session, self.open_run = session, open_run
        self.device = job.device
        self.file = Path(job.folder) / "race.interp"
        with TemporaryDirectory() as folder:
            small = Path(folder) / "small.interp"
            small.write_text(SMALL)
            self._run(small, Path(folder) / "run", Stopwatch(Meter(self.device)))

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            watch = Stopwatch(meter)
            self._run(self.file, out, watch)
            meter.memory = watch.held
            rows = self.open_run(out).scores("raced").to_dicts()
        found = {_cell(row): float(row["value"]) for row in rows}
        return [found[cell] for cell in cells]

    def _run(self, file: Path, out: Path, watch: Stopwatch) -> None:
        settings = self.session.Settings(out=out, fresh=True, device=self.device)
        self.session.run_file(file, settings, watch)


def _cell(row: dict[str, Any]) -> Cell:
    at = row["position"]
    return Cell(row["layer"], None if at == "all" else int(at), row["head"])


if __name__ == "__main__":
    serve(Interp, ("interp-dsl", "torch"))
