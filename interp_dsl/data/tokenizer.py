"""From text to token ids and back, with the characters that every token covers.

`load_tokenizer(facts)` reads a tokenizer.json, a folder with vocab.json and merges.txt (byte-level
pairs, as GPT-2), or a folder whose vocab.json is a list (see pieces.py). Nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from interp_dsl.data.faults import fault, listed
from interp_dsl.data.pieces import Encoded, ScoredPieces, Words
from interp_dsl.models.shape import ModelFacts


class Core(Protocol):
    """A vocabulary at work. `prefixes_space`: a space is put in front of a text."""

    prefixes_space: bool
    unknown: int | None

    def encode(self, text: str) -> Encoded: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def piece(self, token: int) -> str: ...


@dataclass(frozen=True)
class Encoding:
    """Token ids of a text, and the characters [start, end) that each covers. A token's leading
    white space is not counted as covered, so a word's own characters are its token's."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tokenizer:
    """A model's vocabulary and its beginning-of-sequence token (None: prompts begin without)."""

    core: Core
    bos: int | None

    def encode(self, text: str) -> Encoding:
        """The text alone, nothing put in front. E403 for a word that the vocabulary lacks."""
        ids, spans = self.core.encode(text)
        self._refuse_unknown(text, ids, spans)
        return Encoding(tuple(ids), tuple(_trimmed(text, s) for s in spans))

    def prompt(self, text: str) -> Encoding:
        """The text as a prompt: BOS first, once, also where the text itself begins with it. Spans
        count the characters of `text`; BOS put in front has (0, 0)."""
        if self.bos is None:
            return self.encode(text)
        written = self.core.piece(self.bos).strip()
        cut = len(written) if written and text.startswith(written) else 0
        rest = self.encode(text[cut:])
        spans = tuple((start + cut, end + cut) for start, end in rest.spans)
        return Encoding((self.bos, *rest.ids), ((0, cut), *spans))

    def continuation(self, text: str) -> tuple[int, ...]:
        """The tokens of a text that goes on from a prompt, as an answer does."""
        if not self.core.prefixes_space:
            return self.encode(text).ids
        if text.startswith(" "):
            return self.encode(text[1:]).ids
        before = self.encode("\n").ids
        return self.encode("\n" + text).ids[len(before) :]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return self.core.decode(ids)

    def continued(self, ids: Sequence[int]) -> str:
        """The text of tokens that go on from others: its leading space included, and characters of
        several tokens whole."""
        text = self.core.decode(ids)
        is_cut = bool(ids) and self.core.piece(ids[0]) == " " + self.core.decode(ids[:1])
        return " " + text if is_cut else text

    def token_text(self, token: int) -> str:
        """One token as it stands in a text, its leading space included."""
        return self.core.piece(token)

    def _refuse_unknown(self, text: str, ids: list[int], spans: list[tuple[int, int]]) -> None:
        if self.core.unknown in ids:
            pairs = zip(ids, spans, strict=True)
            raise _unknown(text, [text[a:b] for i, (a, b) in pairs if i == self.core.unknown])


def _unknown(text: str, words: Sequence[str]) -> Exception:
    return fault(
        "E403",
        f"the model's vocabulary has no word for {listed([repr(w) for w in words])}",
        f"in {text!r}",
        help="use words of the vocabulary; `interp models NAME` lists those of a bundled model",
    )


class Library:
    """A vocabulary of the `tokenizers` library."""

    def __init__(self, inner: Any) -> None:
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner
        settings = json.loads(inner.to_str())
        self.prefixes_space = _prefixes_space(settings)
        unknown = settings["model"].get("unk_token")
        known = unknown and not settings["model"].get("byte_fallback")
        self.unknown: int | None = inner.token_to_id(unknown) if known else None

    def encode(self, text: str) -> Encoded:
        try:
            found = self._inner.encode(text, add_special_tokens=False)
        except Exception as why:  # the library's own, bare: a word that not even a token stands for
            cut = self._inner.pre_tokenizer
            words = [w for w, _ in cut.pre_tokenize_str(text)] if cut else [text]
            lost = [w for w in words if self._inner.token_to_id(w) is None]
            if type(why) is not Exception or not lost:
                raise
            raise _unknown(text, lost) from None
        return list(found.ids), [(a, b) for a, b in found.offsets]

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._inner.decode(list(ids), skip_special_tokens=False)
        return text

    def piece(self, token: int) -> str:
        raw: str | None = self._inner.id_to_token(token)
        if raw is None:
            return f"<{token}>"
        if "▁" in raw:
            return raw.replace("▁", " ")
        text = self.decode([token])
        return raw if "\ufffd" in text or not text else text


def load_tokenizer(facts: ModelFacts) -> Tokenizer:
    """The model's tokenizer. E401 when it has none, E402 when its files can't be read."""
    if facts.tokenizer is None:
        raise fault(
            "E401",
            f"{facts.name} has no tokenizer, and this dataset is text",
            help='give token ids: `tokens("pairs.safetensors")`, or `repeated_tokens(…)`',
        )
    return Tokenizer(_core(facts.tokenizer), facts.bos)


@lru_cache(maxsize=8)
def _core(path: Path) -> Core:
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise _unreadable(path, str(why)) from None
    except Exception as why:  # the library raises bare Exception for a file it can't read
        if type(why) is not Exception:
            raise
        raise _unreadable(path, str(why)) from None


def _unreadable(path: Path, why: str) -> Exception:
    return fault(
        "E402",
        f"the tokenizer in {path} can't be read",
        why,
        help="a tokenizer is a tokenizer.json, or vocab.json and merges.txt in one folder",
    )


def _read(path: Path) -> Core:
    folder = path if path.is_dir() else path.parent
    whole = folder / "tokenizer.json" if path.is_dir() else path
    if whole.name != "vocab.json" and whole.is_file():
        from tokenizers import Tokenizer as Inner

        return Library(Inner.from_file(str(whole)))
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    if isinstance(vocabulary, dict):
        return Library(_byte_level(vocabulary, folder / "merges.txt"))
    if all(isinstance(word, str) for word in vocabulary):
        return Words(vocabulary)
    return ScoredPieces([(piece, float(score)) for piece, score in vocabulary])


def _byte_level(vocabulary: dict[str, int], merges: Path) -> Any:
    from tokenizers import Tokenizer as Inner
    from tokenizers import decoders, models, pre_tokenizers

    lines = [line for line in merges.read_text("utf-8").splitlines() if line]
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    pairs = [(left, right) for left, right in (line.split(" ") for line in lines)]
    inner = Inner(models.BPE(vocab=vocabulary, merges=pairs))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if "<|endoftext|>" in vocabulary:
        inner.add_special_tokens(["<|endoftext|>"])
    return inner


def _prefixes_space(settings: dict[str, Any]) -> bool:
    """Whether encoding puts a space in front, anywhere in a tokenizer.json's chain."""

    def holds(part: Any) -> bool:
        if not isinstance(part, dict):
            return False
        inside = [*part.get("normalizers", ()), *part.get("pretokenizers", ())]
        return (
            part.get("type") == "Prepend"
            or part.get("prepend_scheme") in ("always", "first")
            or bool(part.get("add_prefix_space"))
            or any(map(holds, inside))
        )

    return holds(settings.get("normalizer")) or holds(settings.get("pre_tokenizer"))


def _trimmed(text: str, span: tuple[int, int]) -> tuple[int, int]:
    start, end = span
    bare = text[start:end].lstrip()
    return (end - len(bare), end) if bare else span
