"""The tables that a step of curves leaves behind its name: errors of dictionaries, planes, which
prompts are in one region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from interp_dsl.engine.scores import column_kinds
from interp_dsl.engine.sweep import Sweeper
from interp_dsl.geometry.communities import components
from interp_dsl.geometry.curves import Steps
from interp_dsl.plan.paths import Among, Moved
from interp_dsl.plan.tasks import Regions, Sweep
from interp_dsl.runs.curves import TABLES
from interp_dsl.runs.schema import plain_table

if TYPE_CHECKING:
    from interp_dsl.engine.curves import Curve

Row = dict[str, Any]


class Further:
    """Rows of further tables by name."""

    def __init__(self, task: Sweep, sweeper: Sweeper) -> None:
        self.task, self.state = task, sweeper.state
        self.rows: dict[str, list[Row]] = {}
        source = task.intervention.source
        self.among = {
            path.name: path
            for path in (source.paths if isinstance(source, Moved) else ())
            if isinstance(path, Among)
        }

    def pairs(self, curve: Curve, shapes: Steps) -> None:
        """What lies between prompts, and which of them are therefore in one region: those between
        which nothing is a jump, one way or the other, or whose outputs are alike; and with them
        their like."""
        path, regions = self.among.get(curve.path), self.task.curves
        if path is None or not isinstance(regions, Regions):
            return
        n, count = len(curve.base), len(curve.effects)
        about = {
            "unit": curve.points[0].place,
            "position": curve.points[0].position,
            "direction": curve.path,
            "metric": curve.metric.name,
            **dict(curve.variant.columns),
        }
        columns = {
            name: getattr(shapes, name).view(count, n).tolist()
            for name in ("slope", "location", "width")
        }
        rows: list[Row] = []
        steep: set[tuple[int, int]] = set()
        for k in range(count):
            for start in range(n):
                end = (start + k + 1) % n
                found = {name: _number(values[k][start]) for name, values in columns.items()}
                rows.append({**about, "start": start, "end": end, **found})
                if found["slope"] is not None and found["slope"] >= regions.height:
                    steep |= {(start, end), (end, start)}
        joined = [(r["start"], r["end"]) for r in rows if (r["start"], r["end"]) not in steep]
        labels = components(n, [(one, other, 1.0) for one, other in joined])
        self.rows.setdefault("pairs", []).extend(rows)
        self.rows.setdefault("regions", []).extend(
            {**about, "prompt": i, "region": label, "size": labels.count(label)}
            for i, label in enumerate(labels)
        )

    def tables(self) -> dict[str, pl.DataFrame]:
        """Those that have rows."""
        kinds = column_kinds(self.task.variants)
        return {
            name: plain_table(rows, {**TABLES[name], **kinds})
            for name, rows in self.rows.items()
            if rows
        }


def _number(x: float) -> float | None:
    return None if x != x else x
