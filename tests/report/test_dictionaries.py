"""What the page says of dictionaries: their training, how often features fire, and on what."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import interp_dsl
from interp_dsl.plan import serialise
from interp_dsl.report import features as cards
from interp_dsl.report.curves import MOST as LINES
from interp_dsl.report.page import page
from interp_dsl.report.training import POINTS
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from tests.report import made
from tests.report.dom import Node, parse
from tests.report.test_hostile import HOSTILE
from tests.report.test_page import panel, rows
from tests.runs import dictionaries


def written(root: Path) -> RunFolder:
    folder = made.write(root / "dictionaries-1", stem="dictionaries", steps={})
    for table in (folder / "tables").glob("*.parquet"):
        table.unlink()
    (folder / "experiment.interp").write_text(dictionaries.TEXT)
    (folder / "plan.json").write_text(serialise.dumps(dictionaries.plan()))
    dictionaries.write_tables(folder)
    return RunFolder.open(folder)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return parse(page(written(tmp_path_factory.mktemp("runs"))))


def test_every_point_of_the_training_is_in_its_chart(document: Node) -> None:
    found = panel(document, "many", "training").all("figure")
    titles = [figure.one("svg")["aria-label"] for figure in found]
    assert titles == ["many: loss", "many: L0", "many: FVU", "many: dead features"]
    said = [dot.one("title").text for dot in found[0].all("circle", "dot")]
    told = set()
    for text in said:
        name, loss, tokens = re.fullmatch(r"(.+): \+?([\d.]+) at (\d+) tokens", text).groups()  # type: ignore[union-attr]
        told.add((name, float(loss), int(tokens)))
    assert told == {
        (f"many[{row['dictionary']}]", round(row["loss"], 3), row["tokens"])
        for row in dictionaries.points(("k=4", "k=16"))
    }


def test_long_curves_are_thinned_to_their_ends_and_many_dictionaries_counted(
    tmp_path: Path,
) -> None:
    folder = written(tmp_path)
    labels = [f"k={k}" for k in range(LINES + 2)]
    table = pl.DataFrame(dictionaries.points(labels, 203))
    table.write_parquet(folder.path / "tables" / "many.parquet")
    section = panel(parse(page(folder)), "many", "training")
    dots = section.all("figure")[0].all("circle", "dot")
    ends = [dot.one("title").text for dot in dots if f"at {512 * 203} " in dot.one("title").text]
    assert len(ends) == LINES
    assert POINTS <= len(dots) / LINES <= 1.5 * POINTS
    assert any("2 more are fitted" in note.said for note in section.all(kind="note"))


def test_the_histogram_has_every_feature_that_fires(document: Node) -> None:
    section = panel(document, "often", "density")
    figure = section.one("figure")
    bars = [(bar, bar.one("title").text) for bar in figure.all("rect", "positive")]
    assert [text.rpartition(": ")[2] for _, text in bars] == ["1 feature"] * 3
    for (_, text), density in zip(
        bars, sorted(d for d in dictionaries.DENSITIES if d), strict=True
    ):
        low, high = (float(n) / 100 for n in re.findall(r"([\d.]+)%", text))
        assert low <= density <= high
    assert "3 features never" in figure.text
    assert {"0.01%", "1%", "100%"} <= {t.text for t in figure.all("text")}
    assert rows(section)[0]["density"].text == "25.0%"
    assert float(rows(section)[0]["density"]["data-sort"]) == 0.25


def test_each_feature_has_its_contexts(document: Node) -> None:
    section = panel(document, "fires", "features")
    found = {int(card["data-feature"]): card for card in section.all("details", "feature")}
    assert list(found) == [0, 2, 5]
    for feature, card in found.items():
        held = dictionaries.CONTEXTS[feature]
        lines = card.all("tr")
        assert [line.one("mark").text for line in lines] == [token for *_, token, _ in held]
        for line, (_, value, before, token, after) in zip(lines, held, strict=True):
            cells = line.all("td")
            assert float(cells[0].text) == value
            assert float(cells[1].one("rect")["width"]) == round(100 * value / held[0][1])
            assert cells[2].text == before.replace("\n", "⏎")
            assert cells[3].text == token + after
        assert len(card.all("p", "what")) == 2
    assert "25.0% of tokens · maximum 2.000" in found[0].one("summary").said
    assert "sae" in section.one(None, "caption").said


def test_each_feature_has_the_tokens_it_writes_and_its_neighbours(document: Node) -> None:
    section = panel(document, "fires", "features")
    cards = {int(card["data-feature"]): card for card in section.all("details", "feature")}
    logits = dictionaries.logits().to_dicts()
    for feature in (0, 2):
        card = cards[feature]
        told = [line.all("code") for line in card.all("p", "written")]
        for words, end in zip(told, ("top", "bottom"), strict=True):
            held = [r["token"] for r in logits if (r["feature"], r["end"]) == (feature, end)]
            assert [w.text.replace("·", " ").replace("⏎", "\n") for w in words] == held
        lines = [line.said for line in card.all("li")]
        assert [int(line.split()[0]) for line in lines] == [
            (feature + 1) % 4,
            (feature + 3) % 4,
            2 - feature,
        ]
        assert lines[0].endswith("cosine +0.75") and "lift 3.00" in lines[2]
        (link,) = card.all("a")  # the others have no card here
        assert link["href"] == f"#{cards[2 - feature]['id']}"
        assert f"loss without it +0.0{5 + feature}00" in card.one("summary").said
    assert cards[5].all("p", "written") == cards[5].all("li") == []


def test_what_other_steps_measured_is_told_too(tmp_path: Path) -> None:
    folder = written(tmp_path)
    step = "step off = ablate sae[0] with zero on held measure loss()"
    folder.write_plan(interp_dsl.plan(f"{dictionaries.TEXT}\n{step}\n"))
    row = {"unit": "sae[0]", "position": "all", "metric": "loss", "effect": 0.25}
    folder.write_table("off", score_table([row]))
    section = panel(parse(page(folder)), "fires", "features")
    told = {c["data-feature"]: [p.text for p in c.all("p", "told")] for c in section.all("details")}
    assert told == {"0": ["off: loss +0.2500"], "2": [], "5": []}


def test_a_large_table_is_bounded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    folder = written(tmp_path)
    more = [(None, 4.0 - i / 10, "x" * 500, "def", "y" * 500) for i in range(cards.LARGEST + 5)]
    one = dictionaries.examples({0: more})
    n = cards.MOST + 300
    pl.concat([one.with_columns(feature=pl.lit(i, pl.Int64)) for i in range(n)]).write_parquet(
        folder.path / "tables" / "fires.parquet"
    )
    text = page(folder)
    assert len(text) < 2_000_000
    section = panel(parse(text), "fires", "features")
    assert len(section.all("details")) == cards.MOST
    assert all(len(card.all("tr")) == cards.LARGEST for card in section.all("details"))
    (note,) = section.all(kind="note")
    assert note.said.startswith("Not in this page: 300 further features")
    assert f"{5 * cards.MOST:,} further examples" in note.said
    assert note.one("code").text == "interp export dictionaries-1 fires -o fires.csv"


def test_without_a_plan_the_features_are_there_all_the_same(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder.path / "plan.json").unlink()
    section = panel(parse(page(folder)), "fires", "features")
    assert len(section.all("details")) == 3
    assert "maximum 4.000" in section.all("summary")[0].said


@pytest.mark.parametrize("text", HOSTILE)
def test_contexts_cannot_act(tmp_path: Path, text: str) -> None:
    folder = written(tmp_path)
    held = {0: [(None, 1.0, text, text, text)]}
    dictionaries.examples(held).write_parquet(folder.path / "tables" / "fires.parquet")
    labels = dictionaries.training((text,))
    labels.write_parquet(folder.path / "tables" / "many.parquet")
    found = parse(page(folder))
    plain = parse(page(written(tmp_path / "plain")))
    assert {n.tag for n in found.walk()} <= {n.tag for n in plain.walk()}
    assert not [n for n in found.walk() for name in n.attributes if name.startswith("on")]
    shown = panel(found, "fires", "features").one("mark").text
    assert not {"\x00", "\x1b", "\u202e", "\u2066"} & set(shown)
