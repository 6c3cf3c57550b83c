"""The folder that ships a trained model: weights, config, vocabulary, card, steps of its training.

The heads of a layer can be numbered in any order without changing what a model computes; here the
one whose patch alone moves the answer furthest comes first (where the model has a task of pairs).
All figures of a card are those of the float16 weights beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interp_dsl.data import tasks
from interp_dsl.training import cards, measure
from interp_dsl.training.loop import Trainer, halved
from interp_dsl.training.model import Shape, Transformer
from interp_dsl.training.recipes import Figures, Recipe

Weights = dict[str, Tensor]
JSON = dict[str, Any]


def write(trainer: Trainer, folder: Path) -> JSON:
    """Writes the bundle of a trained (or half-trained) model and returns its card."""
    recipe = trainer.recipe
    folder.mkdir(parents=True, exist_ok=True)
    final = halved(trainer.model.weights())
    data = tasks.task(recipe.name, 1024, seed=2) if recipe.name in tasks.TASKS else None
    order = head_order(recipe.shape, final, data)
    weights = renumbered(final, order)
    save_file(weights, folder / "model.safetensors")
    for file in sorted((trainer.out / "steps").glob("*.safetensors")):
        (folder / "steps").mkdir(exist_ok=True)
        save_file(renumbered(load_file(file), order), folder / "steps" / file.name)
    _write_json(folder / "config.json", config(recipe))
    model = Transformer.of(recipe.shape, weights)
    story = cards.STORIES[recipe.name]
    extra = story.files(trainer.out, folder)
    heads = measure.heads(model, data)
    formation = _formation(trainer, folder)
    card = {
        "name": recipe.name,
        "summary": story.summary,
        "trained_on": story.trained_on,
        "seed": recipe.seed,
        "recipe": {**asdict(recipe.schedule), "optimizer": "AdamW", "steps_done": trainer.step},
        "parameters": sum(w.numel() for w in weights.values()),
        "measured": {k: round(v, 4) for k, v in story.measure(model, trainer.out).items()},
        "circuit": {"summary": story.circuit(heads), "heads": heads},
        "steps": [int(row["step"]) for row in formation],
        "formation": formation,
        "curve": [{k: round(v, 4) for k, v in row.items()} for row in trainer.curve],
        "licence": "MIT",
        "limits": list(story.limits),
        **extra,
    }
    _write_json(folder / "card.json", card)
    for file in folder.rglob("*.*"):
        file.chmod(0o644)
    return card


def _formation(trainer: Trainer, folder: Path) -> list[Figures]:
    """For each kept step the recipe's figures and each stripe's highest value over the heads."""
    rows = []
    for step in sorted(int(file.stem[5:]) for file in (folder / "steps").glob("*.safetensors")):
        weights = load_file(folder / "steps" / f"step-{step}.safetensors")
        model = Transformer.of(trainer.recipe.shape, weights)
        heads = measure.stripes(model).values()
        best = {name: max(row[name] for row in heads) for name in ("previous_token", "induction")}
        figures = {**trainer.recipe.evaluate(model), **best}
        rows.append({"step": step, **{k: round(v, 4) for k, v in figures.items()}})
    return rows


def head_order(shape: Shape, weights: Weights, data: tasks.TaskData | None) -> list[list[int]]:
    """For each layer its heads, the largest patch effect first; as they are without pairs."""
    if data is None:
        return [list(range(shape.n_heads)) for _ in range(shape.n_layers)]
    found = measure.importance(Transformer.of(shape, weights), data)
    return [
        sorted(
            range(shape.n_heads),
            key=lambda head: -found[measure.head_name(layer, head)]["patch_effect"],
        )
        for layer in range(shape.n_layers)
    ]


def renumbered(weights: Weights, order: list[list[int]]) -> Weights:
    """The same model with head order[layer][i] of each layer as its head i."""
    result = dict(weights)
    for layer, heads in enumerate(order):
        for part in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
            name = f"blocks.{layer}.attn.{part}"
            result[name] = weights[name][torch.tensor(heads)].contiguous()
    return result


def config(recipe: Recipe) -> JSON:
    """The fields of TransformerLens's TransformerBridgeConfig, and the ids of special tokens."""
    shape = recipe.shape
    fields: JSON = {
        "model_name": recipe.name,
        "n_layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "d_model": shape.d_model,
        "d_head": shape.d_head,
        "d_mlp": shape.d_mlp,
        "n_ctx": shape.n_ctx,
        "d_vocab": shape.d_vocab,
        "d_vocab_out": shape.d_vocab,
        "act_fn": shape.act,
        "attn_only": shape.d_mlp is None,
        "normalization_type": shape.norm,
        "eps": shape.eps,
        "positional_embedding_type": "standard",
        "attention_dir": "causal",
        "gated_mlp": False,
        "seed": recipe.seed,
        "default_prepend_bos": recipe.bos is not None,
        "tokenizer_prepends_bos": False,
        "bos_token_id": recipe.bos,
    }
    return fields if recipe.pad is None else {**fields, "pad_token_id": recipe.pad}


def read(folder: Path) -> Transformer:
    """The model of a bundle, from its own config and weights alone."""
    raw = json.loads((folder / "config.json").read_text())
    shape = Shape(
        n_layers=raw["n_layers"],
        n_heads=raw["n_heads"],
        d_model=raw["d_model"],
        d_head=raw["d_head"],
        n_ctx=raw["n_ctx"],
        d_vocab=raw["d_vocab"],
        d_mlp=raw["d_mlp"],
        act=raw["act_fn"],
        norm=raw["normalization_type"],
        eps=raw["eps"],
    )
    return Transformer.of(shape, load_file(folder / "model.safetensors"))


def _write_json(path: Path, value: JSON) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
