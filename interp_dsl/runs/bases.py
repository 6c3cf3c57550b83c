"""What `factor` leaves behind, as a person looks at it: findings side by side, spectra and
ablations as lines, the graph of modules layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interp_dsl.runs.bands import Band, Bands
from interp_dsl.runs.cuts import Point
from interp_dsl.runs.factored import FINDINGS
from interp_dsl.runs.schema import extra_columns, is_score_table
from interp_dsl.runs.text import MISSING, Column, decimals, number

if TYPE_CHECKING:
    import polars as pl

MOST = 240
"""Edges of a drawn graph, the strongest of each pair of layers."""
ROUNDING = 1e-14
"""The share of the greatest eigenvalue under which one is rounding."""
APART = ("basis", "matrix", "of")
"""Columns that tell lines of a place apart."""

Node = tuple[str, int]
"""A place and the number of a direction."""


# ---- findings


def kind(table: pl.DataFrame) -> str | None:
    """What the findings of a table are of beside a place: `basis` or `matrix`; None where it holds
    no findings of a factoring."""
    if not is_score_table(table):
        return None
    names, extra = set(table["metric"]), extra_columns(table)
    return next((k for k, found in FINDINGS.items() if k in extra and names <= set(found)), None)


def findings(table: pl.DataFrame) -> pl.DataFrame:
    """A row a finding and place, those of all places first; a column a basis or matrix; `all` has
    what is of none alone."""
    import polars as pl

    key = kind(table)
    assert key is not None
    order = {name: i for i, name in enumerate(FINDINGS[key])}
    named = ["model", *(unit for unit in table["unit"] if unit != "model")]
    places = {unit: i for i, unit in enumerate(dict.fromkeys(named))}
    held: dict[tuple[str, str], dict[str, float | None]] = {}
    for unit, metric, of, value in table.select("unit", "metric", key, "value").iter_rows():
        held.setdefault((unit, metric), {})[of or "all"] = value
    names = sorted(held, key=lambda at: (places[at[0]], order[at[1]]))
    columns = list(dict.fromkeys(of or "all" for of in table[key]))
    rows = {name: [held[at].get(name) for at in names] for name in columns}
    about = {"finding": [metric for _, metric in names], "unit": [unit for unit, _ in names]}
    types = dict.fromkeys(columns, pl.Float64)
    return pl.DataFrame({**about, **rows}, schema_overrides=types)


def is_findings(rows: pl.DataFrame) -> bool:
    """Whether rows are those that `findings` makes."""
    return rows.columns[:2] == ["finding", "unit"]


def finding_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of findings as a person reads them, every number by itself."""
    said = [Column(name, list(rows[name])) for name in rows.columns[:2]]
    numbers = [Column(n, [figure(v) for v in rows[n]], right=True) for n in rows.columns[2:]]
    return [*said, *numbers]


def has_eigenvalues(rows: pl.DataFrame) -> bool:
    """Whether rows are of a spectrum: eigenvalues by the number of their direction."""
    return {"layer", "k", "value"} <= set(rows.columns) and not is_score_table(rows)


def eigenvalue_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of a spectrum as a person reads them: the eigenvalues to the decimals of the
    greatest, those that would be 0, or a single figure, as powers of ten."""
    places = decimals(rows["value"])
    least = 10.0 ** (1 - places)

    def said(value: float | None) -> str:
        is_small = value is not None and 0 < abs(value) < least
        return number(value, -1 if is_small else places, signed=False)

    return [
        Column(name, [*map(said, rows[name])], right=True)
        if name == "value"
        else Column(name, [MISSING if v is None else str(v) for v in rows[name]], name == "k")
        for name in rows.columns
    ]


def figure(value: float | None) -> str:
    """A count as one, another number with three decimals."""
    if value is None or value != value:
        return MISSING
    return f"{value:,.0f}" if float(value).is_integer() else number(value, 3, signed=False)


# ---- lines


def spectra(table: pl.DataFrame) -> list[Bands]:
    """Of each place its spectra, every one as shares of its greatest eigenvalue, without those that
    are 0 but for rounding."""
    made = []
    for layer, lines in _lines(table, "k", "value").items():
        shown = []
        for name, points in lines.items():
            top = max(y for _, y in points)
            held = [Point(x + 1, y / top) for x, y in points if y > ROUNDING * top]
            if held:
                shown.append(Band(name, tuple(held)))
        y = "eigenvalue ÷ the greatest"
        made.append(Bands(layer, "direction", y, tuple(shown), log=True))
    return made


def ablations(table: pl.DataFrame) -> list[Bands]:
    """Of each place the metric with its first directions, a line a basis."""
    return [
        Bands(
            layer,
            "directions kept",
            "metric",
            tuple(Band(name, tuple(Point(*at) for at in points)) for name, points in lines.items()),
        )
        for layer, lines in _lines(table, "kept", "score").items()
    ]


def _lines(table: pl.DataFrame, x: str, y: str) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The points of every line of every place."""
    apart = [name for name in APART if name in table.columns]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for layer, at, value, *names in table.select("layer", x, y, *apart).iter_rows():
        if value is not None and np.isfinite(value):
            lines = found.setdefault(layer, {})
            lines.setdefault(" ".join(names), []).append((float(at), float(value)))
    return {
        layer: {n: sorted(points) for n, points in lines.items()} for layer, lines in found.items()
    }


