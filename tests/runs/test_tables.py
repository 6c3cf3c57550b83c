"""Ranks, single examples, comparisons, numbers as text."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.compare import agreement, compare
from interp_dsl.runs.examples import examples
from interp_dsl.runs.rank import metrics, ranked, ranking_column
from interp_dsl.runs.schema import score_table
from interp_dsl.runs.select import Selection, columns_of, select
from interp_dsl.runs.text import decimals, duration, file_size, number, printable
from tests.runs.recorded import N, record, rows


def test_components_rank_by_size_and_keep_their_signs() -> None:
    held = [*rows(), {"unit": "L9H9", "metric": "gap", "effect": None}]
    table = score_table([*held, {"unit": "L9H8", "metric": "gap", "effect": math.nan}])
    order = ranked(table, "gap")["effect"].to_list()
    assert order[:6] == [-1.25, 0.75, -0.5, -0.125, 0.0625, 0.0]
    assert ranked(table, "gap")["unit"].to_list()[-2:] == ["L9H9", "L9H8"]
    assert metrics(table) == ["gap", "kl"]


def test_a_step_of_values_ranks_by_value() -> None:
    table = score_table([{"metric": "a", "value": v} for v in (1.0, -3.0, 2.0)])
    assert ranking_column(table) == "value"
    assert ranked(table, "a")["value"].to_list() == [-3.0, 2.0, 1.0]


def test_a_selection_refuses_unknown_names() -> None:
    table = score_table(rows())
    for selection, meant in ((Selection(metric="gpa"), "gap"), (Selection(by="efect"), "effect")):
        with pytest.raises(InterpError) as raised:
            select(table, "noising", selection)
        (found,) = raised.value.diagnostics
        assert (found.code, found.help) == ("E707", f"did you mean {meant}?")


def test_examples_stand_beside_their_rows(tmp_path: Path) -> None:
    folder = record(tmp_path)
    long = examples(folder, "noising")
    assert len(long) == 12 * N
    means = long.group_by("unit", "metric", maintain_order=True).agg(pl.col("effect").mean())
    assert means["effect"].to_list() == pytest.approx([row["effect"] for row in rows()])
    assert long["example"].to_list()[:5] == [0, 1, 2, 3, 0]
    with pytest.raises(FileNotFoundError):
        examples(folder, "circuit")


def test_padding_of_examples_is_left_out(tmp_path: Path) -> None:
    folder = record(tmp_path)
    tensors = folder.read_tensors("noising")
    value = tensors["value"].copy()
    value[0, 2:] = math.nan
    folder.write_tensors("noising", {"value": value})
    long = examples(folder, "noising")
    assert len(long) == 12 * N - 2
    assert long["base"].is_null().all()


def test_a_comparison_joins_intervals_as_independent() -> None:
    first, second = score_table(rows()), score_table(rows(shift=1.0))
    found = compare(first, second).row(0, named=True)
    assert found["difference"] == 1.0
    spread = math.sqrt(0.25**2 + 0.25**2)
    assert found["low"] == pytest.approx(1.0 - spread)
    assert found["high"] == pytest.approx(1.0 + spread)


def test_bounds_of_a_difference_may_be_uneven() -> None:
    def one(effect: float, low: float, high: float) -> pl.DataFrame:
        row = {"unit": "x", "metric": "gap", "effect": effect, "low": low, "high": high}
        return score_table([row])

    found = compare(one(1.0, 0.0, 4.0), one(5.0, 1.0, 8.0)).row(0, named=True)
    assert found["low"] == pytest.approx(4.0 - 5.0)  # 4 below for b, 3 above for a
    assert found["high"] == pytest.approx(4.0 + math.sqrt(9 + 1))


def test_flips_and_ranks() -> None:
    table = compare(score_table(rows()), score_table(rows(shift=1.0)))
    gap = {row["unit"]: row for row in table.filter(pl.col("metric") == "gap").to_dicts()}
    assert [u for u, row in gap.items() if row["flipped"]] == ["L0H1", "L1H1"]
    assert [u for u, row in gap.items() if row["clearly"]] == ["L0H1"]
    assert (gap["L0H0"]["rank_a"], gap["L0H0"]["rank_b"]) == (1, 6)
    assert agreement(table, "kl") == pytest.approx(1.0)
    assert agreement(table, "gap") == pytest.approx(1 - 6 * 48 / 210)


def test_components_of_one_run_alone_stay() -> None:
    table = compare(score_table(rows()[:2]), score_table(rows()[1:3]))
    assert table["difference"].is_null().to_list() == [True, False, True]


def test_tables_that_do_not_match_are_refused() -> None:
    plain, swept = score_table(rows()), score_table(rows(), {"k": "integer"})
    with pytest.raises(ValueError, match="nothing against k"):
        compare(plain, swept)
    with pytest.raises(ValueError, match="twice"):
        compare(plain, pl.concat([plain, plain]))
    with pytest.raises(ValueError, match="score tables"):
        compare(plain, plain.drop("low"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.25, -0.001], ["+1.250", "-0.001"]),
        ([0.5, -0.00001], ["+0.5000", "+0.0000"]),
        ([1234.5], ["+1234"]),
        ([2e-9, None], ["+2.000e-09", "·"]),
        ([0.0], ["+0.000"]),
        ([math.inf], ["+inf"]),
    ],
)
def test_numbers_have_their_sign_and_one_count_of_decimals(
    values: list[float | None], expected: list[str]
) -> None:
    places = decimals(values)
    assert [number(v, places) for v in values] == expected


def test_text_from_data_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in printable("\x1b[2Jgone")
    assert "\n" not in printable("a\nb")
    assert printable("größer ✓") == "größer ✓"


def test_sizes_and_times_read_well() -> None:
    assert [file_size(n) for n in (12, 1_500, 2_000_000)] == ["12 B", "1.5 kB", "2.0 MB"]
    assert [duration(s) for s in (1.23, 75, 3700)] == ["1.2 s", "1 min 15 s", "1 h 01 min"]


def test_several_metrics_have_the_digits_of_their_own() -> None:
    row = {"unit": "model", "position": "all", "n": 8, "skipped": False}
    found = (("pairs", 178.0, None, None), ("kl", 0.9041, 0.8, 1.0))
    table = score_table(
        [{**row, "metric": m, "value": v, "low": a, "high": b} for m, v, a, b in found]
    )
    cells = {c.name: c.cells for c in columns_of(table)}
    assert cells["value"] == ["178.0", "0.9041"]
    assert cells["95% interval"] == ["·", "[0.8000, 1.0000]"]
