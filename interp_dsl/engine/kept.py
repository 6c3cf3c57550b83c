"""The model's self-test, the pairs kept for the screens, and recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.data.types import Answer
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.report import Report
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import State, canonical, token_text
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import entries
from interp_dsl.models.executor import Pass
from interp_dsl.models.shape import ModelFacts
from interp_dsl.models.sites import family
from interp_dsl.plan.algebra import Explicit, FromRun, Intervention, Run
from interp_dsl.plan.places import Site, Target, Unit
from interp_dsl.plan.tasks import KeepPairs, Record, SelfTest

Arrays = dict[str, NDArray[np.generic]]
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 8e-2}
_TOP = 10
_LOGITS = 2**22
"""Logits of kept pairs that are made at once."""


def self_test(task: SelfTest, state: State) -> None:
    """Patch a side's residual streams into itself: the logits must stay; patch the first stream of
    the other side in, where prompts align: the logits must become the other side's. Raises
    InterpError E642 with the largest difference, relative to the largest logit."""
    clean, shape = task.clean, state.executor(task.clean).facts.shape
    streams = family("resid_pre", shape) or ()
    count = min(task.pairs, state.data[clean.data].n)
    plain = _plain(clean, count, state)
    for same in _set(clean, clean, streams, count, state):
        _compare(state, clean, same, plain, "patching it into itself changed the logits")
    if task.corrupt is None or not _aligned(state, clean, task.corrupt):
        return
    other = _plain(task.corrupt, count, state)
    for whole in _set(clean, task.corrupt, streams[:1], count, state):
        _compare(
            state,
            clean,
            whole,
            other,
            f"the whole residual stream of {task.corrupt.side} did not give its logits",
        )


def _aligned(state: State, clean: Run, corrupt: Run) -> bool:
    a, b = state.side(clean), state.side(corrupt)
    masks = a.mask is None and b.mask is None
    return bool((a.lengths == b.lengths).all() and (a.read == b.read).all()) and masks


def _plain(run: Run, count: int, state: State) -> Tensor:
    """The logits [count, V] of a run at the answer."""
    return Bench(run, (), {}, state).forward("plain", torch.arange(count)).logits[:, 0]


def _set(
    into: Run, source: Run, streams: Sequence[Target], count: int, state: State
) -> Iterator[Tensor]:
    """The same of `into`, one stream after another set from `source`."""
    examples, bench = torch.arange(count), Bench(into, (), {}, state)
    sites = tuple(stream.site for stream in streams)
    held = Bench(source, (), {}, state).forward("plain", examples, sites=sites).sites
    trial = State(state.seed, state.models, state.data)
    trial.kept(source).sites.update({s: canonical(x) for s, x in held.items()})
    units = [Unit((stream,)) for stream in streams]
    editor = Editor(Intervention(Explicit(tuple(units)), FromRun(source)), into, trial)
    for unit in units:
        batch = Packed.stretch([unit], count, 0, count)
        yield bench.forward("plain", batch.examples, editor, batch).logits[:, 0]


def _compare(state: State, run: Run, found: Tensor, wanted: Tensor, what: str) -> None:
    scale = float(wanted.abs().max().clamp(min=1.0))
    difference = float((found - wanted).abs().max()) / scale
    executor = state.executor(run)
    tolerance = _TOLERANCE[torch.float16 if executor.tf32 else executor.dtype]  # 10 bits both
    if not difference <= tolerance:
        raise InterpError(
            Diagnostic(
                "E642",
                f"the self-test of {state.executor(run).facts.name} failed: {what}",
                notes=(
                    f"largest difference {difference:.3g} of the largest logit, "
                    f"allowed {tolerance:.0e}",
                    f"executor {state.executor(run).name}, {state.executor(run).dtype}",
                ),
                help="no result of this model can be trusted; please report it with the model",
            ),
            exit_code=1,
        )


# ---- pairs for the screens


def keep_pairs(task: KeepPairs, state: State, report: Report) -> Arrays:
    """Tokens, labels, attention patterns and top logits of the first pairs, as
    `<side>.tokens [p, T]`, `.lengths`, `.read`, `.label.NAME [p, 2]`, `.pattern.LAYER
    [p, head, query, key]` (float16), `.top_ids` and `.top_logits [p, T, 10]`; `answer` and `wrong`
    [p, m], the first tokens of each, -1 where a pair has fewer; and the texts of all these tokens.
    Fewer pairs, then no patterns, where the budget of bytes asks for it."""
    pairs = min(task.pairs, state.data[task.data].n)
    sizes = [_pair_bytes(run, state) for run in task.runs]
    with_patterns = sum(a + b for a, b in sizes) <= task.budget
    one = sum(a + b * with_patterns for a, b in sizes)
    fitting = max(1, min(pairs, task.budget // max(1, one)))
    if fitting < pairs or not with_patterns:
        kept = f"{fitting} of {pairs} pairs" + ("" if with_patterns else ", without patterns")
        report.note(f"kept {kept} for the screens: more is over {task.budget:,} bytes")
    held: Arrays = {}
    for run in task.runs:
        held |= {
            f"{run.side}.{k}": v for k, v in _pairs(run, fitting, with_patterns, state).items()
        }
    data = state.data[task.data]
    for name, answers in (("answer", data.answers), ("wrong", data.wrongs)):
        if answers is not None:
            held[name] = _first_tokens(answers[:fitting])
    return held | texts(held, state.executor(task.runs[0]).facts)


def _first_tokens(answers: Sequence[Answer]) -> NDArray[np.int32]:
    """The first token of every alternative [n, m], -1 where there are fewer."""
    firsts = [[tokens[0] for tokens in answer.alternatives] for answer in answers]
    found = np.full((len(firsts), max(map(len, firsts))), -1, dtype=np.int32)
    for row, ids in zip(found, firsts, strict=True):
        row[: len(ids)] = ids
    return found


def texts(held: Mapping[str, NDArray[np.generic]], facts: ModelFacts) -> Arrays:
    """The texts of the tokens that stand in what is held, as `vocabulary` [m], the ids in order,
    `vocabulary.text`, the bytes (UTF-8) of their texts one after another, and `vocabulary.end` [m],
    where each ends. Nothing where the model has no tokenizer."""
    if facts.tokenizer is None:
        return {}
    ends = ("tokens", "top_ids", "answer", "wrong")
    said = [ids.ravel() for name, ids in held.items() if name.rpartition(".")[2] in ends]
    ids = np.unique(np.concatenate(said))
    ids = ids[ids >= 0].astype(np.int32)
    spoken = token_text(facts)
    texts = [spoken(int(token)).encode("utf-8", "replace") for token in ids]
    return {
        "vocabulary": ids,
        "vocabulary.text": np.frombuffer(b"".join(texts), dtype=np.uint8),
        "vocabulary.end": np.cumsum([len(text) for text in texts]).astype(np.int64),
    }


def _pair_bytes(run: Run, state: State) -> tuple[int, int]:
    """Bytes of one prompt without its patterns, and of its patterns."""
    shape, side = state.executor(run).facts.shape, state.side(run)
    width = side.tokens.shape[1]
    plain = width * (8 + _TOP * 6) + 16 * (1 + len(side.labels))
    return plain, shape.n_layers * shape.n_heads * width * width * 2


def _pairs(run: Run, count: int, with_patterns: bool, state: State) -> Arrays:
    side, shape = state.side(run), state.executor(run).facts.shape
    sites = [Site("pattern", i) for i in range(shape.n_layers)] if with_patterns else []
    held: Arrays = {
        "tokens": side.tokens[:count],
        "lengths": side.lengths[:count],
        "read": side.read[:count],
    }
    held |= {f"label.{name}": at[:count] for name, at in side.labels.items()}
    bench = Bench(run, (), {}, state)
    size = max(1, _LOGITS // (side.tokens.shape[1] * shape.d_vocab_out))
    parts = [
        _seen(bench.forward("plain", rows, sites=sites, reading="everywhere"))
        for rows in torch.split(torch.arange(count), size)
    ]
    return held | {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _seen(found: Pass) -> Arrays:
    """The largest logits of a pass and its patterns."""
    top = found.logits.topk(min(_TOP, found.logits.shape[-1]), dim=-1)
    held: Arrays = {
        "top_ids": top.indices.to(torch.int32).cpu().numpy(),
        "top_logits": top.values.half().cpu().numpy(),
    }
    for site, pattern in found.sites.items():
        held[f"pattern.{site.layer}"] = (
            pattern.permute(0, 2, 1, 3).half().cpu().contiguous().numpy()
        )
    return held


# ---- recordings


def record(task: Record, state: State) -> Arrays:
    """Activations of the first examples at each place: `<place>` [examples, k, width], of a hook
    [examples, k, index, width], at the token positions `<place>.positions` [examples, k], -1 where
    a prompt has fewer; of a pattern's entries [examples, k, m] at the key positions `<place>.keys`
    [examples, m]; `tokens` and `lengths` of the prompts, and the texts of their tokens. A place at
    `each` position is a place a position."""
    side = state.side(task.run)
    count = min(task.keep, state.data[task.run.data].n)
    held: Arrays = {"tokens": side.tokens[:count], "lengths": side.lengths[:count]}
    units = Explicit(tuple(Unit((target,)) for target in task.targets))
    for target in (t for unit in state.units(units, task.run) for t in unit.targets):
        for name, values in _recorded(target, task, count, state).items():
            held[f"{target}{name}"] = values.cpu().contiguous().numpy()
    return held | texts({"tokens": held["tokens"]}, state.executor(task.run).facts)


def _recorded(target: Target, task: Record, count: int, state: State) -> dict[str, Tensor]:
    """One place's values and positions, by what their names end in."""
    named = target.positions if target.positions.kind != "all" else task.positions
    queries, named_keys = ends(named)
    at = state.slots(task.run, queries)
    captured = state.captured(task.run, target.site)[:count]
    rows = torch.arange(count)[:, None]
    values = entries(captured, rows, at.index[:count]).float().cpu()
    if target.site.kind != "hook" or target.index is not None:
        values = values[:, :, target.index or 0]
    found = {".positions": at.index[:count].masked_fill(~at.valid[:count], -1)}
    if named_keys is not None:
        keys = state.slots(task.run, named_keys)
        places = keys.index[:count, None].expand(-1, values.shape[1], -1)
        values = values.gather(2, places)
        found[".keys"] = keys.index[:count].masked_fill(~keys.valid[:count], -1)
    return {"": values, **found}
