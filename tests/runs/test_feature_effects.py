"""What steps that do not look at features say of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import interp_dsl
from interp_dsl.runs.feature_effects import elsewhere
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import PROBE_COLUMNS, polars_types, score_table
from tests.runs import dictionaries as made

TEXT = f"""{made.TEXT}
dataset code = template(n=24) {{
  clean "{{kind}} {{name}}("
  where kind in ["def", "class"]
  where name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
}}
step off  = ablate sae[0..2] with zero on held measure loss(), kl()
step some = ablate many[k=4, 3] at last with zero on held measure loss()
step know = evaluate many on code measure sparse_probing(target=kind, k=[1, 2])
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "tables").mkdir()
    folder = RunFolder(tmp_path)
    rows = [
        {"unit": f"sae[{i}]", "index": i, "position": "all", "metric": metric, "effect": value}
        for metric, values in (("loss", (0.25, 0.0, None)), ("kl", (0.5, 0.125, None)))
        for i, value in enumerate(values)
    ]
    folder.write_table("off", score_table(rows))
    one = {"unit": "many[k=4, 3]", "position": "last", "metric": "loss", "effect": -0.5}
    together = {**one, "unit": "together(many[k=4, 3], many[k=4, 5])"}
    folder.write_table("some", score_table([one, together]))
    probe = {"target": "kind", "rank": 1, "difference": 1.0, "weight": 1.0, "n": 8}
    probes = [
        {"dictionary": "k=4", "label": "def", "k": 1, "feature": 3, "accuracy": 0.75, **probe},
        {"dictionary": "k=4", "label": "class", "k": 2, "feature": 5, "accuracy": 1.0, **probe},
        {"dictionary": "k=16", "label": "def", "k": 1, "feature": 3, "accuracy": 0.5, **probe},
    ]
    folder.write_table("know.probes", pl.DataFrame(probes, schema=polars_types(PROBE_COLUMNS)))
    return folder


def test_effects_and_probes_of_each_dictionary(folder: RunFolder) -> None:
    plan = interp_dsl.plan(TEXT)
    sae, few, many = (elsewhere(plan, folder, n) for n in ("sae", "many[k=4]", "many[k=16]"))
    assert list(sae.of(0)) == ["off: loss +0.2500 · kl +0.5000"]
    assert list(sae.of(1)) == ["off: loss +0.000 · kl +0.1250"]
    assert list(sae.of(2)) == list(sae.of(9)) == []
    assert list(few.of(3)) == ["some: loss -0.5000 at last", "know: kind = def, 75%"]
    assert list(few.of(5)) == ["know: kind = class, 100%, with 1 more"]
    assert list(many.of(3)) == ["know: kind = def, 50%"]


def test_a_run_without_such_steps_says_nothing(tmp_path: Path) -> None:
    found = elsewhere(made.plan(), RunFolder(tmp_path), "sae")
    assert list(found.of(0)) == []
