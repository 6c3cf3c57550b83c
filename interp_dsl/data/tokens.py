"""Datasets of token ids: safetensors files, and text packed into contexts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.drawn import BOS
from interp_dsl.data.faults import closest, count, fault, listed
from interp_dsl.data.prompts import assemble, own_side
from interp_dsl.data.records import read_records, unreadable
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.types import Data, Ints, Side

_KNOWN = ("clean", "corrupt", "answer", "wrong", "position", "mask")
_RANK = {"clean": 2, "corrupt": 2, "mask": 2}


def build_tokens(name: str, path: Path) -> Data:
    """Token ids as a safetensors file holds them, BOS included: clean [n, ctx], and where there
    corrupt [n, ctx], answer [n], wrong [n], position [n] (where the answer is read; the last real
    token otherwise), mask [n, ctx] (true where a token is real); further tensors [n] are columns.
    E430 for a file that can't be read, E433 for a tensor of another shape or kind."""
    held = _load(path)
    if "clean" not in held:
        raise fault(
            "E433",
            f"{path.name} has no tensor `clean`",
            f"it has {listed(sorted(held))}",
            help="save the prompts' token ids as `clean` [n, ctx]",
        )
    for key, values in held.items():
        _check(path, key, values, held["clean"].shape)
    mask = held["mask"].astype(bool) if "mask" in held else None
    paired = "corrupt" in held
    sides = [
        _side(path, key if paired else own_side(name), held[key], held.get("position"), mask)
        for key in ("clean", "corrupt")
        if key in held
    ]
    answers, wrongs = (held[k].tolist() if k in held else None for k in ("answer", "wrong"))
    columns = {key: values.tolist() for key, values in held.items() if key not in _KNOWN}
    return assemble(name, sides, answers, wrongs, None, columns)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError, KeyError) as why:
        raise unreadable(path, str(why)) from None


def _check(path: Path, key: str, values: NDArray[Any], clean: tuple[int, ...]) -> None:
    wanted = clean if key in _RANK else clean[:1]
    number = values.dtype.kind in ("iub" if key in _KNOWN else "iubf")
    if len(clean) != 2 or values.shape != wanted or not number or 0 in clean:
        raise fault(
            "E433",
            f"`{key}` in {path.name} is {values.dtype} of shape {list(values.shape)}",
            help="`clean`, `corrupt` and `mask` are [n, ctx], all others [n]; tokens, answers and "
            "positions are integers",
        )


def _side(path: Path, name: str, tokens: NDArray[Any], position: Ints | None, mask: Any) -> Side:
    n, width = tokens.shape
    lengths = np.full(n, width)
    if mask is not None:
        lengths = width - mask[:, ::-1].argmax(axis=1)
        if not mask.any(axis=1).all():
            raise fault(
                "E433",
                f"`mask` in {path.name} hides all of prompt {int(mask.any(axis=1).argmin())}",
                help="mask is true where a token is real",
            )
    read = lengths - 1 if position is None else position.astype(np.int64)
    if ((read < 0) | (read >= lengths)).any():
        row = int(((read < 0) | (read >= lengths)).argmax())
        raise fault(
            "E433",
            f"`position` in {path.name} is {int(read[row])} in row {row}, which has "
            f"{count(int(lengths[row]), 'token')}",
            help="positions count from 0",
        )
    whole = mask is None or bool(mask.all())
    return Side(name, tokens.astype(np.int64), lengths, read, mask=None if whole else mask)


def build_corpus(
    name: str,
    paths: Sequence[Path],
    context: int,
    n: int | None,
    column: str | None,
    tokenizer: Tokenizer,
) -> Data:
    """Text packed into contexts of exactly `context` tokens, each begun by BOS where the model has
    one: the documents follow each other, BOS between them, and what does not fill the last context
    is left out. A text file is a document; of other files every row is one, its text in `column`
    (`text` when None). One side. E434 when the text fills no context, or fewer than n."""
    return pack(name, _documents(paths, column), context, n, tokenizer)


