"""Hugging Face checkpoints, the hub, models from Python: loaded, and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import files
from interp_dsl.models.checkpoint import _stand_in_tokenizer, shape_of_bridge
from interp_dsl.models.facts import facts
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.load import load
from interp_dsl.models.shape import Shape
from interp_dsl.plan.places import Site
from tests.models.checkpoints import tiny
from tests.models.running import everywhere, executor, failing, prompts, sites_of


def test_a_checkpoint_needs_no_tokenizer(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("gpt2"), tmp_path / "model"))
    (folder / "tokenizer.json").unlink()
    model = load({"kind": "checkpoint", "folder": str(folder)}, device="cpu")
    assert model.facts.tokenizer is None
    tokens = prompts(model, 2, 5)
    expected = executor("gpt2").forward(tokens, None).logits
    assert torch.equal(model.forward(tokens, None).logits, expected)
    assert model.fingerprint() == executor("gpt2").fingerprint()
    (folder / "model.safetensors").unlink()
    assert failing({"kind": "checkpoint", "folder": str(folder)}).code == "E455"


def test_the_bridge_computes_what_transformers_computes() -> None:
    from transformers import AutoModelForCausalLM

    for family in ("gpt2", "gemma3_text"):
        model = executor(family)
        reference = AutoModelForCausalLM.from_pretrained(tiny(family)).eval()
        tokens = prompts(model, 2, 7)
        with torch.no_grad():
            expected = reference(tokens).logits
        torch.testing.assert_close(
            model.forward(tokens, None).logits, expected, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("gpt2", "scale_attn_weights", False),
        ("gemma3_text", "attn_logit_softcapping", 5.0),
        ("llama", "is_causal", False),
    ],
)
def test_what_the_bridge_computes_otherwise_is_refused(
    family: str, field: str, value: object, tmp_path: Path
) -> None:
    """The day that TransformerLens heeds a field, its line has to go."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM

    folder = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    found = failing({"kind": "checkpoint", "folder": str(folder)}, executor="auto")
    assert found.code == "E457" and found.notes[0].startswith(f"{field} is {value}")
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = torch.randint(0, 400, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(tokens).logits
        made = TransformerBridge.boot_transformers(
            str(folder), device="cpu", tokenizer=_stand_in_tokenizer()
        ).eval()
        assert (made(tokens) - expected).abs().max() > 1e-3 * expected.abs().max()


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "gemma3_text"])
def test_compatibility_mode(family: str) -> None:
    """Folded and centred weights: the same log-probabilities, other values inside; every site
    still fires once and can be changed."""
    spec = {"kind": "checkpoint", "folder": str(tiny(family)), "processing": "compatibility"}
    model, raw = load(spec, device="cpu"), executor(family)
    tokens = prompts(model, 2, 6)
    kinds = ("embed", "resid_pre", "q", "pattern", "z", "head", "attn_out", "neuron", "mlp_out")
    sites = [Site(kind, None if kind == "embed" else 1) for kind in kinds]
    kept = model.forward(tokens, None, sites=sites)
    expected = raw.forward(tokens, None).logits.log_softmax(-1)
    torch.testing.assert_close(kept.logits.log_softmax(-1), expected, atol=1e-4, rtol=1e-4)
    for site in sites:
        x = kept.sites[site]
        new = model.forward(tokens, None, [everywhere(site, x, x.flip(1) + 0.1)]).logits
        assert (new - kept.logits).abs().max() > 1e-3, site
    assert model.processing == "compatibility"
    assert model.fingerprint() != raw.fingerprint()


