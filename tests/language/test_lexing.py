"""Tokens that overlap: which of two readings a stretch of text gets."""

from __future__ import annotations

import pytest

from interp_dsl.language import tree
from interp_dsl.language.grammar import parser
from interp_dsl.language.keywords import CLAUSES, DECLARATIONS, OPERATORS, RESERVED, STATEMENTS
from interp_dsl.language.scan import tokens

from .trees import binary, call, codes, dotted, name, number, read, span_of, string, unary, value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", number(0)),
        ("1_000", number(1000)),
        ("4096", number(4096)),
        ("1.0", number(1.0)),
        ("0.05", number(0.05)),
        ("1e3", number(1000)),
        ("1e-3", number(0.001)),
        ("2.5E2", number(250)),
        ("50M", number(50_000_000)),
        ("1.5k", number(1500)),
        ("2.3M", number(2_300_000)),
        ("0.1B", number(100_000_000)),
        ("1.5e-3k", number(1.5)),
        ("10%", number(10, "%")),
        ("0.5%", number(0.5, "%")),
        ("5x", number(5, "x")),
    ],
)
def test_numbers(text: str, expected: tree.Number) -> None:
    found = value(text)
    assert found == expected
    assert isinstance(found, tree.Number)
    assert type(found.value) is type(expected.value)


@pytest.mark.parametrize(
    "text", ["3x3", "3k5", "1.5x3", "3xx", "1e", "1e5q", "5%x", "1__0", "0x1F"]
)
def test_a_number_ends_with_its_suffix(text: str) -> None:
    assert codes(f"let x = {text}") == ["E109"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0..1", span_of(number(0), number(1))),
        ("0.5..1.5", span_of(number(0.5), number(1.5))),
        ("0..100 every 4", span_of(number(0), number(100), number(4))),
        ("-1..1", span_of(unary("-", number(1)), number(1))),
        ("a.b..c", span_of(dotted("a.b"), name("c"))),
        ("1k..2k", span_of(number(1000), number(2000))),
        ("a->b", binary(name("a"), "->", name("b"))),
        ("a - b", binary(name("a"), "-", name("b"))),
        ("-1", unary("-", number(1))),
        ("a<-1", binary(name("a"), "<", unary("-", number(1)))),
        ("a<=b", binary(name("a"), "<=", name("b"))),
        ("f(a=-1)", call("f", a=unary("-", number(1)))),
        ("fromage", name("fromage")),
        ("steps", name("steps")),
        ("or_else", name("or_else")),
        ("input", name("input")),
        ("notes", name("notes")),
        ("a.from", dotted("a.from")),
        ("a.in.not", dotted("a.in.not")),
        ("f(from=1, step=2)", call("f", **{"from": number(1), "step": number(2)})),
    ],
)
def test_overlapping_tokens(text: str, expected: tree.Expr) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('""', ""),
        ('"a # b"', "a # b"),
        (r'"\"a\" \\ \n\t\x41\u00e9\U0001f600"', '"a" \\ \n\tAé😀'),
        ('""""""', ""),
        ('"""a\n"b" ""c"""', 'a\n"b" ""c'),
        (r'"""ends with \""""', 'ends with "'),
        ('"step a = b"', "step a = b"),
    ],
)
def test_strings(text: str, expected: str) -> None:
    assert value(text) == string(expected)


def test_a_string_over_lines_opens_no_statement() -> None:
    assert value('"""\nstep a = patch x\nexpect y\n"""') == string("\nstep a = patch x\nexpect y\n")


def test_comments_stand_anywhere() -> None:
    text = "step a = # one\n  patch x # two\n  # three\n  into y"
    assert read(text) == read("step a = patch x into y")


def test_keywords_agree_with_the_grammar() -> None:
    words = {
        terminal.name: set(terminal.pattern.value.removesuffix(r"\b").strip("()").split("|"))
        for terminal in parser().terminals
        if terminal.pattern.value.endswith(r"\b")
    }
    clauses = {"CLAUSE", "AS", "AT", "OF", "WHERE"}
    operators = {"OR", "AND", "NOT", "IN", "WITHIN", "EVERY"}
    statements = words.keys() - clauses - operators
    assert set().union(*(words[key] for key in clauses)) == set(CLAUSES)
    assert set().union(*(words[key] for key in operators)) == set(OPERATORS)
    assert set().union(*(words[key] for key in statements)) == set(STATEMENTS)
    assert set(DECLARATIONS) == set(STATEMENTS) - {"import", "show", "expect"}
    assert frozenset((*STATEMENTS, *CLAUSES, *OPERATORS)) == RESERVED


def test_the_loose_tokens_are_the_parsers() -> None:
    text = (
        "step a = patch {L0H1, m.L2.mlp[512]} | heads from -x.clean -> y into mean(z, per=position)"
        ' at 0..10 every 2 by 1.5k..2.5e-3%  # words\n measure f(a="b # c"), """d\n"e"""" < 3x'
    ).replace('"""" <', '""" <')
    lexed = [(str(token), token.start_pos) for token in parser().lex(text)]
    loose = [(token.text, token.start) for token in tokens(text) if token.kind != "comment"]
    assert loose == lexed
