"""Mistakes within a token: numbers, quotes, characters from elsewhere."""

from __future__ import annotations

import re
import unicodedata

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.mistakes.failure import Failure
from interp_dsl.language.source import Span

_NUMBER = re.compile(r"[0-9]+(?:_[0-9]+)*(?:\.[0-9]+(?:_[0-9]+)*)?(?:[eE][+-]?[0-9]+)?[kMBx%]?")
_QUOTED = re.compile(r"'([^'\r\n]{0,60})'?")
_BARE = re.compile(r"""[^\s"'(),=\[\]{}#]+""")
_BARE_END = re.compile(rf"{_BARE.pattern}$")
_PLAINLY = {
    "“": '"',
    "”": '"',
    "„": '"',
    "«": '"',
    "»": '"',
    "‘": '"',
    "’": '"',
    "`": '"',
    "−": "-",
    "–": "-",
    "→": "->",
    "…": "..",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "×": "*",
    "·": "*",
    "!": "not",
    "\N{NO-BREAK SPACE}": "a plain space",
}


def unquoted(failure: Failure) -> Diagnostic | None:
    """`bundled(induction-2l)`: a name with signs in it, run together with a number that is none."""
    token, sign, word = failure.token, failure.before(), failure.before(2)
    if not (token and sign and word) or token.kind != "number" or not failure.open:
        return None
    touching = word.end == sign.start and sign.end == token.start
    if word.kind != "word" or sign.text not in ("-", ".", "/") or not touching:
        return None
    start = failure.open[-1].end
    before = _BARE_END.search(failure.source.text, start, token.start)
    after = _BARE.match(failure.source.text, token.start)
    assert before is not None and after is not None, "a word stands before, a digit after"
    span = Span(failure.source, before.start(), after.end())
    return Diagnostic(
        "E110",
        "a string is written in double quotes",
        span,
        "a name with other signs than letters, digits and `_` is a string",
        help=f'write `"{span.text}"`',
    )


def number(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if token is None or token.kind != "number" or _NUMBER.fullmatch(token.text):
        return None
    return Diagnostic(
        "E109",
        f"`{token.text}` is not a number",
        failure.span(token),
        "a number takes one suffix of `k`, `M`, `B`, `%`, `x`, and nothing after it",
        help="for a product put `*` between; for a name begin with a letter",
    )


def quotes(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if token is None or token.text != "'":
        return None
    quoted = _QUOTED.match(failure.source.text, token.start)
    assert quoted is not None, "it begins with the quote that was found"
    return Diagnostic(
        "E110",
        "a string is written in double quotes",
        Span(failure.source, token.start, quoted.end()),
        help=f'write `"{quoted[1]}"`',
    )


def character(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if token is None or token.kind not in ("odd", "word"):
        return None
    start = token.start
    if token.kind == "word":
        start = next((i for i, c in enumerate(token.text, start) if not c.isascii()), -1)
    if start < 0:
        return None
    character = failure.source.text[start]
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "").lower() or f"character {code}"
    plain = _PLAINLY.get(character)
    shown = f"`{character}` ({name})" if character.isprintable() else f"the {name}"
    return Diagnostic(
        "E111",
        f"{shown} means nothing here",
        Span(failure.source, start, start + 1),
        "names are made of the letters a to z, digits and `_`" if character.isalpha() else "",
        help=f"did you mean `{plain}`?" if plain else None,
    )
