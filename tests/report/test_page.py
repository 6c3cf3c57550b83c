"""The page of a run made by hand: what it says is what the files hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from interp_dsl.plan import serialise
from interp_dsl.plan.tasks import Plan
from interp_dsl.report.page import page
from interp_dsl.report.tables import MOST
from interp_dsl.runs.folder import RunFolder
from tests.report import made
from tests.report.dom import Node, parse


def step(document: Node, name: str) -> Node:
    found = [s for s in document.all("section", "step") if f"step {name}" in s.one("h2").said]
    assert len(found) == 1
    return found[0]


def panel(document: Node, of: str, name: str) -> Node:
    (found,) = [p for p in step(document, of).all(kind="panel") if p["data-name"] == name]
    return found


def rows(panel: Node) -> list[dict[str, Node]]:
    """The rows of a panel's table by heading."""
    table = panel.one(kind="scores").one("table")
    names = [th.said for th in table.all("th")]
    body = [tr.all("td") for tr in table.one("tbody").all("tr")]
    return [dict(zip(names, cells, strict=True)) for cells in body]


# ** tables **


def test_a_score_table_has_its_rows_by_size(document: Node) -> None:
    found = rows(panel(document, "who", "gap"))
    assert [r["unit"].text for r in found] == ["L0H1", "L1H1", "L0H0", "L1H0"]
    held = made.heads().filter(metric="gap")
    for row in found:
        truth = held.row(by_predicate=pl.col("unit") == row["unit"].text, named=True)
        assert float(row["effect"].text) == truth["effect"] == float(row["effect"]["data-sort"])
        bounds = [float(n) for n in re.findall(r"[-+][\d.]+", row["95% interval"].text)]
        assert bounds == [truth["low"], truth["high"]]
        assert row["n"].text == "8"


def test_bars_are_to_scale_with_their_intervals(document: Node) -> None:
    """The strip goes from the lowest bound, -2.25, to the highest, 1.25."""

    def at(value: float) -> float:
        return (value + 2.25) / 3.5 * 100

    for row in rows(panel(document, "who", "gap")):
        effect = float(row["effect"]["data-sort"])
        strip = row["drawn"].one("svg")
        bars = strip.all("rect")
        if effect == 0:
            assert not bars
        else:
            assert bars[0].classes == ["positive" if effect > 0 else "negative"]
            assert float(bars[0]["x"]) == pytest.approx(min(at(0), at(effect)), abs=0.01)
            assert float(bars[0]["width"]) == pytest.approx(abs(effect) / 3.5 * 100, abs=0.02)
        low, high = map(
            float, re.findall(r"M([\d.]+) 6H([\d.]+)", strip.one(None, "whisker")["d"])[0]
        )
        assert (low, high) == (
            pytest.approx(at(effect - 0.25), abs=0.01),
            pytest.approx(at(effect + 0.25), abs=0.01),
        )


def test_metrics_of_one_row_share_a_table(document: Node) -> None:
    found = rows(panel(document, "test", "values"))
    assert [(r["metric"].text, r["value"].text) for r in found] == [
        ("faithfulness", "0.9000"),
        ("gap", "2.500"),
    ]


def test_columns_that_say_nothing_are_left_out(document: Node, tmp_path: Path) -> None:
    assert list(rows(panel(document, "who", "gap"))[0]) == [
        "unit", "base", "effect", "drawn", "95% interval", "n",
    ]  # fmt: skip
    assert "position" in rows(panel(document, "flow", "gap"))[0]
    folder = made.write(tmp_path / "made-1")
    without = made.heads().with_columns(low=None, high=None).cast({"low": float, "high": float})
    without.write_parquet(folder / "tables" / "who.parquet")
    shown = rows(panel(parse(page(RunFolder.open(folder))), "who", "gap"))
    assert list(shown[0]) == ["unit", "base", "effect", "drawn", "n"]


def test_a_table_that_is_not_of_scores_is_whole(tmp_path: Path) -> None:
    """Its columns may have names that mean something else in a score table."""
    folder = made.write(tmp_path / "made-1")
    held = pl.DataFrame({"feature": [7, 7], "position": [3, 0], "metric": ["gap", "gap"]})
    held.write_parquet(folder / "tables" / "who.parquet")
    found = rows(panel(parse(page(RunFolder.open(folder))), "who", "table"))
    shown = [{name: cell.text for name, cell in row.items()} for row in found]
    assert shown == [{name: str(v) for name, v in row.items()} for row in held.to_dicts()]


