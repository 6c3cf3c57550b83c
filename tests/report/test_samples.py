"""What the page says of texts: each behind its prompt, what the plain one has not marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from interp_dsl.report import samples
from interp_dsl.report.page import page
from tests.report.dom import Node, parse
from tests.report.test_page import panel
from tests.runs.writing import WRITTEN, written

MARKED = [[[], ["danced", "!"], ["It"]], [[], [], []]]


def document(root: Path) -> Node:
    folder = written(root)
    folder.write_experiment('model m = bundled("text-1l-512")\n')
    return parse(page(folder))


def test_every_text_stands_behind_its_prompt_beside_the_plain_one(tmp_path: Path) -> None:
    section = panel(document(tmp_path), "spoken", "texts")
    tables = section.all("table", "written")
    assert [t.one("caption").text.strip() for t in tables] == ["prompt 0:", "prompt 1:"]
    for number, table in enumerate(tables):
        rows = table.one("tbody").all("tr")
        assert [row.one("th").text for row in rows] == [*WRITTEN]
        assert [row.all("td")[0].text for row in rows] == [w[number] for w in WRITTEN.values()]
        assert [[m.text for m in row.all("mark")] for row in rows] == MARKED[number]
        numbers = [[cell.text for cell in row.all("td", "number")] for row in rows]
        assert numbers[0] == [f"{-1 - number:.3f}", "-0.500", "0.000"]
        assert numbers[1] == [f"{-1 - number:.3f}", "-0.500", "0.250"]


def test_tables_behind_the_step_have_no_sections_of_their_own(tmp_path: Path) -> None:
    found = document(tmp_path)
    assert [link.text for link in found.all("a", "step")] == ["spoken"]


def test_prompts_that_are_left_out_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MOST", 1)
    section = panel(document(tmp_path), "spoken", "texts")
    assert len(section.all("table", "written")) == 1
    assert "1 more prompts are not in this page" in section.said
    assert "interp export" in section.said and "spoken.texts" in section.said
