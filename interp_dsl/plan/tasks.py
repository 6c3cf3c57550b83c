"""The plan: tasks in an order that runs. Frozen, printable, comparable, serialisable."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from interp_dsl.plan.algebra import (
    Edges,
    Expression,
    Intervention,
    Metric,
    Run,
    Travel,
)
from interp_dsl.plan.circuits import (
    Attribute,
    AttributeEdges,
    Attribution,
    CircuitFile,
    CircuitOf,
    EvaluateCircuit,
    Search,
    Variant,
)
from interp_dsl.plan.dictionaries import (
    DictionaryOf,
    DictionaryTask,
    EvaluateDictionary,
    Fit,
    Fitted,
    Inspect,
    InspectWeights,
    Judged,
    LoadDictionary,
    Relate,
)
from interp_dsl.plan.factoring import Factor
from interp_dsl.plan.generation import Continuation, Generate
from interp_dsl.plan.node_circuits import EvaluateNodes, NodeTask, SearchNodes
from interp_dsl.plan.origin import Json, Place
from interp_dsl.plan.places import ALL, Positions, Site, Target
from interp_dsl.plan.starts import Packing

__all__ = [
    "Attribute",
    "AttributeEdges",
    "Attribution",
    "BuildData",
    "CircuitFile",
    "CircuitOf",
    "Claim",
    "Continuation",
    "DataSize",
    "DictionaryOf",
    "DictionaryTask",
    "Evaluate",
    "EvaluateCircuit",
    "EvaluateDictionary",
    "EvaluateNodes",
    "Factor",
    "Fit",
    "Fitted",
    "Forward",
    "Generate",
    "Inspect",
    "InspectWeights",
    "Json",
    "Judged",
    "KeepPairs",
    "LoadDictionary",
    "LoadModel",
    "ModelSize",
    "NodeTask",
    "Place",
    "Plan",
    "Record",
    "Relate",
    "Search",
    "SearchNodes",
    "SelfTest",
    "Step",
    "Sweep",
    "Task",
    "Variant",
    "View",
]


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What estimates need of a model, where its configuration is at hand when planning."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    is_gated: bool = False
    is_causal: bool = True
    is_sequential: bool = True
    """Does the MLP read the stream that attention has written to, as it has written it?"""
    number: int = 4
    """Bytes of a number."""


@dataclass(frozen=True, slots=True)
class DataSize:
    """`n` examples of at most `width` tokens; `answers`: how many tokens their answers, right and
    wrong, begin with, None where they have none."""

    n: int
    width: int
    answers: int | None = None


@dataclass(frozen=True, slots=True)
class LoadModel:
    """`spec` = {"kind": "bundled|pretrained|checkpoint|weights|python", "name": …, options}.
    Paths in it are absolute. "executor": "hooked" where only TransformerLens's hooks will do; the
    run chooses otherwise."""

    id: str
    name: str
    spec: dict[str, Json] = field(hash=False)
    place: Place | None = None
    size: ModelSize | None = None


@dataclass(frozen=True, slots=True)
class BuildData:
    """`spec` as data/build.py documents; `model` (a task id) gives the tokenizer and the
    vocabulary. A filter keeps examples of `parent` that satisfy `test`. Of the kind `sampled` the
    spec names the model (a task id) that writes the text."""

    id: str
    name: str
    spec: dict[str, Json] = field(hash=False)
    model: str | None = None
    parent: str | None = None
    test: Expression | None = None
    place: Place | None = None
    size: DataSize | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """One run of all examples: keeps the sites asked for, gathers the moments of places (their
    positions do not count: all real tokens but the first) and measures the metrics.
    `batch` is examples a pass. `remembers` (of starts.PARTS) is what late passes start from;
    `reads_few`: only positions that are read are unembedded; `reads_answers`: only the tokens that
    answers begin with; `stops` after the last site."""

    id: str
    run: Run
    sites: tuple[Site, ...] = ()
    metrics: tuple[Metric, ...] = ()
    batch: int | None = None
    remembers: tuple[str, ...] = ()
    reads_few: bool = False
    reads_answers: bool = False
    stops: bool = False
    moments: tuple[Target, ...] = ()

    @property
    def seen(self) -> tuple[Site, ...]:
        """The sites that are looked at as the passes go."""
        return tuple(dict.fromkeys((*self.sites, *(t.site for t in self.moments))))


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Patching a side into itself changes nothing; patching the whole residual stream from the
    other side gives the other side's outputs (only where the two sides align)."""

    id: str
    clean: Run
    corrupt: Run | None
    pairs: int = 8
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeepPairs:
    """For the screens: tokens, labels, attention patterns and the ten top logits at every position
    of both sides for the first `pairs` examples, within `budget` bytes."""

    id: str
    data: str
    runs: tuple[Run, ...]
    pairs: int = 8
    budget: int = 16_000_000


