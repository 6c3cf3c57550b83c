"""What `factor` leaves: its score table, the tables behind its name, and tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import columns_of
from interp_dsl.engine.state import State
from interp_dsl.plan.places import Target, Unit
from interp_dsl.plan.tasks import Factor
from interp_dsl.runs.factored import TABLES
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import polars_types, score_table


@dataclass
class Factored:
    """Rows of the score table, whose column `key` tells those of one place apart; rows of further
    tables by name; tensors by name."""

    key: str
    n: int
    scores: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tensors: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def score(
        self, target: Target | None, word: str | None, metric: str, value: float | None
    ) -> None:
        """A number of a place; of the whole model where there is none."""
        about = {"unit": "model", "position": "all"}
        about = about if target is None else columns_of(Unit((target,)))
        value = None if value is None else float(value)
        self.scores.append({**about, self.key: word, "metric": metric, "value": value, "n": self.n})

    def rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        self.tables.setdefault(table, []).extend(rows)

    def tensor(self, name: str, value: Tensor) -> None:
        self.tensors[name] = value.detach().cpu().contiguous().numpy()


Method = Callable[[Factor, State, Report], Factored]


def methods() -> dict[str, Method]:
    from interp_dsl.engine.degeneracies import degeneracy
    from interp_dsl.engine.interaction import interaction_basis

    return {"interaction_basis": interaction_basis, "degeneracy": degeneracy}


def factor(task: Factor, key: str, state: State, folder: RunFolder, report: Report) -> None:
    """Run a method and write what it leaves. Raises InterpError E690 to E693."""
    found = methods()[task.method](task, state, report)
    for name, rows in found.tables.items():
        folder.write_table(f"{task.step}.{name}", table(name, rows))
    folder.write_tensors(task.step, found.tensors)
    folder.write_table(task.step, score_table(found.scores, {found.key: "text"}))
    folder.finish_step(task.step, key, tables=list(found.tables))


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = polars_types(TABLES[name])
    return pl.DataFrame({c: [row[c] for row in rows] for c in schema}, schema=schema)
