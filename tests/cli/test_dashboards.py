"""Dashboards of features from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.runs import dictionaries as made
from tests.tui.fitted import finished

from .conftest import Interp


def test_export_of_dashboards(place: Path, interp: Interp) -> None:
    folder = finished(Path("runs"))
    command = ["export", str(folder.path), "sae", "--format", "neuronpedia"]
    code, _, err = interp(*command, "-o", "boards")
    assert code != 0 and "E743" in err
    rows = len(made.examples())
    folder.write_tensors("sae", {"W_dec": np.eye(32, 4, dtype=np.float32)})
    window = np.tile(np.array([[-1, 1, 2]], dtype=np.int32), (rows, 1))
    folder.write_tensors("fires", {"tokens": window, "values": np.ones((rows, 3), np.float32)})
    code, _, err = interp(*command, "-o", "boards")
    assert code == 0 and "wrote boards" in err
    features = json.loads(Path("boards/batch-0.json").read_text("utf-8"))["features"]
    assert [f["feature_index"] for f in features] == [0, 1, 2, 3, 4, 5]
    assert features[0]["activations"][0]["tokens"] == ["#1", "#2"]
    assert interp(*command)[0] != 0
