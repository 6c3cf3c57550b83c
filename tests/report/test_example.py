"""The page of an example as it is run: it agrees with the run's own tables, and stays small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import interp_dsl as interp
from interp_dsl.report.page import page
from tests.report.dom import Node, parse
from tests.report.test_page import panel, rows

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> interp.Run:
    runs = tmp_path_factory.mktemp("runs")
    return interp.run(EXAMPLES / "induction.interp", runs=runs, params={})


@pytest.fixture(scope="module")
def shown(ran: interp.Run) -> Node:
    html = page(ran.folder)
    assert len(html.encode()) < 5_000_000
    return parse(html)


def test_every_number_is_the_tables(ran: interp.Run, shown: Node) -> None:
    for step in ran.steps:
        for (metric,), held in ran.scores(step).group_by("metric"):
            name = str(metric)
            found = {row["unit"].text: row for row in rows(panel(shown, step, name))}
            assert found.keys() == set(held["unit"])
            for row in held.iter_rows(named=True):
                cells = found[row["unit"]]
                assert float(cells["effect"]["data-sort"]) == row["effect"]
                assert float(cells["effect"].text) == pytest.approx(row["effect"], abs=6e-3)
                assert int(cells["n"].text) == row["n"]


def test_maps_are_of_the_tables(ran: interp.Run, shown: Node) -> None:
    held = dict(ran.scores("noising").filter(metric="gap").select("unit", "effect").iter_rows())
    cells = panel(shown, "noising", "gap").one("figure").all("rect", "cell")
    told = [re.match(r"(\w+): ([-+][\d.]+)", c.one("title").text) for c in cells]
    assert {m[1]: float(m[2]) for m in told if m} == {
        unit: pytest.approx(effect, abs=6e-3) for unit, effect in held.items()
    }


def test_the_axes_name_what_the_metrics_count_in(shown: Node) -> None:
    assert "effect on gap (logits)" in panel(shown, "noising", "gap").text
    assert "effect on kl (nats)" in panel(shown, "noising", "kl").text


def test_claims_plan_and_prompts_are_the_runs(ran: interp.Run, shown: Node) -> None:
    assert [li.one("code").text for li in shown.by_id("claims").all("li")] == [
        c["text"] for c in ran.claims
    ]
    assert "step noising: 8 units, set to repeats.corrupt" in shown.by_id("plan").text
    assert len(shown.by_id("prompts").all("table", "pair")) == 3
