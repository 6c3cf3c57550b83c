"""Files are there whole or as they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interp_dsl.runs.files import plain, read_json, remove_temporaries, replacing, write_json

KILLED = """
import os, signal, sys
from pathlib import Path
from interp_dsl.runs.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_between_write_and_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_json(path, {"status": "running"})
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_json(path) == {"status": "running"}
    assert len(list(tmp_path.iterdir())) == 2
    remove_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_an_exception_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_json_holds_numpy_numbers_and_no_nan(tmp_path: Path) -> None:
    value = {"a": np.float32(0.5), "b": float("nan"), "c": [np.int64(3), Path("x")], 4: (1, None)}
    assert plain(value) == {"a": 0.5, "b": None, "c": [3, "x"], "4": [1, None]}
    assert plain(np.array([1.0, np.inf])) == [1.0, None]
    json.dumps(plain(value), allow_nan=False)
