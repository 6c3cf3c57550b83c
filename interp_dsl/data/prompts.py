"""From prompts as text or token ids to a dataset: padded sides, labels, answers, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from interp_dsl.data.answers import Written, check_apart, read_answers
from interp_dsl.data.faults import count, fault
from interp_dsl.data.marks import Marked, locate
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.types import Data, Ints, Side
from interp_dsl.models.shape import ModelFacts


def own_side(name: str) -> str:
    """What data with one side calls it: the dataset's own name, without an import's alias."""
    return name.rpartition(".")[2]


def text_side(
    name: str, prompts: Sequence[Marked], tokenizer: Tokenizer, facts: ModelFacts
) -> Side:
    """One side of n prompts: tokens [n, T] padded on the right, the labels' places, read at the
    last token. A label that a prompt lacks has the empty place (0, 0) there."""
    encodings = [tokenizer.prompt(p.text) for p in prompts]
    places = [locate(p, e, tokenizer) for p, e in zip(prompts, encodings, strict=True)]
    names = dict.fromkeys(label for place in places for label in place)
    labels = {
        label: np.array([place.get(label, (0, 0)) for place in places], dtype=np.int64)
        for label in names
    }
    texts = tuple(p.text for p in prompts)
    return ids_side(name, [e.ids for e in encodings], facts, labels, texts)


def ids_side(
    name: str,
    rows: Sequence[Sequence[int]],
    facts: ModelFacts | None,
    labels: Mapping[str, Ints] | None = None,
    texts: tuple[str, ...] | None = None,
) -> Side:
    """One side of n prompts given as token ids, BOS included where there is one."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    if not len(rows) or not lengths.all():
        raise _empty(name, lengths)
    pad = facts.pad if facts else 0
    tokens = np.full((len(rows), int(lengths.max())), pad, dtype=np.int64)
    for to, row in zip(tokens, rows, strict=True):
        to[: len(row)] = row
    return Side(name, tokens, lengths, lengths - 1, dict(labels or {}), texts)


def _empty(name: str, lengths: Ints) -> Exception:
    if not len(lengths):
        return fault("E407", f"{name} has no prompts", help="give at least one prompt")
    return fault(
        "E407",
        f"prompt {int(np.argmin(lengths))} of {name} is empty",
        help="give it at least one token",
    )


def check_counts(name: str, n: int, parts: Mapping[str, int]) -> None:
    """E406 unless every part has one item a prompt."""
    for part, found in parts.items():
        if found != n:
            raise fault(
                "E406",
                f"{name} has {count(n, 'prompt')} and {found:,} under `{part}`",
                help=f"`{part}` needs one item a prompt, in the prompts' order",
            )


def assemble(
    name: str,
    sides: Sequence[Side],
    answers: Sequence[Written] | None,
    wrongs: Sequence[Written] | None,
    tokenizer: Tokenizer | None,
    columns: Mapping[str, Sequence[object]] | None = None,
    template: Ints | None = None,
    seed: int = 0,
) -> Data:
    """The dataset of one side or two; answers as text or ids, one a row."""
    n = len(sides[0].tokens)
    held = {side.name: len(side.tokens) for side in sides}
    lists = {"answer": answers, "wrong": wrongs, **(columns or {})}
    held |= {part: len(items) for part, items in lists.items() if items is not None}
    check_counts(name, n, held)
    right = read_answers(answers, tokenizer) if answers is not None else None
    wrong = read_answers(wrongs, tokenizer) if wrongs is not None else None
    if right is not None and wrong is not None:
        check_apart(right, wrong, tokenizer)
    return Data(
        name,
        {side.name: side for side in sides},
        right,
        wrong,
        {key: tuple(values) for key, values in (columns or {}).items()},
        template,
        seed,
    )


def check_fits(data: Data, facts: ModelFacts | None) -> Data:
    """The same data. E404 when a prompt is longer than the model's context, E405 when a token is
    none of its vocabulary."""
    if facts is None:
        return data
    shape = facts.shape
    for side in data.sides.values():
        longest = int(side.lengths.max())
        if longest > shape.n_ctx and shape.positional == "standard":
            raise fault(
                "E404",
                f"prompt {int(side.lengths.argmax())} of {data.name}.{side.name} has "
                f"{longest:,} tokens, and {facts.name} reads at most {shape.n_ctx:,}",
                help="shorten the prompts, or take a model with a longer context",
            )
        real = np.arange(side.tokens.shape[1]) < side.lengths[:, None]
        _check_ids(data.name, side.tokens[real], shape.d_vocab, facts.name)
    for answers in (data.answers, data.wrongs):
        distinct = {id(answer): answer for answer in answers or ()}.values()
        ids = [i for answer in distinct for one in answer.alternatives for i in one]
        _check_ids(data.name, np.array(ids, dtype=np.int64), shape.d_vocab_out, facts.name)
    return data


def _check_ids(name: str, ids: Ints, vocabulary: int, model: str) -> None:
    outside = ids[(ids < 0) | (ids >= vocabulary)]
    if len(outside):
        raise fault(
            "E405",
            f"{name} holds the token {int(outside[0])}, and {model} has tokens 0..{vocabulary - 1}",
            help="the data and the model need the same vocabulary",
        )
