"""From checked steps to tasks. Lowering is naive: every step asks for the forward passes it needs,
and the plan's passes merge what is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from interp_dsl.language.source import Span
from interp_dsl.models.files import bundled_text
from interp_dsl.models.sites import family
from interp_dsl.plan import algebra
from interp_dsl.plan.algebra import (
    Combined,
    Explicit,
    FeatureVector,
    Filtered,
    FromRun,
    Grouped,
    Intervention,
    LinearVector,
    Mean,
    MeanVector,
    Metric,
    OfCircuit,
    Placed,
    Points,
    Resample,
    Run,
    Source,
    Top,
    ToVector,
    Units,
    Vector,
)
from interp_dsl.plan.memory import BYTES, NUMBERS
from interp_dsl.plan.metrics import needs
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import (
    BuildData,
    DataSize,
    Forward,
    KeepPairs,
    LoadModel,
    ModelSize,
    Place,
    SelfTest,
    Task,
    Variant,
)
from interp_dsl.plan.units import depends, steps_of
from interp_dsl.verbs.values import (
    Change,
    Context,
    Dataset,
    Model,
    Side,
    SourceTerm,
    Step,
    VectorTerm,
)

if TYPE_CHECKING:
    from interp_dsl.data.types import Data


def place_of(span: Span) -> Place:
    path = span.source.path
    return Place(str(path) if path else span.source.name, span.line, span.column)


@dataclass(eq=False)
class Lowering:
    """Collects the tasks of a plan in an order that runs.

    `before(step)` lowers a step whose results are needed, before the caller's tasks are added."""

    before: Callable[[str], None]
    steps: dict[str, Step]
    data: dict[tuple[int, str], Data | None]
    several_models: bool = False
    tasks: list[Task] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict)

    def add(self, task: Task) -> None:
        self.tasks.append(task)

    # ---- models, data, runs

    def model(self, model: Model) -> str:
        """The id of the model's task, added once."""
        if model.id not in self._known:
            self._known[model.id] = model.id
            self.add(
                LoadModel(
                    model.id,
                    model.name,
                    frozen(model.spec),
                    place_of(model.span),
                    model_size(model),
                )
            )
        return model.id

    def dataset(self, found: Dataset, model: Model) -> str:
        """The id of the data as this model reads it, added once with what it depends on."""
        name = f"data:{found.name}@{model.name}" if self.several_models else f"data:{found.name}"
        key = f"{id(found)}:{model.name}"
        if key in self._known:
            return self._known[key]
        self._known[key] = name
        owner = self.model(model)
        if found.writer is not None:
            self.model(found.writer)
        parent = self.dataset(found.parent, model) if found.parent else None
        if found.test is not None:
            self.require(steps_of(found.test))
        place, size = place_of(found.span), self._size(found, model)
        self.add(
            BuildData(name, found.name, frozen(found.spec), owner, parent, found.test, place, size)
        )
        return name

    def _size(self, found: Dataset, model: Model) -> DataSize | None:
        """As the checker built it; of what only the run reads, as far as the text tells."""
        if found.spec["kind"] in ("hub", "sampled"):
            return DataSize(found.spec["n"], found.spec["context"])
        return data_size(self.data.get((id(found), model.name)))

    def require(self, steps: Iterable[str]) -> None:
        """Lower the steps whose results the next task reads."""
        for name in steps:
            self.before(name)

    def run(self, side: Side, model: Model) -> Run:
        under = tuple(self.intervention(c, model, side) for c in side.under)
        built = self.built(side.dataset, model)
        name = built.first_side if side.is_default and built else side.side
        return Run(self.model(model), self.dataset(side.dataset, model), name, under)

    def reference(self, side: Side, model: Model) -> Run:
        """The undisturbed run that divergences are measured from."""
        built = self.built(side.dataset, model)
        single = side.side if side.side not in ("clean", "corrupt") else side.dataset.first_side
        first = built.first_side if built else single
        return Run(self.model(model), self.dataset(side.dataset, model), first)

    def built(self, found: Dataset, model: Model) -> Data | None:
        """The data as the checker made it, or that of which it is a part: their sides agree."""
        data = self.data.get((id(found), model.name))
        if data is None and found.parent is not None:
            return self.built(found.parent, model)
        return data

    def width(self, side: Side, model: Model) -> int | None:
        """The tokens of a side's prompts at most, as far as the text or the data at hand tells."""
        found = side.dataset
        built = self.built(found, model)
        if built is not None:
            return max(int(held.tokens.shape[1]) for held in built.sides.values())
        while found.parent is not None:
            found = found.parent
        if found.spec["kind"] == "task" and bundled_text(found.spec["name"]):
            from interp_dsl.data.tokens import CONTEXT

            return CONTEXT
        context: int | None = found.spec.get("context")
        return context

    def variant_run(self, side: Side, changes: tuple[Change, ...], model: Model) -> Run:
        """A side under the context of a step, on top of its own."""
        base = self.run(side, model)
        under = tuple(self.intervention(c, model, side) for c in changes)
        return Run(base.model, base.data, base.side, base.under + under)

    def variants(
        self,
        step: Step,
        contexts: Sequence[Context],
        into: Side,
        other: Run | None,
        reference: Run,
        own: tuple[Site, ...] = (),
    ) -> tuple[Variant, ...]:
        """A side as it is, or under each context of a step, measured; its sites `own` are kept."""
        assert step.model is not None
        found = []
        for context in contexts or (Context("", ()),):
            run = self.variant_run(into, context.changes, step.model)
            if own:
                self.forward(run, own)
            self.measured(run, step.metrics, reference)
            columns = (("under", context.name),) if contexts else ()
            found.append(Variant(run, other, columns))
        return tuple(found)

    # ---- interventions

    def intervention(self, change: Change, model: Model, into: Side) -> Intervention:
        """A change bound to a model, its forward passes asked for."""
        if change.source.kind == "moved":
            from interp_dsl.verbs.curves import moved

            return moved(change, model, into, self)
        self.require(depends(change.units.units))
        wanted = sites(change.units.units, self.steps)
        self.require(dict.fromkeys(fit_of(s.feature) for s in wanted if s.feature))
        own = tuple(dict.fromkeys(at for s in wanted for at in s.told_by))
        if change.source.kind == "times":
            change = replace(change, source=replace(change.source, side=change.source.side or into))
        source = self.source(change.source, model, own)
        along = tuple(self.vector(v, model) for v in change.along)
        return Intervention(change.units.units, source, along)

    def source(self, term: SourceTerm, model: Model, wanted: tuple[Site, ...] | None) -> Source:
        """A source, and a pass of its run that keeps the sites wanted; None for no pass."""
        match term.kind:
            case "zero":
                return algebra.Zero()
            case "constant":
                return algebra.Constant(term.number)
            case "noise":
                return algebra.Noise(term.number, term.seed)
            case "blocked":
                return algebra.Blocked()
            case "vector":
                assert term.vector is not None
                return ToVector(self.vector(term.vector, model))
        assert term.side is not None
        if term.kind == "times":
            term = replace(term, side=replace(term.side, under=()))
        assert term.side is not None
        run = self.run(term.side, model)
        if wanted is not None:
            self.forward(run, sites=wanted)
        match term.kind:
            case "mean":
                return Mean(run, term.per)
            case "times":
                return algebra.Times(term.number, run)
            case "resample":
                return Resample(run, term.seed)
        return FromRun(run)

    def vector(self, term: VectorTerm, model: Model) -> Vector:
        terms: list[tuple[float, Vector]] = []
        for coefficient, target, side in term.terms:
            if side is None:
                self.require([fit_of(str(target.site.feature))])
                of_model = replace(target, model=self.model(model))
                terms.append((coefficient, FeatureVector(of_model)))
                continue
            run = self.run(side, model)
            self.forward(run, sites=(target.site,))
            terms.append((coefficient, MeanVector(run, target)))
        if len(terms) == 1 and terms[0][0] == 1.0:
            return terms[0][1]
        return LinearVector(tuple(terms))

    # ---- forward passes

    def forward(
        self,
        run: Run,
        sites: tuple[Site, ...] = (),
        metrics: tuple[Metric, ...] = (),
        moments: tuple[Target, ...] = (),
    ) -> None:
        self.add(Forward(f"forward:{len(self.tasks)}", run, sites, metrics, moments=moments))

    def measured(self, run: Run, metrics: tuple[Metric, ...], reference: Run) -> None:
        """The passes that a measurement of `run` needs: itself, and the reference where a metric
        compares with it."""
        self.forward(run, metrics=metrics)
        self.referred(metrics, reference)

    def referred(self, metrics: tuple[Metric, ...], reference: Run) -> None:
        """The pass of the reference, where a metric compares with it."""
        if any("reference" in needs(m.term) for m in metrics):
            self.forward(reference)

    def checks(self, side: Side, model: Model) -> None:
        """The sanity tests of a model on a pair of sides, and what is kept for the screens."""
        found = side.dataset
        built = self.built(found, model)
        unknown = len(found.sides) > 2
        names = tuple(built.sides) if built else (side.side,) if unknown else found.sides
        runs = tuple(Run(self.model(model), self.dataset(found, model), s) for s in names)
        clean = next((r for r in runs if r.side == "clean"), runs[0])
        corrupt = next((r for r in runs if r.side == "corrupt"), None)
        self.add(SelfTest(f"selftest:{clean.data}", clean, corrupt))
        self.add(KeepPairs(f"keep:{clean.data}", clean.data, runs))


