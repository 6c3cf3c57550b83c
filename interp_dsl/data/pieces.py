"""Two small vocabularies without a library: pieces merged by score, and whole words.

Both read a `vocab.json` that is a list: of [piece, score] (sentencepiece-style, a piece written as
latin-1 of its bytes), or of words, whose place is their id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

Encoded = tuple[list[int], list[tuple[int, int]]]
"""Token ids, and for each the start and end (exclusive) of its characters."""

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_WORD = re.compile(r"<\w+>|\w+|[^\w\s]")


class ScoredPieces:
    """Greedy byte-pair merging: of all neighbours whose union is a piece, the one with the highest
    score is merged, the leftmost of equals; characters that are no piece fall back to bytes. A
    space is put in front of a text."""

    prefixes_space = True
    unknown: int | None = None

    def __init__(self, vocabulary: Sequence[tuple[str, float]]) -> None:
        self._pieces = [piece.encode("latin-1") for piece, _ in vocabulary]
        self._scores = [score for _, score in vocabulary]
        self._ids = {piece: i for i, piece in reversed(list(enumerate(self._pieces)))}
        self._bytes = {
            int(found[1], 16): i
            for i, (piece, _) in enumerate(vocabulary)
            if (found := _BYTE.fullmatch(piece))
        }
        self._values = {i: bytes([value]) for value, i in self._bytes.items()}
        # No piece reaches over a space into the next word, so words are merged apart, once each.
        self._splits = all(b" " not in piece.lstrip(b" ") for piece in self._pieces)
        self._merged = lru_cache(maxsize=65_536)(self._merge)

    def encode(self, text: str) -> Encoded:
        """Ids and character spans; the space put in front has the span (0, 0)."""
        if not text:
            return [], []
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        at = -1
        for word in re.findall(r" *[^ ]*", " " + text) if self._splits else [" " + text]:
            for i, width_start, width_end in self._merged(word):
                ids.append(i)
                spans.append((max(at + width_start, 0), max(at + width_end, 0)))
            at += len(word)
        return ids, spans

    def _merge(self, word: str) -> tuple[tuple[int, int, int], ...]:
        """(id, first character, end) of the pieces of one word."""
        parts = [part for at, char in enumerate(word) for part in self._symbols(char, at)]
        while True:
            best, where = float("-inf"), -1
            for at, (left, right) in enumerate(pairwise(parts)):
                union = self._union(left, right)
                if union is not None and self._scores[union] > best:
                    best, where = self._scores[union], at
            if where < 0:
                return tuple(parts)
            left, right = parts[where : where + 2]
            union = self._union(left, right)
            assert union is not None
            parts[where : where + 2] = [(union, left[1], right[2])]

    def _union(self, left: tuple[int, int, int], right: tuple[int, int, int]) -> int | None:
        return self._ids.get(self._pieces[left[0]] + self._pieces[right[0]])

    def _symbols(self, char: str, at: int) -> list[tuple[int, int, int]]:
        data = char.encode("utf-8")
        if data in self._ids:
            return [(self._ids[data], at, at + 1)]
        return [(self._bytes[value], at, at + 1) for value in data]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, without the space that encoding puts in front."""
        text = b"".join(map(self._written, ids)).decode("utf-8", errors="replace")
        return text.removeprefix(" ")

    def piece(self, token: int) -> str:
        """One token as it stands in a text."""
        return self._written(token).decode("utf-8", errors="replace")

    def _written(self, token: int) -> bytes:
        """A number beyond the vocabulary, that a model's padded unembedding may name, as
        `<number>`."""
        if not 0 <= token < len(self._pieces):
            return b"<%d>" % token
        return self._values.get(token, self._pieces[token])


class Words:
    """Words and single marks of punctuation, each one token; `unknown` stands for other words."""

    prefixes_space = False

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._ids = {word: i for i, word in enumerate(words)}
        self.unknown: int | None = -1

    def encode(self, text: str) -> Encoded:
        """Ids and character spans."""
        found = list(_WORD.finditer(text))
        return [self._ids.get(m[0], -1) for m in found], [m.span() for m in found]

    def decode(self, ids: Sequence[int]) -> str:
        """The words with spaces between them, none before punctuation."""
        text = " ".join(map(self.piece, ids))
        return re.sub(r" ([^\w\s<])", r"\1", text)

    def piece(self, token: int) -> str:
        return self._words[token] if 0 <= token < len(self._words) else f"<{token}>"
