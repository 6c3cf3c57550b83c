"""The tasks that the bundled models were trained on: training batches and clean/corrupt pairs.

`task(name, n, seed, split)` draws the pairs of a bundled model; `repeated_tokens` the pairs of
any model with a vocabulary; `induction_blocks` and `ioi_sentences` the batches of training.
Token ids as numpy arrays, padded on the right. Equal arguments give equal data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from interp_dsl.data.addition import addition_task
from interp_dsl.data.docstrings import docstring_task
from interp_dsl.data.drawn import BOS, PAD, SPLITS, Split, TaskData, one_token, padded, split_words
from interp_dsl.data.types import Ints

__all__ = [
    "BOS",
    "PAD",
    "TASKS",
    "Split",
    "TaskData",
    "induction_blocks",
    "ioi_pairs",
    "ioi_sentences",
    "ioi_text",
    "repeated_tokens",
    "task",
]

FILLER = split_words(
    "<bos> <pad> . , After And Long Since So Then Today When While Yesterday a ago and at brought "
    "day from gave had handed knew left long met more near once passed saw sent sold the there to "
    "well went"
)
NAMES = split_words(
    "Mary John Anna Paul Lucy Mark Emma Jack Sara Luke Nina Adam Rosa Carl Jane Eric Kate Dean "
    "Beth Alan Ruth Hugo Lena Omar Tina Ivan Dora Neil Iris Seth Vera Noah"
)
PLACES = split_words("store park school beach market office garden station museum hotel")
OBJECTS = split_words("book drink ring ball letter key map coin lamp flute")
IOI_WORDS = FILLER + NAMES + PLACES + OBJECTS
"""The vocabulary of ioi-3l: a word's place is its token id."""

PREFIXES = ("", "And", "Today ,", "Yesterday ,", "Long ago ,")
TEMPLATES = (
    "When X and Y went to the PLACE , S gave a OBJECT to IO .",
    "After X and Y met at the PLACE , S handed the OBJECT to IO .",
    "While X and Y had a long day at the PLACE , S passed the OBJECT to IO .",
    "Since X knew Y well , S sent a OBJECT from the PLACE to IO .",
    "So X saw Y near the PLACE once more , and S brought the OBJECT there to IO .",
    "Then X and Y left the PLACE , and S sold a OBJECT to IO .",
)
"""X and Y are the two names in either order, S the one who gives, IO the one who receives."""
HELDOUT_SHARE = 0.19


def task(name: str, n: int, seed: int = 0, split: str = "heldout") -> TaskData:
    """n pairs of a bundled model's own task. `heldout` has inputs that training never drew (for
    random tokens: a stream of its own), `train` the others, `all` both."""
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; there are {', '.join(TASKS)}")
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    if n < 1:
        raise ValueError(f"a task needs at least one example, not {n}")
    return TASKS[name](n, seed, split)


# ** repeated tokens **


def induction_blocks(
    n: int, ctx: int, vocab: int, rng: np.random.Generator, periods: tuple[int, int] = (8, 31)
) -> tuple[Ints, Ints]:
    """Rows of BOS and a random block tiled to the end: tokens [n, ctx], and each row's period [n],
    uniform between `periods`, both ends in. Tokens of a block may be equal. Varying periods leave
    no fixed offset to learn."""
    period = rng.integers(periods[0], periods[1] + 1, size=n)
    block = rng.integers(1, vocab, size=(n, periods[1]))
    index = np.arange(ctx - 1)[None, :] % period[:, None]
    tokens = np.full((n, ctx), BOS, dtype=np.int64)
    tokens[:, 1:] = np.take_along_axis(block, index, axis=1)
    return tokens, period


def repeated_tokens(pairs: int, half: int, vocab: int, bos: int = BOS, seed: int = 0) -> TaskData:
    """Clean: BOS, a block of `half` distinct tokens, and its repeat cut after a token A; the answer
    is B, which followed A. Corrupt: in the first copy A and another token A' have changed places,
    so that B' follows A; wrong = B'. A stands at (half - 4) // 2 of the block and A' last but one,
    so B and B' occur once each and every label stands at one place in all prompts.

    Labels: A1, B1 the places of A and B in the first copy, C1, D1 those of A' and B' (on the
    corrupt side A1 holds A' and C1 holds A), END the second A."""
    if half < 4:
        raise ValueError(f"half must be at least 4 to hold A, B, A' and B', not {half}")
    if half > vocab - 1:
        raise ValueError(f"a vocabulary of {vocab} has no {half} distinct tokens beside BOS")
    rng = np.random.default_rng(seed)
    ids = np.delete(np.arange(vocab), bos)
    block = np.stack([rng.permutation(ids)[:half] for _ in range(pairs)])
    first = (half - 4) // 2
    other = half - 2
    swapped = block.copy()
    swapped[:, first], swapped[:, other] = block[:, other], block[:, first]
    head, tail = np.full((pairs, 1), bos), block[:, : first + 1]
    clean = np.concatenate([head, block, tail], axis=1).astype(np.int64)
    corrupt = np.concatenate([head, swapped, tail], axis=1).astype(np.int64)
    end = np.full(pairs, clean.shape[1] - 1)
    places = {"A1": first + 1, "B1": first + 2, "C1": other + 1, "D1": other + 2, "END": end[0]}
    return TaskData(
        "repeated_tokens",
        clean,
        corrupt,
        answer=block[:, first + 1],
        wrong=block[:, other + 1],
        position=end,
        lengths=end + 1,
        labels={name: one_token(np.full(pairs, at)) for name, at in places.items()},
        template=np.zeros(pairs, dtype=np.int64),
        texts=tuple(" ".join("<bos>" if t == bos else f"t{t}" for t in row) for row in clean),
    )


