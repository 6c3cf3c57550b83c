"""What can be known of a model without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """Sizes and wiring read from a config.json.

    d_mlp is 0 for an attention-only model. `positional` is standard, rotary or none. `parallel`
    blocks (NeoX, GPT-J) have no resid_mid. `post_norms`: Gemma-2/3."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    d_vocab_out: int
    n_ctx: int
    positional: str = "standard"
    causal: bool = True
    parallel: bool = False
    gated: bool = False
    post_norms: bool = False
    family: str = "native"

    @property
    def attn_only(self) -> bool:
        return self.d_mlp == 0


@dataclass(frozen=True)
class ModelFacts:
    """All that check and plan know of a model: its shape, where its tokenizer lies, its BOS.

    `tokenizer` is a tokenizer.json, or a folder with vocab.json and merges.txt, None when the model
    has none. `bos` is the id put in front of every prompt, None when none is; `eos` are those that
    end a text."""

    name: str
    shape: Shape
    tokenizer: Path | None
    bos: int | None
    pad: int
    folder: Path | None = None
    eos: tuple[int, ...] = ()
