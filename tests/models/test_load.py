"""From files to a model that runs: what is accepted, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interp_dsl.models.files import bundled_names, bundled_steps
from interp_dsl.models.load import load, native_source
from interp_dsl.plan.places import Site
from tests.models.checkpoints import PLAIN, tiny, tiny_native
from tests.models.running import everywhere, executor, failing, prompts


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A copy of the plain native model, free to be spoilt."""
    return Path(shutil.copytree(tiny_native("plain"), tmp_path / "plain"))


def rewrite(folder: Path, change: dict[str, Tensor | None]) -> dict[str, str]:
    """The folder's tensors with some replaced or (None) taken out; the specification."""
    tensors = {**load_file(folder / "model.safetensors"), **change}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors")
    return {"kind": "weights", "folder": str(folder)}


def test_it_is_frozen_and_in_eval_mode() -> None:
    for name in ("plain", "gpt2"):
        bridge = executor(name).bridge
        assert not bridge.training
        assert not any(weight.requires_grad for weight in bridge.parameters())


def test_native_tensors_are_where_the_bridge_shows_them() -> None:
    """Every weight in the bridge's own TransformerLens-style views."""
    model = executor("rotary")
    tensors = native_source({"kind": "weights", "folder": str(tiny_native("rotary"))}).tensors
    bridge = model.bridge
    for layer, block in enumerate(bridge.blocks):
        for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
            given = tensors[f"blocks.{layer}.attn.{name}"]
            torch.testing.assert_close(getattr(block.attn, name), given, atol=0, rtol=0)
    for name in ("W_in", "W_out", "W_gate"):
        given = torch.stack([tensors[f"blocks.{layer}.mlp.{name}"] for layer in range(2)])
        torch.testing.assert_close(getattr(bridge, name), given, atol=0, rtol=0)
    torch.testing.assert_close(bridge.W_E, tensors["embed.W_E"])
    torch.testing.assert_close(bridge.W_U, tensors["embed.W_E"].T)
    torch.testing.assert_close(bridge.b_U, tensors["unembed.b_U"])


def test_missing_biases_are_zero(plain: Path) -> None:
    tensors = load_file(plain / "model.safetensors")
    names = [name for name in tensors if name.rpartition(".")[2].startswith("b")]
    assert len(names) == 2 * (4 + 2 + 2) + 2
    without = load(rewrite(plain, dict.fromkeys(names)), device="cpu")
    again = load_file(tiny_native("plain") / "model.safetensors")
    zeros = rewrite(plain, {name: torch.zeros_like(again[name]) for name in names})
    tokens = prompts(without, 2, 5)
    expected = load(zeros, device="cpu").forward(tokens, None).logits
    assert torch.equal(without.forward(tokens, None).logits, expected)


def test_the_unembedding_bias_counts(plain: Path) -> None:
    bias = torch.linspace(-1, 1, 20)
    tokens = prompts(executor("plain"), 2, 5)
    old = load_file(plain / "model.safetensors")["unembed.b_U"]
    moved = load(rewrite(plain, {"unembed.b_U": old + bias}), device="cpu")
    base = executor("plain").forward(tokens, None).logits
    torch.testing.assert_close(moved.forward(tokens, None).logits, base + bias)


def test_half_precision_files_run_in_single_precision(plain: Path) -> None:
    half = {k: v.half() for k, v in load_file(plain / "model.safetensors").items()}
    model = load(rewrite(plain, dict(half)), device="cpu")
    assert model.dtype == torch.float32
    tokens = prompts(model, 2, 5)
    torch.testing.assert_close(
        model.forward(tokens, None).logits,
        executor("plain").forward(tokens, None).logits,
        atol=0.1,
        rtol=0.05,
    )


def test_buffers_of_old_checkpoints_are_passed_over(plain: Path) -> None:
    spec = rewrite(plain, {"blocks.0.attn.mask": torch.ones(2, 2)})
    tokens = prompts(executor("plain"), 2, 5)
    expected = executor("plain").forward(tokens, None).logits
    assert torch.equal(load(spec, device="cpu").forward(tokens, None).logits, expected)


def test_all_that_does_not_fit_is_listed(plain: Path) -> None:
    found = failing(
        rewrite(
            plain,
            {
                "blocks.0.attn.W_Q": None,
                "blocks.0.attn.w_Q": torch.zeros(4, 32, 8),
                "ln_final.w": torch.ones(31),
            },
        )
    )
    assert found.code == "E454"
    assert found.notes == (
        "missing: blocks.0.attn.W_Q",
        "not expected: blocks.0.attn.w_Q",
        "of another shape: ln_final.w is [31], expected [32]",
    )
    assert found.help == "is blocks.0.attn.w_Q meant as blocks.0.attn.W_Q?"


def test_an_untied_model_needs_its_unembedding(plain: Path) -> None:
    assert "unembed.W_U" in failing(rewrite(plain, {"unembed.W_U": None})).notes[0]


