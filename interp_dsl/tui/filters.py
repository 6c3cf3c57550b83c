"""The rows of a table that a unit expression of the language names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interp_dsl.check.asides import Aside, check_aside
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.source import Source
from interp_dsl.plan.expressions import Row
from interp_dsl.plan.names import edge_name
from interp_dsl.plan.places import Unit
from interp_dsl.plan.units import expand
from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import polars as pl

_CLAUSE = re.compile(r"\s*(layers|at|where)\b")
_FAMILIES = {
    r"L\d+H\d+": "heads",
    r"L\d+H\d+\.q": "queries",
    r"L\d+H\d+\.k": "keys",
    r"L\d+H\d+\.v": "values",
    r"L\d+H\d+\.pattern": "patterns",
    r"L\d+\.mlp": "mlps",
    r"L\d+\.mlp\[\d+\]": "neurons",
    r"L\d+\.resid_pre": "resid_pre",
    r"L\d+\.resid_mid": "resid_mid",
    r"L\d+\.resid_post": "resid_post",
    r"L\d+\.attn_out": "attn_out",
    r"embed": "embed",
    r".+ -> .+": "edges",
}


@dataclass(frozen=True)
class Filtered:
    """`passing` is a truth value for each row, None where `problem` says in a sentence what is
    wrong with the expression; `n_units` are those that it names."""

    passing: pl.Series | None
    n_units: int = 0
    problem: str = ""


def filtered(table: pl.DataFrame, expression: str, folder: RunFolder) -> Filtered:
    """Which rows an expression names, such as `heads layers 7..11 at S2` or `L3H0 | mlps`.

    A unit without `at` stands for its rows at every position, `at each` for those at numbered
    ones. An expression that begins with a clause (`at S2`, `layers 0..3`) is about all families
    that the table has."""
    names = unit_names(table)
    if _CLAUSE.match(expression):
        found = families(names)
        if not found:
            return Filtered(None, problem="begin with units, such as heads or L0H1")
        expression = f"({' | '.join(found)}) {expression}"
    aside = check_aside(experiment_of(folder), expression, _params(folder))
    if aside.units is None:
        return Filtered(None, problem=_said(aside))
    try:
        units = expand(aside.units, lambda step: _rows(folder, step), None)
    except (InterpError, FileNotFoundError) as error:
        return Filtered(None, problem=_of_error(error))
    return Filtered(_passing(table, names, units), len(units))


def _passing(table: pl.DataFrame, names: pl.Series, units: tuple[Unit, ...]) -> pl.Series:
    anywhere = [u.place for u in units if u.position in ("all", "mixed")]
    passing = names.is_in(anywhere)
    placed = [u for u in units if u.position not in ("all", "mixed", "each")]
    if "position" not in table.columns:
        return passing | names.is_in([u.place for u in placed])
    each = names.is_in([u.place for u in units if u.position == "each"])
    pairs = [f"{u.place}\0{u.position}" for u in placed]
    own = names + "\0" + table["position"]
    return passing | own.is_in(pairs) | (each & table["position"].str.contains(r"^\d+$"))


def unit_names(table: pl.DataFrame) -> pl.Series:
    """What the rows are about, as the language writes it."""
    import polars as pl

    if "unit" in table.columns:
        return table["unit"]
    keys = table.select("source", "target", "channel").iter_rows()
    return pl.Series("unit", [edge_name(*key) for key in keys], dtype=pl.String)


def families(names: pl.Series) -> list[str]:
    """The families that the units of a table belong to."""
    kinds = names.str.replace_all(r"\d+", "0").unique()
    return [
        family
        for pattern, family in _FAMILIES.items()
        if any(re.fullmatch(pattern, kind) for kind in kinds)
    ]


def experiment_of(folder: RunFolder) -> Source:
    """The text as run, at the place of the file that it came from: imports are beside it."""
    path = folder.manifest.get("file")
    return Source(folder.experiment, Path(path) if path else None)


def _params(folder: RunFolder) -> dict[str, str]:
    return {name: str(value) for name, value in folder.manifest.get("params", {}).items()}


def _rows(folder: RunFolder, step: str) -> list[Row]:
    return list(folder.read_table(step).iter_rows(named=True))


def _said(aside: Aside) -> str:
    found = next(iter(aside.diagnostics), None)
    if found is None:
        return "this names no units"
    return _in_words(found, aside)


def _in_words(found: Diagnostic, aside: Aside) -> str:
    words = found.message
    if found.span and found.span.start >= aside.start and found.span.text.strip():
        words += f" (at `{found.span.text.strip()}`)"
    for more in (found.label, found.help):
        if more:
            words += f"; {more}"
    return words


def _of_error(error: InterpError | FileNotFoundError) -> str:
    if isinstance(error, InterpError):
        first = error.diagnostics[0]
        return f"{first.message}; {first.help}" if first.help else first.message
    return "a step that this asks for has no table yet"
