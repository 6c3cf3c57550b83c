"""Makes what a race needs on disk: a random model, pairs of prompts, the program."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from job import Cell, Job, Shape, Sweep
from safetensors.torch import save_file

SEED = 0
PROGRAM = """model   m     = checkpoint("checkpoint")
dataset pairs = tokens("pairs.safetensors")
metric  gap   = logit_diff()

step raced = patch {units} from pairs.clean into pairs.corrupt measure gap
"""


def make(sweep: Sweep, work: Path, device: str, threads: int) -> Job:
    """The folder of a sweep, made once, and the job that names it."""
    s = sweep.shape
    sizes = "-".join(map(str, (s.layers, s.width, s.heads, s.vocab, s.context, s.batch)))
    folder = (work / f"{sweep.name}-{sizes}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "pairs.safetensors").is_file():
        _checkpoint(s, folder / "checkpoint")
        _pairs(s, folder / "pairs.safetensors")
    (folder / "race.interp").write_text(PROGRAM.format(units=_units(sweep)))
    return Job(sweep.name, sweep.kind, s, sweep.cells(), str(folder), device, threads)


def _units(sweep: Sweep) -> str:
    """The sweep's units in the language's words."""
    if sweep.sample is not None:
        return "{" + ", ".join(map(_written, sweep.cells())) + "}"
    family = "heads" if sweep.kind == "z" else sweep.kind
    return f"{family} at each" if sweep.by_position else family


def _written(cell: Cell) -> str:
    place = f"L{cell.layer}.resid_pre" if cell.head is None else f"L{cell.layer}H{cell.head}"
    return place if cell.position is None else f"{place} at {cell.position}"


def _checkpoint(shape: Shape, folder: Path) -> None:
    """A GPT-2 whose weights are random and large enough that every place matters."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.vocab,
        n_positions=shape.context,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(0.1 * noise) if weight.ndim == 1 else weight.copy_(_scaled(name, noise))
    model.save_pretrained(folder)
    _tokenizer(shape.vocab, folder / "tokenizer.json")


def _scaled(name: str, noise: torch.Tensor) -> torch.Tensor:
    is_table = "wte" in name or "wpe" in name
    return noise * ((2 if is_table else 1) / math.sqrt(noise.shape[1 if is_table else 0]))


def _tokenizer(vocab: int, path: Path) -> None:
    """Words w0, w1, …: prompts are token ids, but a checkpoint has a tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"w{i}": i for i in range(vocab)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


def _pairs(shape: Shape, path: Path) -> None:
    """Random tokens that differ between the sides at every position but the first."""
    generator = torch.Generator().manual_seed(SEED + 1)
    size = (shape.batch, shape.context)
    clean = torch.randint(1, shape.vocab, size, generator=generator)
    step = torch.randint(1, shape.vocab - 1, size, generator=generator)
    corrupt = 1 + (clean - 1 + step) % (shape.vocab - 1)
    clean[:, 0] = corrupt[:, 0] = 0
    answer = torch.randint(1, shape.vocab, (shape.batch,), generator=generator)
    wrong = 1 + answer % (shape.vocab - 1)
    save_file({"clean": clean, "corrupt": corrupt, "answer": answer, "wrong": wrong}, path)