@dataclass(frozen=True, slots=True)
class Reach:
    """What curves along directions come to: where they reach thresholds, and how they compare with
    others: `against` are paths, each with the one that it is compared with."""

    thresholds: tuple[float, ...] = ()
    against: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Regions:
    """What curves from one end of a path to the other come to: how steep, where, how wide, how many
    jumps. Each curve is looked at more closely `rounds` times; a jump is steeper than `height`
    times a straight line; one whose change from end to end is `floor` or less is left out. `gates`:
    of which layers (none, last or all) the neurons are counted that change their sign on the way.
    `planes` prompts have a picture of `slice` by `slice` points on a plane through three
    activations."""

    rounds: int = 5
    height: float = 2.0
    floor: float = 1e-4
    gates: str = "none"
    slice: int = 0
    planes: int = 1


@dataclass(frozen=True, slots=True)
class Sweep:
    """Change one unit at a time and measure: the result is a score table named `step`.

    `packing` is what goes through the model at once. `late`: a pass starts at the layer that its
    units touch first, from what the run's own pass left. `trims`: at the first position that they
    touch; `narrow`: and computes only positions that differ, as long as others do not; `adds`: to
    what that layer's attention wrote adds what changed heads write. `reads_few`: only positions
    that are read are unembedded; `reads_answers`: only the tokens that answers begin with. `skips`:
    units that cannot have an effect are not run; their effect is exactly 0. `edges`: the units are
    edges and paths of this graph, changed as `travel` says; what a pass starts from and what stands
    in an edge that is out come from runs of the sweep's own. `curves`: the units are points of
    paths, and the result is a table of curves."""

    id: str
    step: str
    variants: tuple[Variant, ...]
    intervention: Intervention
    metrics: tuple[Metric, ...]
    reference: Run
    packing: Packing | None = None
    late: bool = False
    trims: bool = False
    narrow: bool = False
    adds: bool = False
    reads_few: bool = False
    reads_answers: bool = False
    skips: bool = False
    edges: Edges | None = None
    travel: Travel | None = None
    curves: Reach | Regions | None = None
    key: str | None = None
    place: Place | None = None

    @property
    def references(self) -> tuple[Run, ...]:
        """The run that divergences start from, of each model."""
        runs = (self.reference_of(variant.into) for variant in self.variants)
        return tuple(dict.fromkeys(runs))

    def reference_of(self, run: Run) -> Run:
        """The run that divergences of another start from: of that one's model."""
        if run.model == self.reference.model:
            return self.reference
        return replace(self.reference, model=run.model, data=run.data)


@dataclass(frozen=True, slots=True)
class Evaluate:
    """The metrics of a model on a side, plain or under interventions: values only."""

    id: str
    step: str
    variants: tuple[Variant, ...]
    metrics: tuple[Metric, ...]
    reference: Run
    key: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Activations of N examples kept for looking at."""

    id: str
    step: str
    run: Run
    targets: tuple[Target, ...]
    positions: Positions = ALL
    keep: int = 8
    key: str | None = None
    place: Place | None = None


Step = (
    Sweep
    | Evaluate
    | Record
    | Search
    | EvaluateCircuit
    | Attribute
    | AttributeEdges
    | Factor
    | Generate
    | NodeTask
    | DictionaryTask
)
"""Tasks that leave the results of a step."""
Task = LoadModel | BuildData | Forward | SelfTest | KeepPairs | Step


@dataclass(frozen=True, slots=True)
class Claim:
    """`text` as written; `test` evaluated on the finished tables."""

    text: str
    test: Expression
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What the screens open with: a step and a form."""

    step: str
    form: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`seed` drives the bootstrap; `notes` are what the passes and the lowering want said."""

    tasks: tuple[Task, ...]
    claims: tuple[Claim, ...] = ()
    views: tuple[View, ...] = ()
    params: tuple[tuple[str, Json], ...] = ()
    seed: int = 0
    device: str = "auto"
    notes: tuple[str, ...] = ()
