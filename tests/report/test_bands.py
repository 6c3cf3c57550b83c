"""Curves with bands, spectra and modules in the page and as figures: what is drawn is to scale and
says the numbers of the tables."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import polars as pl
import pytest

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.report.curves import charts
from interp_dsl.report.figures.lines import Chart, Line, Point, lines
from interp_dsl.report.figures.modules import module_plot
from interp_dsl.report.page import page
from interp_dsl.report.plot import figure
from interp_dsl.runs.bases import modules
from interp_dsl.runs.folder import RunFolder
from tests.report.dom import Node, parse
from tests.report.test_figures import of_class, parsed
from tests.runs import curved


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("runs") / "bent-20261120-101500"
    (path / "tables").mkdir(parents=True)
    held = curved.everything()
    steps = {name: {"key": name} for name in held if "." not in name}
    about = {"stem": "bent", "status": "done", "created": "2026-11-20T10:15:00", "steps": steps}
    (path / "manifest.json").write_text(json.dumps(about))
    (path / "experiment.interp").write_text("# made by hand\n")
    for name, table in held.items():
        table.write_parquet(path / "tables" / f"{name}.parquet")
    return RunFolder.open(path)


@pytest.fixture(scope="module")
def sections(bent: RunFolder) -> dict[str, Node]:
    document = parse(page(bent))
    found = document.all("section", "step")
    return {section.one("h2").said.removeprefix("step ").split()[0]: section for section in found}


def numbers(path: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?[\d.]+", path)]


def test_every_place_and_quantity_has_its_chart() -> None:
    found = charts(curved.sensitive(), "sens", {}, {"kl": "nats"})
    assert list(found) == ["kl", "distance"]
    assert [(c.y_axis, c.band) for c in found["kl"][:3]] == [
        ("mean effect on kl (nats)", "95 % interval"),
        ("median effect on kl (nats)", "quartiles"),
        ("kl ÷ the baseline's", "95 % interval"),
    ]
    assert len(found["kl"]) == 3 * len(curved.UNITS)
    assert [line.name for line in found["kl"][0].lines] == list(curved.DIRECTIONS)
    assert [p.x for p in found["kl"][0].lines[0].points] == [0, 25, 50, 75, 100]


def test_a_band_lies_between_the_bounds() -> None:
    points = [Point(0, 1.0, 0.0, 2.0), Point(10, 2.0, 1.0, 4.0), Point(20, 3.0)]
    root = parsed(lines(Chart("t", "x", "y", [Line("a", points)], band="quartiles")))
    dots = [(float(e.get("cx", "")), float(e.get("cy", ""))) for e in of_class(root, "dot")]
    unit = dots[0][1] - dots[1][1]
    (band,) = of_class(root, "band")
    xs, ys = numbers(band.get("d", ""))[::2], numbers(band.get("d", ""))[1::2]
    assert xs == pytest.approx([dots[0][0], dots[1][0], dots[1][0], dots[0][0]], abs=0.1)
    zero = dots[0][1] + unit
    assert [(zero - y) / unit for y in ys] == pytest.approx([2, 4, 1, 0], abs=0.01)
    assert not of_class(root, "whisker")
    told = [e.findtext("{http://www.w3.org/2000/svg}title") for e in of_class(root, "dot")]
    assert told[1] == "a: +2.000 [+1.000, +4.000] (quartiles) at 10"
    assert told[2] == "a: +3.000 at 20"


def test_powers_of_ten_are_evenly_apart() -> None:
    points = [Point(k, 10.0**-k) for k in range(4)]
    root = parsed(lines(Chart("t", "x", "y", [Line("a", points)], log_y=True)))
    heights = [float(e.get("cy", "")) for e in of_class(root, "dot")]
    steps = [b - a for a, b in pairwise(heights)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.05) and steps[0] > 20


def test_a_section_of_curves(sections: dict[str, Node]) -> None:
    panels = {p["data-name"]: p for p in sections["sens"].all("div", "panel")}
    assert list(panels) == ["kl", "kl, points", "distance", "distance, points"]
    figures = panels["kl"].all("figure")
    assert len(figures) == 6 and len(figures[0].all("path", "band")) == 3
    assert not sections["sens"].all("rect", "cell"), "curves make no heat map"
    tips = [dot.said for dot in figures[0].all("circle")]
    assert "covariance: +0.500 [+0.375, +0.625] (95 % interval) at 50" in tips
    heads = [th.said for th in panels["kl"].one("table").all("th")]
    assert "reached" in heads and "effect" not in heads
    heads = [th.said for th in panels["kl, points"].one("table").all("th")]
    assert {"effect", "quartiles", "ratio"} <= set(heads) and "reached" not in heads


def test_a_section_of_a_factoring_has_all_its_tables(sections: dict[str, Node]) -> None:
    assert list(sections) == ["sens", "regions", "bases", "ranks"]
    panels = {p["data-name"]: p for p in sections["bases"].all("div", "panel")}
    assert list(panels) == ["findings", "spectrum", "ablation", "edges", "modules"]
    assert len(panels["spectrum"].all("figure")) == len(curved.LAYERS)
    assert len(panels["edges"].all("figure")) == len(curved.BASES)
    rows = [[td.said for td in tr.all("td")] for tr in panels["findings"].all("tr")]
    assert ["edges_required", "L0.resid_mid", "4", "100"] in rows
    tips = [c.said for c in panels["spectrum"].all("figure")[0].all("circle")]
    assert "interaction: 0.001 at 4" in tips and "pca: 0.125 at 4" in tips
    assert [p["data-name"] for p in sections["ranks"].all("div", "panel")] == ["findings", "ranks"]


def test_the_graph_of_modules_is_to_scale() -> None:
    graph = modules(curved.edges(), curved.modules(), "pca")
    root = parsed(module_plot(graph, "t"))
    ends = of_class(root, "edge")
    widths = sorted(float(e.get("stroke-width", "")) for e in ends)
    assert widths == pytest.approx(sorted([0.6 + 3.4 * w for w in (0, 0.25, 0.5, 0.75, 1)] * 2))
    nodes = of_class(root, "dot")
    titles = [n.findtext("{http://www.w3.org/2000/svg}title") for n in nodes]
    assert "L0.resid_pre 0: module A" in titles and "L0.resid_pre 3: in no module" in titles
    height = {t.split()[0]: float(n.get("cy", "")) for t, n in zip(titles, nodes, strict=True) if t}
    assert height["L0.resid_pre"] > height["L0.resid_mid"] > height["L0.resid_post"]
    colours = {t.rsplit(" ", 1)[1]: n.get("fill") for t, n in zip(titles, nodes, strict=True) if t}
    assert len({colours["A"], colours["B"], colours["module"]}) == 3
    _, _, width, _ = map(float, (root.get("viewBox") or "").split())
    assert all(0 < float(n.get("cx", "")) < width for n in nodes)


def test_what_is_not_drawn_is_said() -> None:
    graph = modules(curved.edges(), curved.modules(), "pca", most=6)
    assert "4 weaker edges are not drawn" in module_plot(graph, "t")
    empty = modules(curved.edges().clear(), curved.modules(), "pca")
    assert module_plot(empty, "t") == ""


@pytest.mark.parametrize(
    ("step", "kind", "n"),
    [("sens", "band", 18), ("regions", "band", 4), ("bases", "curve", 6), ("ranks", "curve", 4),
     ("bases.ablation", "curve", 6), ("bases.edges", "edge", 20), ("bases.modules", "edge", 20)],
)  # fmt: skip
def test_the_figure_of_a_step(bent: RunFolder, step: str, kind: str, n: int) -> None:
    """Steps with curves have theirs, a factoring its spectra, a table behind it what it makes."""
    metric = "kl" if step == "sens" else None
    assert len(of_class(parsed(figure(bent, step, metric)), kind)) == n


def test_a_table_without_figures_says_so(bent: RunFolder) -> None:
    groups = {"layer": ["L0.mlp"], "group": [0], "neuron": [1]}
    path = bent.path / "tables" / "ranks.groups.parquet"
    pl.DataFrame(groups).write_parquet(path)
    with pytest.raises(InterpError) as caught:
        figure(bent, "ranks.groups")
    assert caught.value.diagnostics[0].code == "E740"
    path.unlink()
