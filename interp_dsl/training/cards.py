"""What a model card says beside its figures, and which figures and files it has, by model."""

from __future__ import annotations

import json
import math
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from interp_dsl.training import fourier, measure, recipes, text, vocab
from interp_dsl.training.measure import Heads
from interp_dsl.training.model import Transformer
from interp_dsl.training.recipes import Figures

Files = Callable[[Path, Path], dict[str, Any]]
"""(training folder, bundle folder) -> entries of the card; writes the vocabulary and data."""


@dataclass(frozen=True)
class Story:
    """`circuit` tells from the measures of the heads where the circuit is."""

    summary: str
    trained_on: str
    circuit: Callable[[Heads], str]
    limits: tuple[str, ...]
    measure: Callable[[Transformer, Path], Figures]
    files: Files


def named(heads: Heads, measure: str, floor: float) -> str:
    """The heads whose measure reaches the floor, strongest first: "L0H0 0.91, L0H1 0.75"."""
    found = sorted(
        ((row[measure], head) for head, row in heads.items() if row[measure] >= floor),
        key=lambda pair: -pair[0],
    )
    return ", ".join(f"{head} {value:.2f}" for value, head in found) or "none"


def _induction_circuit(heads: Heads) -> str:
    return (
        "Previous-token heads write, at each token, which token stood before it (attention to the "
        f"token before: {named(heads, 'previous_token', 0.3)}). Induction heads match that against "
        "the present token, attend to what followed it last time, and copy it (attention to the "
        f"token after the previous occurrence: {named(heads, 'induction', 0.3)}). Patching one "
        "head at all positions from the corrupt run moves the logit difference this share of the "
        "way: "
        f"{named(heads, 'patch_effect', 0.05)}; the sum exceeds 1 because the layers are in series."
    )


def _ioi_circuit(heads: Heads) -> str:
    return (
        "The model adds both names and takes the subject away. At END some heads of layers 0 and 1 "
        "attend to both names alike, whichever is the subject (attention END to IO: "
        f"{named(heads, 'END->IO', 0.3)}; END to S1: {named(heads, 'END->S1', 0.3)}). The last "
        "layer attends from END to the name at S2 and lowers its logit (attention END to S2: "
        f"{named(heads, 'END->S2', 0.3)}). Patching one head at all positions from the third-name "
        "run moves the logit difference this share of the way: "
        f"{named(heads, 'patch_effect', 0.05)}. There are no name movers that select the indirect "
        "object by attention, and no duplicate-token heads: S2 alone says who the subject is."
    )


def _docstring_circuit(heads: Heads) -> str:
    upper = {head: row for head, row in heads.items() if head[1] in "23"}
    most = max(abs(row["patch_effect"]) for row in upper.values())
    return (
        "Layer 0 tells every token which argument came before it: from an argument of the "
        "definition to the one before, and from `:param` to the one documented last (attention "
        f"C_def to B_def: {named(heads, 'C_def->B_def', 0.3)}; END to B_doc: "
        f"{named(heads, 'END->B_doc', 0.3)}). Heads of layer 1 match the two: they attend from END "
        "to the argument whose predecessor was documented last, and copy it (attention END to "
        f"C_def: {named(heads, 'END->C_def', 0.3)}). Patching one head at all positions from the "
        "corrupt run moves the logit difference (answer - highest wrong one) this share of the "
        f"way: {named(heads, 'patch_effect', 0.05)}; the sum may exceed 1 because the layers are "
        f"in series. No head of layers 2 and 3 moves it by more than {most:.3f} of the way: the "
        "circuit is one of two layers. What the upper two write does not depend on the arguments, "
        "though setting a head to its mean over all tokens can cost some of the logit difference "
        f"({named(upper, 'ablation_drop', 1.0)})."
    )


def _addition_circuit(heads: Heads) -> str:
    return (
        "Each addend is embedded as the cosines and sines of a few multiples of 2*pi/113 (the "
        "card's field fourier), the heads carry both addends to `=` (attention END to A: "
        f"{named(heads, 'END->A', 0.1)}; END to B: {named(heads, 'END->B', 0.1)}), the MLP makes "
        "of them cosines and sines of the sum's multiples (the shares of the logits' variance that "
        "depend on a + b at these frequencies stand there too), and the unembedding compares them "
        "with those of each answer. Patching one head at all positions "
        "from the corrupt run moves the logit difference this share of the way: "
        f"{named(heads, 'patch_effect', 0.05)}."
    )


def _text_circuit(heads: Heads) -> str:
    return (
        "No circuit is claimed. The model is meant for dictionaries of its 512 MLP neurons. "
        f"Attention to the token before: {named(heads, 'previous_token', 0.1)}."
    )


def _pairs(name: str) -> Callable[[Transformer, Path], Figures]:
    def figures_of(model: Transformer, work: Path) -> Figures:
        figures = recipes.pair_figures(name)(model)
        if name == "induction-2l":
            figures |= recipes.induction_figures(model)
        return figures

    return figures_of


def _addition_measure(model: Transformer, work: Path) -> Figures:
    """Beside the held-out pairs' figures the accuracy on all 12,769 pairs."""
    logits = fourier.logits_of_all_pairs(model)
    at = torch.arange(len(logits))
    right = logits.argmax(-1) == (at[:, None] + at) % len(logits)
    accuracy = right.double().mean().item()
    return {**recipes.pair_figures("modadd-113")(model), "accuracy_of_all_pairs": accuracy}


