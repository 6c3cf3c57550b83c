"""What is known of a model before it is loaded, without torch, and what is said when it is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import catalogue, files
from interp_dsl.models.facts import facts
from interp_dsl.models.native_config import KNOWN
from interp_dsl.models.shape import Shape
from tests.models.checkpoints import HF, PLAIN, tiny, tiny_native
from tests.models.running import MODELS, executor

NATIVE_SHAPE = Shape(2, 4, 4, 32, 8, 48, 50, 20, 32)
HF_SHAPE = Shape(2, 4, 4, 32, 8, 48, 400, 400, 32, "rotary", gated=True)


def error(spec: dict[str, Any]) -> InterpError:
    with pytest.raises(InterpError) as caught:
        facts(spec)
    return caught.value


def code(spec: dict[str, Any]) -> str:
    return error(spec).diagnostics[0].code


@pytest.mark.parametrize("name", MODELS)
def test_the_shape_is_what_the_bridge_makes_of_the_model(name: str) -> None:
    from interp_dsl.models.checkpoint import shape_of_bridge

    model = executor(name)
    theirs = shape_of_bridge(model.bridge)
    ours = model.facts.shape
    if name == "capped":
        theirs = replace(theirs, positional="none")  # a table of zeros stands for none
    if name in ("gemma2", "gemma3_text"):
        theirs = replace(theirs, post_norms=True)  # the bridge leaves its field unset
    if name == "bidirectional":
        assert not ours.causal
    assert replace(ours, family="") == replace(theirs, family="")


def test_native_shapes() -> None:
    found = facts({"kind": "weights", "folder": str(tiny_native("plain"))})
    assert found is not None and found.shape == NATIVE_SHAPE
    assert (found.bos, found.pad, found.tokenizer) == (None, 0, None)
    attn_only = facts({"kind": "weights", "folder": str(tiny_native("attn_only"))})
    assert attn_only is not None and attn_only.shape.attn_only


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("llama", replace(HF_SHAPE, n_kv_heads=2, family="llama")),
        ("gpt_neox", replace(HF_SHAPE, gated=False, parallel=True, family="gpt_neox")),
        ("gemma2", replace(HF_SHAPE, n_kv_heads=2, post_norms=True, family="gemma2")),
        (
            "gpt2",
            replace(HF_SHAPE, d_mlp=128, gated=False, positional="standard", family="gpt2"),
        ),
    ],
)
def test_checkpoint_shapes(family: str, shape: Shape) -> None:
    found = facts({"kind": "checkpoint", "folder": str(tiny(family))})
    assert found is not None and found.shape == shape
    assert found.tokenizer == tiny(family) / "tokenizer.json"


def test_bos_is_the_familys_custom_and_can_be_overruled() -> None:
    def bos(family: str, **options: object) -> int | None:
        found = facts({"kind": "checkpoint", "folder": str(tiny(family)), **options})
        assert found is not None
        return found.bos

    assert bos("gpt2") == bos("llama") == bos("gemma2") == 0
    assert bos("gpt_neox") is bos("qwen2") is bos("qwen3") is None
    assert bos("gpt2", bos=False) is None
    assert bos("qwen2", bos=3) == 3


def test_three_ways_to_name_plain_weights(tmp_path: Path) -> None:
    source = tiny_native("plain")
    shutil.copy(source / "config.json", tmp_path / "toy.json")
    shutil.copy(source / "model.safetensors", tmp_path / "toy.fp32.safetensors")
    for name in ("toy", "toy.fp32.safetensors"):
        found = files.weights_files(tmp_path / name)
        assert found.config == tmp_path / "toy.json"
        assert found.tensors == tmp_path / "toy.fp32.safetensors"
    nested = {"config": json.loads((source / "config.json").read_text()), "vocab": ["a"]}
    (tmp_path / "config.json").write_text(json.dumps(nested))
    known = facts({"kind": "weights", "folder": str(tmp_path)})
    assert known is not None and known.shape == NATIVE_SHAPE


def test_the_hubs_cache_is_read_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    spec = {"kind": "pretrained", "name": "someone/tiny"}
    assert facts(spec) is None
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(tiny("llama"), repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    found = facts(spec)
    assert found is not None and found.name == "someone/tiny"
    assert found.shape.n_kv_heads == 2 and found.folder == repository / "snapshots" / "abc"
    assert facts({**spec, "revision": "abc"}) == found
    assert facts({**spec, "revision": "v2"}) is None
    cached = [entry for entry in catalogue.catalogue() if entry.kind == "pretrained"]
    assert [(entry.name, entry.has_weights) for entry in cached] == [("someone/tiny", True)]


def test_a_python_model_and_an_unknown_family_are_not_known(tmp_path: Path) -> None:
    assert facts({"kind": "python", "target": "mine:make"}) is None
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    assert facts({"kind": "checkpoint", "folder": str(tmp_path)}) is None


GENERIC = {
    "model_type": "newcomer",
    "architectures": ["NewcomerForCausalLM"],
    "n_layer": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "d_model": 64,
    "n_inner": None,
    "vocab_size": 100,
    "n_positions": 128,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "bos_token_id": 5,
}


def generic(folder: Path, **change: object) -> Shape | None:
    (folder / "config.json").write_text(json.dumps({**GENERIC, **change}))
    found = facts({"kind": "checkpoint", "folder": str(folder)})
    assert found is None or found.bos == 5
    return found.shape if found else None


def test_a_family_without_an_entry_is_read_by_the_usual_names(tmp_path: Path) -> None:
    shape = Shape(3, 8, 2, 64, 8, 256, 100, 100, 128, "rotary", gated=True, family="newcomer")
    assert generic(tmp_path) == shape
    assert generic(tmp_path, head_dim=16, ffn_dim=96) == replace(shape, d_head=16, d_mlp=96)
    assert generic(tmp_path, multi_query=True) == replace(shape, n_kv_heads=1)
    assert generic(tmp_path, use_parallel_residual=True) == replace(shape, parallel=True)


@pytest.mark.parametrize(
    "change",
    [
        {"n_layer": None},
        {"n_positions": "long"},
        {"vocab_size": True},
        {"d_model": 60},
        {"architectures": ["NewcomerForMaskedLM"]},
        {"architectures": None},
        {"is_encoder_decoder": True},
        {"num_local_experts": 8},
        {"mamba_d_state": 16},
        {"word_embed_proj_dim": 32},
        {"alibi": True},
    ],
    ids=str,
)
def test_a_configuration_that_says_too_little_or_is_no_decoder_is_not_known(
    tmp_path: Path, change: dict[str, object]
) -> None:
    assert generic(tmp_path, **change) is None


def test_unknown_names_are_listed_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("induction-2l", "ioi-3l"):
        shutil.copytree(tiny_native("plain"), tmp_path / name)
        (tmp_path / name / "card.json").write_text(json.dumps({"summary": f"the {name} model"}))
    steps = tmp_path / "ioi-3l" / "steps"
    steps.mkdir()
    for step in (1000, 250):
        shutil.copy(tiny_native("plain") / "model.safetensors", steps / f"step-{step}.safetensors")
    monkeypatch.setattr(files, "bundled_root", lambda: tmp_path)
    problem = error({"kind": "bundled", "name": "induction2l"}).diagnostics[0]
    assert problem.code == "E450" and problem.help == 'did you mean "induction-2l"?'
    assert problem.notes == ("bundled models: induction-2l, ioi-3l",)
    problem = error({"kind": "bundled", "name": "ioi-3l", "step": 300}).diagnostics[0]
    assert problem.code == "E460" and problem.notes == ("steps kept: 250, 1000",)
    found = facts({"kind": "bundled", "name": "ioi-3l", "step": 250})
    assert found is not None and found.name == "ioi-3l" and found.shape == NATIVE_SHAPE
    listed = [(entry.kind, entry.name, entry.summary) for entry in catalogue.catalogue()]
    assert listed[0] == ("bundled", "induction-2l", "the induction-2l model")


@pytest.mark.parametrize("name", files.bundled_names())
def test_bundled_models_have_what_they_promise(name: str) -> None:
    found = facts({"kind": "bundled", "name": name})
    assert found is not None
    assert catalogue.card(name)["summary"]
    for step in catalogue.bundled_steps(name):
        assert facts({"kind": "bundled", "name": name, "step": step}) == found


def test_missing_and_broken_files(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert error({"kind": "weights", "folder": nowhere}).exit_code == 3
    assert code({"kind": "weights", "folder": nowhere}) == "E451"
    assert code({"kind": "weights", "folder": str(tmp_path)}) == "E451"
    assert code({"kind": "checkpoint", "folder": str(tmp_path)}) == "E451"
    for text in ("{", "[]", "\xff"):
        (tmp_path / "config.json").write_text(text, encoding="latin-1")
        assert code({"kind": "weights", "folder": str(tmp_path)}) == "E452"
        assert code({"kind": "checkpoint", "folder": str(tmp_path)}) == "E452"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_head": 4}, "did you mean n_heads"),
        ({"n_layers": None}, "lacks n_layers"),
        ({"n_heads": None, "d_head": None}, "lacks n_heads"),
        ({"n_heads": "4"}, "n_heads must be a whole number"),
        ({"n_heads": True}, "n_heads must be a whole number"),
        ({"n_layers": 0}, "n_layers must be positive"),
        ({"eps": "small"}, "eps must be a number"),
        ({"attn_only": "no"}, "attn_only must be true or false"),
        ({"act_fn": "mish"}, "act_fn must be one of relu, gelu"),
        ({"act_fn": ["relu"]}, "act_fn must be one of relu, gelu"),
        ({"rotary_pairs": "halves"}, "rotary_pairs must be one of adjacent"),
        ({"parallel_attn_mlp": True}, "asks for parallel_attn_mlp"),
        ({"use_attn_scale": False}, "without a scale"),
        ({"n_key_value_heads": 3}, "4 heads cannot share 3"),
    ],
)
def test_fields_that_do_not_work_are_named(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**PLAIN, **change}))
    problem = error({"kind": "weights", "folder": str(tmp_path)}).diagnostics[0]
    assert problem.code == "E453"
    assert words in f"{problem.message} {problem.help}"


def test_every_field_of_the_bridges_configuration_is_known() -> None:
    from transformer_lens.config import TransformerBridgeConfig

    fields = TransformerBridgeConfig(d_model=8, d_head=4, n_layers=1, n_ctx=4, d_vocab=3).to_dict()
    assert set(fields) - KNOWN == set()


def test_a_configuration_dumped_by_the_bridge_is_read(tmp_path: Path) -> None:
    fields = executor("rotary").bridge.cfg.to_dict()
    plain = {k: v for k, v in fields.items() if isinstance(v, int | float | str | None)}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    known = facts({"kind": "weights", "folder": str(tmp_path)})
    assert known is not None and known.shape == executor("rotary").facts.shape


def test_a_kind_that_does_not_exist() -> None:
    problem = error({"kind": "pretrain", "name": "gpt2"}).diagnostics[0]
    assert problem.code == "E450" and problem.help == "did you mean pretrained?"


def test_no_torch_is_imported() -> None:
    script = (
        "import sys\n"
        "from interp_dsl.models import catalogue, facts, shape, sites\n"
        f"assert facts.facts({{'kind': 'checkpoint', 'folder': {str(tiny('gpt2'))!r}}})\n"
        f"assert facts.facts({{'kind': 'weights', 'folder': {str(tiny_native('plain'))!r}}})\n"
        "catalogue.catalogue()\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'safetensors', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_family_of_the_table_is_built_here() -> None:
    """A family that facts knows is one that the executor is tested on."""
    from interp_dsl.models.hf_config import ROTARY

    assert {*ROTARY, "gpt2"} <= {*HF}
