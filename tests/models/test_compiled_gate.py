"""Which executor `load` gives, what it compares, keeps and says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import interp_dsl
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled import choice, gate
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.families import describe
from interp_dsl.models.load import load
from tests.devices import here
from tests.models.checkpoints import HF, tiny, tiny_native
from tests.models.running import executor, prompts

SPEC = {"kind": "weights", "folder": str(tiny_native("rotary"))}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "interp" / "verdicts"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled forward that computes something else."""
    describe_native = choice.describe_native

    def wrong(config: Any) -> Any:
        described = describe_native(config)
        return type(described)(**{**vars(described), "eps": 0.1})

    monkeypatch.setattr(choice, "describe_native", wrong)


def test_a_verdict_is_measured_kept_and_found_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(SPEC, "cpu", executor="auto")
    assert isinstance(first, CompiledExecutor)
    assert first.remark is None and first.difference is not None and first.difference <= 1e-5
    (file,) = cache.iterdir()
    content = json.loads(file.read_text())
    assert content["verdict"]["difference"] == first.difference
    assert content["verdict"]["passed"] is True
    assert content["fingerprint"] == first.fingerprint()
    assert content["dtype"] == "torch.float32" and content["torch"] == torch.__version__

    def compared(*_: object) -> None:
        raise AssertionError("compared again")

    monkeypatch.setattr(gate, "compare", compared)
    again = load(SPEC, "cpu", executor="auto")
    assert isinstance(again, CompiledExecutor) and again.difference == first.difference
    with pytest.raises(AssertionError, match="compared again"):
        load(SPEC, "cpu", executor="auto", verify=True)
    with pytest.raises(AssertionError, match="compared again"):
        load(SPEC, "cpu", "float64", executor="auto")


SCRIPT = """
import sys
from interp_dsl.models.load import load
model = load({spec!r}, "cpu", executor="auto")
import torch
model.forward(torch.tensor([[1, 2, 3]]), None)
heavy = [name for name in ("transformer_lens", "transformers") if name in sys.modules]
print(model.name, *heavy)
"""


@pytest.mark.parametrize("prior", [True, False])
def test_with_a_kept_verdict_transformer_lens_is_not_imported(prior: bool) -> None:
    if prior:
        load(SPEC, "cpu", executor="auto")
    script = SCRIPT.format(spec=SPEC)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ)
    )
    assert run.returncode == 0, run.stderr
    heavy = "" if prior else " transformer_lens transformers"
    assert run.stdout.strip() == f"compiled{heavy}"


def test_a_run_compares_once_and_again_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.interp").write_text(
        'model m = bundled("induction-2l")\n'
        "dataset d = repeated_tokens(pairs=2, half=4, seed=0)\n"
        "step who = evaluate m on d.clean measure logit_diff()\n"
    )
    compare, compared = gate.compare, []

    def counted(*models: Any) -> gate.Verdict:
        compared.append(models)
        return compare(*models)

    monkeypatch.setattr(gate, "compare", counted)
    for asked, times in ((False, 1), (False, 1), (True, 2)):
        ran = interp_dsl.run("x.interp", device="cpu", fresh=True, verify=asked)
        assert len(compared) == times
        about = ran.manifest["models"]["m"]
        assert about["executor"] == "compiled" and 0 < about["difference"] <= 1e-5


def test_the_reference_states_the_tolerances() -> None:
    page = Path(__file__).resolve().parents[2] / "grammar" / "language.md"
    stated = " ".join(page.read_text("utf-8").split())
    kinds = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16}
    found = {name: gate.TOLERANCES[dtype] for name, dtype in kinds.items()}
    assert f"{found['float32']:.0e}".replace("e-0", "e-") + " of a place's largest value" in stated
    assert f"{found['float64']:.0e} in float64" in stated
    assert f"{gate.TF32_TOLERANCE:g} in tf32, {found['float16']:g} in float16" in stated
    assert f"{gate.TOLERANCES[torch.bfloat16]:g} in bfloat16" in stated


@pytest.mark.usefixtures("broken")
def test_beyond_rounding_the_hooked_executor_runs_and_says_why(cache: Path) -> None:
    for _ in range(2):  # measured, then kept
        model = load(SPEC, "cpu", executor="auto")
        assert model.name == "hooked"
        assert model.difference > 1e-3
        assert str(model.remark).startswith(f"{model.facts.name} runs by hooks: the compiled")
        assert "differs from TransformerLens's by" in str(model.remark)
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["verdict"]["passed"] is False
    with pytest.raises(InterpError, match="E608"):
        load(SPEC, "cpu", executor="compiled")
    tokens = prompts(model, 2, 5)
    expected = executor("rotary").forward(tokens, None).logits
    assert torch.equal(model.forward(tokens, None).logits, expected)


def test_a_spoilt_verdict_is_measured_again(cache: Path) -> None:
    load(SPEC, "cpu", executor="auto")
    (file,) = cache.iterdir()
    good = json.loads(file.read_text())
    for text in ("", "[]", '{"verdict": {"difference": "x"}}', "\x00"):
        file.write_text(text)
        assert load(SPEC, "cpu", executor="auto").name == "compiled"
        assert json.loads(file.read_text()) == good


def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load(SPEC, "cpu", executor="auto").name == "compiled"
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", [*HF])
@pytest.mark.parametrize("processing", ["none", "compatibility"])
def test_checkpoints_compile_from_the_bridges_weights(name: str, processing: str) -> None:
    spec = {"kind": "checkpoint", "folder": str(tiny(name)), "processing": processing}
    model = load(spec, here(), executor="compiled")
    assert isinstance(model, CompiledExecutor)
    assert model.difference is not None and model.difference <= 1e-5


