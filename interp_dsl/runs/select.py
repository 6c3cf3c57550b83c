"""Which rows of a table a person sees first, and how their numbers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.runs.bases import (
    eigenvalue_columns,
    finding_columns,
    findings,
    has_eigenvalues,
    is_findings,
    kind,
)
from interp_dsl.runs.circuit_rows import edge_columns, is_edge_table, kept_edges, strength
from interp_dsl.runs.curve_rows import alike, curve_columns, curve_rows, parts
from interp_dsl.runs.curves import is_curve_table
from interp_dsl.runs.feature_rows import (
    density_columns,
    example_columns,
    feature_selection,
    is_written,
    training_columns,
    written_columns,
)
from interp_dsl.runs.rank import metrics, ranked, ranking_column
from interp_dsl.runs.schema import (
    extra_columns,
    is_density_table,
    is_estimated,
    is_example_table,
    is_node_circuit,
    is_score_table,
    is_training_table,
    reading_of,
)
from interp_dsl.runs.text import Column, count, decimals, interval, number, printable

if TYPE_CHECKING:
    import polars as pl

TOP = 10


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are shown: the first `top` (None: all) of a metric, ordered by a column."""

    top: int | None = TOP
    metric: str | None = None
    by: str | None = None


def select(table: pl.DataFrame, step: str, selection: Selection) -> tuple[pl.DataFrame, str]:
    """The rows of a selection in their order, and in words what they are."""
    by = selection.by
    if by is not None and by not in table.columns:
        raise _no_such("column", by, step, table.columns)
    if is_edge_table(table):
        return kept_edges(table, by or strength(table))
    if is_score_table(table):
        return _scores(table, step, selection)
    if by is not None:
        rows = table.sort(by, descending=True, nulls_last=True, maintain_order=True)
        return rows, count(len(rows), "row")
    if is_training_table(table):
        newest = table.sort("step", descending=True, maintain_order=True)
        return newest, f"{count(len(table), 'point')} of training, the newest first"
    if reading_of(table) in ("examples", "density", "logits", "norms"):
        return feature_selection(table)
    return table, count(len(table), "row")


def _scores(table: pl.DataFrame, step: str, selection: Selection) -> tuple[pl.DataFrame, str]:
    """Curves and findings in forms of their own, the metrics of a single row as they stand, else
    the rows of one metric by size."""
    import polars as pl

    names = metrics(table)
    metric = selection.metric or next(iter(names), "")
    if names and metric not in names:
        raise _no_such("metric", metric, step, names)
    if selection.by is None:
        if is_curve_table(table):
            return curve_rows(table, metric)
        if selection.metric is None and (key := kind(table)):
            rows = findings(table)
            return rows, f"{count(len(rows), 'finding')} by {key}"
        if selection.metric is None and _is_by_dictionary(table):
            judged = table["dictionary"].n_unique()
            return table, f"{judged} dictionaries by {len(names)} metrics"
        whole = _of_the_whole(table)
        if selection.metric is None and (len(whole) == len(names) or _is_by_model(table)):
            order = pl.Enum(names)
            rows = whole.sort(pl.col("metric").cast(order), maintain_order=True)
            parts = table.filter(pl.col("unit") != "circuit")["metric"].unique(maintain_order=True)
            more = (
                f" (of parts of it: --metric {', '.join(parts)})" if len(whole) < len(table) else ""
            )
            return rows, count(len(names), "metric") + printable(more)
    by = selection.by or ranking_column(table)
    others = [name for name in names if name != metric]
    also = f" (also: {', '.join(map(printable, others))}; choose with --metric)" if others else ""
    return ranked(table, metric, by), f"{printable(metric)} by |{by}|{also}"