def test_a_long_table_is_cut_and_says_how_to_get_the_rest(tmp_path: Path) -> None:
    folder = RunFolder.open(made.write(tmp_path / "made-1"))
    many = [made.score(f"L0.mlp[{i}]", "gap", i / 10, layer=0, index=i) for i in range(MOST + 1100)]
    made.frame(many).write_parquet(folder.path / "tables" / "who.parquet")
    section = step(parse(page(folder)), "who")
    found = rows(section)
    assert len(found) == MOST
    assert found[0]["unit"].text == f"L0.mlp[{MOST + 1099}]"
    (note,) = [n for n in section.all(kind="note") if "interp export" in n.said]
    assert note.said.startswith("1,100 more rows are not in this page.")
    assert note.one("code").text == "interp export made-1 who -o who.csv"


# ** maps, circuits **


def test_the_heat_map_has_the_table_in_its_cells(document: Node) -> None:
    figure = panel(document, "who", "gap").one("figure")
    cells = figure.all("rect", "cell")
    assert len(cells) == len(made.EFFECTS)
    told = {}
    for cell in cells:
        name, effect, low, high = re.fullmatch(
            r"(L\dH\d): ([-+][\d.]+) \[([-+][\d.]+), ([-+][\d.]+)\], n 8", cell.one("title").text
        ).groups()  # type: ignore[union-attr]
        layer, head = int(name[1]), int(name[3])
        truth = made.EFFECTS[layer, head]
        assert [float(effect), float(low), float(high)] == [truth, truth - 0.25, truth + 0.25]
        assert ("negative" in cell.classes) == (truth < 0)
        assert float(cell["fill-opacity"]) == pytest.approx(abs(truth) / 2)
        told[layer, head] = (float(cell["y"]), float(cell["x"]))
    assert told[0, 0][0] < told[1, 0][0] and told[0, 0][1] < told[0, 1][1]
    assert "effect on gap" in figure.text and "−2.000" in figure.text and "+2.000" in figure.text


def test_positions_are_columns_and_what_was_not_run_is_said(document: Node) -> None:
    figure = panel(document, "flow", "gap").one("figure")
    titles = [cell.one("title").text for cell in figure.all("rect", "cell")]
    assert titles[0].startswith("L0.resid_post at S2: -2.000 [")
    assert titles[3].endswith("not run, for it cannot have an effect")
    words = [t.text for t in figure.all("text")]
    assert {"S2", "END", "position", "layer"} <= set(words)


def test_the_graph_has_the_kept_edges_and_their_strengths(document: Node) -> None:
    graph = panel(document, "wire", "circuit").one(kind="graph")
    drawn = {
        (e["data-source"], e["data-target"], e["data-channel"]): float(e["data-strength"])
        for e in graph.all("path", "edge")
    }
    assert drawn == {(s, t, c): v for s, t, c, kept, v in made.EDGES if kept}
    assert {n["data-node"] for n in graph.all("g", "node")} == {"embed", "L0H1", "L1H0", "logits"}
    assert graph["data-strength"] == "effect"
    assert len(rows(panel(document, "wire", "circuit"))) == 3


# ** text, claims, plan, provenance **


def test_the_text_is_whole_and_coloured_by_the_lexer(document: Node) -> None:
    code = document.by_id("experiment").one("pre")
    assert code.text.strip() == made.TEXT.strip()
    kinds = {s.text: s.classes[0] for s in code.all("span") if s.classes != ["row"]}
    assert kinds["step"] == kinds["expect"] == "statement"
    assert kinds["from"] == kinds["measure"] == "clause"
    assert kinds['"ioi-3l"'] == "string" and kinds["0.95"] == "number"
    assert kinds["logit_diff"] == "call" and kinds["L0H1"] == "place"
    assert kinds["# Which heads matter?"] == "comment"


def test_a_step_shows_its_statement(document: Node) -> None:
    said = step(document, "who").all("pre")[0].said
    assert said == "step who = patch heads from ioi.corrupt into ioi.clean measure gap, kl()"


def test_claims_say_in_words_what_they_came_to(document: Node) -> None:
    held, failed = document.by_id("claims").all("li")
    assert held.one(kind="mark").said == "✓ holds" and failed.one(kind="mark").said == "✗ fails"
    assert held.one("code").text == "who[L0H1].gap < -1"
    assert "-2 [-2.25, -1.75]" in held.text
    assert held.one("a")["href"] == "#line-12"
    assert document.by_id("line-12").said == "expect who[L0H1].gap < -1"
    assert "1 of 2 claims hold" in document.one("header").said


