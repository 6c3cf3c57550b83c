"""Small random models on disk, one a family: `tiny("llama")` is a folder for `checkpoint`,
`tiny_native("rotary")` one for `weights`. Made once a session.

Weights are larger than a fresh initialisation, and biases and norms are not trivial, so that every
site matters to the logits."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 400
ROTARY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GROUPED = {**ROTARY, "num_key_value_heads": 2, "head_dim": 8}
HF: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2",
        {
            "vocab_size": VOCABULARY,
            "n_positions": 32,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    "llama": ("Llama", GROUPED),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 3}),
    "qwen2": ("Qwen2", {k: v for k, v in GROUPED.items() if k != "head_dim"}),
    "qwen3": ("Qwen3", GROUPED),
    "gpt_neox": ("GPTNeoX", {**ROTARY, "rotary_pct": 0.5}),
    "gpt_neox_sequential": ("GPTNeoX", {**ROTARY, "use_parallel_residual": False}),
    "gemma": ("Gemma", GROUPED),
    "gemma2": ("Gemma2", {**GROUPED, "sliding_window": 3, "query_pre_attn_scalar": 8}),
    "gemma3_text": ("Gemma3", {**GROUPED, "sliding_window": 3, "query_pre_attn_scalar": 8}),
}
# A family without an entry of its own; TransformerLens shows its pattern and ignores changes of it.
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": (
        "OPT",
        {
            **{k: v for k, v in ROTARY.items() if k != "intermediate_size"},
            "ffn_dim": 48,
            "word_embed_proj_dim": 32,
        },
    ),
}
PLAIN = {"n_layers": 2, "n_heads": 4, "d_model": 32, "d_head": 8, "n_ctx": 32, "d_vocab": 50}
NATIVE: dict[str, dict[str, Any]] = {
    "plain": {**PLAIN, "d_mlp": 48, "act_fn": "gelu", "d_vocab_out": 20},
    "attn_only": {**PLAIN, "attn_only": True, "normalization_type": None},
    "rotary": {
        **PLAIN,
        "n_key_value_heads": 2,
        "d_mlp": 48,
        "act_fn": "silu",
        "gated_mlp": True,
        "normalization_type": "RMS",
        "positional_embedding_type": "rotary",
        "rotary_dim": 4,
        "tie_word_embeddings": True,
    },
    "bidirectional": {
        **PLAIN,
        "d_mlp": 48,
        "act_fn": "gelu_new",
        "normalization_type": "LNPre",
        "attention_dir": "bidirectional",
    },
    "capped": {
        **PLAIN,
        "d_mlp": 48,
        "act_fn": "solu_ln",
        "final_rms": True,
        "attn_scale": 2.0,
        "attn_scores_soft_cap": 5.0,
        "output_logits_soft_cap": 8.0,
        "positional_embedding_type": "none",
    },
}
PEOPLE = ("Mary", "John", "Anna", "Paul", "Lucy", "Mark")
PLACES = ("store", "garden", "station", "school")


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="interp-models-")


@cache
def tiny(family: str, layers: int = 2) -> Path:
    """A checkpoint folder with config.json, model.safetensors and a byte-level tokenizer.json in
    which the names in PEOPLE and PLACES, with a space before, are single tokens."""
    import transformers

    stem, fields = (HF | OTHER)[family]
    fields = {**fields, "n_layer" if stem == "GPT2" else "num_hidden_layers": layers}
    end = "LMHeadModel" if stem == "GPT2" else "ForCausalLM"
    config = getattr(transformers, f"{stem}{'Text' if stem == 'Gemma3' else ''}Config")(**fields)
    model = getattr(transformers, stem + end)(config)
    generator = torch.Generator().manual_seed(len(family))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            _fill(name, weight, generator)
    folder = Path(_root().name) / f"{family}-{layers}"
    model.save_pretrained(folder)
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _fill(name: str, weight: torch.Tensor, generator: torch.Generator) -> None:
    noise = torch.randn(weight.shape, generator=generator)
    if weight.ndim == 1:
        weight.add_(0.2 * noise)
    else:
        weight.copy_(noise * (0.5 if "emb" in name or "wte" in name or "wpe" in name else 0.3))


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [
        f"When {a} and {b} went to the {place}, {b} gave a drink to {a}"
        for a in PEOPLE
        for b in PEOPLE
        for place in PLACES
    ]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@cache
def tiny_native(name: str) -> Path:
    """A folder of plain weights: config.json and model.safetensors, every tensor given except a
    tied unembedding."""
    from interp_dsl.models import native_config, weights

    folder = Path(_root().name) / f"native-{name}"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(NATIVE[name]))
    config = native_config.parse(NATIVE[name], folder / "config.json")
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for tensor, size in weights.expected(config).items():
        noise = torch.randn(size, generator=generator)
        tensors[tensor] = 1 + 0.2 * noise if tensor.endswith(".w") else 0.3 * noise
    if config.tied:
        del tensors["unembed.W_U"]
    from safetensors.torch import save_file

    save_file(tensors, folder / "model.safetensors")
    return folder
