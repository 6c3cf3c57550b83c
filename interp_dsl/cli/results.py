"""A run's results as text: the top components of each step, the claims, the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp_dsl.cli.output import Output
from interp_dsl.cli.text import Column, count, decimals, layout, number, printable
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.rank import metrics, ranked, ranking_column
from interp_dsl.runs.schema import extra_columns, is_score_table

if TYPE_CHECKING:
    import polars as pl

TOP = 10


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are shown: the first `top` (None: all) of a metric, ordered by a column."""

    top: int | None = TOP
    metric: str | None = None
    by: str | None = None


def print_run(folder: RunFolder, selection: Selection, output: Output) -> None:
    """Every step's top components, every claim, the folder."""
    for step in folder.steps:
        print_step(folder, step, selection, output)
        output.write("")
    print_claims(folder.claims, output)
    output.write(f"in {folder.path}")


def print_step(folder: RunFolder, step: str, selection: Selection, output: Output) -> None:
    """One step's rows, how many of how many, and how to see the rest."""
    table = folder.read_table(step)
    rows, what = select(table, step, selection)
    head = rows if selection.top is None else rows.head(selection.top)
    output.write(output.toned(f"{step} · {what}", "bold"))
    columns = score_columns(head) if is_score_table(table) else plain_columns(head)
    heading, *lines = layout(columns)
    output.write(output.toned(heading, "dim"))
    for line in lines:
        output.write(line)
    if len(head) < len(rows):
        output.write(
            f"the first {len(head):,} of {len(rows):,}; "
            f"the rest: interp show {folder.path} {step} --all"
        )


def select(table: pl.DataFrame, step: str, selection: Selection) -> tuple[pl.DataFrame, str]:
    """The rows of a selection in their order, and in words what they are."""
    if not is_score_table(table):
        rows = _sorted(table, step, selection.by) if selection.by else table
        return rows, count(len(table), "row")
    names = metrics(table)
    if selection.metric is None and len(table) == len(names) and selection.by is None:
        return table, count(len(names), "metric")
    metric = selection.metric or (names[0] if names else "")
    if names and metric not in names:
        raise _no_such("metric", metric, step, names)
    by = selection.by or ranking_column(table)
    if by not in table.columns:
        raise _no_such("column", by, step, table.columns)
    others = [name for name in names if name != metric]
    also = f" (also: {', '.join(map(printable, others))}; choose with --metric)" if others else ""
    return ranked(table, metric, by), f"{printable(metric)} by |{by}|{also}"


def _sorted(table: pl.DataFrame, step: str, by: str) -> pl.DataFrame:
    if by not in table.columns:
        raise _no_such("column", by, step, table.columns)
    return table.sort(by, descending=True, nulls_last=True, maintain_order=True)


def score_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of a score table as a person reads them."""
    values_only = ranking_column(rows) == "value"
    shown = "value" if values_only else "effect"
    places = decimals(rows[shown])
    columns = [_text(rows, name) for name in ("unit", "position", *extra_columns(rows), "metric")]
    if not values_only:
        columns.append(_numbers(rows, "base", decimals(rows["base"]), signed=False))
    columns.append(_numbers(rows, shown, places, signed=not values_only))
    columns.append(
        Column("95% interval", [interval(a, b, places) for a, b in _pairs(rows)], right=True)
    )
    if not rows["normalized"].is_null().all():
        columns.append(_numbers(rows, "normalized", 3))
    columns.append(Column("n", [f"{n}" if n is not None else "·" for n in rows["n"]], right=True))
    return columns


def plain_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of any other table."""
    return [
        _numbers(rows, name, decimals(rows[name])) if dtype.is_float() else _text(rows, name)
        for name, dtype in rows.schema.items()
    ]


def interval(low: float | None, high: float | None, places: int) -> str:
    """Two bounds in brackets."""
    if low is None or high is None:
        return "·"
    return f"[{number(low, places)}, {number(high, places)}]"


def _pairs(rows: pl.DataFrame) -> list[tuple[float | None, float | None]]:
    return list(zip(rows["low"], rows["high"], strict=True))


def _numbers(rows: pl.DataFrame, name: str, places: int, signed: bool = True) -> Column:
    return Column(name, [number(v, places, signed) for v in rows[name]], right=True)


def _text(rows: pl.DataFrame, name: str) -> Column:
    cells = ["·" if value is None else str(value) for value in rows[name]]
    return Column(name, cells, right=rows.schema[name].is_numeric())


def print_claims(claims: list[dict[str, Any]], output: Output) -> None:
    """Every claim, whether it held, and the value found."""
    for claim in claims:
        output.write(claim_line(claim, output))


def claim_line(claim: Mapping[str, Any], output: Output) -> str:
    """✓ or ✗, the claim, the value with its interval, and for a failed one where it stands."""
    held = bool(claim["ok"])
    mark = output.toned("✓", "good") if held else output.toned("✗", "bad")
    parts = [f"{mark} {printable(str(claim['text']))}"]
    value, low, high = claim.get("value"), claim.get("low"), claim.get("high")
    if isinstance(value, float) and not isinstance(value, bool):
        places = max(decimals([value, low, high]), -1)
        bounds = f" {interval(low, high, places)}" if low is not None else ""
        parts.append(f"found {number(value, places)}{bounds}")
    elif value is not None:
        parts.append(f"found {printable(str(value))}")
    if claim.get("message"):
        parts.append(printable(str(claim["message"])))
    if not held and claim.get("file"):
        parts.append(f"{printable(str(claim['file']))}:{claim.get('line')}")
    return "  ".join(parts)


def _no_such(kind: str, name: str, step: str, names: list[str]) -> InterpError:
    return InterpError(
        Diagnostic(
            "E707", f"step {step} has no {kind} {name}", notes=(f"it has: {', '.join(names)}",)
        )
    )