def test_provenance_has_all_that_a_rerun_needs(document: Node) -> None:
    section = document.by_id("provenance")
    assert section.one("pre").text == "interp run made.interp -p size=8 --seed 3 --fresh"
    facts = {d.one("dt").said: d.one("dd").text for d in section.one(kind="groups").all("div")
             if not d.classes}  # fmt: skip
    assert facts["executor"] == "compiled"
    assert facts["largest difference from the reference"] == "5.3e-07"
    assert facts["python"] == "3.11.7" and facts["torch"] == "not installed"
    assert facts["seed of ioi"] == "0" and facts["device"] == "cpu"
    assert facts["time of work"] == "250 ms" and facts["examples"] == "8"
    assert (facts["config"], facts["split"], facts["revision"]) == ("small", "test", "ab12")
    assert "someone/stories" in section.text and facts["Hugging Face dataset"] == "mine"
    assert "/home/u" not in section.text
    assert "kept 2 pairs" in section.text


def test_prompts_stand_token_under_token(document: Node) -> None:
    section = document.by_id("prompts")
    first, second = (t.all("tr") for t in section.all("table", "pair"))
    assert [td.text for td in first[1].all("td")] == ["#0", "#5", "#6", "#7", "#8"]
    assert [td.text for td in second[3].all("td")] == ["#0", "#6", "#9", "#7"]
    for line in (first[1], first[3]):
        assert ["differs" in td.classes for td in line.all("td")] == [0, 0, 1, 0, 0]
        assert ["read" in td.classes for td in line.all("td")] == [0, 0, 0, 0, 1]
    assert [td.text for td in first[0].all("td")] == ["", "", "S2", "", ""]
    assert "Tokens are shown by number" in section.text
    guesses = section.all("dl")[0].all("dd")[0]
    assert guesses.said == "#0 +9.0 answer #1 +8.0 #2 +7.0 wrong #3 +6.0 #4 +5.0"


def test_patterns_are_those_of_the_tensors(run: RunFolder, document: Node) -> None:
    held = json.loads(document.by_id("prompts").one("script").text)
    arrays = run.read_tensors("pairs.ioi")
    for i, size in enumerate((5, 4)):
        side = held[i]["sides"]["corrupt"]
        assert (side["layers"], side["heads"], side["size"]) == (["L0", "L1"], 3, size)
        data = np.frombuffer(base64.b64decode(side["data"]), np.uint8).reshape(2, 3, size, size)
        for layer in range(2):
            truth = arrays[f"corrupt.pattern.{layer}"][i, :, :size, :size].astype(float)
            assert np.abs(data[layer] / 255 - truth).max() <= 0.5 / 255 + 1e-9


def test_a_recording_shows_its_patterns_and_lists_the_rest(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1")
    run = {"is": "Run", "model": "model:m", "data": "data:ioi", "side": "clean"}
    task = {"is": "Record", "id": "record:seen", "step": "seen", "run": run, "targets": [],
            "positions": {"is": "Positions", "kind": "all"}, "keep": 2}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps({"is": "Plan", "tasks": [task]}))
    rng = np.random.default_rng(0)
    held = {"L3H1.pattern": rng.random((2, 4, 4), np.float32)}
    held["L3H0.pattern at END"] = rng.random((2, 1, 4), np.float32)
    about = {"tokens": np.array([[5, 6, 7, 8], [5, 6, 7, 1]]), "lengths": np.array([4, 3])}
    positions = {f"{name}.positions": np.zeros((2, 1), np.int64) for name in held}
    save_file(held | about | positions, folder / "tensors" / "seen.safetensors")
    section = step(parse(page(RunFolder.open(folder))), "seen")
    assert [r["recorded"].text for r in rows(section)] == sorted(held | about)
    second = json.loads(section.one("script").text)[1]["sides"]["clean"]
    assert (second["layers"], second["heads"], second["tokens"]) == (["L3"], 2, ["#5", "#6", "#7"])
    data = np.frombuffer(base64.b64decode(second["data"]), np.uint8).reshape(1, 2, 3, 3)
    assert not data[0, 0].any(), "L3H0 was recorded at one query alone"
    truth = held["L3H1.pattern"][1, :3, :3]
    assert np.abs(data[0, 1] / 255 - truth).max() <= 0.5 / 255 + 1e-6


