"""Score tables as grids: layer × head, layer × position and their like, one for each picture that
the rows of a metric make.

A grid holds the numbers of table rows; what else a row has (interval, n) is read from the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit_table import KEY, POSITION
from interp_dsl.runs.nodes import CHANNELS, level, parse_node
from interp_dsl.runs.schema import extra_columns

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MISSING = -1
MANY = 3
"""Positions, more than which are looked at together first."""
_HEAD, _SITE = r"^L\d+H\d+(?:\.(\w+))?$", r"^L\d+\.(\w+)(?:\[\d+\])?$"
_EDGE = r"^[^\s()]+ -> [^\s()]+$"


@dataclass(frozen=True, eq=False)
class Grid:
    """`rows` [r, c] are numbers of table rows, -1 where a cell has none; `values` [r, c] are NaN
    there and where the table has a null. `name` is what the axes are, `facet` what is the same in
    all cells."""

    name: str
    facet: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    rows: Ints
    values: Floats

    @property
    def title(self) -> str:
        return f"{self.name} {self.facet}".rstrip()

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.row_names), len(self.column_names)

    @property
    def limit(self) -> float:
        """The largest finite |value|, the end of a scale around zero; 0 where there is none."""
        finite = self.values[np.isfinite(self.values)]
        return float(np.abs(finite).max(initial=0.0))

    def ranked(self) -> Ints:
        """The cells [k, 2] that have a value, the largest |value| first, ties in reading order."""
        size = np.where(np.isfinite(self.values), np.abs(self.values), -1.0).ravel()
        order = np.argsort(-size, kind="stable")
        order = order[size[order] >= 0]
        return np.stack(np.unravel_index(order, self.values.shape), axis=1).astype(np.int64)

    def at(self, cell: tuple[int, int]) -> int | None:
        """The table row of a cell."""
        row = int(self.rows[cell])
        return None if row == MISSING else row


def matrix(name: str, rows: Sequence[str], columns: Sequence[str], values: Floats) -> Grid:
    """A grid of values that are no table's, as an attention pattern's."""
    empty = np.full(values.shape, MISSING, dtype=np.int64)
    return Grid(name, "", tuple(rows), tuple(columns), empty, values)


def value_columns(table: pl.DataFrame) -> list[str]:
    """The columns that a grid can show: those of the numbers that the table has."""
    known = ("effect", "normalized", "value", "verified", "score", "margin")
    return [n for n in known if n in table.columns and not table[n].is_null().all()]


def grids(table: pl.DataFrame, metric: str, column: str) -> list[Grid]:
    """The pictures that the rows of a metric make, single rows and columns last, the longest of
    these first. Nothing for rows without a layer, such as `together(…)` or a model's values."""
    import polars as pl

    extras = extra_columns(table)
    held = _parsed(table).filter(pl.col("metric") == metric)
    found: list[Grid] = []
    for part in held.partition_by([*extras], maintain_order=True) if extras else [held]:
        same = [(name, part[name][0]) for name in extras] if len(part) else []
        where = ", ".join(f"{name}={_fixed(value)}" for name, value in same if value is not None)
        found += [grid for grid in _of(part, column, where) if np.isfinite(grid.values).any()]
    return sorted(found, key=_rank)


def edge_grids(table: pl.DataFrame, column: str) -> list[Grid]:
    """The picture of a circuit's edge table, readers down and senders across, for each of its
    thresholds and positions."""
    import polars as pl

    names = [edge_name(*key) for key in table.select(KEY).iter_rows()]
    named = table.with_row_index("row").with_columns(unit=pl.Series(names, dtype=pl.String))
    held = [name for name in ("threshold", POSITION) if name in table.columns]
    parts = named.partition_by(held, maintain_order=True) if held else [named]
    said = [", ".join(f"{name}={_fixed(part[name][0])}" for name in held) for part in parts]
    found = [g for p, w in zip(parts, said, strict=True) for g in _edges(p, column, w)]
    return [grid for grid in found if np.isfinite(grid.values).any()]


def _rank(grid: Grid) -> tuple[bool, int]:
    is_line = min(grid.shape) < 2
    return is_line, -grid.values.size * is_line


def _parsed(table: pl.DataFrame) -> pl.DataFrame:
    """The table with `row`, its rows' numbers, and `site`: what a unit is, its layer and index left
    out (`head`, `k`, `resid_post`); null where a unit has no layer of its own."""
    import polars as pl

    unit = pl.col("unit")
    head = pl.when(unit.str.contains(_HEAD)).then(unit.str.extract(_HEAD).fill_null("head"))
    site = pl.coalesce(head, unit.str.extract(_SITE))
    return table.with_row_index("row").with_columns(
        site=pl.when(pl.col("layer").is_not_null()).then(site)
    )


def _of(part: pl.DataFrame, column: str, where: str) -> Iterator[Grid]:
    import polars as pl

    heads, units = pl.col("head").is_not_null(), pl.col("index").is_not_null()
    placed = part.filter(pl.col("site").is_not_null())
    for rows in placed.filter(heads & ~units).partition_by("site", maintain_order=True):
        parts = rows.partition_by("position", maintain_order=True)
        sites = [
            _counted(at, column, ("layer", "head"), _facet(at["site"][0], at["position"][0], where))
            for at in parts
        ]
        if len(parts) > 1:
            together = _placed(rows, column, "unit", _facet(rows["site"][0], None, where))
            sites.insert(0 if len(parts) > MANY else len(sites), together)
        yield from sites
    for rows in placed.filter(units).partition_by("site", "position", maintain_order=True):
        said = _facet(rows["site"][0], rows["position"][0], where)
        yield _counted(rows, column, ("layer", "index"), said)
    yield from _streams(placed.filter(~heads & ~units), column, where)
    yield from _edges(part.filter(pl.col("unit").str.contains(_EDGE)), column, where)


