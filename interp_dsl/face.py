"""The package from Python: `check`, `plan`, `run`, `open_run`, and what a run holds."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl import session
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.source import Source
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interp_dsl.plan.tasks import Plan
    from interp_dsl.runs.circuit import Circuit

Location = str | os.PathLike[str]
SHOWN = 10


def check(
    source: Location,
    *,
    params: Mapping[str, Any] | None = None,
    trust: bool = False,
    allow: Sequence[Location] = (),
) -> list[Diagnostic]:
    """All errors and warnings of a file, or of a text; nothing is executed. A string with a line
    break or a `=` is a text."""
    settings = _settings(params, trust=trust, allow=allow)
    return list(session.checked(_source(source), settings).diagnostics)


def plan(
    source: Location,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int | None = None,
    trust: bool = False,
    allow: Sequence[Location] = (),
) -> Plan:
    """What a run of a file, or of a text, would do. Raises InterpError where it is wrong."""
    settings = _settings(params, trust=trust, allow=allow, seed=seed)
    return session.plan_of(session.prepared(_source(source), settings), settings)


def run(
    path: Location,
    *,
    params: Mapping[str, Any] | None = None,
    out: Location | None = None,
    runs: Location = session.RUNS,
    fresh: bool = False,
    trust: bool = False,
    allow: Sequence[Location] = (),
    device: str | None = None,
    seed: int | None = None,
    verify: bool = False,
) -> Run:
    """Run a file as `interp run` does: the newest unfinished run of the same plan goes on unless
    `fresh`; `verify` compares compiled models with TransformerLens's again. Raises InterpError
    where the file or the run is wrong."""
    settings = _settings(
        params,
        out=None if out is None else Path(out),
        runs=Path(runs),
        fresh=fresh,
        trust=trust,
        allow=allow,
        device=device,
        seed=seed,
        verify=verify,
    )
    watcher = _Collect()
    ran = session.run_file(Path(path), settings, watcher)
    if ran.was_stopped:
        raise KeyboardInterrupt(f"the run stopped; what is done is kept in {ran.folder.path}")
    return Run(ran.folder.path, watcher.diagnostics)


def open_run(folder: Location) -> Run:
    """The run in a folder, finished or not. FileNotFoundError where there is none."""
    return Run(RunFolder.open(Path(folder)).path)


@dataclass(frozen=True)
class Run:
    """A run on disk; every look reads what is there now."""

    path: Path
    diagnostics: tuple[Diagnostic, ...] = ()
    """What the checker said when this process ran it."""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.path)

    @property
    def status(self) -> str:
        """created, running, done, failed, cancelled, or interrupted (its process is gone)."""
        return self.folder.status

    @property
    def manifest(self) -> dict[str, Any]:
        return self.folder.manifest

    @property
    def plan(self) -> Plan:
        return self.folder.read_plan()

    @property
    def steps(self) -> list[str]:
        """The steps that have a table."""
        return self.folder.steps

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Every claim: `text`, `ok`, the `value` found, its `low` and `high`, `message`."""
        return self.folder.claims

    def scores(self, step: str) -> pl.DataFrame:
        """A step's table."""
        return self.folder.read_table(self._known(step))

    def circuit(self, step: str, threshold: float | None = None) -> Circuit:
        """The circuit that a step has found; of several, that of a threshold. KeyError where there
        is no such one."""
        from interp_dsl.runs.circuit_file import circuits_of

        found = circuits_of(self.path, self._known(step))
        chosen = [c for c in found.values() if threshold is None or threshold in c.thresholds]
        if len(chosen) == 1:
            return chosen[0]
        known = ", ".join(f"{t:g}" for c in found.values() for t in c.thresholds)
        what = f"{len(found)} circuits, at thresholds {known}" if found else "no circuit"
        raise KeyError(f"step {step} has found {what}")

    def tensors(self, step: str) -> dict[str, NDArray[np.generic]]:
        """The arrays that a step keeps."""
        return self.folder.read_tensors(step)

    def examples(self, step: str) -> pl.DataFrame:
        """The values of single examples behind a step's table, one row an example."""
        from interp_dsl.runs.examples import examples

        return examples(self.folder, self._known(step))

    def _known(self, step: str) -> str:
        if step not in self.steps:
            raise KeyError(f"no step {step}; there are: {', '.join(self.steps) or 'none yet'}")
        return step

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status}, steps: {', '.join(self.steps)})"

    def _repr_html_(self) -> str:
        """The run in a notebook: state, claims, the leading rows of each step."""
        head = f"<p><b>{_escaped(self.path.name)}</b> · {_escaped(self.status)}</p>"
        claims = "".join(
            f"<li>{'✓' if c['ok'] else '✗'} <code>{_escaped(c['text'])}</code></li>"
            for c in self.claims
        )
        tables = "".join(self._table_html(step) for step in self.steps)
        return f"<div>{head}<ul>{claims}</ul>{tables}</div>"

    def _table_html(self, step: str) -> str:
        from interp_dsl.runs.select import Selection, columns_of, select

        table = self.scores(step)
        rows, what = select(table, step, Selection())
        columns = columns_of(rows.head(SHOWN))
        names = "".join(f"<th>{_escaped(c.name)}</th>" for c in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in cells) + "</tr>"
            for cells in zip(*(c.cells for c in columns), strict=True)
        )
        caption = f"<caption>{_escaped(step)} · {_escaped(what)}</caption>"
        return f"<table>{caption}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


class _Collect:
    """The watcher of a run in Python: keeps what the checker said."""

    def __init__(self) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = ()

    def checked(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)

    def started(self, folder: RunFolder, resumed: bool) -> None:
        """The folder stands in the result."""

    def event(self, event: Event) -> None:
        """The events stand in the folder."""


def _settings(
    params: Mapping[str, Any] | None, *, allow: Sequence[Location] = (), **rest: Any
) -> session.Settings:
    texts = {name: _literal(value) for name, value in (params or {}).items()}
    return session.Settings(params=texts, allow=[Path(a) for a in allow], **rest)


def _source(given: Location) -> Source:
    """A file's text, or the text itself."""
    if isinstance(given, str) and Path(given).suffix != ".interp" and set("=\n") & set(given):
        return Source(given)
    return session.read_source(Path(given))


def _literal(value: Any) -> str:
    """A parameter's value as -p takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _escaped(value: Any) -> str:
    return html.escape(str(value))
