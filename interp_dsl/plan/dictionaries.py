"""Tasks about sparse dictionaries: fitting them, judging them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.origin import Json, Place
from interp_dsl.plan.places import Site, Target


@dataclass(frozen=True, slots=True)
class Fitted:
    """One dictionary of a fit: of all of a target's site, or of its index alone. `label` tells it
    from its neighbours (`L8`, `k=32`), empty where it stands alone. `options` are all of its
    architecture's, none left open. `d_in` is None where the model's sizes are not at hand."""

    label: str
    target: Target
    architecture: str
    options: tuple[tuple[str, Json], ...]
    d_in: int | None = None

    def features(self, step: str) -> Site:
        """The site of its features, of the dictionary that `step` fits."""
        name = f"{step}[{self.label}]" if self.label else step
        own, part = self.target.site, self.target.index
        return Site("feature", own.layer, feature=name, of=own.kind, part=part)

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


@dataclass(frozen=True, slots=True)
class Fit:
    """Fit dictionaries to `tokens` activations of a run, all from one pass that ends after the last
    of their sites: the result is a table of the training curves and the dictionaries' tensors.

    Activations come in blocks of `buffer` rows that are shuffled as a whole and used `inputs` at a
    time; `batch` prompts go through the model at once. `width`: the tokens of a prompt, where the
    text says it."""

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
    key: str | None = None
    place: Place | None = None

    @property
    def steps(self) -> int:
        """Training steps; what does not fill the last of them is left out."""
        return self.tokens // self.inputs

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(dict.fromkeys(d.target.site for d in self.dictionaries))

    @property
    def targets(self) -> tuple[Target, ...]:
        """The activations that dictionaries are fitted to, each once."""
        return tuple(dict.fromkeys(d.target for d in self.dictionaries))


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
    def compared(self) -> tuple[Target, ...]:
        """What is read for the reference's own features."""
        if self.reference is None or self.function == "mmcs":
            return ()
        return tuple(f.target for f in self.reference.fitted)


@dataclass(frozen=True, slots=True)
class EvaluateDictionary:
    """How well dictionaries do on a run: a score table named `step`, a row a dictionary and
    measure. `splices`: measures ask for passes with the reconstruction in the activation's place.
    `width` and `batch` as of a fit."""

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

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(dict.fromkeys(t.site for t in self.read))

    @property
    def targets(self) -> tuple[Target, ...]:
        """The activations that dictionaries are of, each once."""
        return tuple(dict.fromkeys(d.target for d in self.of.fitted))

    @property
    def read(self) -> tuple[Target, ...]:
        """All activations that are read, those of references too."""
        compared = (t for m in self.measures for t in m.compared)
        return tuple(dict.fromkeys((*self.targets, *compared)))


@dataclass(frozen=True, slots=True)
class Inspect:
    """What the data say of features of a dictionary: a table named `step`. `features`: these alone,
    None for all. `options` are all of the method's. `width` and `batch` as of a fit."""

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

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(d.target.site for d in self.of.fitted)

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


DictionaryTask = Fit | LoadDictionary | EvaluateDictionary | Inspect | InspectWeights | Relate
"""Steps that pass their data, where they have any, through the model themselves."""
