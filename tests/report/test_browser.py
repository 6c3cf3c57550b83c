"""The page in headless Chromium: it asks no network for anything, and answers a reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from interp_dsl.report.page import page
from interp_dsl.runs.folder import RunFolder
from tests.report import made
from tests.report.test_dictionaries import written
from tests.report.test_hostile import HOSTILE, spoiled
from tests.runs import dictionaries

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
pytestmark = needs_chromium


@dataclass
class Tab:
    """A page in the browser, with all that it asked for and complained of."""

    page: Any
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else 0,
        )
        self.page.goto(path.as_uri())
        assert self.asked == [path.as_uri()]

    def all(self, selector: str) -> Any:
        return self.page.locator(selector)

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.all(selector).all_inner_texts()
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # The sandbox of Chromium refuses to start as root, as which tests may run.
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any, html: str, tmp_path: Path) -> Iterator[Tab]:
    """The page of the run made by hand, on a desktop; at its end nothing was asked for and nothing
    went wrong."""
    path = tmp_path / "report.html"
    path.write_text(html)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Tab(context.new_page())
    opened.open(path)
    yield opened
    assert opened.asked == [path.as_uri()] and opened.errors == []
    context.close()


WHO, WIRE = "section.step:has(h2:has-text('who'))", "section.step:has(h2:has-text('wire'))"
GAP = f"{WHO} .panel[data-name='gap']"


def test_a_heading_sorts(tab: Tab) -> None:
    heading = tab.all(
        f"{GAP} th button",
    ).filter(has_text="effect")
    units = f"{GAP} tbody tr td:first-child"
    orders = []
    for _ in range(4):
        heading.click()
        orders.append(tab.texts(units))
    by_size = ["L0H1", "L1H1", "L0H0", "L1H0"]
    down = ["L1H1", "L0H0", "L1H0", "L0H1"]
    assert orders == [by_size, down, down[::-1], by_size]
    assert tab.all(f"{GAP} th[aria-sort]").count() == 1
    tab.all(f"{GAP} th button").filter(has_text="unit").click()
    assert tab.texts(units) == ["L0H0", "L0H1", "L1H0", "L1H1"]


def test_a_filter_shows_the_rows_that_hold_all_its_words(browser: Any, tmp_path: Path) -> None:
    folder = spoiled(tmp_path / "made-1", "at S2")
    rows = [
        made.score(f"L{i // 4}H{i % 4}", "gap", float(i), layer=i // 4, head=i % 4)
        for i in range(12)
    ]
    made.frame(rows).write_parquet(folder.path / "tables" / "who.parquet")
    path = tmp_path / "report.html"
    path.write_text(page(folder))
    opened = Tab(browser.new_page())
    opened.open(path)
    opened.all(f"{WHO} input").fill("l1h +7")
    visible = [r for r in opened.all(f"{WHO} tbody tr").all() if r.is_visible()]
    assert [r.locator("td").first.inner_text() for r in visible] == ["L1H3"]
    assert opened.all(f"{WHO} .caption").inner_text().endswith("1 shown")
    opened.page.close()


def test_tabs_show_a_metric_at_a_time(tab: Tab) -> None:
    kl = f"{WHO} .panel[data-name='kl']"
    assert tab.all(GAP).is_visible() and not tab.all(kl).is_visible()
    tab.all(f"{WHO} [role=tab]").filter(has_text="kl").click()
    assert tab.all(kl).is_visible() and not tab.all(GAP).is_visible()
    tab.page.keyboard.press("ArrowLeft")
    assert tab.all(GAP).is_visible()


def test_a_cell_tells_its_exact_value(tab: Tab) -> None:
    tab.all(f"{GAP} .cell").nth(1).hover()
    assert tab.all("#tip").inner_text() == "L0H1: -2.000 [-2.250, -1.750], n 8"


def test_a_click_on_a_node_shows_its_edges(tab: Tab) -> None:
    tab.all(f"{WIRE} [data-node='L1H0'] rect").click()
    ends = tab.all(f"{WIRE} .ends").inner_text().split("\n")
    assert ends[0] == "L1H0"
    assert [line for line in ends if "→" in line] == ["L0H1 → k", "→ logits logits"]
    assert "−0.75" in ends and "+0.5" in ends
    dimmed = tab.all(f"{WIRE} .edge.dim")
    assert dimmed.count() == 1 and dimmed.get_attribute("data-source") == "embed"
    tab.all(f"{WIRE} [data-node='L1H0'] rect").click()
    assert tab.all(f"{WIRE} .dim").count() == 0


def test_a_node_is_chosen_by_the_keyboard_too(tab: Tab) -> None:
    tab.all(f"{WIRE} [data-node='embed']").focus()
    tab.page.keyboard.press("Enter")
    assert tab.all(f"{WIRE} .ends strong").inner_text() == "embed"
    tab.page.keyboard.press("Escape")
    assert tab.all(f"{WIRE} .ends strong").count() == 0


def test_the_graph_zooms_pans_and_comes_back(tab: Tab) -> None:
    svg = tab.all(f"{WIRE} .canvas svg")

    def box() -> list[float]:
        return [float(n) for n in svg.get_attribute("viewBox").split()]

    whole = box()
    tab.all(f"{WIRE} button[aria-label='Zoom in']").click()
    closer = box()
    assert closer[2] == pytest.approx(whole[2] / 1.4) and closer[3] == pytest.approx(whole[3] / 1.4)
    assert closer[0] + closer[2] / 2 == pytest.approx(whole[2] / 2)
    svg.scroll_into_view_if_needed()
    place = svg.bounding_box()
    x, y = place["x"] + 40, place["y"] + 40
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 60, y + 30, steps=3)
    tab.page.mouse.up()
    moved = box()
    assert moved[0] < closer[0] and moved[1] < closer[1] and moved[2:] == closer[2:]
    tab.page.keyboard.down("Control")
    tab.page.mouse.wheel(0, -120)
    tab.page.keyboard.up("Control")
    assert box()[2] < moved[2]
    tab.all(f"{WIRE} button[aria-label='Show all']").click()
    assert box() == whole


def test_the_slider_leaves_the_strongest_edges(tab: Tab) -> None:
    tab.all(f"{WIRE} input[type=range]").fill("1")
    shown = [e for e in tab.all(f"{WIRE} .edge").all() if "gone" not in e.get_attribute("class")]
    assert [e.get_attribute("data-source") for e in shown] == ["L0H1"]
    assert tab.all(f"{WIRE} output").inner_text() == "1 of 3, |effect| ≥ 0.750"
    assert tab.all(f"{WIRE} .node:not(.gone)").count() == 2


def test_patterns_are_drawn_and_a_head_is_chosen(tab: Tab) -> None:
    large = tab.all(".patterns canvas.large")
    picture = "canvas => canvas.toDataURL()"
    first = large.evaluate(picture)
    heads = tab.all(".patterns canvas.heads")
    place = heads.bounding_box()
    heads.click(position={"x": place["width"] * 5 / 6, "y": place["height"] * 3 / 4})
    assert "L1H2" in tab.all(".patterns .tools").inner_text()
    second = large.evaluate(picture)
    assert second != first and len(second) > 1000


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(width: int, tab: Tab) -> None:
    tab.page.set_viewport_size({"width": width, "height": 800})
    across = tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert across[0] <= across[1]


def test_paper_shows_every_panel_and_no_controls(tab: Tab) -> None:
    tab.page.emulate_media(media="print")
    for panel in tab.all(".panel").all():
        assert panel.is_visible()
    for selector in ("nav", ".tools", ".tabs", ".caption input"):
        assert not any(e.is_visible() for e in tab.all(selector).all()), selector


def test_light_and_dark_both_keep_their_contrast(tab: Tab) -> None:
    """At least 4.5 to 1 for text, by WCAG 2's formula."""
    contrast = """() => {
      const lum = (rgb) => {
        const [r, g, b] = rgb.match(/\\d+/g).map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const of = (s, p) => lum(getComputedStyle(document.querySelector(s))[p]);
      const page = of('body', 'backgroundColor');
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ['body', '.note', 'nav a.step', '.good .mark', '.bad .mark', '.code .statement'].map(
        (selector) => ratio(of(selector, 'color'), page));
    }"""
    found = []
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        assert min(tab.page.evaluate(contrast)) >= 4.5
        found.append(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert found[0] != found[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_nothing(text: str, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(spoiled(tmp_path / "made-1", text)))
    opened = Tab(browser.new_page())
    opened.open(path)
    for cell in opened.all(".cell").all()[:2]:
        cell.hover()
    assert opened.page.evaluate("typeof hacked") == "undefined"
    assert opened.asked == [path.as_uri()] and opened.errors == []
    opened.page.close()


def test_a_large_circuit_works(browser: Any, tmp_path: Path, run: RunFolder) -> None:
    """300 drawn edges: a click still shows a node's own."""
    names = [f"L{layer}H{head}" for layer in range(6) for head in range(8)]
    edges = [
        {"source": a, "target": b, "channel": "k", "kept": True, "order": None,
         "effect": (i % 7 - 3) / 10, "score": None, "margin": None, "evaluated": True}
        for i, (a, b) in enumerate((a, b) for a in names for b in names if a[1] < b[1])
    ]  # fmt: skip
    folder = RunFolder.open(made.write(tmp_path / "made-1"))
    held = made.circuit_json() | {
        "edges": edges,
        "graph": {"n_layers": 6, "n_heads": 8, "n_edges": 5000},
    }
    (folder.path / "wire.circuit.json").write_text(json.dumps(held))
    path = tmp_path / "report.html"
    path.write_text(page(folder))
    opened = Tab(browser.new_page())
    opened.open(path)
    assert opened.all(f"{WIRE} .edge").count() == 300
    name = opened.all(f"{WIRE} .edge").first.get_attribute("data-target")
    opened.all(f"{WIRE} [data-node='{name}'] rect").first.click()
    assert opened.all(f"{WIRE} .ends strong").inner_text() == name
    opened.page.close()


def test_features_are_found_by_number_and_by_token(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(written(tmp_path)))
    opened = Tab(browser.new_page())
    opened.open(path)
    cards = opened.all(".feature")
    assert cards.count() == 3 and opened.all(".contexts:visible").count() == 0
    for wanted, found in (
        ("5", ["5"]), ("DEF", ["0"]), (" !", ["2"]), ("zz", []), ("12", []), ('"12"', ["5"]),
    ):  # fmt: skip
        opened.all(".features input").fill(wanted)
        shown = [c.get_attribute("data-feature") for c in cards.all() if c.is_visible()]
        assert shown == found
    opened.all(".features input").fill("")
    cards.first.locator("summary").click()
    marks = opened.texts(".contexts:visible mark")
    assert marks == [token for *_, token, _ in dictionaries.CONTEXTS[0]]
    assert opened.asked == [path.as_uri()] and opened.errors == []
    opened.page.close()