def _streams(rows: pl.DataFrame, column: str, where: str) -> Iterator[Grid]:
    """Sites that have one index: layer × position of each, and layer × site where there are more
    sites than one."""
    import polars as pl

    for site in rows.partition_by("site", maintain_order=True):
        yield _placed(site, column, "layer", _facet(site["site"][0], None, where))
    if rows["site"].n_unique() < 2:
        return
    for at in rows.partition_by("position", maintain_order=True):
        names = at["site"].unique(maintain_order=True).to_list()
        layers = sorted(at["layer"].unique().to_list())
        across = at["site"].replace_strict(names, list(range(len(names))), return_dtype=pl.Int64)
        said = _facet(None, at["position"][0], where)
        yield _grid("layer × site", said, _layers(layers), names, at, column, _down(at), across)


def _counted(rows: pl.DataFrame, column: str, axes: tuple[str, str], facet: str) -> Grid:
    """Layers down, numbers of heads or neurons across: all heads up to the highest, of neurons
    only those that there are."""
    import polars as pl

    layers = sorted(rows["layer"].unique().to_list())
    held = sorted(rows[axes[1]].unique().to_list())
    numbers = list(range(held[-1] + 1)) if axes[1] == "head" else held
    across = rows[axes[1]].replace_strict(numbers, list(range(len(numbers))), return_dtype=pl.Int64)
    name = "layer × head" if axes[1] == "head" else "layer × neuron"
    names = [str(n) for n in numbers]
    return _grid(name, facet, _layers(layers), names, rows, column, _down(rows), across)


def _placed(rows: pl.DataFrame, column: str, axis: str, facet: str) -> Grid:
    """Layers or units down, positions across in the order of the table."""
    import polars as pl

    positions = rows["position"].unique(maintain_order=True).to_list()
    places = list(range(len(positions)))
    across = rows["position"].replace_strict(positions, places, return_dtype=pl.Int64)
    if axis == "layer":
        layers = _layers(sorted(rows["layer"].unique().to_list()))
        name = "layer × position"
        return _grid(name, facet, layers, positions, rows, column, _down(rows), across)
    units = rows.sort("layer", "head", maintain_order=True)["unit"].unique(maintain_order=True)
    down = rows["unit"].replace_strict(
        units.to_list(), list(range(len(units))), return_dtype=pl.Int64
    )
    return _grid("head × position", facet, units.to_list(), positions, rows, column, down, across)


def _edges(rows: pl.DataFrame, column: str, where: str) -> Iterator[Grid]:
    """Readers down, through their channels, senders across, both in the order in which they run."""
    import polars as pl

    if rows.is_empty():
        return
    ends = rows["unit"].str.split_exact(" -> ", 1).struct.unnest()
    senders, readers = (_run_order(ends[name].unique().to_list()) for name in ends.columns)
    across = ends["field_0"].replace_strict(
        senders, list(range(len(senders))), return_dtype=pl.Int64
    )
    down = ends["field_1"].replace_strict(readers, list(range(len(readers))), return_dtype=pl.Int64)
    yield _grid("reader × sender", where, readers, senders, rows, column, down, across)


def _run_order(names: Sequence[str]) -> list[str]:
    """Ends of edges, `L1H0.k` too, in the order in which their nodes run."""

    def place(name: str) -> tuple[float, int, int, str]:
        alone, _, channel = name.rpartition(".")
        node = parse_node(name) or parse_node(alone)
        if node is None or node.kind == "logits":
            return float("inf"), node is None, 0, name
        turn = CHANNELS["head"].index(channel) if channel in CHANNELS["head"] else 0
        return float(level(node, 0)), node.head or 0, turn, name

    return sorted(names, key=place)


def _grid(
    name: str,
    facet: str,
    row_names: Sequence[str],
    column_names: Sequence[str],
    table: pl.DataFrame,
    column: str,
    down: pl.Series,
    across: pl.Series,
) -> Grid:
    shape = len(row_names), len(column_names)
    rows, values = np.full(shape, MISSING, dtype=np.int64), np.full(shape, np.nan)
    at = down.to_numpy(), across.to_numpy()
    rows[at] = table["row"].to_numpy()
    values[at] = table[column].cast(float).fill_null(float("nan")).to_numpy()
    return Grid(name, facet, tuple(row_names), tuple(column_names), rows, values)


def _down(rows: pl.DataFrame) -> pl.Series:
    """The place of every row's layer among the layers that there are."""
    return (rows["layer"].rank("dense") - 1).cast(int)


def _layers(layers: Sequence[int]) -> list[str]:
    return [f"L{layer}" for layer in layers]


def _fixed(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _facet(site: str | None, position: str | None, where: str) -> str:
    parts = [site] if site not in (None, "head") else []
    parts += [f"at {position}"] if position not in (None, "all") else []
    parts += [where] if where else []
    return " · ".join(filter(None, parts))
