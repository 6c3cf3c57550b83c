"""The corpus of text-1l-512: the running interpreter's own standard library, source and docstrings.

Split by file, so that no held-out token's file was trained on. The vocabulary is learned from the
training files alone."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn import functional as F

from interp_dsl.training import vocab
from interp_dsl.training.model import Shape, Transformer
from interp_dsl.training.recipes import Batch, Figures, Recipe, Schedule

Stream = NDArray[np.uint16]

BOS = 0
HELDOUT_TOKENS = 1_000_000
HELDOUT_BYTES = 4_800_000
HELP_PAGES = "pydoc_data/topics.py"
SKIPPED = ("site-packages", "dist-packages", "__pycache__", "encodings")
TEXT = Shape(n_layers=1, n_heads=4, d_model=128, d_head=32, n_ctx=128, d_vocab=2048, d_mlp=512)


@dataclass(frozen=True)
class Corpus:
    """Token streams, BOS before each document, and where they came from."""

    train: Stream
    heldout: Stream
    tokenizer: Tokenizer
    facts: dict[str, str | int]


def text(work: Path, seed: int = 0, prose: Sequence[Path] = ()) -> Recipe:
    """The recipe over the corpus kept in `work`, which is built there when it is missing."""
    data = corpus(work, prose)
    schedule = Schedule(steps=20_000, lr=2e-3, weight_decay=0.01, hold=0.7, batch=32)

    def sample(step: int) -> Batch:
        rng = np.random.default_rng((seed, 0, step))
        return Batch(windows(data.train, rng.integers(0, len(data.train) - 127, size=32)))

    return Recipe(
        "text-1l-512",
        TEXT,
        schedule,
        sample,
        heldout_figures(data.heldout, 64),
        evaluate_every=500,
        seed=seed,
    )


def windows(stream: Stream, starts: NDArray[np.int64], ctx: int = 128) -> torch.Tensor:
    """BOS and the ctx - 1 tokens from each start on: int64 [len(starts), ctx]."""
    body = stream[starts[:, None] + np.arange(ctx - 1)[None, :]].astype(np.int64)
    return torch.from_numpy(np.concatenate([np.full((len(starts), 1), BOS), body], axis=1))


def heldout_figures(stream: Stream, count: int | None = None) -> Callable[[Transformer], Figures]:
    """Measures the mean cross-entropy (nats a token) and accuracy on windows of the stream: `count`
    of them evenly spread, or all that fit end to end."""
    starts = np.arange(0, len(stream) - 127, 127)
    if count is not None:
        starts = starts[np.linspace(0, len(starts) - 1, count).astype(np.int64)]

    @torch.no_grad()
    def measure(model: Transformer) -> Figures:
        total, right, n = 0.0, 0, 0
        for part in np.array_split(starts, max(1, len(starts) // 64)):
            tokens = windows(stream, part)
            logits, target = model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
            total += F.cross_entropy(logits, target, reduction="sum").item()
            right += int((logits.argmax(-1) == target).sum())
            n += len(target)
        return {"heldout_loss": total / n, "heldout_accuracy": right / n}

    return measure


def corpus(work: Path, prose: Sequence[Path] = ()) -> Corpus:
    """The corpus in `work`, made if it is missing, of the library and files of prose."""
    if not (work / "corpus.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        _build(work, prose)
    return Corpus(
        np.load(work / "train.npy"),
        np.load(work / "heldout.npy"),
        Tokenizer.from_file(str(work / "tokenizer.json")),
        json.loads((work / "corpus.json").read_text()),
    )


def _build(work: Path, prose: Sequence[Path]) -> None:
    files = library()
    held, rest = _split(files)
    training = [doc for _, source in rest for doc in (source, *docstrings(source))]
    training += [path.read_text() for path in prose]
    tokenizer = vocab.byte_pairs(training, TEXT.d_vocab)
    heldout = _encode(
        tokenizer, [doc for _, source in held for doc in (source, *docstrings(source))]
    )
    heldout, train = heldout[:HELDOUT_TOKENS], _encode(tokenizer, training)
    facts: dict[str, str | int] = {
        "python": sys.version.split()[0],
        "train_files": len(rest),
        "train_bytes": sum(len(doc.encode()) for doc in training),
        "train_tokens": len(train),
        "heldout_files": len(held),
        "heldout_tokens": len(heldout),
        "prose": ", ".join(path.name for path in prose),
    }
    np.save(work / "train.npy", train)
    np.save(work / "heldout.npy", heldout)
    tokenizer.save(str(work / "tokenizer.json"))
    (work / "corpus.json").write_text(json.dumps(facts, indent=1))


def library() -> list[tuple[str, str]]:
    """(path inside the library, text) of the standard library's Python files in UTF-8, in the order
    of their paths' hashes. Code page tables are left out; the help pages, all strings of one file,
    come one by one."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in root.rglob("*.py"):
        inside = path.relative_to(root)
        if not set(inside.parts) & set(SKIPPED):
            try:
                found.append((inside.as_posix(), path.read_text(encoding="utf-8")))
            except UnicodeDecodeError:
                continue
    found = [item for name, source in found for item in _pages(name, source)]
    return sorted(found, key=lambda item: hashlib.sha256(item[0].encode()).digest())


def _pages(name: str, source: str) -> list[tuple[str, str]]:
    """A file as it is; the file of help pages as its pages."""
    if name != HELP_PAGES:
        return [(name, source)]
    pages = {
        ast.literal_eval(key): ast.literal_eval(value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is not None
    }
    return [(f"{name}#{topic}", page) for topic, page in pages.items()]


def _split(
    files: Sequence[tuple[str, str]],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Held-out files, the first of the list up to HELDOUT_BYTES, and the others. A library of less
    than six times that (a build without tests) holds out a sixth."""
    limit = min(HELDOUT_BYTES, sum(len(s) for _, s in files) // 6)
    taken = 0
    for at, (_, source) in enumerate(files):
        if taken >= limit:
            return list(files[:at]), list(files[at:])
        taken += len(source)
    return [], list(files)


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a source of more than one line, cleaned of their indentation."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node)
            if found and "\n" in found:
                yield found


def _encode(tokenizer: Tokenizer, documents: Sequence[str]) -> Stream:
    parts: list[int] = []
    for encoding in tokenizer.encode_batch(list(documents)):
        parts += [BOS, *encoding.ids]
    return np.array(parts, dtype=np.uint16)
