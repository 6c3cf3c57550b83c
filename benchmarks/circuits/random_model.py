"""Makes what a race needs on disk: a random model under TransformerLens's names, pairs of random
prompts, the program."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from case import Case, Job
from safetensors.torch import save_file
from torch import Tensor

SEED = 0
INITIAL = 0.8
"""TransformerLens draws weights with a standard deviation of 0.8 / sqrt(d_model)."""
PROGRAM = """model   m     = weights("model")
dataset pairs = tokens("pairs.safetensors")

step raced = search edges by acdc(threshold={threshold}, preset="auto-circuit")
             from pairs.corrupt into pairs.clean measure kl()
"""


def make(case: Case, work: Path, threads: int) -> Job:
    """The folder of a case, made once, and the job that names it."""
    folder = (work / case.name).resolve()
    (folder / "model").mkdir(parents=True, exist_ok=True)
    if not (folder / "pairs.safetensors").is_file():
        save_file(_tensors(case), folder / "model" / "model.safetensors")
        (folder / "model" / "config.json").write_text(json.dumps(config(case), indent=1))
        _pairs(case, folder / "pairs.safetensors")
    (folder / "race.interp").write_text(PROGRAM.format(threshold=f"{case.threshold:f}"))
    return Job(case, str(folder), threads)


def config(case: Case) -> dict[str, Any]:
    """Fields that TransformerLens and interp share."""
    fields: dict[str, Any] = {
        "n_layers": case.layers,
        "n_heads": case.heads,
        "d_model": case.width,
        "d_head": case.width // case.heads,
        "n_ctx": case.context,
        "d_vocab": case.vocab,
        "normalization_type": "LN",
        "eps": 1e-5,
        "attn_only": not case.mlps,
    }
    return fields | ({"d_mlp": 4 * case.width, "act_fn": "gelu_new"} if case.mlps else {})


def _tensors(case: Case) -> dict[str, Tensor]:
    """Norms are 1 and 0, biases 0, and all else `gain` times as large as TransformerLens starts."""
    generator = torch.Generator().manual_seed(SEED)
    scale = case.gain * INITIAL / math.sqrt(case.width)
    d, heads, d_head = case.width, case.heads, case.width // case.heads

    def drawn(*size: int) -> Tensor:
        return scale * torch.randn(size, generator=generator)

    found = {"embed.W_E": drawn(case.vocab, d), "pos_embed.W_pos": drawn(case.context, d)}
    for layer in range(case.layers):
        block = f"blocks.{layer}."
        for channel in "QKV":
            found[f"{block}attn.W_{channel}"] = drawn(heads, d, d_head)
            found[f"{block}attn.b_{channel}"] = torch.zeros(heads, d_head)
        found[f"{block}attn.W_O"] = drawn(heads, d_head, d)
        found[f"{block}attn.b_O"] = torch.zeros(d)
        found |= _norm(f"{block}ln1", d)
        if case.mlps:
            found |= {f"{block}mlp.W_in": drawn(d, 4 * d), f"{block}mlp.W_out": drawn(4 * d, d)}
            found |= {f"{block}mlp.b_in": torch.zeros(4 * d), f"{block}mlp.b_out": torch.zeros(d)}
            found |= _norm(f"{block}ln2", d)
    unembed = {"unembed.W_U": drawn(d, case.vocab), "unembed.b_U": torch.zeros(case.vocab)}
    return found | _norm("ln_final", d) | unembed


def _norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.w": torch.ones(width), f"{name}.b": torch.zeros(width)}


def _pairs(case: Case, path: Path) -> None:
    """Random tokens; the sides differ at every position."""
    generator = torch.Generator().manual_seed(SEED + 1)
    size = (case.batch, case.context)
    clean = torch.randint(case.vocab, size, generator=generator)
    step = torch.randint(1, case.vocab, size, generator=generator)
    corrupt = (clean + step) % case.vocab
    answer = torch.randint(case.vocab, (case.batch,), generator=generator)
    wrong = (answer + 1) % case.vocab
    save_file({"clean": clean, "corrupt": corrupt, "answer": answer, "wrong": wrong}, path)
