"""A circuit: which edges of a model's graph a method kept, and all that is needed to say so again.

Its file is described in grammar/circuit.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.circuit_table import edge_table, fault
from interp_dsl.runs.files import write_text
from interp_dsl.runs.nodes import Node, in_order, parse_node

if TYPE_CHECKING:
    import polars as pl

    from interp_dsl.runs.circuit_sets import CircuitDiff


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a model or a dataset is called, and the sha256 (hex) of what it is."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class GraphSize:
    """The graph that a circuit is part of; `n_edges` counts all its edges, tested or not."""

    n_layers: int
    n_heads: int
    n_edges: int


@dataclass(frozen=True, slots=True)
class Method:
    """How a circuit was found: `acdc` and its options, values as JSON has them."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Circuit:
    """`table`: the edges that were looked at, with the columns of circuit_table.EDGE_COLUMNS.

    `ablation` is the source as the language writes it that stands where an edge is out:
    `ioi.corrupt`, `zero`, `mean(ioi.clean)`. `metric`, `ablation` and `data` are None where a
    circuit was put together from others that differ in it.
    Raises InterpError E722 to E724 where the edges are none of such a graph."""

    table: pl.DataFrame
    graph: GraphSize
    method: Method
    model: Fingerprint
    data: Fingerprint | None = None
    metric: str | None = None
    ablation: str | None = None
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.graph.n_layers < 0 or self.graph.n_heads < 0:
            raise fault("E722", "graph: layers and heads are counts", "write numbers from 0")
        options = json.loads(json.dumps(dict(self.method.options), allow_nan=False))
        table = edge_table(self.table, self.graph.n_layers, self.graph.n_heads)
        if len(table) > self.graph.n_edges:
            said = f"graph.n_edges is {self.graph.n_edges}, and there are {len(table)} edges"
            raise fault("E722", said, "n_edges counts the edges of the whole graph")
        if not all(map(math.isfinite, self.thresholds)):
            raise fault("E722", "thresholds: one is not finite", "write finite numbers")
        object.__setattr__(self, "method", Method(self.method.name, options))
        object.__setattr__(self, "thresholds", tuple(map(float, self.thresholds)))
        object.__setattr__(self, "table", table)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Circuit):
            return NotImplemented
        names = [f.name for f in fields(self) if f.name != "table"]
        alike = all(getattr(self, name) == getattr(other, name) for name in names)
        return alike and self.table.equals(other.table)

    # ---- what is in it

    @property
    def edges(self) -> pl.DataFrame:
        """The kept edges, in the order of the table."""
        return self.table.filter("kept")

    @property
    def size(self) -> int:
        """How many edges are kept."""
        return int(self.table["kept"].sum())

    @cached_property
    def ends(self) -> dict[str, Node]:
        """The nodes at the ends of kept edges by name, in the order in which they run."""
        kept = self.edges
        nodes = {}
        for name in {*kept["source"], *kept["target"]}:
            node = parse_node(name)
            assert node is not None
            nodes[name] = node
        return {name: nodes[name] for name in in_order(nodes, self.graph.n_layers)}

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes at the ends of kept edges, in the order in which they run."""
        return list(self.ends)

    @property
    def heads(self) -> list[str]:
        """The heads among the nodes."""
        return [name for name, node in self.ends.items() if node.kind == "head"]

    # ---- sets of edges over the same graph (InterpError E725 over different ones)

    def __or__(self, other: Circuit) -> Circuit:
        from interp_dsl.runs.circuit_sets import union

        return union(self, other)

    def __and__(self, other: Circuit) -> Circuit:
        from interp_dsl.runs.circuit_sets import intersection

        return intersection(self, other)

    def __sub__(self, other: Circuit) -> Circuit:
        from interp_dsl.runs.circuit_sets import difference

        return difference(self, other)

    def diff(self, other: Circuit) -> CircuitDiff:
        """What each keeps alone and what both keep, with their numbers and the Jaccard index."""
        from interp_dsl.runs.circuit_sets import diff

        return diff(self, other)

    # ---- files and pictures

    def save(self, path: Path | str) -> None:
        """Write the circuit's file, whole or not at all."""
        from interp_dsl.runs.circuit_file import to_json

        write_text(Path(path), to_json(self))

    @classmethod
    def load(cls, path: Path | str) -> Circuit:
        """The circuit of a file. Raises InterpError E720 to E724 that name file and place."""
        from interp_dsl.runs.circuit_file import read

        return read(Path(path))

    def to_dot(self) -> str:
        """The kept edges for Graphviz."""
        from interp_dsl.runs.draw.formats import dot

        return dot(self)

    def to_graphml(self) -> str:
        """The kept edges with all their numbers, for networkx, Gephi, yEd and their like."""
        from interp_dsl.runs.draw.formats import graphml

        return graphml(self)

    def to_svg(self, most: int = 300) -> str:
        """A picture of the kept edges, of the `most` with the largest effects where there are more;
        the picture says so."""
        from interp_dsl.runs.draw.svg import svg

        return svg(self, most)
