"""show, export, diff, runs, rm on recorded runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from interp_dsl.runs.select import Selection, blocks, select
from tests.runs.writing import written

Interp = Callable[..., tuple[int, str, str]]
FIRST = "ioi-20261120-101500"
SECOND = "ioi-20261121-101500"

SHOWN = """\
ioi-20261120-101500: done · 2026-11-20 10:15:00 · cpu · size=8

noising · gap by |effect| (also: kl; choose with --metric)
unit  position  metric   base  effect      95% interval  normalized  n
L0H0  all       gap     3.000  -1.250  [-1.500, -1.000]      +0.500  4
L1H0  all       gap     3.000  +0.750  [+0.500, +1.000]      -0.300  4
the first 2 of 6; the rest: interp show runs/ioi-20261120-101500 noising --all

check · 2 metrics
unit     position  metric         value  95% interval  n
circuit  all       faithfulness  0.9375             ·  4
circuit  all       completeness  0.5000             ·  4

circuit · 2 rows
source  target   score
embed   L0H1    0.5000
L0H1    logits  0.2500

✓ noising[L0H0].gap < 0  found -1.250 [-1.500, -1.000]
✗ check.faithfulness.value >= 0.95  check.faithfulness.value is 0.9375  ioi.interp:10
in runs/ioi-20261120-101500
"""

DIFFERENT = """\
a = runs/ioi-20261120-101500
b = runs/ioi-20261121-101500

noising · gap · 6 components in both, 2 sign flips (1 clear of 0), rank correlation -0.371
unit  position       a       b  difference      95% interval  rank   sign
L0H0  all       -1.250  -0.250      +1.000  [+0.646, +1.354]  1 → 6
L1H0  all       +0.750  +1.750      +1.000  [+0.646, +1.354]  2 → 1
L0H1  all       -0.500  +0.500      +1.000  [+0.646, +1.354]  3 → 5  flipped
the first 3 of 6, largest difference first
"""


def test_show_prints_steps_claims_and_the_folder(place: Path, interp: Interp) -> None:
    assert interp("show", FIRST, "--top", "2") == (0, SHOWN, "")


def test_show_takes_latest_a_prefix_and_a_folder(place: Path, interp: Interp) -> None:
    for name in ("latest", "ioi-20261121", f"runs/{SECOND}"):
        assert interp("show", name)[1].startswith(SECOND)
    assert interp("show")[1].startswith(SECOND)


def test_show_chooses_metric_column_and_number(place: Path, interp: Interp) -> None:
    _, out, _ = interp("show", FIRST, "noising", "--metric", "kl", "--by", "head", "--top", "1")
    assert "L0H3" in out and "the first 1 of 6" in out
    _, out, _ = interp("show", FIRST, "noising", "--all")
    assert len(out.splitlines()) == 2 + 6


def test_show_as_data(place: Path, interp: Interp) -> None:
    data = json.loads(interp("show", FIRST, "noising", "--top", "1", "--json")[1])
    (row,) = data["steps"]["noising"]
    assert (row["unit"], row["effect"], row["layer"]) == ("L0H0", -1.25, 0)
    assert data["status"] == "done" and len(data["claims"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["show", "nothing"], 3, "E701"),
        (["show", "ioi"], 2, "E702"),
        (["show", "latest", "nosing"], 3, "did you mean noising?"),
        (["show", "latest", "noising", "--metric", "gpa"], 2, "did you mean gap?"),
        (["export", "latest"], 2, "E712"),
        (["export", "latest", "circuit", "--examples"], 3, "E714"),
        (["diff", FIRST, SECOND, "circuit"], 2, "E713"),
        (["rm", "latest"], 2, "E715"),
    ],
)
def test_what_is_not_there_has_a_code(
    place: Path,
    interp: Interp,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    error: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    found, out, err = interp(*arguments)
    assert (found, out) == (code, "")
    assert error in err


def test_export_keeps_every_value(place: Path, interp: Interp, tmp_path: Path) -> None:
    table = RunFolder.open(Path("runs") / FIRST).read_table("noising")
    out = interp("export", FIRST, "noising")[1]
    assert pl.read_csv(io.StringIO(out), schema=table.schema).equals(table)
    out = interp("export", FIRST, "noising", "--format", "json")[1]
    assert pl.DataFrame(json.loads(out), schema=table.schema).equals(table)
    code, out, err = interp("export", FIRST, "noising", "-o", "n.parquet")
    assert (code, out, err) == (0, "", "wrote n.parquet\n")
    assert pl.read_parquet("n.parquet").equals(table)


def test_export_writes_a_file_a_step(place: Path, interp: Interp) -> None:
    assert interp("export", FIRST, "--format", "markdown", "-o", "tables")[0] == 0
    assert sorted(p.name for p in Path("tables").iterdir()) == [
        "check.md",
        "circuit.md",
        "noising.md",
    ]
    assert Path("tables/circuit.md").read_text() == (
        "| source | target | score |\n"
        "| --- | --- | ---: |\n"
        "| embed | L0H1 | 0.5 |\n"
        "| L0H1 | logits | 0.25 |\n"
    )


def test_export_of_single_examples(place: Path, interp: Interp) -> None:
    out = interp("export", FIRST, "noising", "--examples")[1]
    assert out.splitlines()[:2] == [
        "unit,position,metric,example,base,value,effect",
        "L0H0,all,gap,0,3.0,1.25,-1.75",
    ]


def test_a_recording_is_pointed_to(place: Path, interp: Interp) -> None:
    folder = RunFolder.open(Path("runs", FIRST))
    folder.write_tensors("look", {"tokens": np.zeros((1, 3), dtype=np.int64)})
    folder.finish_step("look", "its key")
    code, shown, _ = interp("show", FIRST)
    where = f"runs/{FIRST}/tensors/look.safetensors"
    assert code == 0 and f"look · recorded in {where}\n" in shown
    code, shown, error = interp("show", FIRST, "look")
    assert (code, shown) == (3, "") and f"what it recorded is in {where}" in error


def test_diff_prints_flips_ranks_and_intervals(place: Path, interp: Interp) -> None:
    arguments = ("diff", FIRST, SECOND, "noising", "--metric", "gap", "--top", "3")
    assert interp(*arguments) == (0, DIFFERENT, "")


def test_diff_without_a_step_takes_the_score_tables_in_common(place: Path, interp: Interp) -> None:
    data = json.loads(interp("diff", FIRST, SECOND, "--json")[1])
    assert list(data["steps"]) == ["noising", "check"]


def test_runs_are_listed(place: Path, interp: Interp) -> None:
    code, out, _ = interp("runs")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["run", SECOND, FIRST]
    data = json.loads(interp("runs", "--json")[1])
    assert data[0]["claims"] == {"held": 1, "all": 2}
    assert interp("runs", "--runs", "none") == (0, "", "no runs in none\n")


def test_rm_deletes_what_it_was_told_to(place: Path, interp: Interp) -> None:
    assert interp("rm", "--yes", FIRST)[0] == 0
    assert [p.name for p in Path("runs").iterdir()] == [SECOND]


def test_rm_refuses_a_running_run(place: Path, interp: Interp) -> None:
    folder = RunFolder.open(Path("runs") / SECOND)
    assert folder.acquire()
    code, _, err = interp("rm", "--yes", FIRST, SECOND)
    folder.release("done")
    assert code == 3 and "E706" in err
    assert len(list(Path("runs").iterdir())) == 2


def test_a_reader_that_goes_away_is_no_failure(place: Path) -> None:
    command = [sys.executable, "-m", "interp_dsl", "export", FIRST, "noising", "--examples"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_colour_is_for_terminals_that_want_it(
    place: Path, interp: Interp, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b" not in interp("show", FIRST)[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[1m" in interp("show", FIRST)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in interp("show", FIRST)[1]


def test_show_prints_the_texts_of_a_step_beside_each_other(place: Path, interp: Interp) -> None:
    folder = written(Path("runs"))
    code, out, _ = interp("show", folder.path.name, "spoken")
    assert code == 0
    assert (
        out.partition("prompt 1 of 2")[2]
        == """  prompt 0:\x20
  plain          She went to the store.
  happy          She «danced» to the store«!»
  random(happy)  «It» went to
