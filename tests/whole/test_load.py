"""Dictionaries of other libraries in a run: used as fitted ones are, kept, written again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import interp_dsl
from interp_dsl.cli.app import main
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.formats.reading import read
from interp_dsl.dictionaries.formats.writing import Origin, encoded
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.folder import RunFolder

HOOK = "blocks.1.hook_resid_pre"
TEXT = """
model   m   = bundled("induction-2l")
dataset d   = repeated_tokens(pairs=6, half=8)
let     sae = load("theirs")
step judged = evaluate sae on d measure l0(), fvu(), ce_loss_score()
step seen   = inspect features(sae) by density() on d
step off    = ablate sae[0..3] with zero on d.clean measure kl()
step moved  = patch together(sae[0], sae[1]) from d.corrupt into d.clean measure kl()
expect judged.fvu.value < 1e-9 and judged.ce_loss_score.value > 0.9999
expect judged.l0.value == 64
"""


def _exact() -> Dictionary:
    """One that loses nothing: each direction and its opposite are features."""
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    w = torch.cat([q, -q], 1)
    zeros = {"b_enc": torch.zeros(128), "b_dec": torch.zeros(64)}
    return Dictionary("relu", {"W_enc": w, "W_dec": w.T.contiguous(), **zeros})


def _save(dictionary: Dictionary, folder: Path, form: str = "saelens") -> None:
    folder.mkdir(exist_ok=True)
    for name, data in encoded(dictionary, form, Origin("m", HOOK)).items():
        (folder / name).write_bytes(data)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    _save(_exact(), tmp_path / "theirs")
    (tmp_path / "x.interp").write_text(TEXT)
    return tmp_path


def _run(out: str) -> RunFolder:
    return interp_dsl.run("x.interp", out=Path(out), device="cpu").folder


def test_a_loaded_dictionary_is_used_kept_and_written_again(place: Path) -> None:
    folder = _run("first")
    assert all(claim["ok"] for claim in folder.claims), folder.claims
    kept = folder.read_tensors("sae")
    for name, value in _exact().saved().items():
        np.testing.assert_array_equal(kept[name], value.numpy())
    assert folder.read_table("sae")["site"].to_list() == ["L1.resid_pre"]
    on = {r["unit"]: r["value"] for r in folder.read_table("off").to_dicts()}
    assert on.keys() == {f"sae[{i}]" for i in range(4)} and max(on.values()) > 0

    command = ["export", "first", "sae", "--format", "saelens", "-o", "again"]
    assert main(command) == 0
    again, config = read(place / "again")
    assert config.hook == HOOK and config.raw["metadata"]["model_name"] == "induction-2l"
    for name, value in _exact().tensors.items():
        assert torch.equal(again.tensors[name], value)


def test_what_is_loaded_is_known_by_what_its_files_hold(place: Path) -> None:
    first = _run("first").step_keys
    shutil.move(place / "theirs", place / "moved")
    (place / "x.interp").write_text(TEXT.replace("theirs", "moved"))
    moved = _run("second").step_keys
    assert moved == first
    held = load_file(place / "moved" / "sae_weights.safetensors")
    held["b_dec"] += 1
    save_file(held, place / "moved" / "sae_weights.safetensors")
    changed = _run("third").step_keys
    assert not {first[step] for step in ("sae", "judged", "off")} & set(changed.values())


def test_weights_that_are_not_what_was_planned_stop_the_run(place: Path) -> None:
    held = load_file(place / "theirs" / "sae_weights.safetensors")
    held["W_enc"] = held["W_enc"][:, :9].contiguous()
    save_file(held, place / "theirs" / "sae_weights.safetensors")
    with pytest.raises(InterpError) as found:
        _run("first")
    (diagnostic,) = found.value.diagnostics
    assert diagnostic.code == "E436" and "W_enc is [64, 9]" in diagnostic.notes[0]


def test_a_fit_is_written_for_others_a_folder_for_each(place: Path) -> None:
    (place / "x.interp").write_text(
        'model m = bundled("text-1l-512")\n'
        'dataset text = task("text-1l-512", n=20)\n'
        "step sae = fit topk(width=64, k=[2, 4], batch=64) on neurons layers 0 of text "
        "until tokens=512\n"
    )
    folder = _run("first")
    for form in ("saelens", "dictionary_learning", "sparsify"):
        assert main(["export", "first", "sae", "--format", form, "-o", form]) == 0
        x = torch.randn(5, 512)
        for k in (2, 4):
            kept = {
                name.removeprefix(f"k={k}/"): torch.from_numpy(value)
                for name, value in folder.read_tensors("sae").items()
                if name.startswith(f"k={k}/")
            }
            found, _ = read(place / form / f"k={k}")
            assert found.k == k
            torch.testing.assert_close(found.encode(x), Dictionary.of(kept).encode(x))
    about = json.loads((place / "saelens" / "k=2" / "cfg.json").read_text())
    assert about["metadata"]["hook_name"] == "blocks.0.mlp.hook_post"
    assert main(["export", "first", "sae", "--format", "saelens"]) == 2


def test_what_a_format_cannot_hold_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("first")
    assert main(["export", "first", "sae", "--format", "sparsify", "-o", "x"]) == 2
    assert main(["export", "first", "judged", "--format", "saelens", "-o", "x"]) == 2
    told = capsys.readouterr().err
    assert "topk alone, and this is relu" in told and "judged has left no dictionary" in told
    assert not (place / "x").exists()


def test_dictionaries_are_compared_by_decoders_and_by_firing(place: Path) -> None:
    exact, order = _exact(), torch.randperm(128, generator=torch.Generator().manual_seed(1))[:100]
    w = exact.tensors["W_enc"][:, order].contiguous()
    zeros = {"b_enc": torch.zeros(100), "b_dec": torch.zeros(64)}
    _save(Dictionary("relu", {"W_enc": w, "W_dec": w.T.contiguous(), **zeros}), place / "part")
    (place / "x.interp").write_text(
        TEXT.partition("step")[0]
        + 'let part = load("part")\n'
        + 'let lower = load("part", site=L0.resid_pre)\n'
        + "step there = evaluate sae on d measure mmcs(part), universality(part)\n"
        + "step back  = evaluate part on d measure mmcs(sae), universality(sae), l0()\n"
        + "step other = evaluate part on d measure universality(lower), ce_loss_score()\n"
    )
    folder = _run("first")
    found = {
        (step, row["metric"]): row["value"]
        for step in ("there", "back", "other")
        for row in folder.read_table(step).to_dicts()
    }
    assert found["there", "mmcs"] == pytest.approx(1)  # all of the part is in the whole
    assert found["back", "universality"] == pytest.approx(1)
    rest = exact.tensors["W_dec"] @ w
    assert found["back", "mmcs"] == pytest.approx(float(rest.amax(1).mean()), abs=1e-6)
    assert 0.7 < found["there", "universality"] < 1 and 0 < found["other", "universality"] < 1