def _of_the_whole(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a circuit itself, without those of its edges and sizes; else all rows."""
    import polars as pl

    whole = table.filter(pl.col("unit") == "circuit")
    return whole if len(whole) else table


def _is_by_model(table: pl.DataFrame) -> bool:
    """Whether rows are those of one dictionary, some of each model that it is of."""
    return "model" in table.columns and set(table["unit"]) == {"dictionary"}


def _is_by_dictionary(rows: pl.DataFrame) -> bool:
    """Whether rows are those of several dictionaries, a row a metric of each."""
    if not {"unit", "metric", "dictionary"} <= {*rows.columns} or "model" in rows.columns:
        return False
    return set(rows["unit"]) == {"dictionary"} and rows["metric"].n_unique() > 1


@dataclass(frozen=True, slots=True)
class Block:
    """The first rows of a selection or a part of it, `n` in all; what they have in common."""

    columns: list[Column]
    shown: int
    n: int
    common: str = ""


def blocks(rows: pl.DataFrame, top: int | None) -> list[Block]:
    """The rows of a selection as they are printed: of curves what each comes to, then points; of
    several dictionaries a row each, a column a metric."""
    if _is_by_dictionary(rows):
        rows = rows.pivot("metric", index="dictionary", values="value")
    if not is_curve_table(rows):
        head = rows if top is None else rows.head(top)
        return [Block(columns_of(head), len(head), len(rows))]
    made = []
    for part in filter(len, parts(rows)):
        head = part if top is None else part.head(top)
        made.append(Block(curve_columns(head, part), len(head), len(part), alike(part)))
    return made


def columns_of(rows: pl.DataFrame) -> list[Column]:
    """The columns of a step's rows as a person reads them."""
    columns = (made for holds, made in _COLUMNS if holds(rows))
    return next(columns, plain_columns)(rows)


def score_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of a score table as a person reads them."""
    import polars as pl

    values_only = ranking_column(rows) == "value"
    shown = "value" if values_only else "effect"
    metrics = rows["metric"].to_list()
    of_metric = {m: decimals(rows.filter(pl.col("metric") == m)[shown]) for m in set(metrics)}
    places = [of_metric[m] for m in metrics]
    columns = [_text(rows, name) for name in ("unit", "position", *extra_columns(rows), "metric")]
    if not values_only and not rows["base"].is_null().all():
        columns.append(_numbers(rows, "base", decimals(rows["base"]), signed=False))
    measured = _numbers(rows, shown, places, signed=not values_only)
    columns.append(replace(measured, name="estimate") if is_estimated(rows) else measured)
    if is_estimated(rows) and not rows["verified"].is_null().all():
        columns.append(_numbers(rows, "verified", places))
    if is_node_circuit(rows):
        return [*columns, _text(rows, "kept"), _text(rows, "order"), _text(rows, "n")]
    bounds = zip(_bounds(rows), places, strict=True)
    intervals = [_interval(*row, n, signed=not values_only) for row, n in bounds]
    columns.append(Column("95% interval", intervals, right=True))
    if not rows["normalized"].is_null().all():
        columns.append(_numbers(rows, "normalized", 3))
    columns.append(Column("n", [f"{n}" if n is not None else "·" for n in rows["n"]], right=True))
    return columns


def plain_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of any other table; signs where a column has numbers below 0."""
    return [
        _numbers(rows, name, decimals(rows[name]), signed=bool((rows[name] < 0).any()))
        if dtype.is_float()
        else _text(rows, name)
        for name, dtype in rows.schema.items()
    ]


_COLUMNS: tuple[
    tuple[Callable[[pl.DataFrame], bool], Callable[[pl.DataFrame], list[Column]]], ...
] = (
    (is_edge_table, edge_columns),
    (is_curve_table, curve_columns),
    (is_score_table, score_columns),
    (is_findings, finding_columns),
    (is_training_table, training_columns),
    (is_example_table, example_columns),
    (is_density_table, density_columns),
    (is_written, written_columns),
    (has_eigenvalues, eigenvalue_columns),
)
"""What each kind of rows is shown by, the first that holds: those of curves are scores too."""


def _interval(
    low: float | None, high: float | None, skipped: bool, places: int, signed: bool
) -> str:
    return "not run: no effect" if skipped else interval(low, high, places, signed)


def found_by(claim: Mapping[str, Any]) -> str:
    """What was found of a claim: its message, else the value with its interval."""
    value, low, high = claim.get("value"), claim.get("low"), claim.get("high")
    if claim.get("message") or not isinstance(value, float):
        return str(claim.get("message") or f"found {value}")
    places = decimals([value, low, high])
    bounds = "" if low is None else f" {interval(low, high, places)}"
    return f"found {number(value, places)}{bounds}"


def _bounds(rows: pl.DataFrame) -> list[tuple[float | None, float | None, bool]]:
    return list(zip(rows["low"], rows["high"], rows["skipped"], strict=True))


def _numbers(
    rows: pl.DataFrame, name: str, places: int | Sequence[int], signed: bool = True
) -> Column:
    """Numbers of as many decimals, or each of its own."""
    each = [places] * len(rows) if isinstance(places, int) else places
    cells = [number(v, n, signed) for v, n in zip(rows[name], each, strict=True)]
    return Column(name, cells, right=True)


def _text(rows: pl.DataFrame, name: str) -> Column:
    cells = ["·" if value is None else str(value) for value in rows[name]]
    return Column(name, cells, right=rows.schema[name].is_numeric())


def _no_such(kind: str, name: str, step: str, names: list[str]) -> InterpError:
    near = suggest(name, names)
    return InterpError(
        Diagnostic(
            "E707",
            f"step {step} has no {kind} {name}",
            notes=(f"it has: {', '.join(names)}",),
            help=f"did you mean {near}?" if near else None,
        )
    )
