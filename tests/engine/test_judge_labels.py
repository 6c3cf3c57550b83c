"""What dictionaries know of labels, and how a smaller one's features split in them, against plain
passes over the prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.probing import divided, fitted
from interp_dsl.engine.judge import judge
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, EvaluateDictionary, Fitted, Judged

from .plans import folder_in
from .test_fit import _text
from .test_judge import STREAM, _relu, _rows
from .tiny import Tiny


def _made() -> Dictionary:
    generator = torch.Generator().manual_seed(5)
    encoder, decoder, bias = (
        torch.randn(*sizes, generator=generator) for sizes in ((8, 6), (6, 8), (8,))
    )
    return _relu(encoder * 0.3, decoder * 0.3, bias * 0.1)


def _run(path: Path, measure: Judged, data: Data) -> tuple[Scored, dict[str, pl.DataFrame]]:
    folder, state = folder_in(path), State(0)
    state.models["m"], state.data["d"] = Tiny(), data
    folder.write_tensors("sae", {name: x.numpy() for name, x in _made().tensors.items()})
    folder.finish_step("sae", "k", dictionaries=[{"label": "", "activation": "relu", "k": None}])
    of = DictionaryOf("sae", (Fitted("", STREAM, "relu", ()),))
    run = Run("m", "d", "text")
    task = EvaluateDictionary("e", "check", run, of, (measure,), batch=7)
    return judge(task, state, folder, Report(folder, "e"))


def _probe(**given: object) -> Judged:
    options = {"k": (1, 3), "seed": 5, "target": "kind", "test": 0.3, **given}
    return Judged("probe", "sparse_probing", tuple(sorted(options.items())))  # type: ignore[arg-type]


def _means(x: Tensor) -> Tensor:
    """Of rows, one a token of text, the mean of each example."""
    counts = torch.from_numpy((_text().sides["text"].tokens != 0).sum(1))
    return torch.stack([part.mean(0) for part in torch.split(x, counts.tolist())])


def test_probes_are_of_the_means_of_examples(tmp_path: Path) -> None:
    """The accuracy of a probe of one feature, by hand from a plain pass over the prompts."""
    kinds = tuple("few" if i < 3 else "even" if i % 2 else "odd" for i in range(30))
    data = replace(_text(), columns={"kind": kinds})
    scored, tables = _run(tmp_path, _probe(), data)
    found = {row["metric"]: row["value"] for row in scored.table.to_dicts()}
    assert list(found) == [
        f"{of}{top}_test_accuracy" for top in ("_top_1", "_top_3", "") for of in ("sae", "llm")
    ]
    rows = _rows(STREAM)
    pooled = {"sae": _means(_made().encode(rows)), "llm": _means(rows)}
    classes = sorted({"even", "odd"})
    label = torch.tensor([classes.index(k) if k in classes else -1 for k in kinds])
    for of, x in pooled.items():
        for name, k in (("_top_1", 1), ("_top_3", 3), ("", None)):
            accuracies = []
            for division in divided(label, 2, 0.3, 5):
                probe = fitted(x[division.learned[0]], division.learned[1], k)
                tried, is_own = division.tried
                said = x[tried][:, probe.features].double() @ probe.weight + probe.bias > 0
                accuracies.append(float((said == is_own).double().mean()))
            assert found[f"{of}{name}_test_accuracy"] == pytest.approx(sum(accuracies) / 2)
    probes = tables["probes"]
    assert probes["label"].unique(maintain_order=True).to_list() == classes
    top = probes.filter(probes["k"] == 1)
    assert found["sae_top_1_test_accuracy"] == pytest.approx(top["accuracy"].mean())


def test_labels_that_cannot_be_told_apart_are_an_error(tmp_path: Path) -> None:
    for columns, code in (({"kind": ("one",) * 30}, "E425"), ({"other": (1,) * 30}, "E424")):
        with pytest.raises(InterpError) as error:
            _run(tmp_path / code, _probe(), replace(_text(), columns=columns))
        assert error.value.diagnostics[0].code == code


def test_parts_of_a_reference_are_in_a_table_of_their_own(tmp_path: Path) -> None:
    """Beside itself every feature that fires has itself as its part."""
    of = DictionaryOf("sae", (Fitted("", STREAM, "relu", ()),))
    measure = Judged("splitting", "splitting", (("least", 0.9),), of)
    scored, tables = _run(tmp_path, measure, _text())
    found = {row["metric"]: row["value"] for row in scored.table.to_dicts()}
    f = _made().encode(_rows(STREAM))
    alive = [j for j in range(f.shape[1]) if bool((f[:, j] > 0).any())]
    assert found["splitting_parts"] == 1 and found["splitting"] == found["splitting_novel"] == 0
    rows = tables["splits"].to_dicts()
    assert [(r["feature"], r["part"]) for r in rows] == [(j, j) for j in alive]
    for row in rows:
        assert row["support"] == int((f[:, row["part"]] > 0).sum())
        assert row["sufficiency"] == row["necessity"] == 1
        assert row["reference"] == "sae" and row["cosine"] == pytest.approx(1, abs=1e-5)
