"""Claims, checked on the finished tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import Literal, Operation
from interp_dsl.plan.expressions import CORRELATIONS, Found, Tables, Value, evaluate, scores_of
from interp_dsl.plan.tasks import Claim
from interp_dsl.plan.units import expand


@dataclass(frozen=True)
class Checked:
    """A claim's outcome: the fields of a `claim` event, and what kept it from being decided."""

    fields: dict[str, Any]
    diagnostics: tuple[Diagnostic, ...] = ()


def check_claim(claim: Claim, state: State) -> Checked:
    """Whether a claim holds, with the values found. One that cannot be decided, because a score is
    null (E612) or not there, does not hold, and the diagnostics say why."""
    tables = Tables(state.rows, expand, agreement=state.agreement)
    try:
        found = [tables.score(ref) for ref in scores_of(claim.test)]
        truth = evaluate(claim.test, tables)
        if truth is None:
            raise _null(found)
        message = _told(claim, tables, found)
    except InterpError as error:
        told = "; ".join(d.message for d in error.diagnostics)
        return Checked(_fields(claim, False, [], told), error.diagnostics)
    return Checked(_fields(claim, bool(truth), found, message))


def _fields(claim: Claim, ok: bool, found: list[Found], message: str) -> dict[str, Any]:
    first = found[0] if found else Found("", None)
    return {
        "text": claim.text,
        "ok": ok,
        "value": first.value,
        "low": first.low,
        "high": first.high,
        "message": message,
        "file": claim.place.file if claim.place else None,
        "line": claim.place.line if claim.place else None,
    }


def _told(claim: Claim, tables: Tables, found: list[Found]) -> str:
    """The values found with their intervals; of a claim about sets, what its sides came to."""
    if found:
        return "; ".join(map(_score, found))
    sides = claim.test.operands if isinstance(claim.test, Operation) else (claim.test,)
    came = [_value(evaluate(s, tables)) for s in sides if not isinstance(s, Literal)]
    return f"found {' and '.join(came)}" if came else ""


def _score(found: Found) -> str:
    interval = "" if found.low is None else f" [{_value(found.low)}, {_value(found.high)}]"
    return f"{found.text} is {_value(found.value)}{interval}"


def _value(value: Value) -> str:
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(str, value))) + "}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _null(found: list[Found]) -> InterpError:
    nulls = [f.text for f in found if f.value is None]
    if any(text.endswith(CORRELATIONS) for text in nulls):
        why = "a correlation is defined where both the estimates and the real patches differ"
        remedy = "verify more of the units"
    else:
        why = (
            "an effect is normalised only when the two runs differ by half a logit and by two "
            "standard errors at least, and there are two runs"
        )
        remedy = "claim the effect instead, or use prompts that the model tells apart"
    return InterpError(
        Diagnostic(
            "E612",
            f"{' and '.join(nulls)} is null, so the claim cannot be decided",
            notes=(why,),
            help=remedy,
        ),
        exit_code=1,
    )
