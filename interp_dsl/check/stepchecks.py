"""Checks of a step against its model and its data, as far as both are at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interp_dsl.check.datasets import build_data
from interp_dsl.check.models import carry
from interp_dsl.check.positions import labels_in
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.check.units import known_model
from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import Explicit, Units
from interp_dsl.plan.metrics import METRICS, calls, needs
from interp_dsl.plan.places import Positions, Target
from interp_dsl.plan.units import depends, expand
from interp_dsl.verbs.values import Call, Dataset, Model, Side, Step


@dataclass(frozen=True)
class StepChecks:
    """The `Checks` that a verb is lent."""

    scope: Scope

    def error(self, code: str, message: str, span: Span, **parts: Any) -> None:
        self.scope.error(code, message, span, **parts)

    def model_of(self, call: Call) -> Model | None:
        """The model that the units name, else the only one declared."""
        found = known_model(self.scope, call.objects[0].model)
        if found is None:
            declared = self.scope.declared_as("model")
            self.scope.error(
                "E307",
                "which model?" if declared else "this file declares no model",
                call.spans["objects"],
                help=f"write {declared[0]}.{call.spans['objects'].text}"
                if declared
                else 'declare one: model m = bundled("induction-2l")',
            )
            raise Rejected
        return found

    def data(self, dataset: Dataset, model: Model | None, span: Span) -> Data | None:
        """The data as the model reads it, None where it waits for the run; rejected when broken."""
        before = len(self.scope.session.diagnostics)
        built = build_data(dataset, model, span, self.scope)
        if built is None and len(self.scope.session.diagnostics) > before:
            raise Rejected
        return built

    # ---- sweeps

    def check_sweep(self, call: Call, step: Step, into: Side | None, source: Side | None) -> None:
        """Labels are there, places correspond, entries are of patterns."""
        assert step.units is not None and into is not None
        data = self.data(into.dataset, step.model, call.span)
        if depends(step.units):
            return
        units = step.units.units if isinstance(step.units, Explicit) else self._spelled(step.units)
        targets = {t.positions: t for u in units for t in u.targets}
        for position, target in targets.items():
            self._entry_fits(call, position, target)
            if data is not None:
                self._labels_exist(call, position, data, into)
        if data is not None and source is not None and step.model is not None:
            self._corresponds(call, list(targets), data, into, source, step.model)

    def _spelled(self, units: Units) -> Any:
        def no_rows(_: str) -> list[Any]:
            return []

        return expand(units, no_rows, None)

    def _entry_fits(self, call: Call, position: Positions, target: Target) -> None:
        if position.kind == "entry" and target.site.kind != "pattern":
            raise self.scope.reject(
                "E306",
                f"{target.place} has one end, and `{position}` names two",
                self._span(position, call),
                help="`key -> query` positions belong to patterns: patterns at S2 -> END",
            )

    def _labels_exist(self, call: Call, position: Positions, data: Data, into: Side) -> None:
        labels = data.sides[into.side].labels if into.side in data.sides else {}
        for part in labels_in(position):
            if part.label not in labels:
                near = suggest(str(part.label), list(labels))
                known = ", ".join(labels) or "none"
                raise self.scope.reject(
                    "E207",
                    f"the prompts of `{into.dataset.name}` have no label `{part.label}`",
                    self._span(part, call),
                    label=f"their labels: {known}",
                    help=f"did you mean `{near}`?" if near else
                    "label a slot in the template: {A@" + str(part.label) + "}",
                )

    def _span(self, position: Positions, call: Call) -> Span:
        return self.scope.session.position_spans.get(position, call.spans["objects"])

    def _corresponds(
        self, call: Call, where: list[Positions], data: Data, into: Side, source: Side,
        model: Model,
    ) -> None:
        """The places that are patched correspond on the two sides."""
        from interp_dsl.data.positions import check_aligned

        other = self.data(source.dataset, model, call.span)
        if other is None or source.side not in other.sides or into.side not in data.sides:
            return
        if other.n != data.n:
            raise self.scope.reject(
                "E312",
                f"`{source.dataset.name}` has {other.n} prompts and `{into.dataset.name}` {data.n}",
                call.span,
                help="prompts pair by index: patch between sides of as many prompts",
            )
        assert model.facts is not None
        read = _token_text(model.facts)
        for position in where:
            try:
                check_aligned(position, other.sides[source.side], data.sides[into.side], read)
            except InterpError as problem:
                raise carry(problem, self._span(position, call), self.scope) from None

    # ---- metrics

    def check_metrics(self, call: Call, step: Step, side: Side) -> None:
        """The data has what the metrics read, in a form that they can read."""
        names = [m.name for m in step.metrics]
        for name in {n for n in names if names.count(n) > 1}:
            self.scope.error(
                "E309", f"two metrics of this step are called `{name}`", call.spans["measure"],
                help="declare one under another name: metric other = …",
            )
        data = self.data(side.dataset, step.model, call.span)
        if data is None:
            return
        for metric in step.metrics:
            wanted = needs(metric.term)
            for what, held in (("answer", data.answers), ("wrong", data.wrongs)):
                if what in wanted and held is None:
                    self._without(call, metric.name, what, side.dataset)
                elif what in wanted and held is not None:
                    self._readable(call, metric, what, held, data)

    def _without(self, call: Call, metric: str, what: str, dataset: Dataset) -> None:
        noun = "answers" if what == "answer" else "wrong answers"
        self.scope.error(
            "E313", f"`{metric}` reads {noun}, and `{dataset.name}` has none",
            call.spans["measure"],
            help=f"give the data `{what}`, or measure kl(), entropy() or loss()",
        )

    def _readable(
        self, call: Call, metric: Any, what: str, held: tuple[Any, ...], data: Data
    ) -> None:
        blind = [c.function for c in calls(metric.term) if not METRICS[c.function].sequence]
        long = next((i for i, a in enumerate(held) if a.is_sequence), None)
        if long is None or not blind:
            return
        ids = held[long].alternatives[0]
        text = next(iter(data.sides.values())).texts
        prompt = f' of "{text[long]}"' if text else ""
        self.scope.error(
            "E314",
            f"`{blind[0]}` reads one token, and the {what} answer{prompt} has {len(ids)}",
            call.spans["measure"],
            label=f"tokens {', '.join(map(str, ids))}",
            help="measure logprob(), logprob_diff() or prob(), which read a sequence",
        )


def _token_text(facts: ModelFacts) -> Callable[[int], str]:
    """How a message shows a token: as text where the model has a tokenizer."""
    from interp_dsl.data.tokenizer import load_tokenizer

    return load_tokenizer(facts).token_text if facts.tokenizer else str
