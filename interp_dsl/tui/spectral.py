"""Which factorings a run has, and which of their pictures is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interp_dsl.runs.bands import Bands
from interp_dsl.runs.bases import Modules, ablations, findings, kind, modules, spectra
from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.stepped import kept

if TYPE_CHECKING:
    import polars as pl

SPECTRA = ("spectrum", "ranks")


@dataclass
class Spectral:
    """The steps of a run that factor; `step`, `picture` (spectra, ablation or modules) and `at`,
    the place or, of modules, the basis, say what is looked at."""

    folder: RunFolder
    step: str = ""
    picture: str = ""
    at: int = 0
    steps: list[str] = field(default_factory=list)
    _tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    _lines: dict[tuple[str, str], list[Bands]] = field(default_factory=dict)
    _graphs: dict[str, list[Modules]] = field(default_factory=dict)

    def read(self) -> bool:
        """See which steps there are now; whether there is a new one."""
        held = self.folder.steps
        found = [s for s in held if any(f"{s}.{name}" in held for name in SPECTRA)]
        is_new = found != self.steps
        self.steps = found
        self._lines.clear()
        self._graphs.clear()
        if found and not self.step:
            self.choose(step=found[0])
        return is_new

    def _table(self, name: str) -> pl.DataFrame | None:
        """A table of the step, read once."""
        full = f"{self.step}.{name}" if name else self.step
        if full not in self._tables:
            if not self.folder.has_table(full):
                return None
            self._tables[full] = self.folder.read_table(full)
        return self._tables[full]

    @property
    def findings(self) -> pl.DataFrame | None:
        """What was found, a column a basis or matrix."""
        table = self._table("")
        return findings(table) if table is not None and kind(table) else None

    @property
    def lines(self) -> list[Bands]:
        """The spectra of each place, or its ablations, made once."""
        key = self.step, self.picture
        if key not in self._lines:
            self._lines[key] = self._made_lines()
        return self._lines[key]

    def _made_lines(self) -> list[Bands]:
        if self.picture == "ablation":
            table = self._table("ablation")
            return ablations(table) if table is not None else []
        tables = (self._table(name) for name in SPECTRA)
        return [one for table in tables if table is not None for one in spectra(table)]

    @property
    def graphs(self) -> list[Modules]:
        """The modules of each basis that has edges, made once."""
        if self.step not in self._graphs:
            self._graphs[self.step] = self._made_graphs()
        return self._graphs[self.step]

    def _made_graphs(self) -> list[Modules]:
        edges, found = self._table("edges"), self._table("modules")
        if edges is None or found is None:
            return []
        return [
            modules(edges, found, basis) for basis in edges["basis"].unique(maintain_order=True)
        ]

    @property
    def pictures(self) -> list[str]:
        """The pictures that the step's tables make."""
        has = {name: self.folder.has_table(f"{self.step}.{name}") for name in ("ablation", "edges")}
        return ["spectra", *(["ablation"] if has["ablation"] else []),
                *(["modules"] if has["edges"] else [])]  # fmt: skip

    @property
    def names(self) -> list[str]:
        """What there is a picture of: places, or bases."""
        if self.picture == "modules":
            return [graph.basis for graph in self.graphs]
        return [bands.title for bands in self.lines]

    def choose(
        self, step: str | None = None, picture: str | None = None, at: int | None = None
    ) -> None:
        """Choose another step, picture, place or basis; the rest stays as far as it can."""
        self.step = step or self.step
        if picture not in (None, self.picture):
            self.at = 0
        self.picture = kept(picture or self.picture, self.pictures)
        there = len(self.names)
        self.at = (self.at if at is None else at) % max(1, there)
