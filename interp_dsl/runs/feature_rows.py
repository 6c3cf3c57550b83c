"""How a person sees the tables of dictionaries in a terminal of 80 columns: points of training,
where features fire, how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.contexts import beginning, in_context
from interp_dsl.runs.text import MISSING, Column, count, decimals, number, printable, share

if TYPE_CHECKING:
    import polars as pl

ENDS = ("promotes", "suppresses")
WIDE = 80
"""Cells of a line."""


def feature_selection(table: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The rows in the order in which they are first shown, and in words what they are: densities
    from the highest down, logits in a row a feature, examples as they stand."""
    features = count(table["feature"].n_unique(), "feature")
    if "logit" in table.columns:
        return _written(table), f"what {features} write{'s' * (table['feature'].n_unique() == 1)}"
    if "relative_norm" in table.columns:
        return _shared(table)
    if "density" not in table.columns:
        return table, f"{count(len(table), 'example')} of {features}"
    never = int((table["density"] == 0).sum())
    rows = table.sort("density", descending=True, maintain_order=True)
    return rows, f"{features} by density" + (
        f", {never:,} never fire{'s' if never == 1 else ''}" if never else ""
    )


def _written(table: pl.DataFrame) -> pl.DataFrame:
    """Of logits a row a feature: the tokens at both ends, the strongest first."""
    import polars as pl

    named = zip(ENDS, ("top", "bottom"), strict=True)
    tokens = pl.col("token").sort_by("rank")
    both = [tokens.filter(pl.col("end").sort_by("rank") == end).alias(name) for name, end in named]
    return table.group_by("feature", maintain_order=True).agg(both)


def _shared(table: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Of norms a row a feature, its relative norm at each place, the most at the last place
    first."""
    last = table["place"][-1]
    rows = table.pivot(on="place", index="feature", values="relative_norm", maintain_order=True)
    rows = rows.sort(last, descending=True, maintain_order=True)
    features = count(len(rows), "feature")
    return rows, f"relative norms of {features}, those that write most at {last} first"


def is_written(rows: pl.DataFrame) -> bool:
    """Whether rows are those that logits are shown in."""
    return rows.columns == ["feature", *ENDS]


def written_columns(rows: pl.DataFrame) -> list[Column]:
    """A row a feature, as many tokens as have room, each between bars."""
    columns = [Column("feature", [str(n) for n in rows["feature"]], right=True)]
    room = (WIDE - max((len(c) for c in columns[0].cells), default=0) - 8) // 2
    for name in ENDS:
        said = ["|".join(map(printable, held)) for held in rows[name]]
        columns.append(Column(name, [beginning(text, room) for text in said]))
    return columns


def training_columns(rows: pl.DataFrame) -> list[Column]:
    """Points of training, without the dictionary where there is but one and without the penalty
    where there is none."""
    columns = []
    if not rows["dictionary"].is_null().all():
        columns.append(Column("dictionary", [name or MISSING for name in rows["dictionary"]]))
    for name in ("step", "tokens"):
        columns.append(Column(name, [f"{n:,}" for n in rows[name]], right=True))
    for name in ("loss", "mse", "penalty", "l0", "fvu"):
        if name != "penalty" or (rows[name] != 0).any():
            columns.append(_numbers(rows, name))
    columns.append(Column("dead", [f"{n:,}" for n in rows["dead"]], right=True))
    columns.append(Column("lr", [f"{v:.2g}" for v in rows["lr"]], right=True))
    return columns


def density_columns(rows: pl.DataFrame) -> list[Column]:
    """A row a feature: its density in per cent with figures of its own, as they span powers of
    ten."""
    return [
        Column("feature", [str(n) for n in rows["feature"]], right=True),
        Column("density", [share(v) for v in rows["density"]], right=True),
        _numbers(rows, "mean"),
        _numbers(rows, "maximum"),
        Column("alignment", [number(v, 2, False) for v in rows["alignment"]], right=True),
        Column("n", [f"{n:,}" for n in rows["n"]], right=True),
    ]


def example_columns(rows: pl.DataFrame) -> list[Column]:
    """A row an example, the tokens that features fire on one under the other."""
    columns = [
        Column("feature", [str(n) for n in rows["feature"]], right=True),
        Column("interval", ["top" if i is None else str(i) for i in rows["interval"]], right=True),
        _numbers(rows, "activation"),
    ]
    used = sum(max(map(len, (c.name, *c.cells))) + 2 for c in columns)
    texts = rows.select("before", "token", "after").iter_rows()
    lines = ["".join(in_context(b, t, a, WIDE - used)) for b, t, a in texts]
    return [*columns, Column("context", lines)]


def _numbers(rows: pl.DataFrame, name: str) -> Column:
    places = decimals(rows[name])
    return Column(name, [number(v, places, False) for v in rows[name]], right=True)
