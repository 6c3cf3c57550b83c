"""What `factor` leaves behind as figures: spectra, ablations, graphs of modules."""

from __future__ import annotations

from interp_dsl.report.curves import chart
from interp_dsl.report.figures.lines import lines
from interp_dsl.report.figures.modules import module_plot
from interp_dsl.runs.bases import ablations, modules, spectra
from interp_dsl.runs.factored import TABLES
from interp_dsl.runs.folder import RunFolder

SPECTRA = ("spectrum", "ranks")
"""The tables whose figures are a step's own."""


def parent(folder: RunFolder, step: str) -> str | None:
    """The step of `factor` that a table belongs to; None for one of its own."""
    name, _, behind = step.rpartition(".")
    is_factored = any(folder.has_table(f"{name}.{one}") for one in SPECTRA if name)
    return name if is_factored and behind in TABLES and folder.has_table(name) else None


def tables(folder: RunFolder, step: str) -> list[str]:
    """The tables behind a step's name, without the step's."""
    return [name for name in TABLES if folder.has_table(f"{step}.{name}")]


def figures(folder: RunFolder, step: str, name: str) -> list[str]:
    """The figures of a table behind a step's name, as SVG; none for one of groups."""
    if name in ("edges", "modules"):
        return _graphs(folder, step)
    table = folder.read_table(f"{step}.{name}")
    if name in SPECTRA:
        return [lines(chart(b, f"{step}: spectra of {b.title}")) for b in spectra(table) if b.lines]
    if name == "ablation":
        made = ablations(table)
        return [lines(chart(b, f"{step}: first directions of {b.title} kept")) for b in made]
    return []


def _graphs(folder: RunFolder, step: str) -> list[str]:
    """The graph of each basis."""
    names = [f"{step}.edges", f"{step}.modules"]
    if not all(map(folder.has_table, names)):
        return []
    edges, found = map(folder.read_table, names)
    bases = edges["basis"].unique(maintain_order=True)
    drawn = [
        module_plot(modules(edges, found, basis), f"{step}: modules, {basis} basis")
        for basis in bases
    ]
    return [one for one in drawn if one]