def test_families_that_are_not_covered_run_hooked() -> None:
    spec = {"kind": "checkpoint", "folder": str(tiny("opt"))}
    model = load(spec, "cpu", executor="auto")
    assert model.name == "hooked" and model.difference is None
    assert str(model.remark) == (
        "opt-2 runs by hooks: the compiled forward does not cover this model: the family opt is "
        "not covered"
    )
    with pytest.raises(InterpError, match="E605"):
        load(spec, "cpu", executor="compiled")


def test_a_model_built_by_python_code_runs_hooked(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(
        "from tests.models.running import executor\n"
        "def build():\n    return executor('plain').bridge\n"
    )
    spec = {"kind": "python", "target": "made:build", "folder": str(tmp_path)}
    model = load(spec, "cpu", trusted=True, executor="auto")
    assert model.name == "hooked" and "Python code" in str(model.remark)


def configuration(name: str) -> dict[str, Any]:
    fields: dict[str, Any] = executor(name).bridge.original_model.config.to_dict()
    return fields


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("llama", {"num_experts": 8}, "a field that is not known: num_experts"),
        ("llama", {"hidden_act": "quick_gelu"}, "the activation is quick_gelu"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "rotary positions are longrope"),
        ("gemma", {"hidden_activation": "relu"}, "the activation is gelu_pytorch_tanh or relu"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention is T"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 2}, "a layer has chunked_attention"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is T"),
        ("gpt2", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn is True"),
    ],
)
def test_configurations_that_are_not_covered(
    name: str, change: dict[str, Any], reason: str
) -> None:
    describe(configuration(name))
    with pytest.raises(InterpError, match="E605") as caught:
        describe(configuration(name) | change)
    assert [note for note in caught.value.diagnostics[0].notes if reason in note]


PUBLISHED: dict[str, dict[str, Any]] = {
    "gpt2": {"n_ctx": 1024, "task_specific_params": {"text-generation": {"do_sample": True}}},
    "gpt_neox": {"rotary_emb_base": 10000, "rotary_pct": 0.25, "torch_dtype": "float16"},
    "llama": {
        "max_position_embeddings": 131072,
        "pretraining_tp": 1,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
    },
    "mistral": {"rope_theta": 10000.0, "sliding_window": 4096},
    "qwen2": {"use_mrope": False, "use_sliding_window": False, "sliding_window": 32768},
    "qwen3": {"rope_scaling": None, "max_window_layers": 28},
    "gemma": {"hidden_activation": "gelu_pytorch_tanh", "rope_scaling": None},
    "gemma2": {"hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid"},
    "gemma3_text": {
        "rope_local_base_freq": 10000,
        "rope_theta": 1000000,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
    },
}


@pytest.mark.parametrize("name", [*PUBLISHED])
def test_fields_of_published_models(name: str) -> None:
    import transformers

    config = transformers.AutoConfig.for_model(name, **PUBLISHED[name])
    described = describe(config.to_dict())
    windows = {kind.window for kind in described.layers}
    assert windows == {"mistral": {4096}, "gemma2": {4096, None}, "gemma3_text": {512, None}}.get(
        name, {None}
    )


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gemma3_text", {"layer_types": ["sliding_attention", "full_attention"]}),
        ("gemma3_text", {"final_logit_softcapping": 9.0}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 500.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 16,
                },
                "attention_bias": True,
                "mlp_bias": True,
            },
        ),
        (
            "qwen2",
            {
                "layer_types": ["full_attention", "sliding_attention"],
                "sliding_window": 3,
                "use_sliding_window": True,
            },
        ),
        ("gpt_neox", {"hidden_act": "relu", "rotary_pct": 1.0}),
        ("gpt2", {"n_inner": 40, "activation_function": "gelu"}),
        ("gpt2", {"tie_word_embeddings": False, "layer_norm_epsilon": 0.1}),
        ("llama", {"head_dim": 16, "num_key_value_heads": 1, "tie_word_embeddings": True}),
        ("llama", {"head_dim": 4, "num_key_value_heads": 4, "hidden_act": "gelu"}),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "rope_theta": 1e4,
                    "factor": 4.0,
                    "original_max_position_embeddings": 8,
                    "attention_factor": 0.7,
                },
                "rms_norm_eps": 0.1,
            },
        ),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e2,
                    "partial_rotary_factor": 0.5,
                }
            },
        ),
        ("mistral", {"sliding_window": None, "head_dim": 16}),
        ("qwen3", {"head_dim": 16, "attention_bias": True}),
        ("gemma", {"head_dim": 16, "attention_bias": True, "tie_word_embeddings": False}),
        ("gemma2", {"query_pre_attn_scalar": 99, "attn_logit_softcapping": None}),
        ("gemma2", {"layer_types": ["full_attention"] * 2, "final_logit_softcapping": 3.0}),
    ],
)
def test_variants_of_the_families(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """Compiled as TransformerLens computes them, and equal to transformers."""
    import transformers

    saved = json.loads((tiny(name) / "config.json").read_text())
    config = transformers.AutoConfig.for_model(**{**saved, **fields})
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(tmp_path / name)
    loaded = load(
        {"kind": "checkpoint", "folder": str(tmp_path / name)}, "cpu", executor="compiled"
    )
    assert loaded.name == "compiled"
    tokens = prompts(loaded, 2, 12)
    with torch.no_grad():
        expected = model.eval()(tokens).logits
    assert gate.relative_difference(loaded.forward(tokens, None).logits, expected) <= 1e-5
