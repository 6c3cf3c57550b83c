"""Mistakes at the head of a statement: its keyword, its name, its `=`, its verb, its form."""

from __future__ import annotations

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.keywords import DECLARATIONS, STATEMENTS
from interp_dsl.language.mistakes.failure import Failure, alternatives
from interp_dsl.language.mistakes.refusals import missing_verb, wrong_equals
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest


def opening(failure: Failure) -> Diagnostic | None:
    word, *rest = failure.tokens
    if word.text in STATEMENTS:
        return None
    following = [token.text for token in rest[:2]]
    if word.kind == "word" and following[:1] == ["="]:
        return Diagnostic(
            "E104",
            f"`{word.text} = …` does not say what is declared",
            failure.span(word),
            "a statement opens with its keyword",
            help=f"write `let {word.text} = …`, or `metric`, `units`, `step` in place of `let`",
        )
    near = suggest(word.text, STATEMENTS)
    if word.kind == "word" and (near or following[1:] == ["="]):
        return Diagnostic(
            "E104",
            f"no statement opens with `{word.text}`",
            failure.span(word),
            help=f"did you mean `{near}`?" if near else f"statements open with {_statements()}",
        )
    line = failure.source.line_column(word.start)[0]
    last = max(t.end for t in failure.tokens if failure.source.line_column(t.start)[0] == line)
    return Diagnostic(
        "E105",
        "this text belongs to no statement",
        Span(failure.source, word.start, last),
        help=f"statements open with {_statements()}; a comment opens with `#`",
    )


def _statements() -> str:
    return alternatives([f"`{word}`" for word in STATEMENTS])


def name(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if failure.keyword not in DECLARATIONS or failure.index != 1 or token is None:
        return None
    return Diagnostic(
        "E121",
        f"this `{failure.keyword}` has no name",
        failure.span(token),
        "a name is expected here",
        help=f"write `{failure.keyword} NAME = …`",
    )


def equals(failure: Failure) -> Diagnostic | None:
    token, name = failure.token, failure.before()
    if failure.keyword not in DECLARATIONS or failure.index != 2 or name is None:
        return None
    if token is not None and token.text in ("==", ":"):
        return wrong_equals(failure, token, "a declaration is written with one `=`", "=")
    if token is not None and token.kind == "odd":
        return None
    either = "`=` or `in`" if failure.keyword == "param" else "`=`"
    return Diagnostic(
        "E106",
        f"{either} is missing after `{name.text}`",
        failure.after(name),
        f"{either} is expected here",
        help=f"write `{failure.keyword} {name.text} = …`",
    )


def path(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if failure.keyword != "import" or failure.index != 1 or not token or token.kind != "word":
        return None
    line = failure.source.text[token.start :].split(maxsplit=1)[0]
    return Diagnostic(
        "E110",
        "a path is written in double quotes",
        Span(failure.source, token.start, token.start + len(line)),
        help=f'write `import "{line}"`',
    )


def verb(failure: Failure) -> Diagnostic | None:
    token = failure.token
    if failure.keyword != "step" or failure.index != 3 or token is None:
        return None
    return missing_verb(failure.tokens[1].text, failure.span(token))


def form(failure: Failure) -> Diagnostic | None:
    last = failure.before()
    if failure.keyword != "show" or failure.index < 2 or failure.open or last is None:
        return None
    if not last.is_value_end or any(t.text == "as" for t in failure.tokens[: failure.index]):
        return None
    if failure.token is not None and failure.token.kind != "word":
        return None
    return Diagnostic(
        "E120",
        "this `show` does not say as what",
        failure.after(last),
        "`as` is expected here",
        help="write `show NAME as FORM`, as in `show who as heatmap`",
    )
