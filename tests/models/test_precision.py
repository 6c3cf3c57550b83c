"""float32 is float32 whatever the process was told; tf32 is what it says or says that it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

import interp_dsl
from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.models import precision
from interp_dsl.models.compiled import gate
from interp_dsl.models.load import load
from interp_dsl.models.options import DTYPES
from interp_dsl.models.precision import Precision, float32_products, has_tf32, resolve
from tests.devices import needs_cuda
from tests.models.checkpoints import tiny, tiny_native
from tests.models.running import failing, prompts, sites_of

NATIVE = {"kind": "weights", "folder": str(tiny_native("rotary"))}
CHECKPOINT = {"kind": "checkpoint", "folder": str(tiny("gpt2"))}
CPU, MPS, CUDA = map(torch.device, ("cpu", "mps", "cuda"))


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with float32_products(False):
        yield


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every device has TF32."""
    monkeypatch.setattr(precision, "has_tf32", lambda device: True)


def products() -> tuple[str, ...]:
    """How torch multiplies matrices of float32, on CUDA and on the processor."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        modules: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
        return tuple(module.fp32_precision for module in modules)
    return (torch.get_float32_matmul_precision(),)


@pytest.mark.parametrize("setting", ["highest", "high", "medium"])
@pytest.mark.parametrize("tf32", [False, True])
def test_a_setting_lasts_as_long_as_it_should(setting: str, tf32: bool) -> None:
    torch.set_float32_matmul_precision(setting)
    before = products()
    with pytest.raises(KeyError), float32_products(tf32):
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        raise KeyError
    assert torch.get_float32_matmul_precision() == setting
    assert products() == before


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="this torch has one setting"
)
def test_a_setting_of_one_backend_is_put_aside_and_put_back() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    with float32_products(False):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    torch.backends.cuda.matmul.fp32_precision = "ieee"


@pytest.mark.parametrize("executor", ["hooked", "compiled"])
@pytest.mark.parametrize("spec", [NATIVE, CHECKPOINT], ids=["native", "checkpoint"])
def test_float32_is_float32_whatever_the_process_was_told(
    spec: dict[str, str], executor: Any
) -> None:
    """And every pass runs under the executor's own setting."""
    model = load(spec, "cpu", executor=executor)
    tokens = prompts(model, 64, 16)
    expected = model.forward(tokens, None).logits
    torch.set_float32_matmul_precision("medium")
    assert torch.equal(model.forward(tokens, None).logits, expected)
    assert torch.get_float32_matmul_precision() == "medium"


