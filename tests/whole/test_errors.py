"""A dictionary's error beside directions as long as it, from the text to the tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import interp_dsl

TEXT = """
model m = bundled("ioi-3l")
dataset d = task("ioi-3l", n=32)
step sae = fit topk(width=64, k=[2, 8]) on resid_post layers 0..1 of d.clean until tokens=10k
step sens = perturb resid_post layers 0..1 of d.clean at last
  along error(sae), error(sae, norm=kept), shrinkage(sae), rotated(sae, n=2), random(n=3),
        covariance(n=3), decoder(sae, active=2)
  by 0x..2x every 1x using scale=sae measure kl()
expect sens[L0.resid_post, direction="error[k=8]", length=1x].kl.effect >= 0
"""


def test_the_table_tells_the_error_beside_baselines(tmp_path: Path) -> None:
    (tmp_path / "a.interp").write_text(TEXT)
    run = interp_dsl.run(tmp_path / "a.interp", out=tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run" / "tables" / "sens.errors.parquet")
    names = {"error", "error_kept", "shrinkage", "rotated", "random", "covariance"}
    assert set(table["direction"]) == names | {"decoder_active"}
    assert set(table["dictionary"]) == {f"sae[L{i}, k={k}]" for i in (0, 1) for k in (2, 8)}
    assert len(table) == 7 * 4
    l0 = dict(table.select("dictionary", "l0").iter_rows())
    assert all(0 < l0[f"sae[L{i}, k={k}]"] <= k for i in (0, 1) for k in (2, 8))
    points = run.scores("sens").filter(pl.col("length") == 1, pl.col("number").is_null())
    for row in table.to_dicts():
        k = row["dictionary"].rpartition(", ")[2].rstrip("]")
        held = points.filter(
            pl.col("unit") == row["unit"], pl.col("direction") == f"{row['direction']}[{k}]"
        ).row(0, named=True)
        for column in ("effect", "low", "high", "base"):
            assert row[column] == pytest.approx(held[column])
        error = table.filter(
            pl.col("dictionary") == row["dictionary"], pl.col("direction") == "error"
        )["effect"].item()
        assert row["ratio"] == pytest.approx(error / row["effect"])
        assert row["ratio_low"] <= row["ratio"] * (1 + 1e-9)
        assert row["ratio"] <= row["ratio_high"] * (1 + 1e-9)
        if row["direction"] == "error":  # its baseline is as long as the same dictionary's error
            other = points.filter(
                pl.col("unit") == row["unit"], pl.col("direction") == f"covariance[{k}]"
            )["effect"].item()
            assert held["ratio"] == pytest.approx(row["effect"] / other)
