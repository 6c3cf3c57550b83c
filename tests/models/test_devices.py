"""Where a model lies: on one device, or spread over several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import interp_dsl
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled import choice
from interp_dsl.models.compiled.choice import compile_bridged
from interp_dsl.models.edits import Edit
from interp_dsl.models.facts import facts
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.load import load, resolve_device
from interp_dsl.models.options import DTYPES
from interp_dsl.models.precision import supported
from interp_dsl.models.trace import Trace
from interp_dsl.plan.places import Site
from tests.devices import from_cpu
from tests.models.checkpoints import tiny
from tests.models.running import everywhere, executor, failing, prompts, sites_of

_GPT2 = "wte wpe h.0 h.1 ln_f"
_LLAMA = "embed_tokens rotary_emb layers.0 layers.1 norm"
MODULES = {
    "gpt2": ["lm_head", *(f"transformer.{part}" for part in _GPT2.split())],
    "llama": ["lm_head", *(f"model.{part}" for part in _LLAMA.split())],
}


def spread(name: str, device_map: Any, **options: Any) -> dict[str, Any]:
    return {"kind": "checkpoint", "folder": str(tiny(name)), "device_map": device_map, **options}


def split(name: str) -> dict[str, int]:
    """The second layer on the second GPU, all else on the first."""
    return {module: int(module.endswith(".1")) for module in MODULES[name]}


# ** one device **


@pytest.mark.parametrize("device", ["cuda:99", "meta", "tpu", "xla"])
def test_a_device_that_is_not_there(device: str) -> None:
    found = failing(spread("gpt2", None), device=device)
    assert found.code == "E461" and device in found.message
    assert "cpu" in str(found.help)
    if not device.startswith("cuda"):
        assert found.notes == ("models run on cpu, cuda, mps",)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has a Metal device")
def test_a_machine_without_metal_is_named_as_the_reason() -> None:
    found = failing(spread("gpt2", None), device="mps")
    assert found.code == "E461" and found.notes == (
        "PyTorch finds no Metal device on this machine",
    )


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built for CUDA")
def test_a_pytorch_without_cuda_is_named_as_the_reason() -> None:
    found = failing(spread("gpt2", None), device="cuda")
    assert "install a PyTorch that is built for CUDA" in str(found.help)


def test_the_models_own_device_goes_first() -> None:
    model = load(spread("gpt2", None, device="cpu"), "cuda:99")
    assert model.device == torch.device("cpu")
    assert resolve_device("cpu") == torch.device("cpu")


def test_what_devices_run() -> None:
    assert set(DTYPES) - set(supported(torch.device("cpu"))) == {"tf32"}
    assert set(DTYPES) - set(supported(torch.device("mps"))) == {"tf32", "float64"}


# ** several devices **


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("form", ["auto", "one", "each"])
def test_a_device_map_changes_nothing_but_the_place(name: str, form: str) -> None:
    device_map = {
        "auto": "auto" if not torch.cuda.is_available() else {"": "cpu"},
        "one": {"": "cpu"},
        "each": dict.fromkeys(MODULES[name], "cpu"),
    }[form]
    model, plain = load(spread(name, device_map)), executor(name)
    assert model.device == torch.device("cpu") and model.fingerprint() == plain.fingerprint()
    tokens = prompts(plain, 2, 6)
    sites = sites_of(plain)
    mine, other = (m.forward(tokens, None, sites=sites) for m in (model, plain))
    assert torch.equal(mine.logits, other.logits)
    for site in sites:
        assert torch.equal(mine.sites[site], other.sites[site])
        x = other.sites[site]
        edit = everywhere(site, x, x.flip(1))
        assert torch.equal(
            model.forward(tokens, None, [edit]).logits, plain.forward(tokens, None, [edit]).logits
        )
    assert load(spread(name, device_map), executor="auto").name == "compiled"


def test_a_model_on_several_devices_runs_hooked_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load(spread("gpt2", {"": "cpu"}))
    monkeypatch.setattr(model, "devices", (torch.device("cuda:0"), torch.device("cuda:1")))
    found = choice.bridged(model, "auto", verify=False)
    assert found is model and found.difference is None
    assert "it is spread over cuda:0, cuda:1" in str(found.remark)
    with pytest.raises(InterpError, match="E605"):
        compile_bridged(model)


def test_edits_and_captures_follow_the_layer() -> None:
    """With a layer on a device that holds no values, those of an edit are moved there; what is
    captured is moved back, which torch cannot do from there."""
    model, elsewhere = executor("gpt2"), torch.device("meta")
    site, zero, at = Site("resid_pre", 1), torch.tensor([0]), torch.tensor([[2]])
    edit = Edit(site, zero, zero, at, at > 0, torch.ones(32), basis=torch.eye(32)[:, :2])
    moved = edit.to(elsewhere)
    assert moved.value is not None and moved.value.is_meta
    assert moved.basis is not None and moved.basis.is_meta
    assert moved.rows is edit.rows and moved.positions is edit.positions
    x = torch.zeros(2, 6, 32, device=elsewhere)
    ((_, changed),) = Trace(model, (2, 6), [edit], []).hooks
    assert changed(x, None).device == elsewhere
    ((_, captured),) = Trace(model, (2, 6), [], [site]).hooks
    with pytest.raises(NotImplementedError, match="copy out of meta"):
        captured(x, None)


def test_maps_that_cannot_be() -> None:
    disk = dict.fromkeys(MODULES["gpt2"], "cpu") | {"transformer.h.1": "disk"}
    found = failing(spread("gpt2", disk))
    assert found.code == "E463" and "bfloat16" in str(found.help)
    mixed = dict.fromkeys(MODULES["gpt2"], "cpu") | {"transformer.h.1": 0}
    assert failing(spread("gpt2", mixed)).code == "E463"
    with pytest.raises(InterpError, match="E463"):
        facts(spread("gpt2", "auto", device="cpu"))


def test_a_run_with_a_device_map(tmp_path: Path) -> None:
    folder = tiny("gpt2")
    text = (
        'model m = checkpoint("{}", device_map={})\n'
        'dataset d = prompts(clean=["When Mary and John"], answer=[7])\n'
        "step who = evaluate m on d measure logprob()\n"
    )
    file = tmp_path / "x.interp"
    file.write_text(text.format(folder, "auto"))
    run = interp_dsl.run(file, out=tmp_path / "run", allow=[folder])
    assert run.status == "done"
    (wrong,) = interp_dsl.check(text.format(folder, "spread"), allow=[folder])
    assert wrong.code == "E302" and "auto, balanced, sequential" in str(wrong.label)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("name", MODULES)
def test_a_split_model_gives_what_the_whole_one_gives(name: str) -> None:
    model, plain = from_cpu(load(spread(name, split(name)))), executor(name)
    assert isinstance(model, HookedExecutor)
    assert model.devices == (torch.device("cuda:0"), torch.device("cuda:1"))
    tokens = prompts(plain, 2, 6)
    sites = sites_of(plain)
    mine, other = (m.forward(tokens, None, sites=sites) for m in (model, plain))
    torch.testing.assert_close(mine.logits, other.logits, atol=1e-4, rtol=1e-4)
    for site in sites:
        torch.testing.assert_close(mine.sites[site], other.sites[site], atol=1e-4, rtol=1e-4)
        x = other.sites[site]
        edit = everywhere(site, x, x.flip(1))
        torch.testing.assert_close(
            model.forward(tokens, None, [edit]).logits,
            plain.forward(tokens, None, [edit]).logits,
            atol=1e-4,
            rtol=1e-4,
        )