class Settings(TorchFunctionMode):
    """How float32 is multiplied at every call of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= {torch.get_float32_matmul_precision()}
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("ampere")
@pytest.mark.parametrize("executor", ["hooked", "compiled"])
def test_passes_in_tf32_run_under_its_setting(executor: Any) -> None:
    model = load({**NATIVE, "dtype": "tf32"}, "cpu", executor=executor)
    assert model.tf32 and model.remark is None and model.dtype == torch.float32
    tokens, row = prompts(model, 2, 6), torch.tensor([0])
    with Settings() as settings:
        logits = model.forward(tokens, None).logits
        if executor == "compiled":
            model.resume(model.remember(tokens), row, 0)
    assert settings.seen == {"high"} and logits.dtype == torch.float32
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("executor", ["hooked", "compiled"])
@pytest.mark.parametrize("spec", [NATIVE, CHECKPOINT], ids=["native", "checkpoint"])
def test_without_tf32_it_is_float32_and_says_so(spec: dict[str, str], executor: Any) -> None:
    plain = load(spec, "cpu", executor=executor)
    model = load({**spec, "dtype": "tf32"}, "cpu", executor=executor)
    assert not model.tf32 and model.dtype == torch.float32
    assert model.remark == f"cpu has no TF32: {model.facts.name} runs in float32"
    tokens = prompts(model, 2, 6)
    assert torch.equal(model.forward(tokens, None).logits, plain.forward(tokens, None).logits)
    assert model.fingerprint() == plain.fingerprint()


@pytest.mark.usefixtures("ampere")
def test_tf32_is_part_of_fingerprint_and_verdict() -> None:
    for spec in (NATIVE, CHECKPOINT):
        in_tf32, plain = (load({**spec, "dtype": d}, CPU.type) for d in ("tf32", "float32"))
        assert in_tf32.fingerprint() != plain.fingerprint()
        assert gate.tolerance(in_tf32) == gate.TF32_TOLERANCE > gate.tolerance(plain)
    compiled = load({**NATIVE, "dtype": "tf32"}, "cpu", executor="compiled")
    assert gate._circumstances(compiled)["dtype"] == "tf32"
    compiled.tf32 = False
    assert gate._circumstances(compiled)["dtype"] == "torch.float32"


def test_which_devices_have_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    for capability, expected in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d, c=capability: c)
        assert has_tf32(CUDA) is expected
    monkeypatch.setattr(torch.version, "cuda", None)  # a build for AMD
    assert not any(map(has_tf32, (CPU, MPS, CUDA)))


def test_names() -> None:
    assert [str(resolve(name, CPU).dtype) for name in DTYPES] == [
        "torch.float32", "torch.float32", "torch.bfloat16", "torch.float16", "torch.float64"
    ]  # fmt: skip
    assert resolve(None, CPU) == Precision(torch.float32)
    found = failing({**NATIVE, "dtype": "bf16"})
    assert (found.code, found.help) == ("E461", "did you mean bfloat16?")
    assert all(name in found.notes[0] for name in DTYPES)


def test_mps_has_no_float64() -> None:
    with pytest.raises(interp_dsl.InterpError) as caught:
        resolve("float64", MPS)
    (found,) = caught.value.diagnostics
    assert found.code == "E461" and "--device cpu" in str(found.help)
    assert resolve("tf32", MPS) == Precision(torch.float32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "tf32"])
def test_metrics_are_measured_in_float32(dtype: str, tmp_path: Path) -> None:
    """From the model's own logits, by hand in double precision; a metric in bfloat16 would be off
    by one part in 256. What was asked for and is not to be had stands in the run."""
    folder = tiny("gpt2")
    (tmp_path / "e.interp").write_text(
        f'model m = checkpoint("{folder}", dtype={dtype})\n'
        'dataset d = prompts(clean=["When Mary and John", "When Anna and Paul"], answer=[7, 9])\n'
        "metric p = logprob()\n"
        "step who = evaluate m on d measure p\n"
    )
    run = interp_dsl.run(tmp_path / "e.interp", out=tmp_path / "run", allow=[folder], device="cpu")
    remark = "cpu has no TF32: gpt2-2 runs in float32" if dtype == "tf32" else None
    assert run.manifest["models"]["m"]["remark"] == remark
    notes = [e["text"] for e in run.folder.events() if e["event"] == "note"]
    assert (remark in notes) is (remark is not None)
    model = load({"kind": "checkpoint", "folder": str(folder)}, "cpu", dtype, executor="auto")
    encode = load_tokenizer(model.facts).prompt
    tokens = torch.tensor([encode(f"When {two}").ids for two in ("Mary and John", "Anna and Paul")])
    last = torch.full((2, 1), tokens.shape[1] - 1)
    logits = model.forward(tokens, last).logits[:, 0].double()
    wanted = logits.log_softmax(1)[[0, 1], [7, 9]].tolist()
    assert run.folder.read_tensors("who")["value"][0].tolist() == pytest.approx(wanted, rel=1e-6)


@needs_cuda
def test_tf32_rounds_and_float32_does_not() -> None:
    """Products of a few hundred terms: TF32 keeps 10 bits, float32 23."""
    models = {d: load({**CHECKPOINT, "dtype": d}, "cuda") for d in DTYPES}
    tokens = prompts(models["float32"], 8, 16).cuda()
    exact = models["float64"].forward(tokens, None).logits.double()
    torch.set_float32_matmul_precision("high")

    def error(dtype: str) -> float:
        logits = models[dtype].forward(tokens, None).logits
        return gate.relative_difference(logits, exact)

    assert error("float32") < 1e-5 < 1e-4 < error("tf32") < 1e-1


@needs_cuda
@pytest.mark.parametrize("spec", [NATIVE, CHECKPOINT], ids=["native", "checkpoint"])
def test_the_compiled_forward_passes_its_gate_in_tf32(spec: dict[str, str]) -> None:
    model = load({**spec, "dtype": "tf32"}, "cuda", executor="compiled")
    reference = load({**spec, "dtype": "tf32"}, "cuda", executor="hooked")
    assert gate.compare(model, reference).passed
    tokens = prompts(model, 2, 6).cuda()
    reference.forward(tokens, None, sites=sites_of(reference))  # heads add up within TF32
