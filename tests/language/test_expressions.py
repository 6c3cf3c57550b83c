"""What binds tighter than what."""

from __future__ import annotations

import pytest

from interp_dsl.language import tree

from .trees import (
    SPAN,
    attribute,
    binary,
    call,
    clause,
    dotted,
    group,
    hook,
    index,
    listed,
    name,
    number,
    phrase,
    span_of,
    unary,
    value,
)

A, B, C, D = (name(word) for word in "abcd")


def within(item: tree.Expr, tolerance: tree.Expr, target: tree.Expr) -> tree.Within:
    return tree.Within(value=item, tolerance=tolerance, target=target, span=SPAN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a or b and c", binary(A, "or", binary(B, "and", C))),
        ("a and b or c", binary(binary(A, "and", B), "or", C)),
        ("a or b or c", binary(binary(A, "or", B), "or", C)),
        ("not a and b", binary(unary("not", A), "and", B)),
        ("not not a", unary("not", unary("not", A))),
        ("not a == b", unary("not", binary(A, "==", B))),
        ("a < b and c >= d", binary(binary(A, "<", B), "and", binary(C, ">=", D))),
        ("a in b | c", binary(A, "in", binary(B, "|", C))),
        ("a not in {b}", binary(A, "not in", group(B))),
        ("not a in b", unary("not", binary(A, "in", B))),
        ("a within 5% of b", within(A, number(5, "%"), B)),
        ("a within b + c of d - a", within(A, binary(B, "+", C), binary(D, "-", A))),
        ("a | b & c", binary(binary(A, "|", B), "&", C)),
        ("a | b -> c", binary(A, "|", binary(B, "->", C))),
        ("a -> b -> c", binary(binary(A, "->", B), "->", C)),
        ("a - b -> c", binary(binary(A, "-", B), "->", C)),
        ("a -> b - c", binary(A, "->", binary(B, "-", C))),
        ("a..b -> c", binary(span_of(A, B), "->", C)),
        ("a + 1..b * 2", span_of(binary(A, "+", number(1)), binary(B, "*", number(2)))),
        ("0..a every b + c", span_of(number(0), A, binary(B, "+", C))),
        ("a - b - c", binary(binary(A, "-", B), "-", C)),
        ("a + b * c", binary(A, "+", binary(B, "*", C))),
        ("a / b / c", binary(binary(A, "/", B), "/", C)),
        ('a."b.c"', hook(A, "b.c")),
        ('a."b" | -a.b."c"', binary(hook(A, "b"), "|", unary("-", hook(dotted("a.b"), "c")))),
        ("-a * b", binary(unary("-", A), "*", B)),
        ("a * -b", binary(A, "*", unary("-", B))),
        ("--a", unary("-", unary("-", A))),
        ("-a.b", unary("-", dotted("a.b"))),
        ("-a[0]", unary("-", index(A, number(0)))),
        ("(a | b) & c", binary(binary(A, "|", B), "&", C)),
        ("a | (b & c)", binary(A, "|", binary(B, "&", C))),
        ("f(a)[b].c.d[0]", index(attribute(index(call("f", A), B), "c", "d"), number(0))),
        ("chat.features(sae)", call("chat.features", name("sae"))),
        ("[a, [b], {}, ]", listed(A, listed(B), group())),
        ("top(a, 10, by=b.c)", call("top", A, number(10), by=dotted("b.c"))),
        (
            "f(b=a, c)",
            tree.Call(
                function="f",
                arguments=(
                    tree.Argument(name="b", value=A, span=SPAN),
                    tree.Argument(name=None, value=C, span=SPAN),
                ),
                name_span=SPAN,
                span=SPAN,
            ),
        ),
        ("a.b == 1", binary(dotted("a.b"), "==", number(1))),
    ],
)
def test_precedence(text: str, expected: tree.Expr) -> None:
    assert value(text) == expected


def test_minus_is_not_lost() -> None:
    assert value("-1") != value("1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "heads layers 7..11 at END, S2",
            phrase(
                name("heads"),
                clause("layers", span_of(number(7), number(11))),
                clause("at", name("END"), name("S2")),
            ),
        ),
        (
            "ioi where base.accuracy.value == 1",
            phrase(
                name("ioi"),
                clause("where", binary(dotted("base.accuracy.value"), "==", number(1))),
            ),
        ),
        (
            "mean(L14.resid_pre of harm at last) - mean(x)",
            binary(
                call(
                    "mean",
                    phrase(
                        dotted("L14.resid_pre"),
                        clause("of", name("harm")),
                        clause("at", name("last")),
                    ),
                ),
                "-",
                call("mean", name("x")),
            ),
        ),
        (
            "(heads layers 0..3) | mlps",
            binary(
                phrase(name("heads"), clause("layers", span_of(number(0), number(3)))),
                "|",
                name("mlps"),
            ),
        ),
        (
            "{a at b, c}",
            group(phrase(A, clause("at", B)), C),
        ),
        (
            "[a at b, c at d]",
            listed(phrase(A, clause("at", B)), phrase(C, clause("at", D))),
        ),
        (
            "who[a at b, k=64].gap.effect",
            attribute(
                index(name("who"), phrase(A, clause("at", B)), k=number(64)), "gap", "effect"
            ),
        ),
        (
            "growing(units by a.b)",
            call("growing", phrase(name("units"), clause("by", dotted("a.b")))),
        ),
        ("a at S2 -> END", phrase(A, clause("at", binary(name("S2"), "->", name("END"))))),
        ("a at each -> each", phrase(A, clause("at", binary(name("each"), "->", name("each"))))),
        ("a at all - first", phrase(A, clause("at", binary(name("all"), "-", name("first"))))),
        ("a at together(b, c)", phrase(A, clause("at", call("together", B, C)))),
        ("a at to", phrase(A, clause("at", name("to")))),
        ("a at to, from.last", phrase(A, clause("at", name("to"), dotted("from.last")))),
        ("a at b -> to", phrase(A, clause("at", binary(B, "->", name("to"))))),
        ("a at to -> b", phrase(A, clause("at", binary(name("to"), "->", B)))),
        ("f(a at with)", call("f", phrase(A, clause("at", name("with"))))),
        ("a at step", phrase(A, clause("at", name("step")))),
        (
            "a -> b using through=mlps",
            phrase(binary(A, "->", B), clause("using", through=name("mlps"))),
        ),
        (
            "a until b, tokens=50M, by=c",
            phrase(A, clause("until", B, tokens=number(50_000_000), by=C)),
        ),
        ("(a using from=b) | c", binary(phrase(A, clause("using", **{"from": B})), "|", C)),
        ("f(by=a of b)", call("f", by=phrase(A, clause("of", B)))),
    ],
)
def test_phrases(text: str, expected: tree.Expr) -> None:
    assert value(text) == expected


def test_brackets_alone_make_no_phrase() -> None:
    assert value("((a))") == A
