"""Folders that the libraries themselves have written (peers/), read; and ours written and read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.formats.config import NotUnderstood, fingerprint, read_config
from interp_dsl.dictionaries.formats.reading import read
from interp_dsl.dictionaries.formats.writing import Origin, encoded

PEERS = Path(__file__).parent / "peers"
FOLDERS = sorted(path.parent for path in PEERS.glob("*/*/expected.safetensors"))
REFUSED = {
    "saelens/refused_layer_norm": "`normalize_activations` is 'layer_norm'",
    "sparsify/refused_groupmax": "`activation` is 'groupmax'",
    "sparsify/refused_transcoder": "`transcode` is True",
}


def _name(folder: Path) -> str:
    return str(folder.relative_to(PEERS))


def test_every_library_has_folders() -> None:
    found = {folder.parent.name: 0 for folder in FOLDERS}
    assert found.keys() == {"saelens", "dictionary_learning", "sparsify"}
    assert len(FOLDERS) == 21


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_features_and_reconstructions_are_the_librarys_own(folder: Path) -> None:
    expected = load_file(folder / "expected.safetensors")
    dictionary, config = read(folder)
    assert (dictionary.d_in, dictionary.d_sae) == (config.d_in, config.d_sae) == (8, 16)
    f = dictionary.encode(expected["x"])
    on = expected["features"] > 0
    assert 0 < int(on.sum()) < on.numel()
    assert torch.equal(f > 0, on)
    torch.testing.assert_close(f, expected["features"], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(
        dictionary.decode(f, expected["x"]), expected["reconstruction"], atol=5e-5, rtol=2e-5
    )


def test_where_a_dictionary_was_fitted_is_read() -> None:
    of = {_name(folder): read_config(folder) for folder in FOLDERS}
    assert of["saelens/topk"].hook == "blocks.1.hook_resid_pre"
    assert of["saelens/topk"].head is None
    skip = of["saelens/skip_transcoder"]
    assert (skip.hook, skip.hook_out) == ("blocks.1.hook_mlp_in", "blocks.1.hook_mlp_out")
    assert (skip.d_out, skip.has_skip) == (6, True)
    assert of["dictionary_learning/topk"].module == "resid_post_layer_1"
    assert of["sparsify/layers.1.mlp"].module == "layers.1.mlp"


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_is_refused_by_its_field(name: str) -> None:
    with pytest.raises(NotUnderstood) as found:
        read(PEERS / name)
    assert REFUSED[name] in str(found.value)


FORMATS = ("saelens", "dictionary_learning", "sparsify")


def _dictionary(activation: str) -> Dictionary:
    """Decoder rows of length 1, as dictionary_learning's loader makes them."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    decoder = drawn(16, 8)
    tensors = {
        "W_enc": drawn(8, 16),
        "W_dec": decoder / decoder.norm(dim=1, keepdim=True),
        "b_dec": drawn(8),
    }
    if activation == "gated":
        tensors |= {name: drawn(16) for name in ("b_gate", "b_mag", "r_mag")}
    else:
        tensors["b_enc"] = drawn(16)
    if activation == "jumprelu":
        tensors["threshold"] = drawn(16).abs()
    return Dictionary(activation, tensors, 4 if activation == "topk" else None)


