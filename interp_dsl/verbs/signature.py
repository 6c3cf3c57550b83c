"""What a verb, a clause and a function take: the one description that the checker, the messages,
the completions and the reference pages read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from interp_dsl.language.source import Span
from interp_dsl.plan.algebra import Units
from interp_dsl.plan.places import Site
from interp_dsl.verbs.values import Call, Change, Model, Side, Step

if TYPE_CHECKING:
    from interp_dsl.verbs.lowering import Lowering

Kind = Literal[
    "units",
    "crossing",
    "side",
    "data",
    "source",
    "end",
    "metric",
    "finding",
    "positions",
    "context",
    "vector",
    "int",
    "subject",
    "search",
    "places",
    "estimate",
    "travel",
    "factoring",
    "direction",
    "path",
    "length",
    "share",
    "dictionary",
    "relation",
    "options",
    "method",
    "features",
    "reading",
]

REQUIRED: Any = object()


@dataclass(frozen=True)
class Parameter:
    """An argument of a function. `type` is int, number, ints, numbers (one or a list), string,
    word, bool, path, texts (one or a list of strings), paths, answers, metric, ranking,
    node_ranking, side, source, place, dictionary, dictionaries, models or top (how many of the
    largest); `choices` lists the words or strings that it may be, `least` and `most` bound a
    number."""

    type: str
    default: Any = REQUIRED
    doc: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True)
class Function:
    """A function of the language; parameters in the order in which they may stand unnamed."""

    name: str
    doc: str
    parameters: dict[str, Parameter] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """What its parameters are where nothing is said."""
        return {name: parameter.default for name, parameter in self.parameters.items()}


@dataclass(frozen=True)
class Clause:
    """A clause of a verb: the kind of its values, whether it must stand, whether it may have
    several values; or the options that it takes by name."""

    kind: Kind
    doc: str
    required: bool = False
    many: bool = False
    options: Function | None = None


class Checks(Protocol):
    """What the checker lends a verb: errors, the model, checks against the data at hand. All but
    `error`, `warn`, `shared`, `n_prompts`, `lengths`, `why_idle` and `count` raise where the step
    is wrong beyond use. `source`, `into` and `word` name the clauses that messages point to."""

    def error(self, code: str, message: str, span: Span, **parts: Any) -> None: ...

    def warn(self, code: str, message: str, span: Span, **parts: Any) -> None: ...

    def shared(self, one: Side, other: Side, model: Model) -> tuple[int, int] | None: ...

    def n_prompts(self, side: Side, model: Model) -> int | None: ...

    def check_labels(
        self, call: Call, side: Side, model: Model, column: str, word: str
    ) -> None: ...

    def check_same(self, call: Call, side: Side, models: tuple[Model, ...], word: str) -> None: ...

    def lengths(self, side: Side, model: Model) -> tuple[int, int] | None: ...

    def why_idle(self, step: Step, side: Side, other: Side | None) -> str | None: ...

    def model_of(self, call: Call) -> Model: ...

    def step(self, name: str) -> Step: ...

    def sites(self, units: Units) -> tuple[Site, ...]: ...

    def count(self, units: Units, model: Model, into: Side | None) -> int | None: ...

    def check_change(self, call: Call, change: Change, source: str, into: str) -> None: ...

    def check_contexts(self, call: Call, model: Model, side: Side, word: str) -> None: ...

    def check_joined(self, call: Call, units: Units) -> None: ...

    def check_side(self, call: Call, side: Side, model: Model, word: str) -> None: ...

    def check_at(self, call: Call, change: Change, side: Side, words: tuple[str, str]) -> None: ...

    def check_tokens(self, call: Call, step: Step, side: Side) -> None: ...

    def only_model(self, call: Call) -> Model: ...

    def check_metrics(self, call: Call, step: Step, side: Side) -> None: ...


@dataclass(frozen=True)
class Verb:
    """`check` turns an evaluated call into a Step and reports what is wrong with it; `lower` adds
    its tasks to a plan. `refused`: clauses of other verbs that make no sense here, why, and what to
    write instead. `examples`: of what the result of a step is taken as, by its kind, `{}` for its
    name."""

    name: str
    doc: str
    objects: Clause
    clauses: dict[str, Clause]
    check: Callable[[Call, Checks], Step]
    lower: Callable[[Call, Step, Lowering], None]
    example: str = ""
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
