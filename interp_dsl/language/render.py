"""Diagnostics as text: in a box with the source line, one a line, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from interp_dsl.language.cells import cells, clean, expand
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.source import Source, Span

Style = Literal["text", "short", "json"]

_COLORS = {"error": "31", "warning": "33", "info": "36"}
_WIDEST = 160
_ELLIPSIS = "…"


def render(diagnostics: Iterable[Diagnostic], style: Style = "text", color: bool = False) -> str:
    """Diagnostics as the command line prints them.

    `text` is a box each, `short` one line each, `json` one array of objects."""
    if style == "json":
        return json.dumps([_record(found) for found in diagnostics], ensure_ascii=True, indent=2)
    paint = _Paint(color)
    if style == "short":
        return "\n".join(_short(found, paint) for found in diagnostics)
    return "\n\n".join("\n".join(_box(found, paint)) for found in diagnostics)


@dataclass(frozen=True)
class _Paint:
    color: bool

    def __call__(self, text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.color and text else text


def _place(source: Source) -> str:
    return clean(source.path.as_posix() if source.path else source.name)


def _headline(found: Diagnostic, paint: _Paint) -> str:
    kind = paint(f"{found.severity}[{found.code}]", "1", _COLORS[found.severity])
    return f"{kind}: {paint(clean(found.message), '1')}"


def _short(found: Diagnostic, paint: _Paint) -> str:
    if found.span is None:
        return _headline(found, paint)
    span = found.span
    return f"{_place(span.source)}:{span.line}:{span.column}: {_headline(found, paint)}"


# ---- JSON


def _record(found: Diagnostic) -> dict[str, object]:
    span = found.span
    start = (span.line, span.column) if span else (None, None)
    end = span.source.line_column(span.end) if span else (None, None)
    return {
        "file": (span.source.path.as_posix() if span.source.path else None) if span else None,
        "line": start[0],
        "column": start[1],
        "end_line": end[0],
        "end_column": end[1],
        "code": found.code,
        "severity": found.severity,
        "message": found.message,
        "label": found.label,
        "notes": list(found.notes),
        "help": found.help,
    }


# ---- boxes


def _box(found: Diagnostic, paint: _Paint) -> list[str]:
    lines = [_headline(found, paint)]
    gutter = 0
    if found.span is not None:
        marks = list(_marks(found.span))
        gutter = len(str(marks[-1].line))
        lines += _excerpt(found, marks, gutter, paint)
    remarks = [("note", note) for note in found.notes]
    if found.help is not None:
        remarks.append(("help", found.help))
    for kind, remark in remarks:
        head, *rest = clean(remark).split("\n")
        lines.append(f"{' ' * gutter} {paint('=', '34')} {paint(kind, '1')}: {head}")
        lines += [f"{' ' * gutter}   {' ' * len(kind)}  {line}" for line in rest]
    return lines


@dataclass(frozen=True)
class _Mark:
    """A line of the source and the columns, from 0, that are marked in it."""

    line: int
    text: str
    start: int
    end: int


def _marks(span: Span) -> Iterable[_Mark]:
    """The marked line; of a span over several, its first and its last."""
    last, column = span.source.line_column(max(span.start, span.end))
    first = span.source.line_text(span.line)
    if last == span.line:
        yield _Mark(last, first, span.column - 1, max(span.column, column - 1))
        return
    yield _Mark(span.line, first, span.column - 1, max(span.column, len(first)))
    text = span.source.line_text(last)
    start = len(text) - len(text.lstrip())
    if start < column - 1:
        yield _Mark(last, text, start, column - 1)


def _excerpt(found: Diagnostic, marks: list[_Mark], gutter: int, paint: _Paint) -> Iterable[str]:
    assert found.span is not None, "an excerpt is of a span"
    first = marks[0]
    where = f"{_place(found.span.source)}:{first.line}:{first.start + 1}"
    yield f"{' ' * gutter}{paint('┌─', '34')} {where}"
    for i, mark in enumerate(marks):
        if i and mark.line > marks[i - 1].line + 1:
            yield f"{' ' * gutter} {paint('⋮', '34')}"
        text, indent, length = _shown(mark)
        yield f"{paint(f'{mark.line:>{gutter}} │', '34')} {text}".rstrip()
        label = f" {clean(found.label)}" if found.label and mark is marks[-1] else ""
        carets = paint("^" * length + label, "1", _COLORS[found.severity])
        yield f"{' ' * gutter} {paint('│', '34')} {' ' * indent}{carets}"


def _shown(mark: _Mark) -> tuple[str, int, int]:
    """A line as it is printed, and the cells before its carets and of them."""
    text, start, end = mark.text, mark.start, mark.end
    if len(text) > _WIDEST:
        cut = max(0, min(start - _WIDEST // 4, len(text) - _WIDEST))
        tail = _ELLIPSIS if cut + _WIDEST < len(text) else ""
        head = _ELLIPSIS if cut else ""
        text = head + text[cut : cut + _WIDEST] + tail
        start, end = start - cut + len(head), end - cut + len(head)
    text = clean(text)
    indent = cells(text[:start])
    length = cells(text[: min(end, len(text))]) - indent
    return expand(text), indent, max(1, length)
