"""What can be seen of a run, and under which key. The tabs, the jump keys and the command palette
all read this list; a view's screen is imported when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from interp_dsl.plan.generation import Generate
from interp_dsl.plan.tasks import Factor, Regions, Relate, Search, SearchNodes, Sweep, Task
from interp_dsl.runs.features import Read, dictionaries
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.parts import names_columns
from interp_dsl.runs.samples import sample_steps
from interp_dsl.tui.plans import read_plan

if TYPE_CHECKING:
    from interp_dsl.tui.base import RunScreen


def nothing_missing(folder: RunFolder) -> str | None:
    """For a view that always has something to show."""
    return None


def concerns_all(folder: RunFolder) -> bool:
    """For a view of any run."""
    return True


@dataclass(frozen=True, slots=True)
class View:
    """`concerns`: whether it is a view for this run at all. `missing` says in a sentence why a run
    has nothing to show here, None where it has. Both must be cheap, for all views are asked
    whenever a run moves on: names of files, no tables."""

    name: str
    key: str
    title: str
    about: str
    screen: Callable[[RunFolder], RunScreen]
    missing: Callable[[RunFolder], str | None] = nothing_missing
    concerns: Callable[[RunFolder], bool] = concerns_all


def _screen(module: str, name: str) -> Callable[[RunFolder], RunScreen]:
    def make(folder: RunFolder) -> RunScreen:
        made: Any = getattr(import_module(f"interp_dsl.tui.{module}"), name)
        screen: RunScreen = made(folder)
        return screen

    return make


def _no_table(folder: RunFolder) -> str | None:
    if folder.steps or folder.unfinished:
        return None
    return "no shard of a step has ended yet; its rows will be here"


def _no_circuit(folder: RunFolder) -> str | None:
    if any(folder.path.glob("*.circuit.json")):
        return None
    tasks = _tasks(folder)
    if not tasks or any(isinstance(task, Search) for task in tasks):
        return "no search has found a circuit yet; it will be here"
    nodes = [task.step for task in tasks if isinstance(task, SearchNodes)]
    if nodes:
        return f"{nodes[0]} searches nodes: its table says which are kept; edges alone are drawn"
    return "no step of this run searches for a circuit; one that does: search edges by acdc(…) …"


def _no_pairs(folder: RunFolder) -> str | None:
    if any((folder.path / "tensors").glob("pairs.*.safetensors")):
        return None
    return "no prompts are kept yet; the first pairs of each dataset will be here"


def _no_curves(folder: RunFolder) -> str | None:
    tables = (folder.path / "tables").glob("*.parquet")
    if any(names_columns(path, "direction", "length", "q25") for path in tables):
        return None
    return "no step of perturb or interpolate has ended; its curves will be here"


def _has_curves(folder: RunFolder) -> bool:
    planned = any(isinstance(t, Sweep) and t.curves is not None for t in _tasks(folder))
    return planned or _no_curves(folder) is None


def _has_spectra(folder: RunFolder) -> bool:
    planned = any(isinstance(task, Factor) for task in _tasks(folder))
    return planned or _no_spectra(folder) is None


def _tasks(folder: RunFolder) -> tuple[Task, ...]:
    plan = read_plan(folder)
    return plan.tasks if plan else ()


def _no_spectra(folder: RunFolder) -> str | None:
    if any(step.endswith((".spectrum", ".ranks")) for step in folder.steps):
        return None
    return "no step of factor has ended; its spectra and modules will be here"


def _no_planes(folder: RunFolder) -> str | None:
    if any(step.endswith(".planes") for step in folder.steps):
        return None
    return "no step of interpolate with a slice has ended; its planes will be here"


def _has_planes(folder: RunFolder) -> bool:
    drawing = (t.curves for t in _tasks(folder) if isinstance(t, Sweep))
    planned = any(isinstance(regions, Regions) and regions.slice for regions in drawing)
    return planned or _no_planes(folder) is None


def _no_relations(folder: RunFolder) -> str | None:
    tables = (folder.path / "tables").glob("*.pairs.parquet")
    if any(names_columns(path, "below", "above", "lift") for path in tables):
        return None
    return "no step of relate has ended; the features that it relates will be here"


def _has_relations(folder: RunFolder) -> bool:
    planned = any(isinstance(task, Relate) for task in _tasks(folder))
    return planned or _no_relations(folder) is None


def _has_dictionaries(folder: RunFolder) -> bool:
    return bool(_read(folder))


def _no_features(folder: RunFolder) -> str | None:
    found = _read(folder)
    if not found:
        return "this run neither fits nor reads a dictionary"
    if any(one.examples or one.densities for one in found):
        return None
    return f"no step has read features yet; this one would: {found[0].remedy('examples')}"


def _read(folder: RunFolder) -> list[Read]:
    plan = read_plan(folder)
    return dictionaries(plan, folder) if plan else []


def _has_samples(folder: RunFolder) -> bool:
    planned = any(isinstance(task, Generate) for task in _tasks(folder))
    return planned or _no_samples(folder) is None


def _no_samples(folder: RunFolder) -> str | None:
    if sample_steps(folder):
        return None
    return "no step of generate has ended; its texts will be here"


def _no_other(folder: RunFolder) -> str | None:
    if not folder.steps:
        return "no step has ended yet; there is nothing to compare"
    beside = (path for path in folder.path.parent.iterdir() if path.name != folder.path.name)
    if not any((path / "tables").is_dir() for path in beside):
        return "there is no other run beside this one; run the file once more, with --fresh"
    return None


_MAPS, _CIRCUIT = ("screens.maps", "MapsScreen"), ("screens.circuit", "CircuitScreen")
_PROMPT = ("screens.prompt", "PromptScreen")
_CURVES = ("screens.curves", "CurvesScreen")
_SPECTRA = ("screens.spectra", "SpectraScreen")
_PLANES = ("screens.planes", "PlanesScreen")
_RELATIONS = ("screens.relations", "RelationsScreen")
_FEATURES = ("screens.features", "FeaturesScreen")
_COMPARE = ("screens.compare", "CompareScreen")

VIEWS: tuple[View, ...] = (
    View("watch", "w", "Watch", "tasks, curves, claims", _screen("screens.watch", "WatchScreen")),
    View("rank", "r", "Rank", "tables of steps", _screen("screens.rank", "RankScreen"), _no_table),
    View("maps", "m", "Maps", "scores as a grid", _screen(*_MAPS), _no_table),
    View("circuit", "c", "Circuit", "edges that a search found", _screen(*_CIRCUIT), _no_circuit),
    View(
        "curves", "b", "Curves", "effects over lengths", _screen(*_CURVES), _no_curves, _has_curves
    ),
    View(
        "spectra",
        "n",
        "Spectra",
        "bases, ranks, modules",
        _screen(*_SPECTRA),
        _no_spectra,
        _has_spectra,
    ),
    View(
        "planes",
        "z",
        "Planes",
        "outputs on a plane",
        _screen(*_PLANES),
        _no_planes,
        _has_planes,
    ),
    View("prompt", "p", "Prompt", "tokens, attention, logits", _screen(*_PROMPT), _no_pairs),
    View(
        "features",
        "i",
        "Features",
        "on what a dictionary's features fire",
        _screen(*_FEATURES),
        _no_features,
        _has_dictionaries,
    ),
    View(
        "relations",
        "a",
        "Relations",
        "features across layers",
        _screen(*_RELATIONS),
        _no_relations,
        _has_relations,
    ),
    View(
        "samples",
        "S",
        "Samples",
        "texts written, plain and steered",
        _screen("screens.samples", "SamplesScreen"),
        _no_samples,
        _has_samples,
    ),
    View("compare", "d", "Diff", "beside another run", _screen(*_COMPARE), _no_other),
    View("plan", "l", "Plan", "text and plan", _screen("screens.plan", "PlanScreen")),
    View("log", "g", "Log", "what it has said", _screen("screens.log", "LogScreen")),
    View("runs", "u", "Runs", "the runs beside it", _screen("screens.runs", "RunsScreen")),
)


def view(name: str) -> View:
    """The view of a name; KeyError where there is none."""
    return {one.name: one for one in VIEWS}[name]
