"""`sampled(m, …)`: text that a declared model writes."""

from __future__ import annotations

from typing import Any

from interp_dsl.check.models import carry
from interp_dsl.check.scope import Scope
from interp_dsl.data.sampled import check_reads, check_writes
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Call
from interp_dsl.verbs.values import Dataset, Model


def writer_of(name: str, spec: dict[str, Any], call: Call, scope: Scope) -> Model | None:
    """The model that writes a dataset's text, None where it is text of another kind; in the
    specification its task's id takes its place."""
    if call.function != "sampled":
        return None
    writer: Model = spec["model"]
    spec["model"] = writer.id
    wrong = None
    if not 0 < spec["top_p"] <= 1:
        wrong = "`top_p` is more than 0, and 1 at most"
    elif spec["top_p"] < 1 and not spec["temperature"]:
        wrong = "`top_p` is of drawn tokens, and at temperature 0 none is drawn"
    if wrong:
        raise scope.reject("E302", wrong, _span("top_p", call), help="write for example top_p=0.95")
    if writer.facts is not None:
        try:
            check_writes(name, spec["context"], writer.facts)
        except InterpError as problem:
            raise carry(problem, call.span, scope) from None
        _warn_of_same(spec, writer, call, scope)
    return writer


def _warn_of_same(spec: dict[str, Any], writer: Model, call: Call, scope: Scope) -> None:
    """What begins alike and takes the most likely token each time is one text, n times."""
    if spec["temperature"] or spec["n"] == 1 or writer.facts is None or writer.facts.bos is None:
        return
    scope.error(
        "W48",
        f"all {spec['n']:,} texts will be the same",
        _span("temperature", call),
        label="each begins with BOS and goes on with the most likely token",
        help="write a temperature above 0, as temperature=0.7; or n=1",
    )


def _span(name: str, call: Call) -> Span:
    """Where an argument stands, the whole call where it is not named."""
    return next((a.span for a in call.arguments if a.name == name), call.span)


def check_reader(found: Dataset, reader: Model, scope: Scope) -> None:
    """Report a model that reads other tokens than the writer's."""
    assert found.writer is not None
    if found.writer.facts is None or reader.facts is None:
        return
    try:
        check_reads(found.name, found.writer.facts, reader.facts)
    except InterpError as problem:
        raise carry(problem, found.span, scope) from None
