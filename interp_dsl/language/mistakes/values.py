"""Mistakes between tokens: brackets, values, and what joins them."""

from __future__ import annotations

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.keywords import CLAUSES, OPERATORS, STATEMENTS
from interp_dsl.language.mistakes.failure import Failure, starts_value
from interp_dsl.language.mistakes.refusals import wrong_equals
from interp_dsl.language.scan import CLOSE, OPEN, Token
from interp_dsl.language.suggest import suggest

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in", "not", "within")
_HINTS = {
    "every": "`every` belongs to a range: `0..100 every 4`",
    "->": "an arrow stands between two places: `L9H6 -> logits`",
}


def brackets(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if token is not None and token.text in CLOSE:
        opening = failure.open[-1] if failure.open else None
        if opening is None:
            message = f"`{token.text}` closes nothing"
            return Diagnostic("E103", message, failure.span(token), "no bracket is open here")
        if OPEN[opening.text] != token.text:
            line, column = failure.source.line_column(opening.start)
            return Diagnostic(
                "E103",
                f"`{token.text}` does not close `{opening.text}`",
                failure.span(token),
                f"`{OPEN[opening.text]}` is expected here",
                notes=(f"`{opening.text}` was opened at {line}:{column}",),
            )
    unclosed = failure.never_closed
    if unclosed is None:
        return None
    return Diagnostic(
        "E102",
        f"this `{unclosed.text}` is never closed",
        failure.span(unclosed),
        "opened here",
        help=f"close it with `{OPEN[unclosed.text]}`",
    )


def field(failure: Failure) -> Diagnostic | None:
    token, name = failure.token, failure.before()
    if not token or not name or token.text not in ("=", ":") or not failure.in_body:
        return None
    opening = failure.before(2)
    if opening is not None and opening.text == "where":
        values = f'`where {name.text} in ["…", "…"]`'
        tested = f", or to compare `where {name.text} == …`" if token.text == "=" else ""
        message, help_ = f"no `{token.text}` stands here", f"write {values}{tested}"
    else:
        message = f"a field is written without `{token.text}`"
        help_ = f'write `{name.text} "…"`'
    return Diagnostic("E122", message, failure.span(token), help=help_)


def comparison(failure: Failure) -> Diagnostic | None:
    token, last = failure.token, failure.before()
    if token is None or last is None or not last.is_value_end:
        return None
    if token.text == "=" and "COMPARE" in failure.accepts:
        return wrong_equals(failure, token, "values are compared with `==`", "==")
    if token.text not in _COMPARISONS or "COMPARE" in failure.accepts:
        return None
    if "OR" not in failure.accepts:
        return None
    return Diagnostic(
        "E123",
        "comparisons do not chain",
        failure.span(token),
        help="join two comparisons with `and`: `0 < x and x < 1`",
    )


def missing_value(failure: Failure) -> Diagnostic | None:
    last, earlier = failure.before(), failure.before(2)
    if last is None:
        return None
    if failure.token is not None and starts_value(failure.token):
        # Where a name may stand, a clause word reads as one; what follows shows none was meant.
        if last.text not in CLAUSES or earlier is None or not _wants_value(earlier):
            return None
        last = earlier
    elif not _wants_value(last):
        return None
    if failure.keyword == "step" and failure.index == 3:
        wanted = "a verb"
    else:
        wanted = "a name" if last.text == "." else "a value"
    return Diagnostic(
        "E114",
        f"`{last.text}` has nothing after it",
        failure.span(last),
        f"{wanted} is expected after it",
    )


def _wants_value(token: Token) -> bool:
    return not token.is_value_end or token.text in (*CLAUSES, *STATEMENTS)


def misspelt(failure: Failure) -> Diagnostic | None:
    token, last, earlier = failure.token, failure.before(), failure.before(2)
    if token is None or last is None or not last.is_value_end:
        return None
    known = (*CLAUSES, *OPERATORS) if "CLAUSE" in failure.accepts else OPERATORS
    near = suggest(token.text, known) if token.kind == "word" and len(token.text) > 1 else None
    if near is None and starts_value(token) and earlier is not None and earlier.kind == "word":
        token, near = last, suggest(last.text, CLAUSES, 0.7) if last.kind == "word" else None
    if near is None or near == token.text:
        return None
    kind = "a clause" if near in CLAUSES else "an operator"
    return Diagnostic(
        "E108",
        f"`{token.text}` opens no clause" if near in CLAUSES else f"`{token.text}` joins nothing",
        failure.span(token),
        f"{kind} is expected here",
        help=f"did you mean `{near}`?",
    )


def missing_comma(failure: Failure) -> Diagnostic | None:
    token, last = failure.token, failure.before()
    if token is None or last is None or not last.is_value_end or not starts_value(token):
        return None
    return Diagnostic(
        "E124",
        f"nothing joins `{_short(last)}` and `{_short(token)}`",
        failure.span(token),
        f"{failure.expected} is expected before it",
        help="put a comma between two things" if "_COMMA" in failure.accepts else None,
    )


def _short(token: Token) -> str:
    return token.text if len(token.text) <= 20 else f"{token.text[:19]}…"


def other(failure: Failure) -> Diagnostic:
    token = failure.token
    label = f"{failure.expected} is expected" if failure.expected else ""
    if token is None:
        message = "this statement is not finished"
        return Diagnostic("E100", message, failure.after(failure.tokens[-1]), label)
    hint = _HINTS.get(token.text)
    if token.text in CLAUSES and failure.keyword in ("show", "expect"):
        hint = f"`{failure.keyword}` takes no clauses; put the phrase in brackets"
    message = f"`{_short(token)}` is not expected here"
    return Diagnostic("E100", message, failure.span(token), label, help=hint)
