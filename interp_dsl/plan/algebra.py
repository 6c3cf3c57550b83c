"""The waist of the system: one algebra of interventions under every verb.

An intervention is (site, index, positions, span, operation, source). Verbs lower to it, the engine
runs it. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.plan.paths import Moved
from interp_dsl.plan.places import Length, Positions, Site, Target, Unit

# ---- runs: a forward pass of one side


@dataclass(frozen=True, slots=True)
class Run:
    """A model on one side of a dataset, under interventions that hold throughout.

    `model` and `data` are task ids; `side` is a name such as clean, corrupt or the data's own."""

    model: str
    data: str
    side: str
    under: tuple[Intervention, ...] = ()


# ---- vectors


@dataclass(frozen=True, slots=True)
class MeanVector:
    """Mean over examples and positions of one place: a vector [width]. (`index` as in Target.)"""

    run: Run
    target: Target


@dataclass(frozen=True, slots=True)
class LinearVector:
    """The sum of coefficient x vector."""

    terms: tuple[tuple[float, Vector], ...]


@dataclass(frozen=True, slots=True)
class FileVector:
    """The tensor `name`, [width], of a safetensors file that held the bytes of this sha256."""

    path: str
    sha256: str
    name: str
    width: int


@dataclass(frozen=True, slots=True)
class FeatureVector:
    """The decoder's row of a dictionary's feature, [width]; `target.model` has the dictionary."""

    target: Target


Vector = MeanVector | LinearVector | FileVector | FeatureVector

# ---- sources: what a place is set to


@dataclass(frozen=True, slots=True)
class FromRun:
    """The same place in another run, example by example, position by corresponding position.
    In the target's own run (`run == into`) it changes nothing."""

    run: Run


@dataclass(frozen=True, slots=True)
class Zero:
    pass


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean over the examples of a run. `per`: position (by token index; prompts must align),
    template (by template and index), label (by the label's k-th token, the rest by index is an
    error), token (over examples and positions with the same token id), all (one vector for all)."""

    run: Run
    per: str = "position"


@dataclass(frozen=True, slots=True)
class Resample:
    """The same place in the run of another, randomly drawn example (never the example itself);
    one draw an example, the same for all units."""

    run: Run
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Noise:
    """The base value plus independent Gaussian noise of standard deviation `std`, drawn by
    (seed, site, example), the same for all units."""

    std: float
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Constant:
    """Every coordinate set to a number."""

    value: float


@dataclass(frozen=True, slots=True)
class Times:
    """Of features: so many times the largest that each is in a run, the first tokens of prompts
    left out."""

    value: float
    run: Run


@dataclass(frozen=True, slots=True)
class ToVector:
    """Set to a vector of the site's width."""

    vector: Vector


@dataclass(frozen=True, slots=True)
class Blocked:
    """Attention knockout: the pattern's entry is taken out before the softmax."""


Source = FromRun | Zero | Mean | Resample | Noise | Constant | Times | ToVector | Blocked | Moved

# ---- units that may wait for a result


@dataclass(frozen=True, slots=True)
class Explicit:
    """Units known when the plan is made; may hold `each` positions until the data is there."""

    units: tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Combined:
    """`|`, `&` or `-` of two sets; order of the left, then of the right."""

    op: str
    left: Units
    right: Units


@dataclass(frozen=True, slots=True)
class Filtered:
    """The units whose row satisfies a test; ScoreOf(unit=None) in it is the unit's own row."""

    units: Units
    test: Expression


@dataclass(frozen=True, slots=True)
class Top:
    """The n units of a step with the largest `by` (|by| when absolute), best first. `features`:
    the sites of features and errors among its units, which their names do not tell."""

    step: str
    n: int
    metric: str
    column: str = "effect"
    absolute: bool = True
    features: tuple[Site, ...] = ()


