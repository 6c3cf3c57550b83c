"""Names and what they stand for: the declarations of a file and of the files that it imports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Declaration, Sweep
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.places import Positions
from interp_dsl.verbs.values import Dataset, Model, Step


class Rejected(Exception):
    """The expression at hand is wrong and has been reported; its users stay silent."""


@dataclass(eq=False)
class Declared:
    """A name's declaration in its own scope; `value` once it has been evaluated."""

    keyword: str
    name: str
    node: Declaration | Sweep
    scope: Scope
    state: str = "new"
    value: Any = None

    @property
    def id(self) -> str:
        """The name by which the plan knows it: an imported one carries its alias."""
        return f"{self.scope.prefix}{self.name}"

    def evaluate(self, how: Callable[[], Any]) -> Any:
        """The value, evaluated once; a failure is reported once and Rejected ever after."""
        if self.state == "busy":
            self.scope.error(
                "E212",
                f"`{self.name}` is defined by itself",
                self.node.name.span,
                label="its value needs this name again",
                help="break the circle: one of the names in it must not refer to the others",
            )
            self.state = "failed"
            raise Rejected
        if self.state == "failed":
            raise Rejected
        if self.state == "new":
            self.state = "busy"
            try:
                self.value = how()
            except Rejected:
                self.state = "failed"
                raise
            self.state = "done"
        return self.value


@dataclass(eq=False)
class Session:
    """What all scopes of one check share."""

    params: dict[str, str] = field(default_factory=dict)
    allow: tuple[Path, ...] = ()
    trusted: bool = False
    diagnostics: list[Diagnostic] = field(default_factory=list)
    used_params: dict[str, Any] = field(default_factory=dict)
    open_sweeps: list[Declared] = field(default_factory=list)
    models: dict[str, Model] = field(default_factory=dict)
    facts: dict[str, ModelFacts | None] = field(default_factory=dict)
    data: dict[tuple[int, str], Data | None] = field(default_factory=dict)
    datasets: dict[int, Dataset] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    calls: dict[str, Any] = field(default_factory=dict)
    position_spans: dict[Positions, Span] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def wait(self, reason: str) -> None:
        """Note a check that can only be made when the run starts."""
        if reason not in self.waiting:
            self.waiting.append(reason)


@dataclass(eq=False)
class Scope:
    """The names of one file."""

    session: Session
    folder: Path
    prefix: str = ""
    names: dict[str, Declared] = field(default_factory=dict)
    aliases: dict[str, Scope] = field(default_factory=dict)

    def error(self, code: str, message: str, span: Span, **parts: Any) -> None:
        diagnostic = Diagnostic(code, message, span, **parts)
        if diagnostic not in self.session.diagnostics:
            self.session.diagnostics.append(diagnostic)

    def reject(self, code: str, message: str, span: Span, **parts: Any) -> Rejected:
        """Report and give the exception to raise."""
        self.error(code, message, span, **parts)
        return Rejected()

    def find(self, name: str, keywords: tuple[str, ...] = ()) -> Declared | None:
        """The declaration of a name; of one of the keywords where any are given."""
        declared = self.names.get(name)
        if declared and (not keywords or declared.keyword in keywords):
            return declared
        return None

    def unknown(
        self, name: str, span: Span, what: str, candidates: list[str], code: str = "E200"
    ) -> Rejected:
        """Report that a name is not known as `what`; suggests a near one that would fit."""
        declared = self.find(name)
        if declared:
            line = declared.node.name.span.line
            return self.reject(
                "E300",
                f"`{name}` is a {declared.keyword}, and {what} is wanted here",
                span,
                label=f"declared in line {line}",
            )
        near = suggest(name, candidates)
        listed = ", ".join(candidates[:8]) + (" …" if len(candidates) > 8 else "")
        return self.reject(
            code,
            f"there is no {what.removeprefix('a ').removeprefix('an ')} `{name}`",
            span,
            label="not known here",
            help=f"did you mean `{near}`?" if near else (f"known: {listed}" if listed else None),
        )

    def declared_as(self, *keywords: str) -> list[str]:
        return [n for n, d in self.names.items() if d.keyword in keywords]