def fit_of(feature: str) -> str:
    """The step that fits the dictionary of a feature's site."""
    return feature.partition("[")[0]


def frozen(spec: dict[str, Any]) -> dict[str, Any]:
    """A specification with tuples for lists, as it comes back from JSON."""

    def freeze(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(freeze(v) for v in value)
        return frozen(value) if isinstance(value, dict) else value

    return {key: freeze(value) for key, value in spec.items()}


def model_size(model: Model) -> ModelSize | None:
    if model.facts is None:
        return None
    s = model.facts.shape
    return ModelSize(
        s.n_layers,
        s.n_heads,
        s.n_kv_heads,
        s.d_model,
        s.d_head,
        s.d_mlp,
        s.d_vocab_out,
        s.gated,
        s.causal,
        not (s.parallel or s.post_norms),
        NUMBERS.get(str(model.spec.get("dtype")), BYTES),
    )


def data_size(data: Data | None) -> DataSize | None:
    if data is None:
        return None
    width = max(side.tokens.shape[1] for side in data.sides.values())
    return DataSize(data.n, width, len(data.answer_tokens) or None)


def sites(units: Units, steps: dict[str, Step]) -> tuple[Site, ...]:
    """Every site that units may touch, in order; those of a step's units for `top(step)`."""
    return tuple(dict.fromkeys(_sites(units, steps)))


def _sites(units: Units, steps: dict[str, Step]) -> list[Site]:
    match units:
        case Explicit(units=items):
            return [t.site for u in items for t in u.targets]
        case Combined(op=op, left=left, right=right):
            return _sites(left, steps) + (_sites(right, steps) if op == "|" else [])
        case OfCircuit(step=step, part=part):
            if part == "edges":
                return [Site("edge")]
            model = steps[step].model
            shape = model.facts.shape if model is not None and model.facts else None
            return [t.site for t in (family(part, shape) if shape else None) or ()]
        case Top(step=step):
            ranked = steps[step].units
            return _sites(ranked, steps) if ranked is not None else []
        case (
            Filtered(units=inner) | Grouped(units=inner) | Placed(units=inner) | Points(units=inner)
        ):
            return _sites(inner, steps)
