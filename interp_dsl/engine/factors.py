"""What `factor` leaves: its score table, the tables behind its name, and tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.plan.places import Target, Unit
from interp_dsl.plan.tasks import Factor
from interp_dsl.runs.factored import TABLES
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import Kind, plain_table, score_table, unit_columns


@dataclass
class Factored:
    """Rows of the score table, whose column `key` (None for none) tells those of one place apart;
    rows of further tables by name; tensors by name."""

    key: str | None
    n: int
    scores: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tensors: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def score(
        self, target: Target | None, word: str | None, metric: str, value: float | None
    ) -> None:
        """A number of a place; of the whole model where there is none."""
        about = {"unit": "model", "position": "all"}
        about = about if target is None else unit_columns(Unit((target,)))
        value = None if value is None else float(value)
        keyed = {} if self.key is None else {self.key: word}
        self.scores.append({**about, **keyed, "metric": metric, "value": value, "n": self.n})

    def rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.tables.setdefault(table, []).extend(rows)

    def tensor(self, name: str, value: Tensor) -> None:
        self.tensors[name] = value.detach().cpu().contiguous().numpy()


Method = Callable[[Factor, State, Report], Factored]


def methods() -> dict[str, Method]:
    from interp_dsl.engine.degeneracies import degeneracy
    from interp_dsl.engine.interaction import interaction_basis

    return {"interaction_basis": interaction_basis, "degeneracy": degeneracy}


def note_few(target: Target, f: Tensor, report: Report) -> None:
    """Say where there are fewer activations [n, p, d] than dimensions, which bounds every rank."""
    rows, d = f[..., 0].numel(), f.shape[-1]
    if rows <= d:
        report.note(
            f"{target.place} has {d} dimensions and {rows} activations here: no more directions "
            "than these can be told apart; take more examples"
        )


def factor(task: Factor, key: str, state: State, folder: RunFolder, report: Report) -> None:
    """Run a method and write what it leaves. Raises InterpError E690 to E693."""
    write(methods()[task.method](task, state, report), TABLES, task.step, key, folder)


def write(
    found: Factored,
    columns: Mapping[str, Mapping[str, Kind]],
    step: str,
    key: str,
    folder: RunFolder,
) -> None:
    """The tables and tensors of a finished step; `columns` of its further tables."""
    for name, rows in found.tables.items():
        folder.write_table(f"{step}.{name}", plain_table(rows, columns[name]))
    if found.tensors:
        folder.write_tensors(step, found.tensors)
    extra: dict[str, Kind] = {} if found.key is None else {found.key: "text"}
    folder.write_table(step, score_table(found.scores, extra))
    folder.finish_step(step, key, tables=list(found.tables))
