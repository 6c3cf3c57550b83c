"""The filter of a table is the language's own unit syntax."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from interp_dsl.check.asides import check_aside
from interp_dsl.language.source import Source
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.units import expand
from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.chosen import as_units
from interp_dsl.tui.filters import filtered
from tests.tui import made

UNITS = [("L0H0", "all"), ("L0H1", "END"), ("L1H0", "3"), ("L1H1", "END"), ("L1H1.q", "END")]
TABLE = pl.DataFrame({"unit": [u for u, _ in UNITS], "position": [p for _, p in UNITS]})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return made.done(tmp_path)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("heads", [0, 1, 2, 3]),
        ("heads layers 1..1", [2, 3]),
        ("heads layers 1..1 at END", [3]),
        ("at END", [1, 3, 4]),
        ("layers 0..0", [0, 1]),
        ("heads at each", [2]),
        ("queries", [4]),
        ("L0H0 | L1H0", [0, 2]),
        ("{L0H0, L1H1} - L0H0", [3]),
        ("heads where noising.gap.effect < -8", [0, 2]),  # L0H0 -20.25, L1H0 -9.58
        ("mlps", None),
    ],
)
def test_it_names_rows(expression: str, rows: list[int] | None, folder: RunFolder) -> None:
    found = filtered(TABLE, expression, folder)
    if rows is None:
        assert found.passing is None and "attention only" in found.problem
    else:
        assert found.passing is not None, found.problem
        assert found.passing.arg_true().to_list() == rows


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("hea ds", "nothing joins `hea` and `ds`"),
        ("heads layers 7..9", "no layer 9"),
        ("nosuch", "nosuch"),
        ("heads where missing.gap < 0", "missing"),
        ("heads\nstep x = 1", "statement"),
        ("(", "never closed"),
        ("12", "places"),
    ],
)
def test_it_says_what_is_wrong(expression: str, says: str, folder: RunFolder) -> None:
    found = filtered(TABLE, expression, folder)
    assert found.passing is None
    assert says in found.problem, found.problem


def test_it_filters_edges_by_their_names(folder: RunFolder) -> None:
    table = folder.read_table("circuit")
    found = filtered(table, "{embed -> L0H1.v, L1H0 -> logits}", folder)
    assert found.passing is not None, found.problem
    assert found.passing.arg_true().to_list() == [0, 2]


ROWS = [
    [("L0H0", "all"), ("L1H1", "all")],
    [("L0H0", "END"), ("L1H1", "2"), ("L1H0", "END")],
    [("L0H1 -> L1H0.k", "all"), ("L1H0 -> logits", "all")],
    [("together(L0H0, L1H1)", "all")],
    [(f"L{i % 2}H{i % 4}", str(i)) for i in range(40)],
]


@pytest.mark.parametrize("rows", ROWS)
def test_copied_units_read_back_as_the_same(rows: list[tuple[str, str]]) -> None:
    statement = as_units(rows)
    name, _, expression = statement.partition("=")
    assert name == "units chosen "
    aside = check_aside(Source(made.TEXT), expression)
    assert aside.units is not None, aside.diagnostics
    assert isinstance(aside.units, Explicit)
    units = expand(aside.units, lambda step: [], None)
    assert {(u.place, u.position) for u in units} == set(rows)
