"""Every kind of statement, and many as the literature would write them."""

from __future__ import annotations

import pytest

from interp_dsl.language import tree
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source

from .examples import SAMPLES
from .trees import (
    SPAN,
    binary,
    call,
    clause,
    dotted,
    group,
    listed,
    name,
    number,
    phrase,
    read,
    string,
)


def declared(keyword: str, word: str, value: tree.Expr) -> tree.Declaration:
    return tree.Declaration(keyword=keyword, name=name(word), value=value, span=SPAN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('import "common.interp"', tree.Import(path=string("common.interp"), span=SPAN)),
        (
            'import "common.interp" as c',
            tree.Import(path=string("common.interp"), alias=name("c"), span=SPAN),
        ),
        ("param size = 4096", declared("param", "size", number(4096))),
        (
            "param k in [16, 32]",
            tree.Sweep(name=name("k"), values=listed(number(16), number(32)), span=SPAN),
        ),
        ('model m = bundled("i")', declared("model", "m", call("bundled", string("i")))),
        ("metric gap = a() - b()", declared("metric", "gap", binary(call("a"), "-", call("b")))),
        ("units u = heads", declared("units", "u", name("heads"))),
        ("show who as heatmap", tree.Show(value=name("who"), form=name("heatmap"), span=SPAN)),
        ("show a.b as table", tree.Show(value=dotted("a.b"), form=name("table"), span=SPAN)),
        ("expect a > 0", tree.Expect(test=binary(name("a"), ">", number(0)), span=SPAN)),
        (
            "step s = patch {L0H1} from a into b measure c, d()",
            declared(
                "step",
                "s",
                phrase(
                    group(name("L0H1")),
                    clause("from", name("a")),
                    clause("into", name("b")),
                    clause("measure", name("c"), call("d")),
                    verb="patch",
                ),
            ),
        ),
        (
            "step s = patch (heads layers 3) | mlps from (a under b)",
            declared(
                "step",
                "s",
                phrase(
                    binary(phrase(name("heads"), clause("layers", number(3))), "|", name("mlps")),
                    clause("from", phrase(name("a"), clause("under", name("b")))),
                    verb="patch",
                ),
            ),
        ),
        (
            "step s = evaluate a, b on c",
            declared(
                "step",
                "s",
                phrase(name("a"), name("b"), clause("on", name("c")), verb="evaluate"),
            ),
        ),
        ("step s = evaluate", declared("step", "s", phrase(verb="evaluate"))),
        (
            "step s = evaluate on c",
            declared("step", "s", phrase(clause("on", name("c")), verb="evaluate")),
        ),
        (
            "step s = fit batch_topk(k=32) on L8.resid_pre of wiki until tokens=50M",
            declared(
                "step",
                "s",
                phrase(
                    call("batch_topk", k=number(32)),
                    clause("on", dotted("L8.resid_pre")),
                    clause("of", name("wiki")),
                    clause("until", tokens=number(50_000_000)),
                    verb="fit",
                ),
            ),
        ),
    ],
)
def test_statements(text: str, expected: tree.Statement) -> None:
    assert read(text) == expected


def test_a_datasets_body() -> None:
    statement = read(
        'dataset d = template(n=1) { clean "{A}", "{B}"\n corrupt "{C}" answer " {A}" from 3\n'
        "where A, B in lists.names where C in repeating(lists.names) where A > B\n"
        "where A in x and B in y where C not in {A} }"
    )
    assert isinstance(statement, tree.Declaration)
    assert statement.value == call("template", n=number(1))
    assert statement.body is not None

    def field(word: str, *values: tree.Expr) -> tree.Field:
        return tree.Field(name=word, values=values, name_span=SPAN, span=SPAN)

    def binding(words: str, choices: tree.Expr) -> tree.Binding:
        return tree.Binding(names=tuple(map(name, words)), choices=choices, span=SPAN)

    def condition(test: tree.Expr) -> tree.Condition:
        return tree.Condition(test=test, span=SPAN)

    names = dotted("lists.names")
    assert statement.body.entries == (
        field("clean", string("{A}"), string("{B}")),
        field("corrupt", string("{C}")),
        field("answer", string(" {A}")),
        field("from", number(3)),
        binding("AB", names),
        binding("C", call("repeating", names)),
        condition(binary(name("A"), ">", name("B"))),
        condition(
            binary(binary(name("A"), "in", name("x")), "and", binary(name("B"), "in", name("y")))
        ),
        condition(binary(name("C"), "not in", group(name("A")))),
    )


def test_an_empty_body_is_a_body() -> None:
    statement = read("dataset d = prompts() {}")
    assert isinstance(statement, tree.Declaration)
    assert statement.body == tree.Body(entries=(), span=SPAN)


@pytest.mark.parametrize(
    ("sample", "count"), [("induction", 12), ("ioi", 11), ("literature", 35), ("layout", 14)]
)
def test_samples(sample: str, count: int) -> None:
    program, problems = parse(Source(SAMPLES[sample]))
    assert problems == []
    assert len(program.statements) == count


def test_a_statement_does_not_depend_on_its_neighbours() -> None:
    for statement in parse(Source(SAMPLES["literature"]))[0].statements:
        assert read(statement.span.text) == statement


def test_spans_are_the_files() -> None:
    source = Source("# head\nmodel m = f()\n\nstep who = patch {L0H1} from x.clean into y\n")
    step = parse(source)[0].statements[1]
    assert isinstance(step, tree.Declaration)
    assert isinstance(step.value, tree.Phrase)
    (places,) = step.value.objects
    assert (places.span.text, places.span.line, places.span.column) == ("{L0H1}", 4, 18)
    origin = step.value.clauses[0]
    assert (origin.span.text, origin.word_span.text) == ("from x.clean", "from")
    assert step.value.span.text == "patch {L0H1} from x.clean into y"
    assert step.name.span.text == "who"


def test_spans_of_bracketed_terms_join_with_their_brackets() -> None:
    step = read("let u = (a at b) | c")
    assert isinstance(step, tree.Declaration)
    assert step.value.span.text == "(a at b) | c"


def test_comments_are_kept_with_their_place() -> None:
    program, _ = parse(Source('# one\nlet a = "# no"  # two \n  # three\n'))
    found = [(comment.text, comment.own_line, comment.span.line) for comment in program.comments]
    assert found == [("# one", True, 1), ("# two", False, 2), ("# three", True, 3)]
