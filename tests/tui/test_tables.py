"""Tables as the screens rank and compare them, against the run folder's own reading."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.examples import examples
from interp_dsl.runs.schema import NODE_COLUMNS, score_table
from interp_dsl.runs.select import score_columns
from interp_dsl.tui.comparing import compared, in_words
from interp_dsl.tui.examples import examples_of
from interp_dsl.tui.ranking import TABLE_ROW, ranking
from interp_dsl.tui.widgets.frame import FrameModel
from tests.runs.circuits import INDUCTION, table
from tests.tui import made


def titles(model: FrameModel) -> list[str]:
    return [heading.title for heading in model.headings]


def test_the_examples_of_a_row_are_those_of_the_run(tmp_path: Path) -> None:
    folder = made.done(tmp_path)
    whole = examples(folder, "noising")
    model = ranking(folder.read_table("noising"), "kl").model
    for unit, at in model.shown.select("unit", TABLE_ROW).iter_rows():
        own = whole.filter((pl.col("unit") == unit) & (pl.col("metric") == "kl"))
        found = examples_of(folder, "noising", at).frame
        assert found is not None
        names = ["example", "base", "value", "effect"]
        assert found.select(names).cast(pl.Float64).equals(own.select(names).cast(pl.Float64))


def test_a_step_without_examples_says_so(tmp_path: Path) -> None:
    folder = made.done(tmp_path)
    found = examples_of(folder, "circuit", 0)
    assert found.frame is None and "keeps no values" in found.reason


def test_metrics_stand_side_by_side_by_their_units() -> None:
    table = score_table(made.scores())
    found = ranking(table, "kl")
    assert (found.metrics, found.lead) == (["gap", "kl"], "kl")
    effects = {row["unit"]: row["effect"] for row in made.scores() if row["metric"] == "gap"}
    beside = dict(found.model.shown.select("unit", "#other0").iter_rows())
    assert beside == effects


def test_metrics_with_other_rows_are_joined_by_their_units() -> None:
    table = score_table(made.scores())
    some = table.filter((pl.col("metric") == "gap") | (pl.col("layer") == 1)).reverse()
    found = ranking(some, "gap")
    beside = dict(found.model.shown.select("unit", "#other0").iter_rows())
    effects = {row["unit"]: row["effect"] for row in made.scores() if row["metric"] == "kl"}
    assert beside == {u: e if u.startswith("L1") else None for u, e in effects.items()}


def test_values_of_an_evaluation_are_listed_by_metric() -> None:
    rows = [{"unit": "circuit", "metric": name, "value": 0.5} for name in ("a", "b")]
    found = ranking(score_table(rows))
    assert found.lead is None
    assert titles(found.model)[:2] == ["metric", "value"]
    assert len(found.model) == 2


def test_any_other_table_is_shown_as_it_is() -> None:
    frame = pl.DataFrame({"k": [1, 2], "loss": [0.5, None], "name": ["x", None]})
    found = ranking(frame)
    assert titles(found.model) == ["k", "loss", "name"]
    assert found.model.shown.drop("#row").equals(frame)


@pytest.mark.parametrize("table", [score_table([]), pl.DataFrame({"x": []})])
def test_a_table_without_rows_is_shown(table: pl.DataFrame) -> None:
    assert len(ranking(table).model) == 0


def test_two_runs_are_compared_by_unit() -> None:
    before, after = score_table(made.scores()), score_table(made.scores(6.0))
    model, names, metric = compared(before, after, None)
    assert (names, metric) == (["gap", "kl"], "gap")
    rows = {row["unit"]: row for row in model.shown.iter_rows(named=True)}
    assert rows["L0H1"]["a"] == pytest.approx(-5.18) and rows["L0H1"]["b"] == pytest.approx(0.82)
    assert all(row["difference"] == pytest.approx(6.0) for row in rows.values())
    # interval of b - a by square-and-add: 6 -+ sqrt(1.5² + 1.25²)
    assert rows["L0H0"]["low"] == pytest.approx(6 - 1.953, abs=1e-3)
    assert all(row["#apart"] for row in rows.values())
    flips = {unit for unit, row in rows.items() if row["#sign"]}
    assert flips == {"L0H1", "L0H3"}
    assert "8 components in both, 8 differ clearly, 2 sign flips" in in_words(model, metric)


def test_tables_that_vary_different_things_cannot_be_compared() -> None:
    before = score_table(made.scores())
    with pytest.raises(ValueError, match="vary different things"):
        compared(before, before.with_columns(k=pl.lit(1)), None)


def test_two_circuits_are_compared_by_edge() -> None:
    before = table(INDUCTION)
    after = before.with_columns(pl.Series("kept", [True] * 3 + [False] * 6))
    model, names, metric = compared(before, after, "gap")
    assert (names, metric) == ([], None)
    assert titles(model) == ["source", "target", "channel", "kept", "a", "b"]
    kept = {row[:3]: row[3] for row in model.shown.select(*KEY, "kept").iter_rows()}
    assert kept == {edge[:3]: "both" if i < 3 else "a" for i, edge in enumerate(INDUCTION)}
    assert in_words(model, None).startswith("3 edges in both, 6 in a alone")
    with pytest.raises(ValueError, match="with another"):
        compared(before, score_table(made.scores()), None)


def test_nodes_of_a_circuit_say_whether_they_are_kept() -> None:
    rows = [
        {"unit": f"sae[{i}]", "position": "all", "metric": "gap", "effect": 0.1 * i, "n": 4,
         "skipped": False, "order": i or None, "kept": i > 2}
        for i in range(5)
    ]  # fmt: skip
    found = ranking(score_table(rows, NODE_COLUMNS), "gap")
    assert titles(found.model)[:1] == ["unit"] and "kept" in titles(found.model)
    assert "base" not in titles(found.model) and "order" not in titles(found.model)
    kept = dict(found.model.shown.select("unit", "kept").iter_rows())
    assert [kept[f"sae[{i}]"] for i in range(5)] == [False, False, False, True, True]
    printed = {c.name: c.cells for c in score_columns(score_table(rows, NODE_COLUMNS))}
    assert list(printed) == ["unit", "position", "metric", "effect", "kept", "order", "n"]
    assert printed["order"][:2] == ["·", "1"] and printed["kept"] == ["False"] * 3 + ["True"] * 2