def _text_measure(model: Transformer, work: Path) -> Figures:
    """Loss on all held-out tokens, in nats a token and bits a byte, beside count models'; what the
    MLP adds to it, and how its neurons fire (on 512 held-out windows)."""
    data = text.corpus(work)
    measured = text.heldout_figures(data.heldout)
    figures = measured(model)
    figures["heldout_loss_without_mlp"] = measured(measure.without_mlps(model))["heldout_loss"]
    starts = np.arange(512) * (len(data.heldout) // 512)
    figures |= measure.neurons(model, text.windows(data.heldout, starts))
    size = len(data.tokenizer.decode(data.heldout.tolist()).encode())
    bits = figures["heldout_loss"] / math.log(2) * len(data.heldout) / size
    return {**figures, "heldout_bits_per_byte": bits, **_count_models(data)}


def _count_models(data: text.Corpus) -> Figures:
    """Held-out loss (nats a token) of token frequencies and of token pairs. The pair model
    falls back on frequencies with the weight of eight tokens."""
    size = text.TEXT.d_vocab
    single = np.bincount(data.train, minlength=size) + 1.0
    frequency = single / single.sum()
    pairs = data.train[:-1].astype(np.int64) * size + data.train[1:]
    counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
    before, after = data.heldout[:-1], data.heldout[1:]
    mixed = counts[before, after] + 8.0 * frequency[after]
    likelihood = mixed / (counts.sum(1)[before] + 8.0)
    return {
        "unigram_loss": float(-np.log(frequency[after]).mean()),
        "bigram_loss": float(-np.log(likelihood).mean()),
    }


def _induction_files(work: Path, folder: Path) -> dict[str, Any]:
    vocab.induction().save(str(folder / "tokenizer.json"))
    return {"task": "repeated tokens (interp_dsl.data.tasks.repeated_tokens)"}


def _ioi_files(work: Path, folder: Path) -> dict[str, Any]:
    vocab.ioi().save(str(folder / "tokenizer.json"))
    return {"task": "indirect objects (interp_dsl.data.tasks.task)"}


def _docstring_files(work: Path, folder: Path) -> dict[str, Any]:
    vocab.docstring().save(str(folder / "tokenizer.json"))
    return {"task": "the next argument of a docstring (interp_dsl.data.docstrings.docstring_task)"}


def _addition_files(work: Path, folder: Path) -> dict[str, Any]:
    vocab.modular_addition().save(str(folder / "tokenizer.json"))
    model = Transformer.of(recipes.ADDITION, load_file(folder / "model.safetensors"))
    found = fourier.frequencies(model)
    return {"task": "addition modulo 113 (interp_dsl.data.addition)", "fourier": found}


def _text_files(work: Path, folder: Path) -> dict[str, Any]:
    data = text.corpus(work)
    shutil.copyfile(work / "tokenizer.json", folder / "tokenizer.json")
    save_file({"tokens": data.heldout}, folder / "heldout.safetensors")
    notice = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    if notice.exists():
        shutil.copyfile(notice, folder / "PSF-LICENSE.txt")
    facts = json.loads((work / "corpus.json").read_text())
    return {"corpus": facts, "corpus_licence": "PSF-2.0 (heldout.safetensors, PSF-LICENSE.txt)"}


STORIES: dict[str, Story] = {
    "induction-2l": Story(
        "Two attention-only layers that continue a repeated sequence.",
        "Blocks of 8 to 31 random tokens, repeated to the end of a context of 64.",
        _induction_circuit,
        (
            "Random tokens only; it knows no language and no repeat of more than 31 tokens.",
            "Heads of a layer share the work, so ablating one understates what they do together.",
            "One seed.",
        ),
        _pairs("induction-2l"),
        _induction_files,
    ),
    "ioi-3l": Story(
        "Three layers that finish 'When Mary and John went to the store, John gave a book to'.",
        "Sentences of 6 templates, 5 openings and 2 name orders over 32 names, 10 places and 10 "
        "objects; 19% of the ordered name pairs were held out.",
        _ioi_circuit,
        (
            "It knows 92 words and six sentence forms, and nothing outside them.",
            "The giver is always the name at S2, so nothing had to be learned of repeated names: "
            "its circuit is not the one of GPT-2.",
            "One seed.",
        ),
        _pairs("ioi-3l"),
        _ioi_files,
    ),
    "docstring-4l": Story(
        "Four attention-only layers that name the next argument in a method's docstring.",
        "Half of the rows: methods of 4 to 7 arguments, with a docstring that documents them in "
        "order from a random one on. The other half: lines that list the end of one block of 4 to "
        "12 arguments again and again. 48 argument names; a tenth of the ordered pairs was held "
        "out, never side by side in training.",
        _docstring_circuit,
        (
            "It knows 116 words and one form of method, and nothing outside them.",
            "The circuit is one of two layers: it is not the one of the paper's model.",
            "Heads of layer 1 share the work, so ablating one understates what they do together.",
            "One seed.",
        ),
        _pairs("docstring-4l"),
        _docstring_files,
    ),
    "modadd-113": Story(
        "One layer that adds modulo 113: '17 104 =' gives 8.",
        "The sums of 70% of the 12,769 pairs of numbers below 113; the others were held out.",
        _addition_circuit,
        (
            "It reads three tokens, a, b and =, and nothing else.",
            "Strong weight decay; without it the same shape learns the table by heart.",
            "One seed.",
        ),
        _addition_measure,
        _addition_files,
    ),
    "text-1l-512": Story(
        "One layer with 512 ReLU neurons, for dictionaries; text is Python's standard library.",
        "Source and docstrings of CPython's standard library, split by file.",
        _text_circuit,
        (
            "One layer: little beyond what the last few tokens say.",
            "Python source and its English; other text is far from what it was trained on.",
            "One seed.",
        ),
        _text_measure,
        _text_files,
    ),
}
