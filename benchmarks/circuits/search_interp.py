"""interp as a user gets it: a whole run of the file. What counts is the step's task, from its
start to its end; `run` is the whole, from reading the file to the last table."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from case import Job
from searcher import Answer, serve


class Watch:
    """Watches a run; `seconds` of the step's task."""

    seconds = 0.0

    def __init__(self) -> None:
        self._started: float | None = None

    def checked(self, diagnostics: Any) -> None:
        pass

    def started(self, folder: Any, resumed: bool) -> None:
        assert not resumed

    def event(self, event: dict[str, Any]) -> None:
        if event.get("step") != "raced":
            return
        if event["event"] == "task_started":
            self._started = time.perf_counter()
        if event["event"] == "task_finished" and self._started is not None:
            self.seconds = time.perf_counter() - self._started


class Interp:
    def __init__(self, job: Job) -> None:
        from interp_dsl import session
        from interp_dsl.face import open_run
        from interp_dsl.plan.names import edge_name

        self.session, self.open_run, self.edge_name = session, open_run, edge_name
        self.file = Path(job.folder) / "race.interp"

    def search(self) -> Answer:
        with TemporaryDirectory() as folder:
            out, watch = Path(folder) / "run", Watch()
            settings = self.session.Settings(out=out, fresh=True, device="cpu")
            started = time.perf_counter()
            self.session.run_file(self.file, settings, watch)
            whole = time.perf_counter() - started
            rows = self.open_run(out).scores("raced").to_dicts()
        names = [self.edge_name(r["source"], r["target"], r["channel"]) for r in rows]
        kept = [name for name, row in zip(names, rows, strict=True) if row["kept"]]
        margins = {name: row["margin"] for name, row in zip(names, rows, strict=True)}
        extra = {"run": whole, "edges": len(rows), "margins": margins}
        return Answer(watch.seconds, kept, extra)


if __name__ == "__main__":
    serve(Interp, ("interp-dsl", "torch"))