@dataclass(frozen=True, slots=True)
class Grouped:
    """together: one unit of all; pairs: every two; windows: each run of `size` consecutive layers;
    growing: the cumulative series, ordered by `by` (largest first) where given."""

    how: str
    units: Units
    size: int | None = None
    by: Expression | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Every unit at each of the positions in turn."""

    units: Units
    positions: tuple[Positions, ...]


@dataclass(frozen=True, slots=True)
class OfCircuit:
    """The `heads`, `nodes` or `edges` of the circuit that a step finds, in the order in which they
    run. `threshold` says which, where the step finds several."""

    step: str
    part: str
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """Each unit at every point of every path: `paths` are names, and how many directions each
    has."""

    units: Units
    paths: tuple[tuple[str, int], ...]
    lengths: tuple[Length, ...]


Units = Explicit | Combined | Filtered | Top | Grouped | Placed | OfCircuit | Points

# ---- interventions


@dataclass(frozen=True, slots=True)
class Intervention:
    """Set `units` to `source`. In a sweep one unit at a time; in `Run.under` all at once.
    `along` restricts the change to the span of vectors. `through_z`: heads are changed at their z,
    where that is the same (their output is z W_O, linear in z)."""

    units: Units
    source: Source
    along: tuple[Vector, ...] = ()
    through_z: bool = False

    def site(self, target: Target) -> Site:
        """The site at which a target is changed, and, of all but features and errors, at which its
        source is captured."""
        if self.through_z and target.site.kind == "head":
            return Site("z", target.site.layer)
        return target.site.written


# ---- expressions over results: claims, filters


@dataclass(frozen=True, slots=True)
class Literal:
    value: float | str | bool | None


@dataclass(frozen=True, slots=True)
class ScoreOf:
    """A column of a step's table. `unit`/`position` None: the row in question, or the only one.
    `where` fixes further columns (a sweep's parameter, `under`, `side`); None is null."""

    step: str
    metric: str
    column: str
    unit: str | None = None
    position: str | None = None
    where: tuple[tuple[str, float | str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnOf:
    """A dataset's own column for the example in question; `index` is its number."""

    name: str


@dataclass(frozen=True, slots=True)
class SetOfUnits:
    """The units as a set of strings; for size, jaccard, ==, in."""

    units: Units


@dataclass(frozen=True, slots=True)
class Operation:
    """`op`: or and not == != < <= > >= in `not in` within + - * / neg abs size jaccard set."""

    op: str
    operands: tuple[Expression, ...]


Expression = Literal | ScoreOf | ColumnOf | SetOfUnits | Operation


# ---- metrics


@dataclass(frozen=True, slots=True)
class MetricCall:
    """A metric function with its keyword arguments; `at` None reads the answer position. `site`:
    the place whose distance is measured, None for the stream behind the last block."""

    function: str
    arguments: tuple[tuple[str, float | str | bool | None], ...] = ()
    at: Positions | None = None
    site: Site | None = None


@dataclass(frozen=True, slots=True)
class MetricSum:
    """Arithmetic of metrics, per example: `op` is + - * / neg."""

    op: str
    operands: tuple[MetricTerm, ...]


MetricTerm = MetricCall | MetricSum | Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """A number per example under the name that the tables use."""

    name: str
    term: MetricTerm


# ---- circuits


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of a model's graph: `split_qkv`, whether a head's queries, keys and values read
    apart; `split_embed`, whether the embeddings of tokens and positions write apart."""

    split_qkv: bool = True
    split_embed: bool = False


@dataclass(frozen=True, slots=True)
class Travel:
    """How what an edge changes travels: `through` nodes of these kinds (heads, mlps) between a
    sender and its receiver too; what of `freeze` (patterns, norms) stays as in the measured run,
    at every node that is computed anew."""

    through: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What says how good a circuit is, under the name that the tables use: a function of
    verbs/methods.py with its arguments, of a metric, or (`function` None) the metric itself."""

    name: str
    metric: Metric
    function: str | None = None
    arguments: tuple[tuple[str, float | str | bool | None], ...] = ()
