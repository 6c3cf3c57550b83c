"""Text from data can neither act nor deceive: not in the page, not in a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from interp_dsl.report.page import page
from interp_dsl.report.plot import figure
from interp_dsl.runs.folder import RunFolder
from tests.report import made
from tests.report.dom import Node, parse

HOSTILE = [
    "</script><script>hacked = 1</script>",
    "</style></pre></code><img src=x onerror=hacked=1>",
    '" onmouseover="hacked=1" x="',
    "' onclick='hacked=1'",
    "<!--",
    "]]><svg/onload=hacked=1>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&#60;script",
    "gap\u202eevil\u2066\u200f",
    "a\x00b\x1b[31m\x07",
    "javascript:hacked=1",
]


def spoiled(folder: Path, text: str) -> RunFolder:
    """A run with a text wherever a run has text of others."""
    made.write(folder, stem=text, device=text, params={text: text}, versions={text: text})
    (folder / "experiment.interp").write_text(f'{made.TEXT}# {text}\nlet a = "{text}"\n')
    claim = made.CLAIMS[0] | {"text": text, "message": text}
    (folder / "claims.json").write_text(json.dumps([claim]))
    (folder / "events.jsonl").write_text(json.dumps({"event": "note", "text": text}) + "\n")
    tables = folder / "tables"
    renamed = (
        made.heads().filter(metric="gap").with_columns(metric=pl.lit(text), under=pl.lit(text))
    )
    renamed.write_parquet(tables / "who.parquet")
    odd = made.heads().with_columns(unit=pl.lit(text) + pl.col("unit"))
    odd.write_parquet(tables / "odd.parquet")
    made.streams().with_columns(position=pl.lit(text) + pl.col("position")).write_parquet(
        tables / "flow.parquet"
    )
    (tables / "wire.parquet").unlink()
    pl.DataFrame({text: [text, "b"], "x": [1.0, 2.0]}).write_parquet(tables / "other.parquet")
    circuit = made.circuit_json()
    circuit["metric"] = circuit["ablation"] = circuit["model"]["name"] = text
    (folder / "wire.circuit.json").write_text(json.dumps(circuit))
    made.edges().write_parquet(tables / "wire.parquet")
    path = folder / "tensors" / "pairs.ioi.safetensors"
    made.pairs(path, texts={n: text for n in range(10)})
    named = {k.replace("label.S2", f"label.{text}"): v for k, v in load_file(path).items()}
    save_file(named, path)
    return RunFolder.open(folder)


def skeleton(node: Node) -> Any:
    """Tags and the names of attributes, nothing that data may change."""
    inner = [skeleton(c) for c in node.children if isinstance(c, Node)]
    return node.tag, sorted(node.attributes), inner


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_what_the_page_is_made_of(text: str, tmp_path: Path) -> None:
    plain = parse(page(spoiled(tmp_path / "plain-1", "p" * len(text))))
    html = page(spoiled(tmp_path / "made-1", text))
    document = parse(html)
    # The lexer may cut the hostile lines of the experiment into other pieces.
    for tree in (plain, document):
        tree.by_id("experiment").children.clear()
    assert skeleton(document) == skeleton(plain)
    assert not [n for n in document.walk() if any(a.startswith("on") for a in n.attributes)]
    assert "49" not in document.one("h1").text
    assert not any(mark in html for mark in "\u202e\u2066\u200f\x00\x1b\x07")


@pytest.mark.parametrize("text", HOSTILE)
def test_figures_are_well_formed_whatever_their_texts_are(text: str, tmp_path: Path) -> None:
    folder = spoiled(tmp_path / "made-1", text)
    for step, form in (("who", "heatmap"), ("odd", "bars"), ("flow", "heatmap")):
        root = ElementTree.fromstring(figure(folder, step, form=form))
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert names <= {"svg", "title", "rect", "text", "line", "path", "circle", "g"}
        assert all(not name.startswith("on") for e in root.iter() for name in e.attrib)


def test_a_hostile_text_is_shown_as_it_is(tmp_path: Path) -> None:
    text = HOSTILE[0]
    document = parse(page(spoiled(tmp_path / "made-1", text)))
    assert document.one("h1").text == text
    assert document.by_id("claims").one("code").text == text
    assert text in document.by_id("experiment").text
