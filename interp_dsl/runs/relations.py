"""How a person walks through the features that `relate` has related: a feature, its nearest in the
places below and above by each measure, and its community."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from interp_dsl.plan.tasks import Plan, Relate
from interp_dsl.runs.bases import Modules, Node, modules
from interp_dsl.runs.features import TOKENS, dictionaries
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.training import dictionary_name

if TYPE_CHECKING:
    import polars as pl

MEASURES = (
    "pearson",
    "cosine",
    "jaccard",
    "sufficiency",
    "necessity",
    "mutual_information",
    "decoder_cosine",
    "lift",
)
DRAWN = 90
"""Pairs of a drawn graph."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A feature beside another, with everything that is known of the two: a row of the pairs."""

    node: Node
    value: float
    row: dict[str, Any]


@dataclass
class Relations:
    """The pairs of a step of `relate`, and the communities of its features."""

    pairs: pl.DataFrame
    communities: pl.DataFrame
    _ends: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The places from the lowest up."""
        chain = self.pairs.select("below", "above").unique(maintain_order=True).rows()
        return tuple(dict.fromkeys(place for pair in chain for place in pair))

    @cached_property
    def measures(self) -> list[str]:
        """Those that any pair has a value of."""
        return [m for m in MEASURES if not self.pairs[m].is_null().all()]

    @cached_property
    def community(self) -> dict[Node, int]:
        """The community of each feature that is in one with others, by size from 0."""
        rows = self.communities.select("layer", "feature", "community").rows()
        sizes: dict[int, int] = {}
        for *_, label in rows:
            sizes[label] = sizes.get(label, 0) + 1
        order = sorted(sizes, key=lambda label: (-sizes[label], label))
        rank = {label: i for i, label in enumerate(order)}
        return {(layer, feature): rank[label] for layer, feature, label in rows}

    def members(self, community: int) -> int:
        return sum(held == community for held in self.community.values())

    def features(self, layer: str, measure: str) -> list[tuple[int, float]]:
        """The features of a place that are in a pair, with the greatest value that they have with
        any other, the greatest first."""
        import polars as pl

        key = (layer, measure)
        if key not in self._ends:
            parts = [
                self.pairs.filter(pl.col(place) == layer).select(
                    pl.col(number).alias("k"), pl.col(measure).fill_nan(None).alias("value")
                )
                for place, number in (("below", "i"), ("above", "j"))
            ]
            found = pl.concat(parts).group_by("k").agg(pl.col("value").max())
            found = found.sort(["value", "k"], descending=[True, False], nulls_last=True)
            self._ends[key] = [(k, value) for k, value in found.rows() if value is not None]
        return self._ends[key]

    def neighbours(self, node: Node, measure: str, above: bool) -> list[Neighbour]:
        """The features of the place above, or below, that are in a pair with one, the nearest
        first."""
        import polars as pl

        own, its = ("below", "i"), ("above", "j")
        own, its = (own, its) if above else (its, own)
        rows = self.pairs.filter(pl.col(own[0]) == node[0], pl.col(own[1]) == node[1])
        rows = rows.filter(pl.col(measure).is_not_null() & pl.col(measure).is_not_nan())
        rows = rows.sort(measure, descending=True, maintain_order=True)
        return [
            Neighbour((row[its[0]], row[its[1]]), row[measure], row)
            for row in rows.iter_rows(named=True)
        ]

    def graph(self, measure: str, most: int = DRAWN) -> Modules:
        """The strongest pairs of each two places as a graph of communities."""
        import polars as pl

        names = {"below": "source", "i": "source_k", "above": "target", "j": "target_k"}
        edges = self.pairs.rename({**names, measure: "edge"}).select(*names.values(), "edge")
        edges = edges.filter(pl.col("edge") > 0).with_columns(basis=pl.lit(measure))
        found = self.communities.rename({"feature": "k", "community": "module"})
        return modules(edges, found.with_columns(basis=pl.lit(measure)), measure, most)


def relations(folder: RunFolder, step: str) -> Relations | None:
    """What a step of `relate` has left; None where the step is none, or has kept no pair."""
    name = f"{step}.pairs"
    if not folder.has_table(name):
        return None
    pairs = folder.read_table(name)
    if not {"below", "i", "above", "j"} <= set(pairs.columns) or not len(pairs):
        return None
    return Relations(pairs, folder.read_table(f"{step}.communities"))


class Meanings:
    """On which tokens features fire, where a step of `inspect` has looked at their dictionary;
    `read_by` has the step of each place."""

    def __init__(self, folder: RunFolder, plan: Plan | None, step: str) -> None:
        self.read_by: dict[str, str] = {}
        self._tables: dict[str, pl.DataFrame] = {}
        self._said: dict[Node, tuple[str, ...]] = {}
        tasks = plan.tasks if plan else ()
        read = {one.name: one for one in (dictionaries(plan, folder) if plan else ())}
        for task in (t for t in tasks if isinstance(t, Relate) and t.step == step):
            for of in task.of:
                for fitted in of.fitted:
                    held = read.get(dictionary_name(of.step, fitted.label))
                    if held is not None and held.examples:
                        place, by = fitted.target.place, held.examples[-1]
                        self.read_by[place] = by
                        self._tables[place] = folder.read_table(by)

    def __call__(self, node: Node) -> tuple[str, ...]:
        """The tokens that a feature fires most strongly on, each once; none where none is known."""
        import polars as pl

        table = self._tables.get(node[0])
        if table is None:
            return ()
        if node not in self._said:
            rows = table.filter(pl.col("feature") == node[1], pl.col("interval").is_null())
            tokens = rows["token"].unique(maintain_order=True).head(TOKENS)
            self._said[node] = tuple(tokens)
        return self._said[node]


def told(rows: Sequence[Neighbour], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Neighbours as rows for a file."""
    return [
        {"place": n.node[0], "feature": n.node[1], **{m: n.row[m] for m in measures}} for n in rows
    ]
