"""Walking through the features of `relate` in headless Chromium: the screen is what the tables say
of a feature, and clicks, keys and the browser's way back go where they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from interp_dsl.report.figures.style import SERIES
from interp_dsl.report.page import page
from interp_dsl.report.reading import Reading
from interp_dsl.runs.relations import relations
from tests.report.test_browser import Tab, browser, needs_chromium  # noqa: F401 - fixtures too
from tests.report.test_further import reading  # noqa: F401 - a fixture

pytestmark = needs_chromium


@pytest.fixture
def tab(browser: Any, reading: Reading, tmp_path: Path) -> Iterator[Tab]:  # noqa: F811
    path = tmp_path / "report.html"
    path.write_text(page(reading.folder))
    opened = Tab(browser.new_context(viewport={"width": 1280, "height": 900}).new_page())
    opened.open(path)
    yield opened
    assert set(opened.asked) == {path.as_uri()} and opened.errors == []
    opened.page.close()


def arrives(tab: Tab, node: str) -> None:
    """Wait until a feature is shown; the address changes a little before the page."""
    tab.page.wait_for_function(
        "node => document.querySelector('.walk h4').innerText.slice(1) === node", arg=node
    )


def beside(tab: Tab, which: str) -> list[tuple[str, list[str]]]:
    """Community and number, and the measures, of the rows of a list."""
    rows = tab.all(f".walk table[aria-label='nearest {which}'] tbody tr").all()
    return [
        (row.locator("td").first.inner_text(), row.locator("td.number").all_inner_texts())
        for row in rows
    ]


def truth(reading: Reading, node: tuple[str, int], above: bool, by: str) -> list[str]:  # noqa: F811
    found = relations(reading.folder, "graph")
    assert found is not None
    return [str(n.node[1]) for n in found.neighbours(node, by, above)]


def test_clicks_go_from_feature_to_feature_and_back(tab: Tab, reading: Reading) -> None:  # noqa: F811
    arrives(tab, "L1.resid_post 4")  # the best related one
    assert [name for name, _ in beside(tab, "before")] == ["A1"]
    tab.all(".walk table[aria-label='nearest before'] a").click()
    arrives(tab, "L0.resid_post 1")
    assert tab.all(".walk p.note").inner_text() == "no place before"
    assert beside(tab, "behind")[0] == ("A4", ["0.900", "0.250", "0.100", *["0.250"] * 4, "40"])
    assert unquote(tab.page.url).endswith("#graph.pairs/L0.resid_post/1")
    assert tab.all(".walk .here code").all_inner_texts() == ["·cat", "·dog"]
    tab.all(".walk .here a").click()
    assert tab.texts(".feature[open] .contexts:visible mark") == [" cat", " dog"]
    tab.page.go_back()
    arrives(tab, "L0.resid_post 1")
    tab.all(".walk table[aria-label='nearest behind'] a").nth(1).click()
    arrives(tab, "L1.resid_post 5")
    tab.page.go_back()
    arrives(tab, "L0.resid_post 1")
    tab.page.go_back()
    arrives(tab, "L1.resid_post 4")
    colour = tab.all(".walk h4 .community").evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour == "rgb({}, {}, {})".format(*bytes.fromhex(SERIES[0][1:]))


def test_a_measure_orders_the_neighbours(tab: Tab, reading: Reading) -> None:  # noqa: F811
    tab.all(".walk .choice a").filter(has_text="5").click()
    arrives(tab, "L1.resid_post 5")
    node = ("L1.resid_post", 5)
    for measure in ("pearson", "jaccard"):
        tab.all(".walk [aria-label='nearest before'] th button").filter(has_text=measure).click()
        numbers = [name[1:] for name, _ in beside(tab, "before")]
        assert numbers == truth(reading, node, False, measure)
        assert tab.all(".walk [aria-sort]").all_inner_texts() == [f"{measure} ▾"] * 2


def test_the_graph_the_table_and_the_search_lead_to_features(tab: Tab) -> None:
    tab.all("circle[data-node='L2.resid_post 7']").click()
    arrives(tab, "L2.resid_post 7")
    assert tab.all("circle.chosen").get_attribute("data-node") == "L2.resid_post 7"
    assert tab.all(".edge.chosen").count() == 1
    tab.all(".panel:has(.walk) .scores tbody tr").first.locator("a").first.click()
    arrives(tab, "L0.resid_post 1")
    box = tab.all(".walk input")
    for typed, found in (("8", ["L2.resid_post 8"]), ("DOG", ["L0.resid_post 1"]), ("zz", [])):
        box.fill(typed)
        assert [t[1:] for t in tab.texts(".walk .choice a")] == found
    box.fill("8")
    tab.all(".walk .choice a").click()
    arrives(tab, "L2.resid_post 8")


def test_keys_alone_walk(tab: Tab) -> None:
    tab.all(".walk input").focus()
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("Enter")
    arrives(tab, "L1.resid_post 5")
    assert tab.page.evaluate("document.activeElement.localName") == "h4"
    tab.page.keyboard.press("Tab")
    while tab.page.evaluate("document.activeElement.localName") != "a":
        tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    arrives(tab, "L0.resid_post 2")


def test_an_address_opens_its_feature(browser: Any, reading: Reading, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "report.html"
    path.write_text(page(reading.folder))
    opened = Tab(browser.new_page())
    opened.page.goto(f"{path.as_uri()}#graph.pairs/L2.resid_post/8")
    arrives(opened, "L2.resid_post 8")
    seen = "() => document.querySelector('.walk h4').getBoundingClientRect().bottom < innerHeight"
    opened.page.wait_for_function(seen)
    opened.page.close()
