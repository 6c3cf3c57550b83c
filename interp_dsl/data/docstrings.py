"""The docstring task (Heimersheim & Janiak 2023; Conmy et al. 2023) in words of our own.

A method with four to seven arguments, and a docstring that documents them in order from the
first, second, third or a later one on. After the third `:param` comes the argument C that follows
the second documented one, B, in the definition:

    # horse river
    def load(self, size, path, file, last):
        '''oil column
        :param path: unit dark
        :param file: crime
        :param

A comment of up to eight words shifts the arguments, so that a place in the prompt does not say
which one it holds. The nouns are random. Newlines and spaces are no tokens. `docstring_task` draws
pairs of such prompts, `docstring_methods` and `argument_lists` the rows of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.drawn import BOS, PAD, Split, TaskData, one_token, padded, split_words
from interp_dsl.data.types import Ints

SYNTAX = split_words("<bos> <pad> # def ( self , ): ''' :param : yield")
METHODS = split_words(
    "load save open send find sort move copy draw read push pull join plot scan wrap"
)
ARGUMENTS = split_words(
    "size file last path name key value index count text line node user data mode type table field "
    "level color width height label group order state token model limit offset source target port "
    "host date time title query option format image event cache row page code root step"
)
NOUNS = split_words(
    "oil column piece unit dark crime sense paper church river stone garden winter letter music "
    "bread cloud forest glass horse island jacket kitchen lemon metal needle ocean pencil queen "
    "rabbit silver tiger uncle velvet window yellow anchor basket candle dragon"
)
DOCSTRING_WORDS = SYNTAX + METHODS + ARGUMENTS + NOUNS
"""The vocabulary of docstring-4l: a word's place is its token id."""

LABELS = ("A_def", "B_def", "C_def", "A_doc", "B_doc", "END")
MOST = 7
PAIRED_ARGUMENTS = 6
HELDOUT_SHARE = 0.1
_ID = {word: i for i, word in enumerate(DOCSTRING_WORDS)}
_METHOD, _ARGUMENT = len(SYNTAX), len(SYNTAX) + len(METHODS)
_NOUN = _ARGUMENT + len(ARGUMENTS)


@cache
def heldout_neighbours() -> NDArray[np.bool_]:
    """[x, y]: whether argument y never follows x in the training data. Indices
    into ARGUMENTS; a tenth of all ordered pairs."""
    chosen = np.random.default_rng(0).random((len(ARGUMENTS), len(ARGUMENTS))) < HELDOUT_SHARE
    return chosen & ~np.eye(len(ARGUMENTS), dtype=bool)


@dataclass(frozen=True)
class _Draw:
    """n methods, all in token ids. method [n]; names [n, MOST + 5] different arguments, of which
    the definition has the first `count` [n] and the docstring those from `first` [n] on; comment
    [n, 8], summary [n, 3], words [n, MOST, 2] random nouns, of which n_comment [n], n_summary [n],
    n_words [n, MOST] are used."""

    comment: Ints
    n_comment: Ints
    method: Ints
    names: Ints
    count: Ints
    first: Ints
    summary: Ints
    n_summary: Ints
    words: Ints
    n_words: Ints

    def definition(self, row: int) -> list[int]:
        return [int(name) for name in self.names[row, : self.count[row]]]

    def spelled(
        self, row: int, definition: Sequence[int], documented: Sequence[int]
    ) -> tuple[list[int], list[int], list[int]]:
        """The whole method, BOS first, and where the arguments and each `:param` stand."""
        ids = [BOS]
        if self.n_comment[row]:
            ids += [_ID["#"], *self.comment[row, : self.n_comment[row]].tolist()]
        ids += [_ID["def"], int(self.method[row]), _ID["("], _ID["self"]]
        arguments, params = [], []
        for name in definition:
            arguments.append(len(ids) + 1)
            ids += [_ID[","], name]
        ids += [_ID["):"], _ID["'''"], *self.summary[row, : self.n_summary[row]].tolist()]
        for line, name in enumerate(documented):
            params.append(len(ids))
            words = self.words[row, line, : self.n_words[row, line]].tolist()
            ids += [_ID[":param"], name, _ID[":"], *words]
        return [*ids, _ID["'''"]], arguments, params


def _draw(n: int, split: Split, rng: np.random.Generator, counts: tuple[int, int]) -> _Draw:
    """`heldout`: C is a held-out neighbour of B. `train`: no neighbours are held out."""
    count = rng.integers(counts[0], counts[1] + 1, size=n)
    first = rng.integers(0, count - 2)
    return _Draw(
        comment=rng.integers(len(NOUNS), size=(n, 8)) + _NOUN,
        n_comment=rng.integers(0, 9, size=n),
        method=rng.integers(len(METHODS), size=n) + _METHOD,
        names=_names(first, split, rng) + _ARGUMENT,
        count=count,
        first=first,
        summary=rng.integers(len(NOUNS), size=(n, 3)) + _NOUN,
        n_summary=rng.integers(1, 4, size=n),
        words=rng.integers(len(NOUNS), size=(n, MOST, 2)) + _NOUN,
        n_words=rng.integers(1, 3, size=(n, MOST)),
    )


