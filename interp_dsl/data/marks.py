"""Marks in a prompt's text: `{slot}`, `{slot@LABEL}`, `{@LABEL}`; and where they lie in tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interp_dsl.data.faults import count, fault
from interp_dsl.data.tokenizer import Encoding, Tokenizer

_SLOT = re.compile(r"\{\{|\}\}|\{(\w*)(?:@(\w+))?\}")
_MARK = re.compile(r"\{([^{}@]*)@([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class Part:
    """A stretch of a template: literal `text`, or a `slot`, or (neither) only a mark. `label`
    names the slot's tokens, or, at a mark, the token before it."""

    text: str = ""
    slot: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Marked:
    """A prompt and its labels as characters: (start, end) of a slot's text, (point, None) of a
    mark that names the token before it."""

    text: str
    labels: tuple[tuple[str, int, int | None], ...] = ()


def read_template(text: str) -> tuple[Part, ...]:
    """The parts of a template; `{{` and `}}` are braces. E420 for a brace that opens no slot."""
    parts: list[Part] = []
    at = 0
    for found in _SLOT.finditer(text):
        _add_literal(parts, text, at, found.start())
        at = found.end()
        if found[0] in ("{{", "}}"):
            parts.append(Part(text=found[0][0]))
        elif not found[1] and not found[2]:
            raise _stray(text, found.start())
        else:
            parts.append(Part(slot=found[1] or None, label=found[2]))
    _add_literal(parts, text, at, len(text))
    return tuple(parts)


def _add_literal(parts: list[Part], text: str, start: int, end: int) -> None:
    if brace := re.search(r"[{}]", text[start:end]):
        raise _stray(text, start + brace.start())
    if end > start:
        parts.append(Part(text=text[start:end]))


def _stray(text: str, at: int) -> Exception:
    return fault(
        "E420",
        "a brace in this template opens no slot",
        f"{text}\n{' ' * at}^",
        help="write {name}, {name@LABEL} or {@LABEL}; {{ and }} are plain braces",
    )


def read_prompt(text: str) -> Marked:
    """A prompt as written out: `{words@LABEL}` and `{@LABEL}` are marks, other braces text."""
    parts: list[Part] = []
    at = 0
    for found in _MARK.finditer(text):
        parts += [Part(text[at : found.start()]), Part(found[1], label=found[2])]
        at = found.end()
    return fill([*parts, Part(text[at:])], {})


def fill(parts: Iterable[Part], values: Mapping[str, object]) -> Marked:
    """The prompt with every slot's value in its place."""
    text, labels = "", []
    for part in parts:
        piece = part.text if part.slot is None else str(values[part.slot])
        start, text = len(text), text + piece
        if part.label is not None:
            stands_alone = part.slot is None and not part.text
            labels.append((part.label, start, None if stands_alone else len(text)))
    return Marked(text, tuple(labels))


def slots(parts: Iterable[Part]) -> list[str]:
    """The names of the slots, each once, in order."""
    return list(dict.fromkeys(part.slot for part in parts if part.slot is not None))


def locate(prompt: Marked, encoding: Encoding, tokenizer: Tokenizer) -> dict[str, tuple[int, int]]:
    """Label -> first token and end (exclusive) in the encoding. E415 when a label's text begins or
    ends inside a token, E416 when a label stands twice, E417 when no token is before a mark."""
    found: dict[str, tuple[int, int]] = {}
    for label, start, end in prompt.labels:
        if label in found:
            raise fault(
                "E416",
                f"the label {label} stands twice in one prompt",
                f"in {prompt.text!r}",
                help=f"give the two places two names, {label}1 and {label}2",
            )
        if end is None:
            found[label] = _before(prompt, label, start, encoding, tokenizer)
        else:
            found[label] = _covering(prompt, label, (start, end), encoding, tokenizer)
    return found


def _before(
    prompt: Marked, label: str, point: int, encoding: Encoding, tokenizer: Tokenizer
) -> tuple[int, int]:
    early = [i for i, (start, _) in enumerate(encoding.spans) if start < point]
    if not early and encoding.ids and encoding.spans[0] == (0, 0):
        early = [0]
    if not early:
        raise fault(
            "E417",
            f"there is no token before the mark {{@{label}}}",
            f"in {prompt.text!r}",
            help="put the mark behind the token that it names",
        )
    if encoding.spans[early[-1]][1] > point:
        raise _cut(prompt, label, early[-1], encoding, tokenizer)
    return early[-1], early[-1] + 1


def _covering(
    prompt: Marked, label: str, span: tuple[int, int], encoding: Encoding, tokenizer: Tokenizer
) -> tuple[int, int]:
    first, last = span
    bare = prompt.text[first:last].lstrip()
    first = last - len(bare) if bare else first
    inside = [i for i, (a, b) in enumerate(encoding.spans) if a < last and b > first]
    if not inside:
        raise fault(
            "E417",
            f"the text of the label {label} has no token",
            f"in {prompt.text!r}",
            help="a label needs a text, or stands alone behind a token: {@" + label + "}",
        )
    for i in (inside[0], inside[-1]):
        if encoding.spans[i][0] < first or encoding.spans[i][1] > last:
            raise _cut(prompt, label, i, encoding, tokenizer)
    return inside[0], inside[-1] + 1


def _cut(
    prompt: Marked, label: str, token: int, encoding: Encoding, tokenizer: Tokenizer
) -> Exception:
    shown = "|".join(tokenizer.token_text(i) for i in encoding.ids)
    text = tokenizer.token_text(encoding.ids[token])
    return fault(
        "E415",
        f"the label {label} begins or ends inside the token {text!r}",
        f"in {prompt.text!r}",
        f"{count(len(encoding.ids), 'token')}: {shown}",
        help="let the label cover whole tokens: put the whole word into the slot, or choose "
        "values that stand alone",
    )
