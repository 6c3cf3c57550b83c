"""What a person meant who wrote what does not parse: from a failed statement to one diagnostic.

Each rule looks for one classic mistake and is silent otherwise; the first that speaks is heard."""

from __future__ import annotations

import lark

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.mistakes import characters, head, values
from interp_dsl.language.mistakes.failure import Failure
from interp_dsl.language.scan import Slice
from interp_dsl.language.source import Source

_RULES = (
    head.opening,
    head.equals,
    values.field,
    characters.unquoted,
    characters.number,
    characters.quotes,
    characters.character,
    head.name,
    head.path,
    head.verb,
    head.form,
    values.brackets,
    values.comparison,
    values.missing_value,
    values.misspelt,
    values.missing_comma,
    values.other,
)


def explain(source: Source, piece: Slice, error: lark.UnexpectedInput) -> Diagnostic:
    """The diagnostic of a statement that lark refused."""
    failure = Failure.read(source, piece, error)
    return next(found for rule in _RULES if (found := rule(failure)) is not None)