def _induction_task(n: int, seed: int, split: Split) -> TaskData:
    own = int(np.random.default_rng((seed, SPLITS.index(split))).integers(2**31))
    return repeated_tokens(n, half=24, vocab=256, bos=BOS, seed=own)


# ** indirect objects **


@cache
def ioi_pairs(split: Split) -> Ints:
    """Ordered name pairs (indirect object, subject) of a split: [m, 2] indices into NAMES. Both
    orders of a pair stand on the same side; 19% of the 992 are held out."""
    both = np.array([(a, b) for a in range(len(NAMES)) for b in range(a)])
    order = np.random.default_rng(0).permutation(len(both))
    cut = round(HELDOUT_SHARE * len(both))
    chosen = {"heldout": order[:cut], "train": order[cut:], "all": order}[split]
    unordered = both[np.sort(chosen)]
    return np.concatenate([unordered, unordered[:, ::-1]]).astype(np.int64)


@cache
def _forms() -> tuple[tuple[str, ...], ...]:
    """All 60 forms, template outermost, then prefix, then name order, as words with slots."""
    forms = []
    for template in TEMPLATES:
        for prefix in PREFIXES:
            for x, y in (("IO", "S"), ("S", "IO")):
                words = f"{prefix} {template}".split()
                forms.append(tuple({"X": x, "Y": y}.get(word, word) for word in words))
    return tuple(forms)


@dataclass(frozen=True)
class _Draw:
    """What fills the slots of n sentences: form [n], and token ids [n]."""

    form: Ints
    io: Ints
    subject: Ints
    third: Ints
    place: Ints
    item: Ints

    def sentence(self, row: int) -> list[int]:
        slots = {"IO": self.io, "S": self.subject, "PLACE": self.place, "OBJECT": self.item}
        words = _forms()[self.form[row]]
        return [BOS, *(int(slots[w][row]) if w in slots else _WORD_ID[w] for w in words)]


_WORD_ID = {word: i for i, word in enumerate(IOI_WORDS)}


def _draw(n: int, split: Split, rng: np.random.Generator) -> _Draw:
    pairs = ioi_pairs(split)
    pair = pairs[rng.integers(len(pairs), size=n)]
    third = rng.integers(len(NAMES) - 2, size=n)
    for taken in np.sort(pair, axis=1).T:  # in rising order, so each shift skips one name
        third = third + (third >= taken)
    name_at, place_at = len(FILLER), len(FILLER) + len(NAMES)
    return _Draw(
        form=rng.integers(len(_forms()), size=n),
        io=pair[:, 0] + name_at,
        subject=pair[:, 1] + name_at,
        third=third + name_at,
        place=rng.integers(len(PLACES), size=n) + place_at,
        item=rng.integers(len(OBJECTS), size=n) + place_at + len(PLACES),
    )


def ioi_sentences(n: int, split: Split, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Whole sentences, BOS first: tokens [n, T], and where the answer is read [n] (the token
    before the indirect object, which is the last token but two)."""
    draw = _draw(n, split, rng)
    rows = [draw.sentence(row) for row in range(n)]
    return padded(rows), np.array([len(row) - 3 for row in rows], dtype=np.int64)


def _ioi_task(n: int, seed: int, split: Split) -> TaskData:
    """Prompts up to the indirect object. Corrupt: a third name stands at S2, so that no name is
    repeated. Labels: IO, S1, S2 the names' places, END the last token."""
    draw = _draw(n, split, np.random.default_rng(seed))
    rows = [draw.sentence(row)[:-2] for row in range(n)]
    clean = padded(rows)
    place = {name: np.zeros(n, dtype=np.int64) for name in ("IO", "S1", "S2", "END")}
    for row, words in enumerate(rows):
        s1, s2 = (at for at, word in enumerate(words) if word == draw.subject[row])
        place["IO"][row] = words.index(int(draw.io[row]))
        place["S1"][row], place["S2"][row], place["END"][row] = s1, s2, len(words) - 1
    corrupt = clean.copy()
    corrupt[np.arange(n), place["S2"]] = draw.third
    return TaskData(
        "ioi-3l",
        clean,
        corrupt,
        answer=draw.io,
        wrong=draw.subject,
        position=place["END"],
        lengths=place["END"] + 1,
        labels={name: one_token(at) for name, at in place.items()},
        template=draw.form,
        texts=tuple(ioi_text(row) for row in rows),
    )


def ioi_text(tokens: Sequence[int]) -> str:
    """The words of a token sequence as text, without BOS and padding."""
    words = (IOI_WORDS[t] for t in tokens if t not in (BOS, PAD))
    return " ".join(words).replace(" ,", ",").replace(" .", ".")


TASKS: dict[str, Callable[[int, int, Split], TaskData]] = {
    "induction-2l": _induction_task,
    "ioi-3l": _ioi_task,
    "docstring-4l": docstring_task,
    "modadd-113": addition_task,
}
