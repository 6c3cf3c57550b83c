"""The words of the language: one table for messages, the formatter and the highlighters."""

from __future__ import annotations

#: Words that open a statement.
STATEMENTS = (
    "import",
    "param",
    "model",
    "dataset",
    "metric",
    "units",
    "let",
    "step",
    "show",
    "expect",
)

#: Statements of the form `word name = value`.
DECLARATIONS = ("param", "model", "dataset", "metric", "units", "let", "step")

#: Words that open a clause of a phrase.
CLAUSES = (
    "from",
    "into",
    "to",
    "with",
    "on",
    "of",
    "at",
    "along",
    "by",
    "under",
    "measure",
    "until",
    "using",
    "as",
    "where",
    "layers",
    "keep",
)

#: Words that stand between values.
OPERATORS = ("or", "and", "not", "in", "within", "every")

#: No declared name may be one of these.
RESERVED = frozenset((*STATEMENTS, *CLAUSES, *OPERATORS))
