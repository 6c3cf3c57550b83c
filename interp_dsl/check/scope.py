"""Names and what they stand for: the declarations of a file and of the files that it imports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Attribute, Body, Declaration, Expr, Name, Program, Sweep
from interp_dsl.models.shape import ModelFacts
from interp_dsl.verbs.values import Dataset, Model, Step

if TYPE_CHECKING:
    from interp_dsl.data.types import Data

NOUNS = {
    "param": "a parameter",
    "model": "a model",
    "dataset": "a dataset",
    "metric": "a metric",
    "units": "a set of places",
    "let": "a `let`",
    "step": "a step",
}


class Rejected(Exception):
    """The expression at hand is wrong and has been reported, or waits for the run; its users stay
    silent."""


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

    @property
    def expr(self) -> Expr:
        """What stands behind `=` or `in`."""
        return self.node.values if isinstance(self.node, Sweep) else self.node.value

    @property
    def body(self) -> Body | None:
        return None if isinstance(self.node, Sweep) else self.node.body

    def line(self, seen: Span) -> str:
        """Where it is declared, as a label at `seen` says it."""
        place = self.node.name.span
        where = "" if place.source is seen.source else f" of {place.source.name}"
        return f"declared in line {place.line}{where}"

    def evaluate(self, how: Callable[[], Any]) -> Any:
        """The value, evaluated once; a failure is reported once and Rejected ever after. What is
        reported stands, even where the value was wanted for a trial (trial.py)."""
        session = self.scope.session
        kept, trials = session.diagnostics, session.trials
        session.diagnostics, session.trials = session.reported, 0
        try:
            return self._evaluate(how)
        finally:
            session.diagnostics, session.trials = kept, trials

    def _evaluate(self, how: Callable[[], Any]) -> Any:
        if self.state == "busy":
            self.scope.error(
                "E212",
                f"`{self.name}` is defined by itself",
                self.node.name.span,
                label="its value needs this name again",
                help="break the circle: one of the names in it must not refer to the others",
            )
            self.state = "failed"
        if self.state == "failed":
            raise Rejected
        if self.state == "new":
            self.state = "busy"
            try:
                self.value = how()
            except BaseException:
                self.state = "failed"
                raise
            self.state = "done"
        return self.value


@dataclass(eq=False)
class Session:
    """What all scopes of one check share. `reported` is all that is wrong; `diagnostics` is where
    reports go at the moment, another list during a trial. `data` is keyed by dataset and model
    name; `files` by path and prefix. `deferred` is what cannot be known before a model's
    configuration is at hand: no error of the file, but of a plan made before."""

    params: dict[str, str] = field(default_factory=dict)
    allow: tuple[Path, ...] = ()
    trusted: bool = False
    reported: list[Diagnostic] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(init=False)
    used_params: dict[str, Any] = field(default_factory=dict)
    open_sweeps: list[Declared] = field(default_factory=list)
    declared_models: list[Declared] = field(default_factory=list)
    models: dict[str, Model] = field(default_factory=dict)
    facts: dict[str, ModelFacts | None] = field(default_factory=dict)
    data: dict[tuple[int, str], Data | None] = field(default_factory=dict)
    broken: set[tuple[int, str]] = field(default_factory=set)
    datasets: dict[int, Dataset] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    calls: dict[str, Any] = field(default_factory=dict)
    programs: dict[Path, Program] = field(default_factory=dict)
    files: dict[tuple[Path, str], Scope] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    deferred: list[Diagnostic] = field(default_factory=list)
    trials: int = 0

    def __post_init__(self) -> None:
        self.diagnostics = self.reported

    def wait(self, reason: str) -> None:
        """Note a check that can only be made when the run starts."""
        if reason not in self.waiting:
            self.waiting.append(reason)


@dataclass(eq=False)
class Scope:
    """The names of one file. `broken` are those whose declaration or import is wrong, with their
    keyword: of them nothing more is said. The keyword `import` without a name stands for an import
    that may have had any name."""

    session: Session
    folder: Path
    prefix: str = ""
    names: dict[str, Declared] = field(default_factory=dict)
    aliases: dict[str, Scope] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    models: list[Declared] = field(default_factory=list)

    def error(self, code: str, message: str, span: Span, **parts: Any) -> None:
        diagnostic = Diagnostic(code, message, span, **parts)
        if diagnostic not in self.session.diagnostics:
            self.session.diagnostics.append(diagnostic)

    def reject(self, code: str, message: str, span: Span, **parts: Any) -> Rejected:
        """Report and give the exception to raise."""
        self.error(code, message, span, **parts)
        return Rejected()

    def defer(self, code: str, message: str, span: Span, **parts: Any) -> Rejected:
        """Note what waits for the run and give the exception to raise."""
        diagnostic = Diagnostic(code, message, span, **parts)
        if diagnostic not in self.session.deferred:
            self.session.deferred.append(diagnostic)
        return Rejected()

    # ---- finding names

    def find(self, name: str, keywords: tuple[str, ...] = ()) -> Declared | None:
        """The declaration of a name; of one of the keywords where any are given."""
        declared = self.names.get(name)
        if declared and (not keywords or declared.keyword in keywords):
            return declared
        return None

    def lookup(self, expr: Expr, *keywords: str) -> Declared | None:
        """The declaration behind `name` or `alias.name`; of one of the keywords where given."""
        match expr:
            case Name(id=name):
                return self.find(name, keywords)
            case Attribute(value=Name(id=alias), name=name) if alias in self.aliases:
                return self.aliases[alias].find(name, keywords)
        return None

    def declared_as(
        self, *keywords: str, test: Callable[[Expr], bool] = lambda expr: True
    ) -> list[str]:
        """Names of these keywords as they are written here, those behind an alias included; only
        those whose expression passes a test."""
        scopes = [("", self), *((f"{alias}.", inner) for alias, inner in self.aliases.items())]
        return [
            f"{prefix}{name}"
            for prefix, scope in scopes
            for name, declared in scope.names.items()
            if declared.keyword in keywords and test(declared.expr)
        ]

    def example_side(self) -> str:
        """A side to show in a message."""
        datasets = self.declared_as("dataset")
        return f"{datasets[0]}.corrupt" if datasets else "ioi.corrupt"

    def sides_meant(self, expr: Expr) -> list[str]:
        """The sides that `clean` or `corrupt` alone may mean; none for other words."""
        if not isinstance(expr, Name) or expr.id not in ("clean", "corrupt"):
            return []
        return [f"{name}.{expr.id}" for name in self.declared_as("dataset")]

    # ---- what is said of unknown ones

    def unknown(self, expr: Expr, what: str, candidates: list[str]) -> Rejected:
        """Report that a name is not known as `what`, or stands for something else."""
        name = expr.id if isinstance(expr, Name) else expr.span.text
        if name in self.aliases:
            raise self._is_alias(name, expr.span, what, candidates)
        declared = self.lookup(expr)
        if declared is not None:
            return self.wrong_kind(declared, expr.span, what)
        owner = self.lookup(expr.value) if isinstance(expr, Attribute) else None
        if owner is not None:
            return self.reject(
                "E300",
                f"`{name}` is a part of {NOUNS[owner.keyword]}, and {what} is wanted here",
                expr.span,
                label=f"`{owner.name}` is {owner.line(expr.span)}",
            )
        return self.unlisted("E200", name, expr.span, what, candidates)

    def _is_alias(self, name: str, span: Span, what: str, candidates: list[str]) -> Rejected:
        behind = [c for c in candidates if c.startswith(f"{name}.")]
        return self.reject(
            "E300",
            f"`{name}` is an imported file, and {what} is wanted here",
            span,
            help=f"name one of its own: {', '.join(behind[:8])}" if behind else None,
        )

    def wrong_kind(
        self, declared: Declared, span: Span, what: str, remedy: str | None = None
    ) -> Rejected:
        """Report that a declared name is not what is wanted."""
        return self.reject(
            "E300",
            f"`{span.text}` is {NOUNS[declared.keyword]}, and {what} is wanted here",
            span,
            label=declared.line(span),
            help=remedy,
        )

    def unlisted(
        self, code: str, name: str, span: Span, what: str, candidates: list[str], **parts: Any
    ) -> Rejected:
        """Report a word that is none of the candidates; suggests a near one, else lists them."""
        if code == "E200" and self._is_broken(name):
            return Rejected()
        near = None if self.session.trials else _near(name, candidates)
        listed = ", ".join(candidates[:8])
        more = f" and {len(candidates) - 8} more" if len(candidates) > 8 else ""
        known = f"known: {listed}{more}" if listed else None
        parts.setdefault("label", "not known here")
        return self.reject(
            code,
            f"there is no {what.removeprefix('a ').removeprefix('an ')} `{name}`",
            span,
            help=f"did you mean `{near}`?" if near else known,
            **parts,
        )

    def _is_broken(self, name: str) -> bool:
        """Whether the name's declaration, or the import that may have had it, is wrong."""
        first, _, rest = name.partition(".")
        inner = self.aliases.get(first)
        if inner is not None:
            return inner._is_broken(rest)
        return first in self.broken or "" in self.broken

    def unknown_function(
        self, name: str, span: Span, what: str, candidates: list[str], **parts: Any
    ) -> Rejected:
        """Report a call of a function that does not exist, or of a declared name."""
        declared = self.find(name)
        if declared is not None and not suggest(name, candidates, 0.8):
            return self.reject(
                "E203",
                f"`{name}` is {NOUNS[declared.keyword]}, no function",
                span,
                label=declared.line(span),
                help=f"write {name} without brackets",
            )
        return self.unlisted("E203", name, span, what, candidates, **parts)


def _near(name: str, candidates: list[str]) -> str | None:
    """The candidate most like a name; of those behind the same alias where it has one."""
    alias, dot, own = name.rpartition(".")
    behind = [c.removeprefix(f"{alias}.") for c in candidates if c.startswith(f"{alias}.")]
    if not dot or not behind:
        return suggest(name, candidates)
    near = suggest(own, behind)
    return f"{alias}.{near}" if near else None