def test_a_model_from_python(tmp_path: Path) -> None:
    (tmp_path / "mine_for_a_test.py").write_text(
        "from transformer_lens.model_bridge import TransformerBridge\n"
        "def make():\n"
        f"    return TransformerBridge.boot_transformers({str(tiny('llama'))!r}, device='cpu')\n"
        "def wrong():\n"
        "    return 3\n"
    )
    spec = {"kind": "python", "folder": str(tmp_path), "target": "mine_for_a_test:make"}
    assert failing(spec).code == "E458"
    model = load(spec, device="cpu", trusted=True)
    assert model.facts.shape == executor("llama").facts.shape
    tokens = prompts(model, 2, 5)
    expected = executor("llama").forward(tokens, None).logits
    assert torch.equal(model.forward(tokens, None).logits, expected)
    for target in ("mine_for_a_test:absent", "mine_for_a_test:wrong", "absent_module:make"):
        assert failing({**spec, "target": target}, trusted=True).code == "E459"


def test_a_hub_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = failing({"kind": "pretrained", "name": "someone/absent"})
    assert found.code == "E456"
    assert found.help is not None and "HF_HOME" in found.help and "checkpoint(" in found.help


def test_a_cached_model_is_loaded_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "hub_cache", lambda: tmp_path)
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(tiny("gpt2"), repository / "snapshots" / "abc")
    spec = {"kind": "pretrained", "name": "someone/tiny", "revision": "abc"}
    model = load(spec, device="cpu")
    assert model.facts.name == "someone/tiny"
    assert model.fingerprint() == executor("gpt2").fingerprint()


def remote(folder: Path) -> dict[str, str]:
    """A checkpoint that brings code, which would leave a mark."""
    config = json.loads((tiny("llama") / "config.json").read_text())
    shutil.copy(tiny("llama") / "model.safetensors", folder)
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(folder / 'hacked')!r}).mkdir()\n"
        "from transformers import PretrainedConfig\n"
        "class Config(PretrainedConfig):\n"
        "    model_type = 'theirs'\n"
    )
    return {"kind": "checkpoint", "folder": str(folder)}


def test_code_of_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    assert failing(remote(tmp_path)).code == "E458"
    assert not (tmp_path / "hacked").exists()


def test_an_architecture_without_an_adapter(tmp_path: Path) -> None:
    shutil.copytree(tiny("gpt2"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    assert failing({"kind": "checkpoint", "folder": str(tmp_path)}).code == "E457"


def test_heads_that_do_not_add_up_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = executor("gpt2").bridge
    model = HookedExecutor(bridge, executor("gpt2").facts)
    monkeypatch.setattr(model, "output_weight", lambda layer: torch.ones(4, 8, 32))
    with pytest.raises(InterpError, match="E602"):
        model.forward(prompts(model, 2, 5), None, sites=[Site("head", 0)])


def test_a_family_without_an_entry_of_its_own() -> None:
    """Its facts are what the bridge says too; a change that would be lost is refused."""
    spec = {"kind": "checkpoint", "folder": str(tiny("opt"))}
    model = load(spec, device="cpu")
    assert model.facts == facts(spec)
    assert model.facts.shape == Shape(2, 4, 4, 32, 8, 48, 400, 400, 32, family="opt")
    assert replace(shape_of_bridge(model.bridge), family="opt") == model.facts.shape
    assert model.facts.bos == 0 and model.facts.tokenizer == tiny("opt") / "tokenizer.json"
    tokens = prompts(model, 2, 5)
    for site in sites_of(model, inputs=False):
        base = model.forward(tokens, None, sites=[site])
        x = base.sites[site]
        edit = everywhere(site, x, x.flip(1))
        if site.kind == "pattern":
            with pytest.raises(InterpError, match="E602"):
                model.forward(tokens, None, [edit])
        else:
            new = model.forward(tokens, None, [edit]).logits
            assert (new - base.logits).abs().max() > 1e-3, site


def test_a_failure_without_words_tells_its_line_of_code(tmp_path: Path) -> None:
    shutil.copytree(tiny("gpt_neox"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "attention_bias": False}))
    found = failing({"kind": "checkpoint", "folder": str(tmp_path)})
    assert found.code == "E457" and found.notes[0].startswith("AssertionError at: assert ")
