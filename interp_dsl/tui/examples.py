"""The values of single examples behind one row of a score table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.describe import described
from interp_dsl.tui.place import Place
from interp_dsl.tui.plans import read_plan

if TYPE_CHECKING:
    import polars as pl

    from interp_dsl.tui.base import RunScreen


@dataclass(frozen=True)
class OneRow:
    """`frame` has `example`, `base`, `value`, `effect`; None with a reason where the step keeps no
    values of examples."""

    frame: pl.DataFrame | None
    reason: str = ""


def show_examples(screen: RunScreen, step: str, row: int) -> None:
    """Open the examples behind a row of a step's table; the one that is chosen there is looked at
    among the prompts, where it is kept."""
    from interp_dsl.tui.screens.examples import Behind, ExamplesScreen

    folder, found = screen.folder, examples_of(screen.folder, step, row)
    if found.frame is None:
        screen.notify(found.reason, severity="warning", markup=False)
        return
    held = folder.read_table(step).row(row, named=True)
    plan, unit = read_plan(folder), str(held["unit"])
    behind = Behind(folder, plan, step, str(held["metric"]), len(found.frame))

    def look(example: int | None) -> None:
        if example is not None:
            place = Place(step, str(held["metric"]), unit, str(held["position"]), example)
            screen.place = place
            screen.home.action_show("prompt")

    title, lines = described(held, "", screen.home.tones, 60)
    name = f"{step} · {title} · {held['metric']}"
    screen.app.push_screen(ExamplesScreen(name, lines, found.frame, behind), look)


def examples_of(folder: RunFolder, step: str, row: int) -> OneRow:
    """The examples of a row of the step's table, read without the rest of the tensors."""
    if not folder.has_tensors(step):
        return OneRow(None, f"step {step} keeps no values of single examples")
    import polars as pl
    from safetensors import safe_open

    series = {}
    with safe_open(folder.tensors_path(step), framework="numpy") as held:
        for name in ("base", "value", "effect"):
            if name in held.keys():  # noqa: SIM118 (it is no mapping)
                series[name] = pl.Series(name, held.get_slice(name)[row], dtype=pl.Float64)
    measured = series.get("value", series.get("effect"))
    if measured is None:
        return OneRow(None, f"step {step} keeps no values of single examples")
    columns = {n: s.fill_nan(None) for n, s in series.items()}
    frame = pl.DataFrame(columns).with_row_index("example")
    for name in ("base", "value", "effect"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name))
    change = pl.coalesce("effect", pl.col("value") - pl.col("base"))
    frame = frame.with_columns(effect=change).select("example", "base", "value", "effect")
    return OneRow(frame.filter(pl.col("value").is_not_null() | pl.col("effect").is_not_null()))
