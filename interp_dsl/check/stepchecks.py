"""Checks of a step against its model and its data, as far as both are at hand: what the checker
lends the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp_dsl.check.builds import build_data
from interp_dsl.check.datachecks import Spans, check_change, check_side, names_of, side_of
from interp_dsl.check.dictionaries import check_live, check_order
from interp_dsl.check.models import known_model, which_model
from interp_dsl.check.moving import check_moving
from interp_dsl.check.noops import why_idle
from interp_dsl.check.scope import Scope
from interp_dsl.check.vectors import written
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.plan.algebra import Explicit, Metric, Units
from interp_dsl.plan.metrics import METRICS, calls, needs
from interp_dsl.plan.places import Site
from interp_dsl.plan.units import expand
from interp_dsl.verbs.lowering import sites
from interp_dsl.verbs.values import Call, Change, Model, Side, Step, UnitSet, VectorTerm

if TYPE_CHECKING:
    from interp_dsl.data.types import Answer

_NARROW = ("q", "k", "v", "z")
_SCALAR = ("pattern", "neuron", "logits")


@dataclass(frozen=True)
class StepChecks:
    """The `Checks` that a verb is lent."""

    scope: Scope

    def error(self, code: str, message: str, span: Span, **parts: Any) -> None:
        self.scope.error(code, message, span, **parts)

    def warn(self, code: str, message: str, span: Span, **parts: Any) -> None:
        self.scope.error(code, message, span, **parts)

    def shared(self, one: Side, other: Side, model: Model) -> tuple[int, int] | None:
        """How many prompts of a side stand among another's, and how many it has. None where one of
        them waits for the run."""
        found = [build_data(side.dataset, model, self.scope) for side in (one, other)]
        if found[0] is None or found[1] is None:
            return None
        first, second = (
            [tuple(row[:n]) for row, n in zip(held.tokens.tolist(), held.lengths, strict=True)]
            for held in (side_of(found[0], one), side_of(found[1], other))
        )
        seen = set(second)
        return sum(prompt in seen for prompt in first), len(first)

    def n_prompts(self, side: Side, model: Model) -> int | None:
        """How many prompts a side has; None where that waits for the run."""
        data = build_data(side.dataset, model, self.scope)
        return None if data is None else data.n

    def check_labels(self, call: Call, side: Side, model: Model, column: str, word: str) -> None:
        """The data has a column, whose values are classes that a probe can tell apart."""
        from interp_dsl.data.labels import labels

        data = build_data(side.dataset, model, self.scope)
        if data is None:
            return
        try:
            labels(data, column)
        except InterpError as problem:
            (found,) = problem.diagnostics
            raise self.scope.reject(
                found.code, found.message, call.spans[word], label=found.notes[0], help=found.help
            ) from None

    def check_same(self, call: Call, side: Side, models: tuple[Model, ...], word: str) -> None:
        """The models read a side as the same tokens, as far as the data is at hand."""
        from interp_dsl.data.same import require_same

        built = {model.name: build_data(side.dataset, model, self.scope) for model in models}
        read = {name: side_of(data, side) for name, data in built.items() if data is not None}
        if len(read) < len(models):
            return
        try:
            require_same(side.dataset.name, read)
        except InterpError as problem:
            (found,) = problem.diagnostics
            raise self.scope.reject(
                found.code,
                found.message,
                call.spans[word],
                notes=found.notes,
                help=found.help,
            ) from None

    def lengths(self, side: Side, model: Model) -> tuple[int, int] | None:
        """The tokens of a side's shortest and longest prompt; None where that waits for the
        run."""
        data = build_data(side.dataset, model, self.scope)
        if data is None:
            return None
        found = side_of(data, side).lengths
        return int(found.min()), int(found.max())

    def why_idle(self, step: Step, side: Side, other: Side | None) -> str | None:
        """Why moving a step's places changes nothing (noops.py); None where it may, or where that
        waits for the run."""
        model, units = step.model, step.units
        assert model is not None and isinstance(units, Explicit)
        data = build_data(side.dataset, model, self.scope)
        theirs = build_data(other.dataset, model, self.scope) if other else None
        if data is None or model.facts is None or not model.facts.shape.causal:
            return None
        if any(a.is_sequence for held in (data.answers, data.wrongs) for a in held or ()):
            return None
        where = [t.positions for unit in units.units for t in unit.targets]
        to = side_of(theirs, other) if theirs and other else None
        return why_idle(where, step.metrics, side_of(data, side), to)

    def model_of(self, call: Call) -> Model:
        """The model that the units name, else the only one declared."""
        found = known_model(self.scope, call.objects[0].model)
        if found is None:
            raise which_model(self.scope, call.spans["objects"], "heads")
        return found

    def step(self, name: str) -> Step:
        """A step that was checked before."""
        return self.scope.session.steps[name]

    def sites(self, units: Units) -> tuple[Site, ...]:
        """Every site that units may touch."""
        return sites(units, self.scope.session.steps)

    def count(self, units: Units, model: Model, into: Side | None) -> int | None:
        """How many units a step has; None where a result decides. A unit at `each` position of
        prompts that are not at hand counts as two."""
        if not isinstance(units, Explicit):
            return None
        if not any("each" in str(t.positions) for u in units.units for t in u.targets):
            return len(units.units)
        data = names_of(into.dataset, model, self.scope) if into else None
        width = max(s.tokens.shape[1] for s in data.sides.values()) if data else 2
        return len(expand(units, lambda _: [], width))

    # ---- interventions

    def check_change(self, call: Call, change: Change, source: str, into: str) -> None:
        """An intervention fits its places, and those of the side that it is made in. `source` and
        `into` are the clauses in which these stand."""
        self._widths(call, change, source)
        side = call.one(into)
        if side is not None:
            spans = Spans(call.spans["objects"], call.spans[source], call.spans[into])
            check_change(change, side, spans, self.scope)

    def check_at(self, call: Call, change: Change, side: Side, words: tuple[str, str]) -> None:
        """The same on a side that need not be the clause's own."""
        source, into = words
        spans = Spans(call.spans["objects"], call.spans[source], call.spans[into])
        check_change(change, side, spans, self.scope)

    def check_contexts(self, call: Call, model: Model, side: Side, word: str) -> None:
        """What holds throughout is of this model, and its places are on this side."""
        contexts = call.clauses.get("under", ())
        for context in contexts:
            for change in context.changes:
                self._holds(call, change, model, side, call.spans["under"])
        for change in side.under:
            self._holds(call, change, model, side, call.spans[word])
        own = [units for units in call.objects if isinstance(units, UnitSet)]
        for held in [c.changes for c in contexts] or [()]:
            made = [change.units for change in (*side.under, *held)] + own
            span = call.spans["under" if contexts else word]
            check_order([self.sites(one.units) for one in made], span, self.scope)

    def _holds(self, call: Call, change: Change, model: Model, side: Side, span: Span) -> None:
        self._same_model(change.units.model, model, span)
        check_live(self.sites(change.units.units), "this holds throughout", span, self.scope)
        check_change(change, side, Spans(span, span, span), self.scope)

    def check_joined(self, call: Call, units: Units) -> None:
        """Units of which any may be changed together: features among several places."""
        found = self.sites(units)
        if len({site.ends for site in found}) > 1:
            why = "other places change as well"
            check_live(found, why, call.spans["objects"], self.scope)

    def check_side(self, call: Call, side: Side, model: Model, word: str) -> None:
        check_side(side, model, call.spans[word], self.scope)

    def _same_model(self, other: Model | None, model: Model, span: Span) -> None:
        if other is not None and other is not model:
            raise self.scope.reject(
                "E307",
                f"this is of `{other.name}`, and the step runs `{model.name}`",
                span,
                help=f"write it for {model.name}",
            )

    def _widths(self, call: Call, change: Change, word: str) -> None:
        """Vectors are of this model and as wide as the places that they are put in."""
        model = change.units.model
        vectors = [("along", v) for v in change.along]
        if change.source.vector is not None:
            vectors.append((word, change.source.vector))
        kinds = {s.kind for s in self.sites(change.units.units)} - {"hook"}
        for where, found in vectors:
            if model is not None:
                self._same_model(found.model, model, call.spans[where])
            self._fits(found, kinds, call.spans[where])

    def _fits(self, found: VectorTerm, kinds: set[str], span: Span) -> None:
        narrow = {written(t) in _NARROW for _, t, _ in found.terms if t.site.kind != "hook"}
        for kind in sorted(kinds):
            if kind in _SCALAR or (narrow and (kind in _NARROW) not in narrow):
                size = "d_head" if True in narrow else "d_model"
                self.error(
                    "E306",
                    f"a vector of width {size} does not fit the site {kind}",
                    span,
                    help="take the mean at the site that is changed",
                )
                return

    def only_model(self, call: Call) -> Model:
        """The model where no object names one."""
        found = known_model(self.scope, None)
        if found is None:
            raise which_model(self.scope, call.spans["objects"], "heads")
        return found

    # ---- metrics

    def check_tokens(self, call: Call, step: Step, side: Side) -> None:
        """What is measured of circuits reads single tokens."""
        assert step.model is not None
        data = names_of(side.dataset, step.model, self.scope)
        answers = {"answer": data.answers, "wrong": data.wrongs} if data else {}
        of_slopes = call.verb in ("attribute", "perturb", "factor")
        how = "slopes are taken" if of_slopes else "edges are changed in passes"
        long = {w for w, held in answers.items() if held and any(a.is_sequence for a in held)}
        for metric in step.metrics:
            if long & needs(metric.term):
                self.error(
                    "E314",
                    f"`{metric.name}` reads answers of several tokens here, and {how} of the "
                    "prompts alone",
                    call.spans["measure"],
                    help="use answers of one token, or measure kl()",
                )

    def check_metrics(self, call: Call, step: Step, side: Side) -> None:
        """The data has what the metrics read, in a form that they can read."""
        assert step.model is not None
        names = [m.name for m in step.metrics]
        for name in dict.fromkeys(n for n in names if names.count(n) > 1):
            self.error(
                "E309",
                f"two metrics of this step are called `{name}`",
                call.spans["measure"],
                help="measure one of them in a step of its own"
                if step.findings
                else "declare one under another name: metric other = …",
            )
        check_moving(call, step, self.sites(step.units) if step.units else (), self.scope)
        data = names_of(side.dataset, step.model, self.scope)
        if data is None:
            return
        for metric in step.metrics:
            self._labels(call, metric, side_of(data, side).labels, side)
            wanted = needs(metric.term)
            for what, held in (("answer", data.answers), ("wrong", data.wrongs)):
                if what in wanted and held is None:
                    self._without(call, metric.name, what, side.dataset.name)
                elif what in wanted and held is not None:
                    texts = next(iter(data.sides.values())).texts
                    self._readable(call, metric, what, held, texts)

    def _labels(self, call: Call, metric: Metric, known: Any, side: Side) -> None:
        for found in calls(metric.term):
            label = found.at.label if found.at else None
            if label is not None and label not in known:
                self.error(
                    "E207",
                    f"the prompts of `{side.dataset.name}` have no label `{label}`",
                    call.spans["measure"],
                    label=f"`{metric.name}` reads at {found.at}",
                    help=f"their labels: {', '.join(known)}" if known else "they have no labels",
                )

    def _without(self, call: Call, metric: str, what: str, dataset: str) -> None:
        noun = "answers" if what == "answer" else "wrong answers"
        self.error(
            "E313",
            f"`{metric}` reads {noun}, and `{dataset}` has none",
            call.spans["measure"],
            help=f"give the data `{what}`, or measure kl(), entropy() or loss()",
        )

    def _readable(
        self,
        call: Call,
        metric: Metric,
        what: str,
        held: tuple[Answer, ...],
        texts: tuple[str, ...] | None,
    ) -> None:
        blind = [c.function for c in calls(metric.term) if not METRICS[c.function].sequence]
        long = next((i for i, a in enumerate(held) if a.is_sequence), None)
        if long is None or not blind:
            return
        ids = held[long].alternatives[0]
        noun = "the answer" if what == "answer" else "the wrong answer"
        prompt = f' of "{texts[long]}"' if texts else ""
        self.error(
            "E314",
            f"`{blind[0]}` reads one token, and {noun}{prompt} has {len(ids)} tokens",
            call.spans["measure"],
            label=f"their numbers: {', '.join(map(str, ids))}",
            help="measure logprob(), logprob_diff() or prob(), which read a sequence",
        )
