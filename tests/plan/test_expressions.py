"""Expressions: arithmetic, sets, three-valued logic, lookup in tables."""

from __future__ import annotations

import pytest

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    ColumnOf,
    Explicit,
    Expression,
    Literal,
    Operation,
    ScoreOf,
    SetOfUnits,
    Top,
)
from interp_dsl.plan.expressions import Found, Tables, Value, evaluate, scores_of, written
from interp_dsl.plan.names import unit_of
from interp_dsl.plan.units import expand


def row(unit: str, position: str = "all", **columns: object) -> dict[str, object]:
    return {"unit": unit, "position": position, "metric": "gap", "base": 1.0, "value": 3.0,
            "effect": 2.0, "normalized": None, "low": 1.5, "high": 2.5,
            "n": 8} | columns  # fmt: skip


ROWS = {
    "who": [row("L0H0"), row("L0H1", effect=-1.0), row("L1H0", "END"), row("L1H0", "S2")],
    "one": [row("model", value=0.9, effect=None), row("model", metric="kl", value=0.1)],
    "swept": [row("L0H0", k=16, effect=5.0), row("L0H0", k=64)],
}
TABLES = Tables(ROWS.__getitem__, expand)


def literal(value: object) -> Literal:
    return Literal(value)  # type: ignore[arg-type]


def op(name: str, *operands: object) -> Operation:
    kinds = (Literal, ScoreOf, ColumnOf, SetOfUnits, Operation)
    held = tuple(o if isinstance(o, kinds) else literal(o) for o in operands)
    return Operation(name, held)


def value(expression: Expression) -> Value:
    return evaluate(expression, TABLES)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        (op("+", 2, 3), 5), (op("-", 2, 3), -1), (op("*", 2, 3), 6), (op("/", 3, 2), 1.5),
        (op("neg", 2), -2), (op("abs", -2), 2),
        (op("<", 1, 2), True), (op("<=", 2, 2), True), (op(">", 1, 2), False),
        (op(">=", 1, 2), False),
        (op("==", "a", "a"), True), (op("!=", "a", "a"), False),
        (op("in", 1, op("set", 1, 2)), True), (op("not in", 1, op("set", 1, 2)), False),
        (op("in", op("set", 1), op("set", 1, 2)), True),
        (op("in", op("set", 1, 3), op("set", 1, 2)), False),
        (op("not in", op("set", 1, 3), op("set", 1, 2)), False),
        (op("not in", op("set", 3), op("set", 1, 2)), True),
        (op("within", 1.0, 0.1, 1.05), True), (op("within", 1.0, 0.1, 0.8), False),
        (op("size", op("set", 1, 1, 2)), 2),
        (op("jaccard", op("set", 1, 2), op("set", 2, 3)), 1 / 3),
        (op("jaccard", op("set"), op("set")), 1.0),
        (op("==", op("set", 1, 2), op("set", 2, 1)), True),
    ],
)  # fmt: skip
def test_operators(expression: Expression, wanted: Value) -> None:
    assert value(expression) == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        (op("and", True, None), None), (op("and", False, None), False),
        (op("and", True, True), True),
        (op("or", True, None), True), (op("or", False, None), None),
        (op("or", False, False), False),
        (op("not", None), None), (op("<", None, 1), None), (op("==", None, None), None),
        (op("+", None, 1), None), (op("within", None, 1, 1), None),
    ],
)  # fmt: skip
def test_null_is_unknown(expression: Expression, wanted: Value) -> None:
    assert value(expression) is wanted


@pytest.mark.parametrize(
    "expression", [op("/", 1, 0), op("<", 1, "a"), op("-", op("set", 1), 1), op("size", 3)]
)
def test_operands_that_do_not_go_together(expression: Expression) -> None:
    with pytest.raises(InterpError, match="E614"):
        value(expression)


def score(step: str, column: str = "effect", **names: object) -> ScoreOf:
    return ScoreOf(step, str(names.pop("metric", "gap")), column, **names)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ref", "wanted"),
    [
        (score("who", unit="L0H1"), Found("who[L0H1].gap.effect", -1.0, 1.5, 2.5)),
        (score("who", "value", unit="L0H0"), Found("who[L0H0].gap.value", 3.0)),
        (score("who", unit="L1H0", position="S2"),
         Found("who[L1H0 at S2].gap.effect", 2.0, 1.5, 2.5)),
        (score("who", unit="L0H0", position="all"), Found("who[L0H0].gap.effect", 2.0, 1.5, 2.5)),
        (score("one", "value"), Found("one.gap.value", 0.9, 1.5, 2.5)),
        (score("swept", where=(("k", 16),)), Found("swept[k=16].gap.effect", 5.0, 1.5, 2.5)),
    ],
)  # fmt: skip
def test_a_score_and_its_interval(ref: ScoreOf, wanted: Found) -> None:
    assert TABLES.score(ref) == wanted
    assert written(ref) == wanted.text


def failure(ref: ScoreOf) -> tuple[str, str, str]:
    with pytest.raises(InterpError) as caught:
        TABLES.score(ref)
    found = caught.value.diagnostics[0]
    return found.code, " ".join((found.message, *found.notes)), found.help or ""


def test_a_unit_that_is_not_there() -> None:
    code, told, help_ = failure(score("who", unit="L0H2"))
    assert code == "E610" and "L0H0, L0H1, L1H0 at END, L1H0 at S2" in told
    assert help_.startswith("did you mean L0H")
    assert failure(score("who", unit="L0H0", position="END"))[0] == "E610"
    assert failure(score("swept", where=(("k", 8),)))[0] == "E610"


def test_only_one_row_is_a_number() -> None:
    code, told, help_ = failure(score("who"))
    assert code == "E611" and "4 rows" in told and help_.endswith("who[L0H0].gap.effect")
    assert "L1H0 at END" in failure(score("who", unit="L1H0"))[1]
    code, told, help_ = failure(score("swept", unit="L0H0"))
    assert code == "E611" and "k is 16, 64" in told and "k=16" in help_


def test_a_metric_that_was_not_measured() -> None:
    code, told, help_ = failure(score("who", metric="gab"))
    assert code == "E613" and "it measured gap" in told and help_ == "did you mean gap?"


def test_units_as_a_set() -> None:
    units = Explicit((unit_of("L0H0", "all"), unit_of("L1H0", "END")))
    assert value(SetOfUnits(units)) == {"L0H0", "L1H0 at END"}
    assert value(op("in", "L0H1", SetOfUnits(Top("who", 4, "gap")))) is True
    assert value(op("size", SetOfUnits(Top("who", 2, "gap")))) == 2


def test_columns_of_examples_are_not_known_here() -> None:
    with pytest.raises(InterpError, match="E614"):
        value(ColumnOf("index"))


def test_scores_that_an_expression_reads() -> None:
    a, b = score("who", unit="L0H0"), score("one", "value")
    assert scores_of(op("and", op("<", a, b), op("not", op(">", b, 1)))) == (a, b)