class Payload:
    """Unpickled, it would make a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.mkdir, (self.target,)


def test_a_pickle_that_runs_code_is_refused(plain: Path) -> None:
    (plain / "model.safetensors").unlink()
    torch.save({"embed.W_E": Payload(plain / "hacked")}, plain / "model.pt")
    spec = {"kind": "weights", "folder": str(plain)}
    assert failing(spec).code == "E455"
    assert not (plain / "hacked").exists()


def test_a_plain_pytorch_file_is_read(plain: Path) -> None:
    tensors = load_file(plain / "model.safetensors")
    (plain / "model.safetensors").unlink()
    torch.save(tensors, plain / "model.pt")
    model = load({"kind": "weights", "folder": str(plain)}, device="cpu")
    assert model.fingerprint() == executor("plain").fingerprint()


def test_weights_files_that_cannot_be_read(plain: Path) -> None:
    spec = {"kind": "weights", "folder": str(plain)}
    (plain / "model.safetensors").write_bytes(b"broken")
    assert failing(spec).code == "E455"
    (plain / "model.safetensors").rename(plain / "a.safetensors")
    (plain / "b.safetensors").write_bytes(b"")
    assert "or several" in failing(spec).message
    (plain / "a.safetensors").unlink()
    (plain / "b.safetensors").rename(plain / "b.pt")
    torch.save([torch.ones(1)], plain / "b.pt")
    assert "does not map names" in failing(spec).message


def test_sizes_that_do_not_go_together(tmp_path: Path) -> None:
    fields = {**PLAIN, "attn_only": True, "attn_scale": 1.0}
    folder = Path(shutil.copytree(tiny_native("attn_only"), tmp_path / "model"))
    (folder / "config.json").write_text(json.dumps({**fields, "normalization_type": None}))
    found = failing({"kind": "weights", "folder": str(folder)})
    assert found.code == "E453" and "attn_scale" in found.notes[0]


@pytest.mark.parametrize("name", ["plain", "llama"])
def test_dtypes(name: str) -> None:
    spec: dict[str, Any] = {"kind": "checkpoint", "folder": str(tiny("llama"))}
    if name == "plain":
        spec = {"kind": "weights", "folder": str(tiny_native("plain"))}
    single = executor(name)
    model = load({**spec, "dtype": "bfloat16"}, device="cpu")
    assert model.dtype == torch.bfloat16
    tokens = prompts(model, 2, 5)
    site = Site("head", 1)
    kept = model.forward(tokens, None, sites=[site])
    assert kept.logits.dtype == torch.float32 and kept.sites[site].dtype == torch.bfloat16
    expected = single.forward(tokens, None).logits
    assert (kept.logits - expected).std() < 0.05 * expected.std()
    same = model.forward(tokens, None, [everywhere(site, *[kept.sites[site]] * 2)])
    assert torch.equal(same.logits, kept.logits)
    assert load(spec, device="cpu", dtype="float64").dtype == torch.float64
    assert model.fingerprint() != single.fingerprint()


def test_options_that_do_not_exist() -> None:
    spec = {"kind": "checkpoint", "folder": str(tiny("gpt2"))}
    assert failing({**spec, "dtype": "bfloat"}).help == "did you mean bfloat16?"
    assert failing(spec, device="cuda:99").code == "E461"
    assert failing({**spec, "device": "tpu"}).code == "E461"
    assert failing({**spec, "processing": "folded"}).code == "E462"


def test_fingerprints_tell_weights_and_configurations_apart(plain: Path) -> None:
    first = executor("plain").fingerprint()
    assert len(first) == 64
    assert load({"kind": "weights", "folder": str(plain)}, "cpu").fingerprint() == first
    embedding = load_file(plain / "model.safetensors")["embed.W_E"]
    embedding[3, 4] += 1e-3
    second = load(rewrite(plain, {"embed.W_E": embedding}), device="cpu").fingerprint()
    fields = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps({**fields, "act_fn": "relu"}))
    third = load({"kind": "weights", "folder": str(plain)}, device="cpu").fingerprint()
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_run_at_every_step(name: str) -> None:
    spec = {"kind": "bundled", "name": name}
    steps = [{**spec, "step": step} for step in bundled_steps(name)]
    models = [load(each, device="cpu") for each in (spec, *steps)]
    for model in models:
        length = min(8, model.facts.shape.n_ctx)
        logits = model.forward(prompts(model, 2, length), None).logits
        assert torch.isfinite(logits).all()
    assert len({model.fingerprint() for model in models}) >= max(1, len(steps))


@pytest.mark.skipif("induction-2l" not in bundled_names(), reason="not trained yet")
def test_the_bundled_induction_model_continues_what_it_saw() -> None:
    spec = {"kind": "bundled", "name": "induction-2l"}
    block = 1 + prompts(load(spec, device="cpu"), 100, 20) % 255
    tokens = torch.cat([torch.zeros(100, 1).long(), block, block, block], 1)

    def accuracy(**options: int) -> float:
        logits = load({**spec, **options}, device="cpu").forward(tokens, None).logits
        return (logits.argmax(-1)[:, 21:-1] == tokens[:, 22:]).float().mean().item()

    assert accuracy() > 0.9
    assert accuracy(step=bundled_steps("induction-2l")[0]) < 0.1
