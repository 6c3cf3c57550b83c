"""The run folder: names, manifest, lock, events, shards."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import SCORE_COLUMNS, extra_columns, is_score_table, score_table
from tests.runs.recorded import WHEN, record, rows

HOLDER = """
import sys, time
from pathlib import Path
from interp_dsl.runs.folder import RunFolder
folder = RunFolder.open(Path(sys.argv[1]))
assert folder.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "ioi", WHEN)


def test_names_are_unlike(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "ioi", WHEN).path.name for _ in range(3)]
    stamp = "ioi-20261120-101500"
    assert names == [stamp, f"{stamp}-2", f"{stamp}-3"]


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RunFolder.open(tmp_path)
    (tmp_path / "other.txt").touch()
    with pytest.raises(FileExistsError):
        RunFolder.create_at(tmp_path, "ioi", WHEN)


def test_the_manifest_says_who_writes_and_with_what(folder: RunFolder) -> None:
    assert folder.status == "created"
    assert folder.acquire()
    manifest = folder.manifest
    assert manifest["status"] == "running"
    assert manifest["versions"].keys() >= {"python", "torch", "polars", "interp_dsl"}
    assert {"host", "pid", "started"} <= manifest.keys()
    folder.release("done")
    assert folder.status == "done"
    assert folder.manifest["finished"] is not None


def test_one_writer_at_a_time(folder: RunFolder) -> None:
    other = RunFolder.open(folder.path)
    assert folder.acquire()
    assert folder.is_alive() and other.is_alive()
    assert not other.acquire()
    folder.release("done")
    assert not other.is_alive()
    assert other.acquire()


def test_a_killed_writer_leaves_the_run_interrupted_and_free(folder: RunFolder) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert folder.status == "running"
        assert not folder.acquire()
        holder.send_signal(signal.SIGKILL)
    assert folder.status == "interrupted"
    assert folder.acquire()


def test_a_new_writer_clears_the_mark_of_a_cancel(folder: RunFolder) -> None:
    folder.cancel()
    assert folder.cancelled
    assert folder.acquire()
    assert not folder.cancelled


def test_the_plan_and_the_text_come_back(folder: RunFolder) -> None:
    plan = Plan((), params=(("size", 8),), seed=3)
    folder.write_plan(plan)
    folder.write_experiment("# größer\n")
    assert folder.read_plan() == plan
    assert folder.experiment == "# größer\n"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a.", "x y", "0a"])
def test_only_names_of_steps_become_files(folder: RunFolder, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a step"):
        folder.write_table(name, score_table([]))


def test_a_torn_line_hides_no_other_event(folder: RunFolder) -> None:
    folder.event("note", text="one")
    folder.log.close()
    with (folder.path / "events.jsonl").open("a") as handle:
        handle.write('{"time": 3, "ev')
    again = RunFolder.open(folder.path)
    assert [e["text"] for e in again.events()] == ["one"]
    again.event("note", text="two\nlines")
    assert [e["text"] for e in again.events()] == ["one", "two\nlines"]


def test_following_ends_with_the_writer(folder: RunFolder) -> None:
    assert folder.acquire()
    folder.event("note", text="before")
    seen: list[str] = []

    def follow() -> None:
        seen.extend(e["text"] for e in RunFolder.open(folder.path).follow(poll=0.01))

    reader = threading.Thread(target=follow)
    reader.start()
    time.sleep(0.05)
    folder.event("note", text="while")
    folder.release("done")
    reader.join(timeout=10)
    assert not reader.is_alive()
    assert seen == ["before", "while"]


def test_a_listener_hears_what_is_appended(folder: RunFolder) -> None:
    heard: list[str] = []
    folder.log.listener = lambda event: heard.append(event["event"])
    folder.event("note", text="one")
    assert heard == ["note"]


def test_parts_become_one_table(folder: RunFolder) -> None:
    held = rows()
    for shard, part in ((1, held[6:]), (0, held[:6])):
        values = np.array([[row["value"]] * 4 for row in part])
        folder.write_part("noising", shard, score_table(part), {"value": values}, "key")
    folder.write_part("noising", 2, score_table(held[:1]), {"value": np.zeros((1, 4))}, "old key")
    assert folder.parts("noising", "key") == [0, 1]
    assert folder.parts("noising", "other") == []
    assert folder.read_part("noising", 1, "key")[0]["metric"].unique().to_list() == ["kl"]
    merged = folder.merge("noising", "key", seconds=2.0)
    assert merged.equals(score_table(held))
    assert folder.read_table("noising").equals(merged)
    values = folder.read_tensors("noising")["value"]
    assert values[:, 0].tolist() == [row["value"] for row in held]
    assert folder.step_keys == {"noising": "key"}
    assert folder.parts("noising", "key") == []


def test_a_part_without_its_table_is_not_finished(folder: RunFolder) -> None:
    folder.write_part("noising", 0, score_table(rows()), {"value": np.zeros((12, 4))}, "key")
    next((folder.path / "parts" / "noising").glob("*.parquet")).unlink()
    assert folder.parts("noising", "key") == []
    with pytest.raises(FileNotFoundError):
        folder.merge("noising", "key")


def test_arrays_keep_shape_and_type(folder: RunFolder) -> None:
    arrays = {"a": np.float32(2.0) * np.ones(()), "b": np.arange(6).reshape(2, 3).T}
    folder.write_tensors("x", arrays)
    for name, array in folder.read_tensors("x").items():
        assert array.dtype == arrays[name].dtype
        assert np.array_equal(array, arrays[name])


def test_score_tables_have_the_columns_in_order() -> None:
    table = score_table([{"unit": "L0H0", "effect": 1, "k": 64}], {"k": "integer"})
    assert table.columns == [*SCORE_COLUMNS, "k"]
    assert table.schema["effect"] == pl.Float64 and table.schema["k"] == pl.Int64
    assert extra_columns(table) == ["k"]
    assert is_score_table(table) and not is_score_table(table.drop("low"))
    with pytest.raises(ValueError, match="unti"):
        score_table([{"unti": "L0H0"}])


def test_a_finished_run_has_its_steps_in_order_and_a_size(tmp_path: Path) -> None:
    folder = record(tmp_path)
    assert folder.steps == ["noising", "check", "circuit"]
    assert folder.size() > 3000
    folder.remove()
    assert not folder.path.exists()


def test_the_shards_of_a_step_can_be_looked_at_before_it_ends(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x", WHEN)
    assert folder.unfinished == [] and folder.read_so_far("who") is None
    for shard, key in ((0, "old"), (1, "new"), (0, "new")):
        unit = f"{key}{shard}"
        folder.write_part("who", shard, pl.DataFrame({"unit": [unit]}), {"v": np.zeros(1)}, key)
    assert folder.unfinished == ["who"]
    held = folder.read_so_far("who")
    assert held is not None and held["unit"].to_list() == ["new0", "new1"]
    note = pl.DataFrame({"done": [3], "total": [9]})
    folder.write_part("search", 0, note, {"v": np.zeros(1)}, "key")
    assert folder.unfinished == ["who"], "how far a search is, is no row of its table"
    folder.merge("who", "new")
    assert folder.unfinished == [] and folder.read_so_far("who") is None
