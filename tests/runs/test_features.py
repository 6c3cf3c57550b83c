"""What a run has recorded of features, and how its tables read."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from interp_dsl.language.cells import cells
from interp_dsl.runs.contexts import in_context
from interp_dsl.runs.features import (
    contexts,
    densities,
    dictionaries,
    feature_rows,
    feature_units,
    firing_on,
    n_intervals,
)
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import RunLive
from interp_dsl.runs.select import Selection, columns_of, select
from interp_dsl.runs.text import layout
from interp_dsl.runs.training import MEASURES, training_curves
from tests.runs import dictionaries as made


def test_which_steps_have_read_whose_features(tmp_path: Path) -> None:
    made.write_tables(tmp_path)
    sae, few, unread = dictionaries(made.plan(), RunFolder(tmp_path))
    assert (sae.name, sae.examples, sae.densities) == ("sae", ("fires",), ("often",))
    assert (few.name, few.examples, few.densities) == ("many[k=4]", (), ("rare",))
    assert (unread.name, unread.examples, unread.densities) == ("many[k=16]", (), ())
    assert few.remedy("examples") == (
        "step many_examples = inspect features(many[k=4]) by examples() on held"
    )
    assert sae.remedy("examples", 12) == "step sae_examples = inspect sae[12] by examples() on held"
    assert unread.data == "seen"  # that of its fit


def test_a_step_that_has_not_ended_has_read_nothing(tmp_path: Path) -> None:
    made.write_tables(tmp_path)
    (tmp_path / "tables" / "fires.parquet").unlink()
    assert dictionaries(made.plan(), RunFolder(tmp_path))[0].examples == ()


@pytest.mark.parametrize("names", [["sae[3]", "sae[3, 40]"], ["many[k=4, 3]", "many[k=4, 3, 40]"]])
def test_features_are_written_as_the_language_has_them(names: list[str]) -> None:
    name = "sae" if names[0].startswith("sae") else "many[k=4]"
    assert [feature_units(name, [3]), feature_units(name, [3, 40])] == names


def test_a_row_a_feature() -> None:
    rows = feature_rows(made.examples(), made.density())
    assert rows["feature"].to_list() == [0, 1, 2, 3, 4, 5]
    assert rows["maximum"].to_list() == [2.0, None, 0.16, None, None, 0.004]
    assert rows["tokens"].to_list() == [["def"], None, [" =="], None, None, ["12"]]
    alone = feature_rows(made.examples(), None)
    assert alone["maximum"].to_list() == [4.0, 2.5, 0.25] and alone["density"].is_null().all()
    bare = feature_rows(None, made.density())
    assert bare["density"].to_list() == list(made.DENSITIES) and bare["tokens"].is_null().all()


@pytest.mark.parametrize(
    ("text", "found"),
    [("def", [0]), ("DEF", []), ("=", [2]), (" !", [2]), ("12", [5]), (".*", []), ("read", [])],
)
def test_features_by_what_they_fire_on(text: str, found: list[int]) -> None:
    assert sorted(firing_on(made.examples(), text)) == found


def test_contexts_stand_in_their_order() -> None:
    held = list(contexts(made.examples(), 0))
    assert [(c.interval, c.activation, c.token) for c in held] == [
        (interval, value, token) for interval, value, _, token, _ in made.CONTEXTS[0]
    ]
    assert held[1].share == 0.75 and n_intervals(made.examples()) == 2
    assert n_intervals(made.examples().filter(pl.col("interval").is_null())) == 0


def test_the_histogram_counts_every_feature_once() -> None:
    values = [1.0, 0.1, 0.11, 0.0999, 0.01, 0.0, 0.0, None]
    found = densities(values, 4)
    assert (found.low, found.high, found.never) == (-2, 0, 2)
    edges = [10 ** found.edge(i) for i in range(5)]
    assert edges == pytest.approx([0.01, 10**-1.5, 0.1, 10**-0.5, 1])
    brute = [0] * 4
    for value in (1.0, 0.1, 0.11, 0.0999, 0.01):
        brute[min(3, math.floor((math.log10(value) + 2) * 2))] += 1
    assert found.counts == brute == [1, 1, 2, 1]
    assert found.bin_of(0.0) is None and found.bin_of(0.11) == 2


def test_a_histogram_of_nothing_alive() -> None:
    found = densities([0.0, 0.0], 4)
    assert found.counts == [0] * 4 and found.never == 2 and found.high > found.low


@pytest.mark.parametrize("width", [16, 30, 61])
@pytest.mark.parametrize(
    ("before", "token", "after"),
    [
        ("x" * 99, "def", "y" * 99),
        ("", "", ""),
        ("日本語" * 9, "日本", "語" * 30),
        ("a\n", "z" * 50, "\tb"),
    ],
)
def test_a_token_in_context_keeps_its_place(
    before: str, token: str, after: str, width: int
) -> None:
    left, middle, right = in_context(before, token, after, width)
    assert cells(left) == int(0.45 * width)
    assert middle[0] == "«" and middle[-1] == "»"
    assert cells(left + middle + right) <= width
    assert not {"\n", "\t", "\x1b"} & set(left + middle + right)


# ** training **


def test_curves_of_events_and_of_the_table_are_the_same() -> None:
    table = made.training(("k=4", "k=16"))
    live = RunLive()
    for row in made.points(("k=4", "k=16")):
        told = {"at" if k == "step" else k: v for k, v in row.items()}
        live.apply({"time": 0.0, "event": "fit", "total": made.STEPS, **told, "step": "many"})
    assert live.fits == training_curves(table, "many")
    assert list(live.fits) == ["many[k=4]", "many[k=16]"]
    assert live.fits["many[k=16]"]["l0"] == [(512.0 * (i + 1), 3.0) for i in range(made.STEPS)]
    assert list(live.fits["many[k=4]"]) == list(MEASURES)


def test_a_fit_that_goes_on_from_a_checkpoint_is_drawn_once() -> None:
    live = RunLive()

    def tell(at: int, loss: float) -> None:
        row = made.points((None,), at + 1)[-1] | {"loss": loss}
        live.apply({"time": 0.0, "event": "fit", **row, "step": "sae"})

    for at in range(6):
        tell(at, 1.0)
    for at in (4, 5, 6):
        tell(at, 2.0)
    assert [loss for _, loss in live.fits["sae"]["loss"]] == [1.0] * 4 + [2.0] * 3
    tell(0, 3.0)
    assert live.fits["sae"]["loss"] == [(512.0, 3.0)]


# ** at 80 columns **


def shown(table: pl.DataFrame) -> tuple[str, list[str]]:
    rows, what = select(table, "step", Selection())
    return what, layout(columns_of(rows))


def test_examples_read_at_80_columns() -> None:
    what, lines = shown(made.examples())
    assert what == "9 examples of 3 features"
    assert max(map(cells, lines)) <= 80
    assert lines[0].split() == ["feature", "interval", "activation", "context"]
    places = {line.index("«") for line in lines[1:]}
    assert len(places) == 1  # one under the other
    assert lines[1].split()[:3] == ["0", "top", "4.000"] and "«def» read(self" in lines[1]
    assert lines[4].split()[:3] == ["0", "1", "1.000"] and "«define»d names" in lines[4]


def test_densities_read_at_80_columns_the_highest_first() -> None:
    what, lines = shown(made.density())
    assert what == "6 features by density, 3 never fire"
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["0", "25.0%"],
        ["2", "2.00%"],
        ["5", "0.0500%"],
    ]
    assert max(map(cells, lines)) <= 80


def test_training_reads_at_80_columns_without_what_says_nothing() -> None:
    table = made.training()
    assert shown(table)[1][0].split() == [
        "step", "tokens", "loss", "mse", "penalty", "l0", "fvu", "dead", "lr",
    ]  # fmt: skip
    heading = shown(table.with_columns(penalty=0.0))[1][0]
    assert "penalty" not in heading
    many = shown(made.training(("k=4", "k=16")))[1]
    assert many[0].startswith("dictionary") and many[1].split()[:3] == ["k=4", "7", "4,096"]
    assert max(map(cells, many)) <= 80


def test_logits_read_at_80_columns_a_row_a_feature() -> None:
    what, lines = shown(made.logits())
    assert what == "what 4 features write" and len(lines) == 5
    assert lines[0].split() == ["feature", "promotes", "suppresses"]
    assert lines[1].split() == ["0", "⏎|日本|def", "x|", "return|def"]
    assert max(map(cells, lines)) <= 80
