"""What widgets are made of: cells, bars, charts, rows of a frame, batches of events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from interp_dsl.tui.feed import LARGEST, _pieces, coalesced
from interp_dsl.tui.files import free_path
from interp_dsl.tui.tasks import HEADINGS, time_left
from interp_dsl.tui.widgets.cells import bar, fitted, gauge
from interp_dsl.tui.widgets.charts import curve, histogram
from interp_dsl.tui.widgets.columns import NumberColumn, TextColumn
from interp_dsl.tui.widgets.frame import FrameModel


@given(st.text(), st.integers(1, 30), st.booleans())
def test_text_takes_exactly_its_cells(text: str, width: int, right: bool) -> None:
    shown = fitted(text, width, right)
    assert cell_len(shown) == width
    assert shown.isprintable()


def test_bars_go_right_above_zero_and_left_below_it() -> None:
    assert bar(1.0, 1.0, 3) == "   │███"
    assert bar(-1.0, 1.0, 3) == "███│   "
    assert bar(0.5, 1.0, 3) == "   │█▌ "
    assert bar(-0.5, 1.0, 3) == " ▐█│   "
    assert bar(0.0, 1.0, 3) == bar(None, 1.0, 3) == bar(float("nan"), 1.0, 3) == "   │   "
    assert bar(9.0, 1.0, 3) == bar(1.0, 1.0, 3)


@given(st.floats(-1, 1), st.integers(1, 12))
def test_a_bar_of_the_other_sign_is_its_mirror(value: float, half: int) -> None:
    mirrored = bar(value, 1.0, half)[::-1].translate(str.maketrans("▌▐", "▐▌"))
    assert bar(-value, 1.0, half) == mirrored


def test_a_gauge_is_full_when_all_is_done() -> None:
    assert gauge(5, 10, 4) == ("━━", "──")
    assert gauge(10, 10, 4) == ("━━━━", "")
    assert gauge(0, None, 4) == ("", "────")


def test_a_histogram_has_every_value_somewhere() -> None:
    # counts 1, 0, 1, 2 in quarters of 0..4; two lines are sixteen eighths
    assert histogram([0.0, 2.5, 4.0, 3.5], 4, 2) == ["   █", "█ ██"]
    assert histogram([], 3, 1) == ["   "]
    assert histogram([1.0, float("nan")], 3, 1) == ["█  "]


def test_a_curve_rises_from_an_eighth_to_the_top() -> None:
    assert curve([(0, 0), (1, 1)], 8, 1) == ["▁▂▃▄▅▆▇█"]
    assert curve([(0, 1), (1, 0)], 8, 1) == ["█▇▆▅▄▃▂▁"]
    assert curve([(0, 5), (9, 5)], 4, 2) == ["    ", "████"]
    assert curve([], 4, 1) == ["    "]
    assert curve([(3, 1)], 2, 2) == ["  ", "██"]


@given(st.floats(0, 300_000))
def test_time_left_is_read_whole_in_its_column(seconds: float) -> None:
    (width,) = (heading.width for heading in HEADINGS if heading.title == "time")
    said = time_left(seconds)
    value, unit = said.removesuffix(" left").split()
    size = {"s": 1, "min": 60, "h": 3600}[unit]
    assert len(said) <= width and abs(float(value) * size - seconds) <= size / 2


FRAME = pl.DataFrame({"unit": ["b", "a", "c", "d"], "x": [-3.0, 2.0, None, float("nan")]})


def model() -> FrameModel:
    return FrameModel(FRAME, [TextColumn.of(FRAME, "unit"), NumberColumn.of(FRAME, "x")], "x")


def shown(rows: FrameModel) -> str:
    return "".join(rows.shown["unit"])


def test_rows_are_sorted_by_size_then_down_then_up_with_what_is_missing_last() -> None:
    rows = model()
    orders = [shown(rows)]
    for column in (1, 1, 0, 0):
        rows.sort(column)
        orders.append(shown(rows))
    assert orders == ["bacd", "abcd", "bacd", "abcd", "dcba"]


def test_a_row_keeps_its_key_whatever_the_order_and_the_filter() -> None:
    rows = model()
    key = rows.key(1)  # `a`
    rows.sort(0)
    assert rows.row_of(key) == 0
    rows.keep(pl.Series([True, False, True, True]))
    assert rows.row_of(key) is None and shown(rows) == "bcd"
    rows.keep(None)
    assert rows.row_of(key) == 0


def progress(time: float, task: str = "a") -> dict[str, Any]:
    return {"time": time, "event": "progress", "task": task, "done": round(time * 1000)}


def test_of_progress_ten_a_second_and_the_last_are_kept() -> None:
    events = [progress(i / 1000) for i in range(1000)]
    kept = coalesced(events)
    assert 10 <= len(kept) <= 12
    assert kept[0] is events[0] and kept[-1] is events[-1]
    other = [progress(0.5, "b"), {"time": 0.6, "event": "note", "text": ""}]
    assert [e for e in coalesced([*events, *other]) if e in other] == other


def test_many_events_come_in_pieces_and_none_still_brings_the_status() -> None:
    events = [progress(i) for i in range(LARGEST + 1)]
    assert [len(piece) for piece in _pieces(events)] == [LARGEST, 1]
    assert _pieces([]) == [[]]


@pytest.mark.parametrize("stem", ["a/../b", "$(rm) [x]", "", "…"])
def test_names_of_files_are_harmless_and_free(stem: str, tmp_path: Path) -> None:
    first = free_path(tmp_path, stem, ".csv")
    assert first.parent == tmp_path and not set(first.name) & set("/$()[] ")
    first.touch()
    second = free_path(tmp_path, stem, ".csv")
    assert second != first and not second.exists()