@pytest.mark.parametrize("activation", ["relu", "topk", "jumprelu", "gated"])
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read_back(form: str, activation: str, tmp_path: Path) -> None:
    dictionary, x = _dictionary(activation), torch.randn(20, 8) * 2
    if form == "sparsify" and activation != "topk":
        with pytest.raises(NotUnderstood, match="topk alone"):
            encoded(dictionary, form, Origin())
        return
    for name, data in encoded(dictionary, form, Origin("m", "blocks.2.hook_mlp_out")).items():
        (tmp_path / name).write_bytes(data)
    again, config = read(tmp_path)
    assert config.format == form and again.activation == activation and again.k == dictionary.k
    f = dictionary.encode(x)
    assert int((f > 0).sum()) > 0
    torch.testing.assert_close(again.encode(x), f, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(again.decode(f), dictionary.decode(f), atol=2e-5, rtol=2e-5)
    if form == "saelens":
        assert config.hook == "blocks.2.hook_mlp_out"


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("activation", ["relu", "jumprelu", "topk"])
def test_a_transcoder_is_written_and_read_back(
    activation: str, skips: bool, tmp_path: Path
) -> None:
    plain, x = _dictionary(activation), torch.randn(20, 8) * 2
    generator = torch.Generator().manual_seed(4)
    tensors = {**plain.tensors, "b_in": torch.randn(8, generator=generator)}
    tensors |= {"W_dec": torch.randn(16, 5, generator=generator), "b_dec": torch.ones(5)}
    if skips:
        tensors["W_skip"] = torch.randn(5, 8, generator=generator)
    dictionary = Dictionary(activation, tensors, plain.k)
    origin = Origin("m", "blocks.2.hook_mlp_in", onto="blocks.2.hook_mlp_out")
    for form in ("dictionary_learning", "sparsify"):
        with pytest.raises(NotUnderstood, match="no transcoder") as refused:
            encoded(dictionary, form, origin)
        assert (refused.value.advice == "write it as saelens") is (activation != "topk")
    if activation == "topk":
        with pytest.raises(NotUnderstood, match="no transcoder that is topk") as refused:
            encoded(dictionary, "saelens", origin)
        named = f"jumprelu_{'skip_' * skips}transcoder"
        assert f"batch_topk(width=16, k={plain.k}" in str(refused.value.advice)
        assert f"SAELens as {named}" in str(refused.value.advice)
        return
    for name, data in encoded(dictionary, "saelens", origin).items():
        (tmp_path / name).write_bytes(data)
    again, config = read(tmp_path)
    assert config.named == f"{'jumprelu_' * (activation != 'relu')}{'skip_' * skips}transcoder"
    assert (config.hook_out, config.d_out) == ("blocks.2.hook_mlp_out", 5)
    f = dictionary.encode(x)
    assert 0 < int((f > 0).sum()) < f.numel()
    torch.testing.assert_close(again.encode(x), f, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(
        again.reconstruct(x), dictionary.reconstruct(x), atol=5e-5, rtol=2e-5
    )


def _changed(tmp_path: Path, name: str, **fields: object) -> Path:
    """A copy of a SAELens folder with other fields in its configuration."""
    folder = tmp_path / name
    shutil.copytree(PEERS / "saelens" / name, folder)
    raw = json.loads((folder / "cfg.json").read_text()) | fields
    (folder / "cfg.json").write_text(json.dumps({k: v for k, v in raw.items() if v != "absent"}))
    return folder


def test_a_file_from_before_version_6_says_the_same_in_other_words(tmp_path: Path) -> None:
    folder = _changed(
        tmp_path,
        "topk",
        architecture="standard",
        k="absent",
        metadata="absent",
        activation_fn_str="topk",
        activation_fn_kwargs={"k": 4},
        hook_point="blocks.1.attn.hook_z",
        hook_point_head_index=2,
    )
    config = read_config(folder)
    assert (config.architecture, config.k) == ("topk", 4)
    assert (config.hook, config.head) == ("blocks.1.attn.hook_z", 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architecture": "temporal"}, "`architecture` is 'temporal'"),
        ({"d_sae": 0}, "`d_sae` is 0"),
        ({"d_sae": "absent"}, "`d_sae` is missing"),
        ({"finetuning_scaling_factor": True}, "`finetuning_scaling_factor` is True"),
        ({"normalize_activations": "expected_average_only_in"}, "`normalize_activations`"),
        ({"d_sae": 17}, "W_enc is [8, 16], and [8, 17]"),
        ({"architecture": "gated"}, "'b_gate'"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(NotUnderstood) as found:
        read(_changed(tmp_path, "standard", **fields))
    assert message in str(found.value)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = _changed(tmp_path, "standard")
    held = load_file(folder / "sae_weights.safetensors")
    held["b_enc"][3] = torch.nan
    save_file(held, folder / "sae_weights.safetensors")
    with pytest.raises(NotUnderstood, match="b_enc holds numbers"):
        read(folder)


def test_folders_that_hold_no_dictionary(tmp_path: Path) -> None:
    with pytest.raises(NotUnderstood, match="holds no dictionary"):
        read(tmp_path)
    (tmp_path / "ae.pt").write_bytes(b"no tensors")
    with pytest.raises(NotUnderstood, match=r"no config\.json"):
        read(tmp_path)
    shutil.copy(PEERS / "dictionary_learning" / "topk" / "config.json", tmp_path)
    with pytest.raises(NotUnderstood, match=r"ae\.pt can't be read"):
        read(tmp_path)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    shutil.copy(PEERS / "dictionary_learning" / "topk" / "config.json", tmp_path)
    torch.save({"encoder.weight": Code()}, tmp_path / "ae.pt")
    with pytest.raises(NotUnderstood, match="can't be read"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_is_of_what_the_files_hold(tmp_path: Path) -> None:
    folder = _changed(tmp_path, "standard")
    first = fingerprint(folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(copy) == first
    held = load_file(copy / "sae_weights.safetensors")
    held["b_dec"] += 1
    save_file(held, copy / "sae_weights.safetensors")
    assert fingerprint(copy) != first
