"""Tasks about sparse dictionaries: fitting them, judging them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.origin import Json, Place
from interp_dsl.plan.places import Site, Target, Unit


@dataclass(frozen=True, slots=True)
class Fitted:
    """One dictionary of a fit: of all of a target's site, or of its index alone. A transcoder reads
    these and rebuilds those of `onto`; a crosscoder reads and rebuilds those of `others` as well,
    side by side, those of one model together. `label` tells it from its neighbours (`L8`, `k=32`),
    empty where it stands alone. `options` are all of its architecture's, none left open. `d_in` and
    `d_out`, None where it is no other than `d_in`, are of all that is read and rebuilt; None where
    the model's sizes are not at hand. `downstream`: the streams that later layers read, where these
    too are to be what they are."""

    label: str
    target: Target
    architecture: str
    options: tuple[tuple[str, Json], ...]
    d_in: int | None = None
    onto: Target | None = None
    d_out: int | None = None
    others: tuple[Target, ...] = ()
    downstream: tuple[Site, ...] = ()

    @property
    def read(self) -> tuple[Target, ...]:
        """The activations that are encoded, side by side."""
        return (self.target, *self.others)

    @property
    def rebuilt(self) -> tuple[Target, ...]:
        """The activations that are decoded to, side by side."""
        return self.read if self.onto is None else (self.onto,)

    @property
    def models(self) -> tuple[str | None, ...]:
        """The models whose places it reads, (None,) for that of the run alone."""
        return tuple(dict.fromkeys(target.model for target in self.read))

    @property
    def parts(self) -> tuple[tuple[Target, ...], ...]:
        """What it rebuilds, of each model apart."""
        return tuple(tuple(t for t in self.rebuilt if t.model == m) for m in self.models)

    @property
    def d_rebuilt(self) -> int | None:
        """The width of what is rebuilt."""
        return self.d_in if self.onto is None else self.d_out

    @property
    def is_plain(self) -> bool:
        """Whether it is of one place, which it rebuilds itself."""
        return self.onto is None and not self.others

    @property
    def place(self) -> str:
        """What it is of, as the language writes it: `L3.mlp_in to L3.mlp`."""
        own = Unit(self.read).place
        return own if self.onto is None else f"{own} to {self.onto.place}"

    def features(self, step: str) -> Site:
        """The site of its features, of the dictionary that `step` fits."""
        name = f"{step}[{self.label}]" if self.label else step
        own, part = self.target.site, self.target.index
        onto = None if self.onto is None else _place(self.onto)
        others = tuple(map(_place, self.others))
        return Site("feature", own.layer, None, None, name, own.kind, part, onto, others)

    def errors(self, step: str) -> Site:
        """The site of what it leaves unexplained."""
        return replace(self.features(step), kind="error")

    @property
    def given(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self.options)

    def option(self, name: str) -> Any:
        """The value of an option that this architecture has."""
        return self.given[name]


def _place(target: Target) -> Site:
    return replace(target.site, part=target.index)


SitesOf = dict[Run, tuple[Site, ...]]
"""The sites that are read of runs."""


def sites_of(runs: tuple[Run, ...], targets: Iterable[Target]) -> SitesOf:
    """The sites of targets by run: that of a target's model, the first where it names none."""
    found: dict[Run, dict[Site, None]] = {}
    for target in targets:
        found.setdefault(run_of(runs, target), {})[target.site] = None
    return {run: tuple(sites) for run, sites in found.items()}


def run_of(runs: tuple[Run, ...], target: Target) -> Run:
    """The run that a target is read in."""
    return next((run for run in runs if run.model == target.model), runs[0])