def test_tokens_read_as_the_run_keeps_them(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1")
    texts = {n: f" w{n}é" for n in range(10)}
    made.pairs(folder / "tensors" / "pairs.ioi.safetensors", texts=texts)
    section = parse(page(RunFolder.open(folder))).by_id("prompts")
    line = section.all("table", "pair")[0].all("tr")[1]
    assert [td.text for td in line.all("td")] == [texts[n] for n in (0, 5, 6, 7, 8)]
    assert "by number" not in section.text


def test_prompts_of_different_lengths_stand_at_their_counterparts(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1")
    path = folder / "tensors" / "pairs.ioi.safetensors"
    held = load_file(path)
    held["corrupt.tokens"][0] = [0, 6, 7, 8, 1]
    held["corrupt.lengths"][0], held["corrupt.read"][0] = 4, 3
    save_file(held, path)
    first = parse(page(RunFolder.open(folder))).by_id("prompts").all("table", "pair")[0]
    clean, corrupt = (first.all("tr")[row].all("td") for row in (1, 3))
    assert [td.text for td in clean] == ["#0", "#5", "#6", "#7", "#8"]
    assert [td.text for td in corrupt] == ["#0", "", "#6", "#7", "#8"]
    assert ["differs" in td.classes for td in clean] == [0, 1, 0, 0, 0]


def test_the_plan_is_that_of_explain(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1")
    tasks = [{"is": "LoadModel", "id": "model:m", "name": "m",
              "spec": {"kind": "bundled", "name": "ioi-3l"}}]  # fmt: skip
    (folder / "plan.json").write_text(json.dumps({"is": "Plan", "tasks": tasks}))
    ended = {"event": "task_finished", "task": "model:m", "seconds": 0.5, "reused": False}
    (folder / "events.jsonl").write_text(json.dumps(ended) + "\n")
    shown = parse(page(RunFolder.open(folder))).by_id("plan").one("pre").text
    assert "└─ model m = bundled(ioi-3l)  [500 ms]" in shown


# ** unfinished runs, the page itself **


@pytest.mark.parametrize(
    ("status", "told"),
    [("running", "was stopped"), ("cancelled", "was stopped"), ("created", "had not ended")],
)
def test_a_run_that_has_only_begun_has_a_page(status: str, told: str, tmp_path: Path) -> None:
    """A manifest alone: `running` without its process is a run that died."""
    about = {"stem": "a", "status": status, "created": "2026-11-20T10:15:00"}
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    document = parse(page(RunFolder.open(tmp_path)))
    assert told in document.one("header").one(kind="alert").text
    assert document.all("section")[-1]["id"] == "provenance"


def test_what_a_run_failed_by_is_said_first(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1", status="failed")
    event = {"event": "failed", "diagnostics": [{"code": "E642", "message": "the self-test broke"}]}
    (folder / "events.jsonl").write_text(json.dumps(event) + '\n{"event": "torn')
    header = parse(page(RunFolder.open(folder))).one("header")
    assert header.one(kind="alert").said == "The run failed. E642 the self-test broke"


def test_a_broken_circuit_file_leaves_the_table(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1")
    (folder / "wire.circuit.json").write_text('{"format": "something else"}')
    found = panel(parse(page(RunFolder.open(folder))), "wire", "edges")
    assert "cannot be read: E721" in found.all(kind="note")[0].text
    assert len(rows(found)) == 3


def test_the_plan_of_another_version_is_passed_over(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "made-1")
    (folder / "plan.json").write_text('{"is": "PlanOfTomorrow"}')
    document = parse(page(RunFolder.open(folder)))
    assert not [s for s in document.all("section") if s.attributes.get("id") == "plan"]
    (folder / "plan.json").write_text(serialise.dumps(Plan(())))
    assert parse(page(RunFolder.open(folder))).by_id("plan")


def test_the_page_names_nothing_outside_itself(html: str, document: Node) -> None:
    for node in document.walk():
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert node.attributes.get(name, "#").startswith("#"), node.attributes
        assert node.tag not in ("link", "iframe", "object", "embed", "base")
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import", document.one("style").text)


def test_the_policy_lets_these_scripts_and_styles_run_and_no_others(document: Node) -> None:
    metas = {m.attributes.get("http-equiv"): m for m in document.all("meta")}
    policy = metas["Content-Security-Policy"]["content"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("style", "script"):
        for node in document.all(tag):
            if node.attributes.get("type") != "application/json":
                digest = hashlib.sha256(node.text.encode()).digest()
                assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert not [n for n in document.walk() if "style" in n.attributes]
