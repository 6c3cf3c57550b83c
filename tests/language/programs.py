"""Random programs: text that follows the grammar, with comments and spacing of every kind."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from interp_dsl.language.parse import parse
from interp_dsl.language.scan import Token, tokens
from interp_dsl.language.source import Source

_NAMES = ["a", "who", "L9H6", "heads", "ioi", "resid_pre", "END", "x1", "steps"]
_WORDS = [*_NAMES, "from", "into", "at", "layers", "to", "keep"]
_CLAUSES = ["from", "into", "with", "on", "of", "along", "by", "under", "measure", "until", "to"]
_NUMBERS = ["0", "12", "1_000", "0.5", "1e-3", "50M", "5%", "3x", "2.5k"]
_STRINGS = ['""', '"a # b"', r'"\" \n"', '" {A}"', '"""x\n  step a = b\n"y" """']
_OPERATORS = ["or", "and", "|", "&", "->", "+", "-", "*", "/", "==", "!=", "<", "<=", "in"]

_names = st.sampled_from(_NAMES)
_words = st.sampled_from(_WORDS)


def _join(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    strategies = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*strategies).map("".join)


def _several(item: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[str]:
    return st.lists(item, min_size=least, max_size=3).map(", ".join)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    bracketed = _join("(", inner, ")")
    clause = _join(" ", st.sampled_from([*_CLAUSES, "at", "where", "as"]), " ", bracketed)
    label = _join(" at ", st.sampled_from(["to", "END", "from.last", "S2 -> to", "to -> END"]))
    option = _join(" using ", _words, "=", bracketed)
    item = inner | _join(bracketed, clause | label | option)
    argument = item | _join(_words, " = ", item)
    return st.one_of(
        bracketed,
        _join(bracketed, " ", st.sampled_from(_OPERATORS), " ", bracketed),
        _join(bracketed, " not in ", bracketed),
        _join(bracketed, " within ", bracketed, " of ", bracketed),
        _join("(", bracketed, "..", bracketed, " every ", bracketed, ")"),
        _join("not ", bracketed),
        _join("-", bracketed),
        _join(_names, "(", _several(argument), ")"),
        _join(bracketed, "[", _several(argument, 1), "]"),
        _join(bracketed, ".", _words),
        _join(bracketed, ".", st.sampled_from(_STRINGS)),
        _join("[", _several(item), "]"),
        _join("{", _several(item, 1), ",}"),
        _join("(", item, ")"),
    )


_leaves = st.one_of(_names, st.sampled_from(_NUMBERS), st.sampled_from(_STRINGS))
expressions = st.recursive(_leaves, _grow, max_leaves=8)
_value = _join("(", expressions, ")") | expressions.filter(lambda text: text.isidentifier())
_clause = _join(" ", st.sampled_from([*_CLAUSES, "at", "where"]), " ", _several(_value, 1))
_clauses = st.lists(_clause, max_size=4).map("".join)
_field = _join(st.sampled_from(["clean", "corrupt", "answer", "from"]), " ", _several(_value, 1))
_where = _join("where ", st.sampled_from(["A in ", "A, B in ", "A > "]), _value)
_body = st.lists(_field | _where, max_size=4).map(lambda entries: f" {{ {' '.join(entries)} }}")
_keywords = st.sampled_from(["param", "model", "metric", "units", "let", "dataset"])
_statement = st.one_of(
    _join(_keywords, " ", _names, " = ", _value, _clauses),
    _join("dataset ", _names, " = ", _value, _body),
    _join("step ", _names, " = ", _names, " ", _several(_value), _clauses),
    _join("param ", _names, " in ", _value),
    _join("show ", _value, " as ", _names),
    _join("expect ", _value),
    st.sampled_from(['import "a.interp"', 'import "a.interp" as lib']),
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A file that parses, with its tokens spread out at random."""
    statements = draw(st.lists(_statement, max_size=5))
    return respaced("\n".join(statements), draw(st.randoms(use_true_random=False)))


def respaced(text: str, random: Random, comments: bool = True) -> str:
    """A valid program with other spacing, and in place of its comments others or none."""
    lines = [""]
    for statement in parse(Source(text))[0].statements:
        span = statement.span
        found = [t for t in tokens(text, span.start, span.end) if t.kind != "comment"]
        lines.append(_spread(found, random, comments))
    gap = random.choice(["", "", "\n\n", "# own\n", "\n# own\n\n", "  \t\n"]) if comments else ""
    return f"\n{gap}".join([*lines, ""])


def _spread(found: list[Token], random: Random, comments: bool) -> str:
    """Tokens apart by blanks, newlines or comments; the head of a statement keeps its line."""
    gaps = [" ", " ", "  ", "\n ", "\r\n\t", *([" # why\n  ", "\n # own\n"] if comments else [])]
    head = 3 if len(found) > 2 and found[2].text in ("=", "in") else 2
    text = found[0].text
    for i, token in enumerate(found[1:], 1):
        text += random.choice([" ", "  ", "\t"] if i < head else gaps) + token.text
    return text + (random.choice(["", "", "  # behind"]) if comments else "")
