"""What a folder of a peer's says of its dictionary. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

Raw = Mapping[str, Any]
CHUNK = 1 << 20


class NotUnderstood(Exception):
    """A folder that can't be read as a dictionary, or written; the text says which field or file.
    `advice`: what might be done."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True)
class Config:
    """`format`: saelens, dictionary_learning or sparsify; `named`: its own word for what
    `architecture` (relu, topk, jumprelu or gated) it encodes as; `k` features of topk.

    Where it was fitted, as far as the file says: `hook`, a TransformerLens name, with the head
    `head` of it, or `module`, of the Hugging Face model. A transcoder rebuilds activations that are
    `d_out` wide, at `hook_out`; `has_skip` where it has a skip connection. `raw`: the whole
    configuration, what remains to be folded into the tensors included."""

    format: str
    named: str
    architecture: str
    d_in: int
    d_sae: int
    k: int | None
    raw: Raw
    hook: str | None = None
    head: int | None = None
    module: str | None = None
    d_out: int | None = None
    hook_out: str | None = None
    has_skip: bool = False


@dataclass(frozen=True)
class Format:
    """The files of a format, and how its configuration is read: of the folder's name, too."""

    config: str
    weights: str
    understood: Callable[[Raw, str], Config]


def formats() -> dict[str, Format]:
    """All formats by name."""
    from interp_dsl.dictionaries.formats import dictionary_learning, saelens, sparsify

    return {
        "saelens": Format("cfg.json", "sae_weights.safetensors", saelens.understood),
        "dictionary_learning": Format("config.json", "ae.pt", dictionary_learning.understood),
        "sparsify": Format("cfg.json", "sae.safetensors", sparsify.understood),
    }


def read_config(folder: Path) -> Config:
    """What a folder says of its dictionary. Raises NotUnderstood where it holds none, or one that
    has no counterpart here; OSError where a file cannot be read."""
    known = formats()
    name = format_of(folder)
    return known[name].understood(_json(folder / known[name].config), folder.resolve().name)


def format_of(folder: Path) -> str:
    """The format whose weights a folder holds."""
    found = [name for name, form in formats().items() if (folder / form.weights).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotUnderstood(f"{folder} holds dictionaries of two formats: {', '.join(found)}")
    wanted = ", ".join(f"{form.weights} ({name})" for name, form in formats().items())
    raise NotUnderstood(f"{folder} holds no dictionary", f"one of these is looked for: {wanted}")


def fingerprint(folder: Path) -> str:
    """sha256 of the files that a dictionary is read from."""
    form = formats()[format_of(folder)]
    result = sha256()
    for name in (form.config, form.weights):
        with (folder / name).open("rb") as file:
            while part := file.read(CHUNK):
                result.update(part)
    return result.hexdigest()


def _json(path: Path) -> Raw:
    try:
        raw = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotUnderstood(f"{path.parent} has weights and no {path.name}") from None
    except ValueError as error:
        raise NotUnderstood(f"{path.name} is no json: {error}") from None
    if not isinstance(raw, dict):
        raise NotUnderstood(f"{path.name} holds no configuration")
    return raw


# ---- fields


def whole(raw: Raw, name: str) -> int:
    """A field that is a whole number above 0."""
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        told = "is missing" if value is None else f"is {value!r}, no number of things"
        raise NotUnderstood(f"`{name}` {told}")
    return value


def refuse(raw: Raw, name: str, *meant: Any) -> None:
    """A field must be absent, or have one of the values that are understood."""
    value = raw.get(name)
    if value is not None and value not in meant:
        raise NotUnderstood(f"`{name}` is {value!r}, which is not understood")


def text(raw: Raw, name: str) -> str | None:
    """A field that is text, None where it is absent or empty."""
    value = raw.get(name)
    return value if isinstance(value, str) and value else None
