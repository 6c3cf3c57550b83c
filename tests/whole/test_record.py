"""Recordings from the text to the tensors, in the shapes that the reference names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import interp_dsl

TEXT = """model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=12)
step entries = record patterns at S2 -> END of ioi.clean keep 4
step rows = record patterns at END of ioi.clean keep 4
step streams = record {embed, L1.resid_post, L1H0, logits} at END of ioi.clean keep 4
step each_of = record {L0H0.pattern} at each -> END of ioi.clean keep 4
"""


def test_entries_rows_and_streams(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    entries, rows = run.tensors("entries"), run.tensors("rows")
    name = "L2H1.pattern at S2 -> END"
    keys, row = entries[f"{name}.keys"][:, 0], rows["L2H1.pattern at END"][:, 0]
    assert entries[name].shape == (4, 1, 1)
    np.testing.assert_array_equal(entries[name][:, 0, 0], row[np.arange(4), keys])
    queries = rows["L2H1.pattern at END.positions"]
    np.testing.assert_array_equal(entries[f"{name}.positions"], queries)
    np.testing.assert_allclose(row.sum(1), 1, atol=1e-5)

    streams = run.tensors("streams")
    width = streams["embed at END"].shape[2]
    for place in ("embed", "L1.resid_post", "L1H0"):
        assert streams[f"{place} at END"].shape == (4, 1, width)
    assert streams["logits at END"].ndim == 3

    one = run.tensors("each_of")
    np.testing.assert_array_equal(one["L0H0.pattern at 0 -> END.keys"], np.zeros((4, 1)))
