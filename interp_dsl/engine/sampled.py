"""Datasets of text that a model writes itself, token by token. A run keeps what has been written,
and goes on with it when it is taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data.prompts import own_side
from interp_dsl.data.sampled import check_reads, check_writes
from interp_dsl.data.types import Data, Side
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.choosing import chosen
from interp_dsl.engine.continuing import reader_of
from interp_dsl.engine.kept import texts
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import generator
from interp_dsl.models.executor import Executor
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.sampling import rows_at_once
from interp_dsl.plan.tasks import BuildData
from interp_dsl.runs.versions import versions


def build_sampled(task: BuildData, state: State, report: Report) -> Data:
    """The texts of a `sampled` dataset, as one side without answers. Models that read the same
    texts share them, and so do later starts of the same run. Raises InterpError E404, E408, E426 as
    data/sampled.py says."""
    spec: Mapping[str, Any] = task.spec
    writer = state.models[str(spec["model"])]
    check_writes(task.name, int(spec["context"]), writer.facts)
    if task.model is not None:
        check_reads(task.name, writer.facts, state.models[task.model].facts)
    key = ("sampled", *sorted(spec.items()))
    tokens = state.once(key, lambda: _kept(task, writer, report)).numpy()
    lengths = np.full(len(tokens), tokens.shape[1])
    side = Side(own_side(task.name), tokens, lengths, lengths - 1)
    return Data(task.name, {side.name: side}, seed=int(spec["seed"]))


def _kept(task: BuildData, writer: Executor, report: Report) -> Tensor:
    """The texts that an earlier start of the run has written, else new ones, which are kept."""
    folder, name, own = report.folder, f"sampled.{task.name}", f"{own_side(task.name)}.tokens"
    key = np.frombuffer(_key(task.spec, writer), dtype=np.uint8)
    if folder.has_tensors(name) and np.array_equal((held := folder.read_tensors(name))["key"], key):
        report.note(f"{task.name}: the texts are those that this run has written before")
        return torch.from_numpy(held[own]).long()
    found = written(writer, task.spec, report)
    tokens = {own: found.numpy().astype(np.int32)}
    folder.write_tensors(name, {**tokens, **texts(tokens, writer.facts), "key": key})
    return found


def _key(spec: Mapping[str, Any], writer: Executor) -> bytes:
    """sha256 of all that texts depend on: the model, what computes it, how tokens are drawn."""
    about = {
        "spec": {name: value for name, value in spec.items() if name != "model"},
        "writer": [writer.fingerprint(), str(writer.dtype), writer.device.type],
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).digest()


def written(
    writer: Executor, spec: Mapping[str, Any], report: Report, rows: int | None = None
) -> Tensor:
    """`n` texts [n, context], `rows` of them at once. Text i depends on the seed and i alone."""
    n, context = int(spec["n"]), int(spec["context"])
    texts = torch.zeros(n, context, dtype=torch.long)

    def work(start: int, stop: int) -> None:
        texts[start:stop] = _write(writer, spec, range(start, stop))
        report.progress(stop, n)

    in_batches(n, rows or rows_at_once(context), work, report.note)
    return texts


def _write(writer: Executor, spec: Mapping[str, Any], numbers: range) -> Tensor:
    """The texts of these numbers [B, context]."""
    context, facts = int(spec["context"]), writer.facts
    draws = torch.stack([_draws(int(spec["seed"]), i, context) for i in numbers])
    texts = torch.zeros(len(numbers), context, dtype=torch.long)
    texts[:, 0] = _firsts(draws[:, 0], facts)
    reader = reader_of(writer, (), len(numbers), context - 1, None)
    here = torch.zeros(len(numbers), 1, dtype=torch.long)
    ends = torch.tensor([i for i in facts.eos if i != facts.bos], dtype=torch.long)
    for at in range(1, context):
        last = texts[:, at - 1]
        logits = reader.read(last[:, None].to(writer.device), here + at - 1, here)
        following = chosen(logits, spec["temperature"], spec["top_p"], draws[:, at]).cpu()
        if facts.bos is not None:  # behind the end of a text another begins
            following = following.masked_fill(torch.isin(last, ends), facts.bos)
        texts[:, at] = following
    return texts


def _draws(seed: int, number: int, context: int) -> Tensor:
    """Numbers from [0, 1) for the tokens of one text [context]."""
    source = generator(seed, "sampled", number)
    return torch.rand(context, dtype=torch.float64, generator=source)


def _firsts(draws: Tensor, facts: ModelFacts) -> Tensor:
    """What texts begin with [B]: BOS, or without one any token of the vocabulary, each as
    likely."""
    if facts.bos is not None:
        return torch.full(draws.shape, facts.bos)
    return (draws * facts.shape.d_vocab).long().clamp(max=facts.shape.d_vocab - 1)
