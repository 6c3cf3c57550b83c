"""A feature's direction as a vector: what it adds is the decoder's row, as often as is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import interp_dsl
from interp_dsl.runs.folder import RunFolder

TEXT = """model   m = bundled("induction-2l")
dataset d = repeated_tokens(pairs=8, half=12, seed=0)
step sae   = fit topk(width=48, k=[4, 6], batch=64, lr=5e-3)
           on L0.resid_post of d.clean until tokens=1k
step mlp   = fit topk(width=48, k=4, batch=64, lr=5e-3) on L0.attn_out to L1.attn_out of d.clean
           until tokens=1k
let  both  = 2 * sae[k=6, 7] - sae[k=4, 1]
step one   = perturb L0.resid_post of d.clean along sae[k=6, 7] by 5x
step two   = perturb L0.resid_post of d.clean along both by 1x
step plain = record L0.resid_post of d.clean keep 8
step moved = record L0.resid_post of (d.clean under one) keep 8
step sum   = record L0.resid_post of (d.clean under two) keep 8
step far   = perturb L1.attn_out of d.clean along -mlp[9] by 3x
step there = record L1.attn_out of d.clean keep 8
step gone  = record L1.attn_out of (d.clean under far) keep 8
step erase = ablate L0.resid_post with zero along sae[k=6, 7]
step flat  = record L0.resid_post of (d.clean under erase) keep 8
"""
PLACE = "L0.resid_post"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("directions")
    path = place / "x.interp"
    path.write_text(TEXT)
    return RunFolder(interp_dsl.run(path, runs=place, device="cpu").path)


def _tensors(run: RunFolder, step: str) -> dict[str, np.ndarray]:
    return load_file(Path(run.path) / "tensors" / f"{step}.safetensors")


def test_what_is_added_is_the_decoders_row(run: RunFolder) -> None:
    before, moved, summed = (_tensors(run, s)[PLACE] for s in ("plain", "moved", "sum"))
    held = _tensors(run, "sae")
    one, other = held["k=6/W_dec"][7], held["k=4/W_dec"][1]
    np.testing.assert_allclose(moved - before, np.broadcast_to(5 * one, before.shape), atol=2e-5)
    both = np.broadcast_to(2 * one - other, before.shape)
    np.testing.assert_allclose(summed - before, both, atol=2e-5)


def test_a_transcoders_direction_is_of_what_it_rebuilds(run: RunFolder) -> None:
    before, moved = (_tensors(run, s)["L1.attn_out"] for s in ("there", "gone"))
    row = _tensors(run, "mlp")["W_dec"][9]
    np.testing.assert_allclose(moved - before, np.broadcast_to(-3 * row, before.shape), atol=2e-5)


def test_what_is_erased_is_all_along_it(run: RunFolder) -> None:
    before, flat = (_tensors(run, s)[PLACE] for s in ("plain", "flat"))
    row = _tensors(run, "sae")["k=6/W_dec"][7]
    np.testing.assert_allclose(flat @ row, 0, atol=2e-5)
    np.testing.assert_allclose(flat - before, -(before @ row)[..., None] * row, atol=2e-5)
