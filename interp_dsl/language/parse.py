"""From text to tree: every statement on its own, so that one broken never hides another."""

from __future__ import annotations

import lark

from interp_dsl.language.build import MAX_DEPTH, Refused, build
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.grammar import parser
from interp_dsl.language.mistakes import explain, refusals
from interp_dsl.language.scan import Slice, code, cut, deepest, openings
from interp_dsl.language.source import Source, Span
from interp_dsl.language.tree import Program, Statement


def parse(source: Source) -> tuple[Program, list[Diagnostic]]:
    """The statements of a file that parse, and what is wrong with each of the others."""
    pieces = cut(source)
    statements: list[Statement] = []
    problems: list[Diagnostic] = []
    before, *slices = pieces.slices
    if any(code(source.text, before)):
        slices.insert(0, before)
    for piece in slices:
        _read(source, piece, statements, problems)
    return Program(source, tuple(statements), pieces.comments), problems


def _read(
    source: Source, piece: Slice, statements: list[Statement], problems: list[Diagnostic]
) -> None:
    """Parse a slice; where that fails, look for statements whose opening line is itself broken."""
    result = _statement(source, piece)
    if isinstance(result, Statement):
        statements.append(result)
        return
    parts = openings(source.text, piece)
    if len(parts) == 1:
        problems.extend(result)
        return
    for part in parts:
        _read(source, part, statements, problems)


def _statement(source: Source, piece: Slice) -> Statement | list[Diagnostic]:
    if piece.unclosed:
        return [refusals.unclosed_string(span) for span in piece.unclosed]
    deep = deepest(source.text, piece, MAX_DEPTH)
    if deep is not None:
        return [refusals.too_deep(Span(source, deep, deep + 1), MAX_DEPTH)]
    try:
        parsed = parser().parse(source.text[piece.start : piece.end])
        return build(source, piece.start, parsed)
    except Refused as refused:
        return refused.diagnostics
    except lark.UnexpectedInput as error:
        return [explain(source, piece, error)]