@dataclass(frozen=True, slots=True)
class Fit:
    """Fit dictionaries to `tokens` activations of a run, all from one pass that ends after the last
    of their sites: the result is a table of the training curves and the dictionaries' tensors.

    Activations come in blocks of `buffer` rows that are shuffled as a whole and used `inputs` at a
    time; `batch` prompts go through the model at once. `width`: the tokens of a prompt, where the
    text says it. `store`: a folder in which the activations of all the data are kept, and read
    where they are there already; `stored_by`: the earlier step of this plan that keeps them.
    `objective`: mse, or end to end kl or ce, whose steps take whole prompts: the first n of them
    learn from n × `inputs` tokens, and what is left of a prompt. `workers`: processes that each
    take a part of every step. `beside`: the like runs of further models whose places are read."""

    id: str
    step: str
    run: Run
    dictionaries: tuple[Fitted, ...]
    tokens: int
    inputs: int
    buffer: int
    seed: int = 0
    width: int | None = None
    batch: int | None = None
    store: str | None = None
    stored_by: str | None = None
    objective: str = "mse"
    workers: int = 1
    key: str | None = None
    place: Place | None = None
    beside: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return (self.run, *self.beside)

    @property
    def steps(self) -> int:
        """Training steps, as many as learn from `tokens` activations at least."""
        return -(-self.tokens // self.inputs)

    @property
    def learned(self) -> int:
        """Activations that its steps learn from; end to end, what is left of a prompt more."""
        return self.steps * self.inputs

    @property
    def downstream(self) -> tuple[Site, ...]:
        """The streams behind any of its dictionaries that are to be what they are."""
        return tuple(dict.fromkeys(site for d in self.dictionaries for site in d.downstream))

    @property
    def looks_ahead(self) -> bool:
        """Whether there is a next block that may be made while one is learned from."""
        has_next = self.buffer < self.learned
        return has_next and self.objective == "mse" and self.workers == 1

    @property
    def sites(self) -> SitesOf:
        return sites_of(self.runs, self.targets)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The activations that dictionaries read and rebuild, each once."""
        return _ends(self.dictionaries)


@dataclass(frozen=True, slots=True)
class LoadDictionary:
    """Read a dictionary from the folder of another library: the result is a table of one row that
    says what it is, and its tensors, as of a fit."""

    id: str
    step: str
    folder: str
    fitted: Fitted
    key: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class DictionaryOf:
    """Dictionaries that a step has fitted or loaded."""

    step: str
    fitted: tuple[Fitted, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """As the language writes them: `sae`, `sae[L1, k=8]`."""
        return tuple(f"{self.step}[{f.label}]" if f.label else self.step for f in self.fitted)


BY_MODEL = (
    "mse", "fvu", "explained_variance", "cosine", "l2_ratio", "ce_loss_score", "loss_recovered",
    "kl_div_score", "exclusive",
)  # fmt: skip
"""Measures that are told of each model apart where a dictionary is of several: those of what is
rebuilt, and of whose features are. All others are of its features."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A measure of a dictionary, under the name that the tables use; `reference` is the one that it
    is compared with."""

    name: str
    function: str
    arguments: tuple[tuple[str, Json], ...] = ()
    reference: DictionaryOf | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The arguments by name."""
        return dict(self.arguments)

    @property
    def is_by_model(self) -> bool:
        """Whether it is told of each model apart."""
        return self.function in BY_MODEL

    @property
    def compared(self) -> tuple[Target, ...]:
        """What is read for the reference's own features."""
        if self.reference is None or self.function == "mmcs":
            return ()
        return _ends(self.reference.fitted, rebuilt=False)


@dataclass(frozen=True, slots=True)
class EvaluateDictionary:
    """How well dictionaries do on a run: a score table named `step`, a row a dictionary and
    measure. `splices`: measures ask for passes with the reconstruction in the activation's place.
    `width`, `batch` and `beside` as of a fit."""

    id: str
    step: str
    run: Run
    of: DictionaryOf
    measures: tuple[Judged, ...]
    splices: bool = False
    width: int | None = None
    batch: int | None = None
    key: str | None = None
    place: Place | None = None
    beside: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return (self.run, *self.beside)

    @property
    def sites(self) -> SitesOf:
        return sites_of(self.runs, self.read)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The activations that dictionaries read and rebuild, each once."""
        return _ends(self.of.fitted)

    @property
    def rebuilt(self) -> tuple[tuple[Target, ...], ...]:
        """What is taken out and put back together, each once."""
        return tuple(dict.fromkeys(part for d in self.of.fitted for part in d.parts))

    @property
    def read(self) -> tuple[Target, ...]:
        """All activations that are read, those of references too."""
        compared = (t for m in self.measures for t in m.compared)
        return tuple(dict.fromkeys((*self.targets, *compared)))


@dataclass(frozen=True, slots=True)
class Inspect:
    """What the data say of features of a dictionary: a table named `step`. `features`: these alone,
    None for all. `options` are all of the method's. `width`, `batch` and `beside` as of a fit."""

    id: str
    step: str
    run: Run
    of: DictionaryOf
    features: tuple[int, ...] | None
    method: str
    options: tuple[tuple[str, Json], ...]
    width: int | None = None
    batch: int | None = None
    key: str | None = None
    place: Place | None = None
    beside: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        return (self.run, *self.beside)

    @property
    def sites(self) -> SitesOf:
        return sites_of(self.runs, self.read)

    @property
    def read(self) -> tuple[Target, ...]:
        """The activations that are read; of a feature that is taken out also where it writes."""
        return _ends(self.of.fitted, rebuilt=self.method == "ablation")

    @property
    def given(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self.options)


@dataclass(frozen=True, slots=True)
class InspectWeights:
    """What the weights alone say of features of a dictionary: a table named `step`. The rest as of
    Inspect."""

    id: str
    step: str
    model: str
    of: DictionaryOf
    features: tuple[int, ...] | None
    method: str
    options: tuple[tuple[str, Json], ...]
    key: str | None = None
    place: Place | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self.options)


@dataclass(frozen=True, slots=True)
class Relate:
    """How the features of dictionaries, from the lowest layer to the highest, go with those of the
    next: a score table named `step`, with further tables behind its name. `options` are all of the
    method's. `rows` lower features are related with all upper ones in one pass over the data;
    `width` and `batch` as of a fit."""

    id: str
    step: str
    run: Run
    of: tuple[DictionaryOf, ...]
    method: str
    options: tuple[tuple[str, Json], ...]
    rows: int
    width: int | None = None
    batch: int | None = None
    key: str | None = None
    place: Place | None = None

    @property
    def fitted(self) -> tuple[Fitted, ...]:
        """The dictionaries, one a place."""
        return tuple(fitted for of in self.of for fitted in of.fitted)

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(fitted.target.site for fitted in self.fitted)

    @property
    def given(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self.options)


def _ends(fitted: tuple[Fitted, ...], rebuilt: bool = True) -> tuple[Target, ...]:
    """What dictionaries read, and rebuild, each place once."""
    found = (t for d in fitted for t in (*d.read, *(d.rebuilt if rebuilt else ())))
    return tuple(dict.fromkeys(found))


DictionaryTask = Fit | LoadDictionary | EvaluateDictionary | Inspect | InspectWeights | Relate
"""Steps that pass their data, where they have any, through the model themselves."""
