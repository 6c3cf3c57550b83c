"""The data itself, as a model reads it, where it can be had cheaply before the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp_dsl.check.models import carry
from interp_dsl.check.sampled import check_reader
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.plan.units import steps_of
from interp_dsl.verbs.values import Dataset, Model

if TYPE_CHECKING:
    from interp_dsl.data.types import Data

MOST_EXAMPLES = 4096
"""More examples than this are built by the run alone."""


def build_data(found: Dataset, used: Model | None, scope: Scope) -> Data | None:
    """The data as the model sees it; None where it waits for the run. What is wrong with it is
    reported where it is declared, and then this is Rejected, at every use."""
    session = scope.session
    key = (id(found), used.name if used else "")
    if key not in session.data:
        session.data[key] = None
        session.datasets[id(found)] = found
        before = len(session.reported)
        kept, session.diagnostics = session.diagnostics, session.reported
        try:
            session.data[key] = _build(found, used, scope)
        except Rejected:
            pass
        finally:
            session.diagnostics = kept
        if len(session.reported) > before:
            session.broken.add(key)
    if key in session.broken:
        raise Rejected
    return session.data[key]


def _build(found: Dataset, used: Model | None, scope: Scope) -> Data | None:
    if used is None or used.facts is None:
        return None
    if found.parent is not None:
        return _select(found, used, scope)
    if found.writer is not None:
        check_reader(found, used, scope)
    if not _is_at_hand(found, scope):
        return None
    from interp_dsl.data.build import build

    try:
        return build(found.name, found.spec, used.facts)
    except InterpError as problem:
        raise carry(problem, found.span, scope) from None


def _is_at_hand(found: Dataset, scope: Scope) -> bool:
    kind = found.spec["kind"]
    size = found.spec.get("n", found.spec.get("pairs"))
    if kind in ("python", "corpus", "hub", "sampled"):
        scope.session.wait(f"the data of `{found.name}` is made when the run starts")
        return False
    if size is not None and size > MOST_EXAMPLES:
        scope.session.wait(f"the {size:,} examples of `{found.name}` are made when the run starts")
        return False
    return True


def _select(found: Dataset, used: Model, scope: Scope) -> Data | None:
    """The kept examples of a filter that needs no results."""
    assert found.parent is not None and found.test is not None
    parent = build_data(found.parent, used, scope)
    if parent is None:
        return None
    from interp_dsl.data.conditions import matches, names_in, select

    known = [*parent.columns, "index"]
    for name in sorted(names_in(found.test) - set(known)):
        raise _no_column(found, name, known, scope)
    if steps_of(found.test):
        return None
    try:
        return select(parent, matches(parent, found.test, _no_scores), found.name)
    except InterpError as problem:
        raise carry(problem, found.span, scope) from None


def _no_scores(_: Any) -> Any:
    raise AssertionError("a filter without steps asked for scores")


def _no_column(found: Dataset, name: str, known: list[str], scope: Scope) -> Rejected:
    assert found.parent is not None
    near = suggest(name, known)
    return scope.reject(
        "E424",
        f"`{found.parent.name}` has no column `{name}`",
        dict(found.names).get(name, found.span),
        label=f"it has {', '.join(known)}",
        help=f"did you mean `{near}`?" if near else None,
    )


def check_unused(scope: Scope) -> None:
    """Build what no step has asked for, so that a mistake in it does not go unseen."""
    models = list(scope.session.models.values())
    if len(models) != 1 or scope.session.reported:
        return
    for found in [d for declared in scope.names.values() for d in _datasets(declared)]:
        if id(found) not in scope.session.datasets:
            try:
                build_data(found, models[0], scope)
            except Rejected:
                continue


def _datasets(declared: Declared) -> list[Dataset]:
    """The dataset that a name stands for, if it does."""
    if declared.state != "done":
        return []
    kinds = declared.value if declared.keyword == "let" else {"dataset": declared.value}
    found = kinds.get("dataset")
    return [found] if isinstance(found, Dataset) else []