# ---- modules


@dataclass(frozen=True, slots=True)
class Link:
    """An edge of the graph; `weight` from 0, the least that its layer needs, to 1."""

    source: Node
    target: Node
    edge: float
    weight: float


@dataclass(frozen=True, slots=True)
class Modules:
    """The directions that have edges, `layers` from the first to the last: `x` of each, from 0 to
    1, those of a module one below the other; `module` its community by size, from 0, None where it
    is alone. `left_out` edges are not among the links."""

    basis: str
    layers: tuple[str, ...]
    x: dict[Node, float]
    module: dict[Node, int | None]
    links: tuple[Link, ...]
    left_out: int = 0

    def row(self, layer: str) -> list[Node]:
        """The directions of a place from left to right."""
        return sorted((n for n in self.x if n[0] == layer), key=lambda n: self.x[n])


def letter(module: int | None) -> str:
    """The mark of a module: A for the largest; a dot for a direction that is in none."""
    return "·" if module is None else chr(ord("A") + module) if module < 26 else "+"


def modules(edges: pl.DataFrame, found: pl.DataFrame, basis: str, most: int = MOST) -> Modules:
    """The graph of a basis: the edges that the metric needs, the strongest `most`."""
    import polars as pl

    rows = edges.filter(basis=basis)
    layers = tuple(dict.fromkeys([*_in_order(rows)]))
    links: list[Link] = []
    pairs = rows.partition_by("source", "target", maintain_order=True)
    for pair in pairs:
        strong = pair.sort(pl.col("edge"), descending=True, maintain_order=True)
        strong = strong.head(max(1, most // len(pairs)))
        size = np.log(np.maximum(strong["edge"].to_numpy(), np.finfo(float).tiny))
        every = np.log(np.maximum(pair["edge"].to_numpy(), np.finfo(float).tiny))
        least, span = float(every.min()), float(np.ptp(every))
        for row, s in zip(strong.iter_rows(named=True), size, strict=True):
            ends = (row["source"], row["source_k"]), (row["target"], row["target_k"])
            links.append(Link(*ends, row["edge"], (s - least) / span if span > 0 else 1.0))
    nodes = {end for link in links for end in (link.source, link.target)}
    module = _by_size(found.filter(basis=basis), nodes)
    x = _placed(layers, module)
    return Modules(basis, layers, x, module, tuple(links), len(rows) - len(links))


def _in_order(rows: pl.DataFrame) -> list[str]:
    """Places as edges follow each other."""
    pairs = rows.select("source", "target").unique(maintain_order=True).rows()
    after = {source: target for source, target in pairs}
    first = [source for source in after if source not in after.values()]
    chain = first[:1]
    while chain and chain[-1] in after and len(chain) <= len(after):
        chain.append(after[chain[-1]])
    return chain


def _by_size(found: pl.DataFrame, nodes: set[Node]) -> dict[Node, int | None]:
    """The module of every node, numbered from the largest; None for a module of one."""
    held = {(layer, k): m for layer, k, m in found.select("layer", "k", "module").iter_rows()}
    sizes: dict[int, int] = {}
    for m in held.values():
        sizes[m] = sizes.get(m, 0) + 1
    large = sorted((m for m in sizes if sizes[m] > 1), key=lambda m: (-sizes[m], m))
    rank = {m: i for i, m in enumerate(large)}
    return {node: rank.get(held[node]) if node in held else None for node in sorted(nodes)}


def _placed(layers: Sequence[str], module: dict[Node, int | None]) -> dict[Node, float]:
    """Every module takes as many columns as its widest place; those in none stand to the right."""
    order = sorted({m for m in module.values() if m is not None})
    left, x = 0.0, {}
    for m in [*order, None]:
        rows = [[n for n in module if n[0] == layer and module[n] == m] for layer in layers]
        width = max(map(len, rows), default=0)
        for row in rows:
            for i, node in enumerate(row):
                x[node] = left + (i + 0.5) * width / len(row)
        left += width
    return {node: at / left for node, at in x.items()}