def pack(
    name: str, documents: Iterable[str], context: int, n: int | None, tokenizer: Tokenizer
) -> Data:
    """Documents packed into contexts as `build_corpus` says; none is read behind the last that n
    contexts need."""
    bos = [] if tokenizer.bos is None else [tokenizer.bos]
    room = context - len(bos)
    if room < 1:
        raise fault("E434", f"a context of {context} holds no text", help="take a larger context")
    rows: list[list[int]] = []
    waiting: list[int] = []
    total = 0
    for text in documents:
        ids = tokenizer.core.encode(text)[0]
        total += len(ids)
        waiting += [*(bos if waiting or rows else ()), *ids]
        full = len(waiting) // room if n is None else min(len(waiting) // room, n - len(rows))
        rows += [[*bos, *waiting[i * room : (i + 1) * room]] for i in range(full)]
        waiting = waiting[full * room :]
        if len(rows) == n:
            break
    if len(rows) < (n or 1):
        raise fault(
            "E434",
            f"the text of {name} has {count(total, 'token')}, and {n or 1:,} of {context} tokens "
            "are wanted",
            help="give more text, a shorter context, or a smaller n",
        )
    tokens = np.array(rows, dtype=np.int64)
    lengths = np.full(len(rows), context)
    side = Side(own_side(name), tokens, lengths, lengths - 1)
    return Data(name, {side.name: side})


CONTEXT = 128
"""Tokens of a context of a bundled model's text, BOS first."""


def build_heldout(name: str, model: str, path: Path, n: int, seed: int, split: str) -> Data:
    """n contexts of the text that a bundled model brings, which it was not trained on: BOS and the
    tokens that follow each other, in an order by the seed. One side. E443 for another split, or
    more contexts than there are."""
    if split != "heldout":
        raise fault(
            "E443",
            f"the package holds no text that {model} was trained on",
            help="leave out split: the text is held out",
        )
    held = _load(path)["tokens"].astype(np.int64)
    room = CONTEXT - 1
    rows = held[: len(held) // room * room].reshape(-1, room)
    if n > len(rows):
        raise fault(
            "E443",
            f"the text of {model} has {len(rows):,} contexts, and n is {n:,}",
            help=f"take n={len(rows)}",
        )
    chosen = rows[np.random.default_rng(seed).permutation(len(rows))[:n]]
    tokens = np.concatenate([np.full((n, 1), BOS), chosen], axis=1)
    lengths = np.full(n, CONTEXT)
    side = Side(own_side(name), tokens, lengths, lengths - 1)
    return Data(name, {side.name: side}, seed=seed)


def _documents(paths: Sequence[Path], column: str | None) -> Iterator[str]:
    for path in paths:
        if path.suffix.lower() in (".csv", ".json", ".jsonl", ".parquet"):
            for record in read_records(path):
                yield text_of(record, column or "text", path.name)
        else:
            try:
                yield path.read_text("utf-8")
            except (OSError, ValueError) as why:
                raise unreadable(path, str(why)) from None


def text_of(record: Mapping[str, Any], column: str, source: str) -> str:
    """A row's text; E431 where its column holds none."""
    if not isinstance(record.get(column), str):
        raise fault(
            "E431",
            f"a row of {source} has no text in the column {column}",
            f"it has {listed(sorted(record))}",
            help=closest(column, record) or 'name it: column="COLUMN"',
        )
    return str(record[column])


def expand(patterns: Sequence[str], base: Path | None) -> list[Path]:
    """The files of paths and globs, sorted; E430 for one that matches nothing."""
    found: list[Path] = []
    for pattern in patterns:
        matching = sorted(glob(str((base or Path()) / pattern), recursive=True))
        files = [Path(p) for p in matching if Path(p).is_file()]
        if not files:
            raise fault("E430", f"no file matches {pattern}", help="give a path or a glob: *.txt")
        found += files
    return found