def _names(first: Ints, split: Split, rng: np.random.Generator) -> Ints:
    """[n, MOST + 5] different indices into ARGUMENTS, drawn again until a row suits the split."""
    n = len(first)
    names = np.zeros((n, MOST + 5), dtype=np.int64)
    open_rows = np.arange(n)
    while len(open_rows):
        shuffled = rng.random((len(open_rows), len(ARGUMENTS))).argsort(1)
        names[open_rows] = shuffled[:, : names.shape[1]]
        held = heldout_neighbours()[names[:, :-1], names[:, 1:]]
        if split == "train":
            open_rows = np.flatnonzero(held.any(1))
        elif split == "heldout":
            open_rows = np.flatnonzero(~held[np.arange(n), first + 1])
        else:
            break
    return names


def docstring_methods(n: int, split: Split, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Whole methods of four to seven arguments, BOS first: tokens [n, T], and where the documented
    arguments from the second on are read [n, MOST - 1], their `:param`; -1 after the last."""
    draw = _draw(n, split, rng, (4, MOST))
    rows, read = [], np.full((n, MOST - 1), -1, dtype=np.int64)
    for row in range(n):
        definition = draw.definition(row)
        ids, _, params = draw.spelled(row, definition, definition[draw.first[row] :])
        rows.append(ids)
        read[row, : len(params) - 1] = params[1:]
    return padded(rows), read


def argument_lists(n: int, ctx: int, rng: np.random.Generator) -> Ints:
    """Lines `yield size, path, file` of one block of 4 to MOST + 5 arguments, BOS first, cut to
    tokens [n, ctx]. Each line after the first starts anywhere in the block and goes on to its end,
    so that what comes next is told by the argument before and not by its place in the line."""
    names = _names(np.zeros(n, dtype=np.int64), "train", rng) + _ARGUMENT
    length = rng.integers(4, names.shape[1] + 1, size=n)
    rows = []
    for block, end in zip(names.tolist(), length, strict=True):
        ids, start = [BOS], 0
        while len(ids) < ctx:
            ids.append(_ID["yield"])
            for name in block[start:end]:
                ids += [name, _ID[","]]
            ids.pop()
            start = int(rng.integers(0, end - 2))
        rows.append(ids[:ctx])
    return padded(rows)


def docstring_task(n: int, seed: int, split: Split) -> TaskData:
    """Methods of six arguments up to the third `:param`; the answer is C. Corrupt ("random_random"
    in Conmy et al.): other names stand for A, B and C in the definition, and yet others for A and
    B in the docstring. The wrong class are all other arguments of the two prompts, ten.

    Labels: A_def, B_def, C_def and A_doc, B_doc, the arguments' places in the definition and the
    docstring; END the third `:param`."""
    draw = _draw(n, split, np.random.default_rng(seed), (PAIRED_ARGUMENTS, PAIRED_ARGUMENTS))
    clean: list[list[int]] = []
    corrupt: list[list[int]] = []
    wrong, at_labels = [], []
    for row in range(n):
        at, definition = int(draw.first[row]), draw.definition(row)
        others = [int(name) for name in draw.names[row, MOST:]]
        replaced = [*definition[:at], *others[:3], *definition[at + 3 :]]
        for prompts, arguments, documented in (
            (clean, definition, definition[at : at + 3]),
            (corrupt, replaced, others[3:] + others[:1]),
        ):
            ids, in_definition, params = draw.spelled(row, arguments, documented)
            prompts.append(ids[: params[2] + 1])
        at_labels.append([*in_definition[at : at + 3], params[0] + 1, params[1] + 1, params[2]])
        wrong.append([*definition[: at + 2], *definition[at + 3 :], *others])
    places = dict(zip(LABELS, np.array(at_labels, dtype=np.int64).T, strict=True))
    return TaskData(
        "docstring-4l",
        padded(clean),
        padded(corrupt),
        answer=draw.names[np.arange(n), draw.first + 2],
        wrong=np.array(wrong, dtype=np.int64),
        position=places["END"],
        lengths=places["END"] + 1,
        labels={name: one_token(at) for name, at in places.items()},
        template=draw.first,
        texts=tuple(docstring_text(row) for row in clean),
    )


def docstring_text(tokens: Sequence[int]) -> str:
    """A token sequence as Python source, without BOS and padding."""
    text = " ".join(DOCSTRING_WORDS[t] for t in tokens if t not in (BOS, PAD))
    for written, laid_out in LAYOUT:
        text = text.replace(written, laid_out)
    return text


LAYOUT = (
    (" def ", "\ndef "),
    (" yield", "\nyield"),
    (" (", "("),
    ("( ", "("),
    (" ,", ","),
    (" : ", ": "),
    (" ):", "):"),
    (" '''", "\n    '''"),
    ("''' ", "'''"),
    (" :param", "\n    :param"),
)
"""What words joined by spaces are written as, in this order."""
