"""A folder with the files that snippets of the documentation name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from .reference import REPOSITORY

COMMON = """\
dataset ioi = template(n=8) {
  clean  "When {A} and Mary went to the {place}, Mary gave a book to"
  answer " {A}"
  wrong  " Mary"
  where  A in ["John", "Anna", "Paul", "Lucy"]
  where  place in ["store", "garden"]
}
metric gap = logit_diff()
"""
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 8,
    "n_positions": 32,
    "vocab_size": 50,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in (REPOSITORY / "examples").glob("*.csv"):
        shutil.copy(file, tmp_path)
    (tmp_path / "common.interp").write_text(COMMON)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text("When Mary and John went to the store")
    clean = np.arange(2, 22).reshape(4, 5)
    answers = {"answer": np.arange(4) + 2, "wrong": np.arange(4) + 9}
    save_file({"clean": clean, "corrupt": clean + 1, **answers}, tmp_path / "saved.safetensors")
    parts = REPOSITORY / "tests" / "cases" / "ok" / "parts"
    shutil.copy(parts / "found.circuit.json", tmp_path / "saved.circuit.json")
    for name, hook in {"sae_layer_0": "blocks.0.mlp.hook_post", "unplaced": None}.items():
        (tmp_path / name).mkdir()
        about = {"architecture": "topk", "k": 32, "d_in": 512, "d_sae": 4096}
        config = {**about, "metadata": {"hook_name": hook}}
        (tmp_path / name / "cfg.json").write_text(json.dumps(config))
        (tmp_path / name / "sae_weights.safetensors").touch()  # read by the run alone
    bundled = REPOSITORY / "interp_dsl" / "bundled" / "induction-2l"
    plain = tmp_path / "models" / "plain"
    plain.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(bundled / name, plain)
    (tmp_path / "models" / "own").mkdir()
    (tmp_path / "models" / "own" / "config.json").write_text(json.dumps(GPT2))
    return tmp_path