prompt 2 of 2  prompt 1:\x20
  plain          a b c
  happy          a b c
  random(happy)  c
«…»: not in the plain text
"""
    )
    _, whole, _ = interp("show", folder.path.name)
    assert "She «danced»" in whole and "spoken.texts" not in whole
    code, out, _ = interp("show", folder.path.name, "spoken.texts")
    assert code == 0 and "own_logprob" in out


def test_all_that_is_known_of_a_circuit_is_shown_and_that_of_its_edges_is_named() -> None:
    edges = [(f"L0H{i} -> logits", "minimality", 0.1 * i) for i in range(4)]
    whole = [("circuit", "faithfulness", 0.9), ("circuit", "minimality", 0.0), ("circuit", "kl", 2)]
    held = score_table(
        {"unit": unit, "position": "all", "metric": metric, "value": value, "n": 4}
        for unit, metric, value in [whole[0], *edges, *whole[1:]]
    )
    rows, what = select(held, "check", Selection())
    assert list(rows.select("unit", "metric", "value").iter_rows()) == whole
    assert what == "3 metrics (of parts of it: --metric minimality)"
    rows, _ = select(held, "check", Selection(metric="minimality"))
    assert rows["unit"].to_list()[:2] == ["L0H3 -> logits", "L0H2 -> logits"]
    assert len(rows) == 5


def test_several_dictionaries_are_shown_by_row_and_their_metrics_by_column() -> None:
    held = score_table(
        (
            {"unit": "dictionary", "position": "all", "metric": metric, "value": value, "n": 4}
            | {"dictionary": name}
            for name, l0 in (("k=8", 8.0), ("k=32", 31.5))
            for metric, value in (("l0", l0), ("fvu", 1 / l0))
        ),
        {"dictionary": "text"},
    )
    rows, what = select(held, "judged", Selection())
    assert what == "2 dictionaries by 2 metrics"
    (block,) = blocks(rows, None)
    assert [column.name for column in block.columns] == ["dictionary", "l0", "fvu"]
    assert [column.cells for column in block.columns[:2]] == [["k=8", "k=32"], ["8.00", "31.50"]]
    one, _ = select(held, "judged", Selection(metric="fvu"))
    assert set(one["metric"]) == {"fvu"} and len(one) == 2
