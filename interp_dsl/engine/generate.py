"""`generate`: prompts continued token by token, plain and under interventions, side by side.

Beside the model that writes, the plain model reads the same text: that gives each token's log
probability in it, and KL(plain ‖ own) between what the two expect there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.choosing import chosen
from interp_dsl.engine.continuing import Growing
from interp_dsl.engine.edits import Contexts
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import score_run
from interp_dsl.engine.state import State, text_of, token_text
from interp_dsl.models.edits import moved
from interp_dsl.plan.algebra import Literal, Metric
from interp_dsl.plan.generation import Continuation, Generate
from interp_dsl.plan.tasks import Variant
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import TEXT_COLUMNS, TOKEN_COLUMNS, Kind, polars_types

MEASURES = ("logprob", "own_logprob", "kl", "same")


@dataclass
class Written:
    """What is written behind n prompts: ids [n, N], which of them are there [n, N], and of each its
    log probability in the plain model and in its own, and the divergence."""

    ids: Tensor
    there: Tensor
    logprob: Tensor
    own_logprob: Tensor
    kl: Tensor

    @classmethod
    def blank(cls, n: int, more: int) -> Written:
        def room() -> Tensor:
            return torch.zeros(n, more, dtype=torch.float64)

        ids = torch.zeros(n, more, dtype=torch.long)
        return cls(ids, torch.zeros(n, more, dtype=torch.bool), room(), room(), room())

    def measured(self, plain: Written) -> dict[str, Tensor]:
        """The measures of single prompts [n]."""
        count = self.there.sum(1)
        means = {name: (getattr(self, name) * self.there).sum(1) / count for name in MEASURES[:3]}
        alike = (self.ids == plain.ids) | ~(self.there | plain.there)
        return {**means, "same": (alike & (self.there == plain.there)).all(1).double()}


class Chooser:
    """Which token follows. Draws of a prompt depend on the seed and its number alone: not on how
    many are continued at once, nor under what."""

    def __init__(self, task: Generate, n: int) -> None:
        self.temperature, self.top_p = task.temperature, task.top_p
        self.draws = np.stack(
            [np.random.default_rng([task.seed, i]).random(task.tokens) for i in range(n)]
        )

    def choose(self, logits: Tensor, examples: Tensor, step: int) -> Tensor:
        """A token [B] from logits [B, V]."""
        draws = torch.from_numpy(self.draws[examples.numpy(), step])
        return chosen(logits, self.temperature, self.top_p, draws).cpu()


def generate(task: Generate, key: str, state: State, folder: RunFolder, report: Report) -> None:
    """Continue the prompts and write what came of it."""
    n = state.data[task.run.data].n
    growing, chooser = Growing(task.run, task.tokens, state), Chooser(task, n)
    contexts = [growing.contexts(one, task.seed) for one in task.continuations]
    found = []
    for number, context in enumerate(contexts):
        written = Written.blank(n, task.tokens)

        def work(
            start: int,
            stop: int,
            into: Written = written,
            own: Contexts = context,
            done: int = number * n,
        ) -> None:
            _continue(into, torch.arange(start, stop), (own, contexts[0]), growing, chooser)
            report.progress(done + stop, n * len(contexts))

        in_batches(n, task.batch or default_rows(growing.width), work, report.note)
        found.append(written)
    _write(task, key, found, state, folder)


def _continue(
    written: Written,
    examples: Tensor,
    contexts: tuple[Contexts, Contexts],
    growing: Growing,
    chooser: Chooser,
) -> None:
    """Write behind some prompts under the first of two contexts; the second is the plain one."""
    own = growing.reader(contexts[0], examples)
    plain = own if contexts[0] is contexts[1] else growing.reader(contexts[1], examples)
    lengths, tokens = growing.lengths[examples], growing.tokens(examples)
    positions = torch.arange(growing.prompt).expand(len(examples), -1)
    columns = lengths[:, None] - 1
    goes_on = torch.ones(len(examples), dtype=torch.bool)
    for step in range(growing.more):
        logits = own.read(tokens, positions, columns)
        log = logits.log_softmax(-1)
        base = log if plain is own else plain.read(tokens, positions, columns).log_softmax(-1)
        follows = chooser.choose(logits, examples, step)
        at = moved(follows[:, None], log.device)
        written.ids[examples, step] = follows
        written.there[examples, step] = goes_on
        written.logprob[examples, step] = base.gather(1, at)[:, 0].cpu().double()
        written.own_logprob[examples, step] = log.gather(1, at)[:, 0].cpu().double()
        written.kl[examples, step] = (base.exp() * (base - log)).sum(-1).cpu().double()
        goes_on = goes_on & ~torch.isin(follows, torch.tensor(growing.executor.facts.eos))
        if not bool(goes_on.any()):
            return
        tokens, positions = at, (lengths + step)[:, None]
        columns = torch.zeros_like(positions)


# ---- what it leaves


def _write(task: Generate, key: str, found: list[Written], state: State, folder: RunFolder) -> None:
    names = (*MEASURES, *(["words"] if task.words else []))
    metrics = [Metric(name, Literal(0.0)) for name in names]
    kinds: dict[str, Kind] = {"under": "text"}
    tables, texts, tokens, values = [], [], [], []
    for one, written in zip(task.continuations, found, strict=True):
        measured = written.measured(found[0])
        rows = _texts(one, written, measured, state)
        measured["words"] = _counted(rows, task.words)
        variant = Variant(one.run, None, (("under", one.name),))
        scored = score_run(
            metrics, torch.stack([measured[m] for m in names]), variant, kinds, state.seed
        )
        tables.append(scored.table)
        values.append(scored.tensors["value"])
        texts += rows
        tokens += _tokens(one, written, state)
    folder.write_table(f"{task.step}.texts", pl.DataFrame(texts, polars_types(TEXT_COLUMNS)))
    folder.write_table(f"{task.step}.tokens", pl.DataFrame(tokens, polars_types(TOKEN_COLUMNS)))
    folder.write_tensors(task.step, {"value": np.concatenate(values)})
    folder.write_table(task.step, pl.concat(tables))
    folder.finish_step(task.step, key, tables=["texts", "tokens"])


def _texts(
    one: Continuation, written: Written, measured: dict[str, Tensor], state: State
) -> list[dict[str, Any]]:
    """A row a prompt; the token that ends a text is not shown."""
    facts, side = state.executor(one.run).facts, state.side(one.run)
    told, rows = text_of(facts), []
    for prompt, (ids, there) in enumerate(zip(written.ids, written.there, strict=True)):
        kept = [i for i in ids[there].tolist() if i not in facts.eos]
        before = side.tokens[prompt, : side.lengths[prompt]].tolist()
        rows.append(
            {
                "prompt": prompt,
                "under": one.name,
                "before": side.texts[prompt] if side.texts else told(before),
                "text": told(kept),
                "n": int(there.sum()),
                **{name: float(measured[name][prompt]) for name in MEASURES[:3]},
            }
        )
    return rows


def _counted(rows: list[dict[str, Any]], words: tuple[str, ...]) -> Tensor:
    """How often any of the words stands in each text [n]."""
    counts = [sum(row["text"].count(word) for word in words) for row in rows]
    return torch.tensor(counts, dtype=torch.float64)


def _tokens(one: Continuation, written: Written, state: State) -> list[dict[str, Any]]:
    """A row a token."""
    told = token_text(state.executor(one.run).facts)
    return [
        {
            "prompt": prompt,
            "under": one.name,
            "number": number,
            "id": int(written.ids[prompt, number]),
            "token": told(int(written.ids[prompt, number])),
            **{name: float(getattr(written, name)[prompt, number]) for name in MEASURES[:3]},
        }
        for prompt, number in written.there.nonzero().tolist()
    ]
