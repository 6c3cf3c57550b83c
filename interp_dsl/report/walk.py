"""What the page's script walks through from feature to feature: of a step of `relate` the features,
the pairs with every measure, the communities, and what the features fire on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp_dsl.report.figures.style import SERIES
from interp_dsl.report.reading import Reading
from interp_dsl.runs.bases import letter
from interp_dsl.runs.relations import Meanings, Relations, relations
from interp_dsl.runs.text import printable

if TYPE_CHECKING:
    import polars as pl

MOST = 4000
"""Pairs that a page holds, and no more of any two places than of others."""


@dataclass(frozen=True, slots=True)
class Walk:
    """`data` is the script's; `left_out` pairs are not in it: of each two places those least alike
    by `measure`. So many `features` are in a pair that it has."""

    data: dict[str, Any]
    measure: str
    features: int
    left_out: int


def walk(reading: Reading, name: str, most: int = MOST) -> Walk | None:
    """The walk through a step's pairs, `name` is their table's; None where it holds none."""
    step = name.removesuffix(".pairs")
    found = relations(reading.folder, step) if step != name else None
    if found is None:
        return None
    known = Meanings(reading.folder, reading.plan, step)
    pairs = strongest(found, most)
    places = {layer: i for i, layer in enumerate(found.layers)}
    ends = {
        node: None
        for below, i, above, j in pairs.select("below", "i", "above", "j").iter_rows()
        for node in ((below, i), (above, j))
    }
    order = sorted(ends, key=lambda node: (places[node[0]], node[1]))
    at = {node: i for i, node in enumerate(order)}
    data = {
        "step": name,
        "places": [printable(layer) for layer in found.layers],
        "read_by": [known.read_by.get(layer) for layer in found.layers],
        "measures": found.measures,
        "features": [
            [places[layer], k, found.community.get((layer, k)), [*map(_shown, known((layer, k)))]]
            for layer, k in order
        ],
        "pairs": [
            [
                at[row["below"], row["i"]],
                at[row["above"], row["j"]],
                [_rounded(row[measure]) for measure in found.measures],
                row["support"],
            ]
            for row in pairs.iter_rows(named=True)
        ],
        "communities": _communities(found),
    }
    return Walk(data, found.measures[0], len(order), len(found.pairs) - len(pairs))


def strongest(found: Relations, most: int) -> pl.DataFrame:
    """Of the pairs of each two places the first by the measure that communities are of, all where
    they are no more than `most`."""
    import polars as pl

    if len(found.pairs) <= most:
        return found.pairs
    parts = found.pairs.partition_by("below", "above", maintain_order=True)
    by = pl.col(found.measures[0]).fill_nan(None)
    return pl.concat(
        part.sort(by, descending=True, nulls_last=True, maintain_order=True).head(
            max(1, most // len(parts))
        )
        for part in parts
    )


def _communities(found: Relations) -> list[dict[str, Any]]:
    """Letter, colour and size of each, as the graph has them, the largest first."""
    sizes: dict[int, int] = {}
    for community in found.community.values():
        sizes[community] = sizes.get(community, 0) + 1
    return [
        {"letter": letter(c), "colour": SERIES[c % len(SERIES)], "size": sizes[c]}
        for c in range(len(sizes))
    ]


def _shown(token: str) -> str:
    """A token with its leading space as a dot."""
    return printable(f"·{token[1:]}" if token.startswith(" ") else token)


def _rounded(value: float | None) -> float | None:
    """Four digits, which are what a page shows; None where there is no number."""
    if value is None or value != value or abs(value) == float("inf"):
        return None
    return float(f"{value:.4g}")
