"""What can be seen of a run, and under which key. The tabs, the jump keys and the command palette
all read this list; a view's screen is imported when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    from interp_dsl.tui.base import RunScreen


def nothing_missing(folder: RunFolder) -> str | None:
    """For a view that always has something to show."""
    return None


@dataclass(frozen=True, slots=True)
class View:
    """`missing` says in a sentence why a run has nothing to show here, None where it has; it must
    be cheap, for all views are asked whenever a run moves on: names of files, no tables."""

    name: str
    key: str
    title: str
    about: str
    screen: Callable[[RunFolder], RunScreen]
    missing: Callable[[RunFolder], str | None] = nothing_missing


def _screen(module: str, name: str) -> Callable[[RunFolder], RunScreen]:
    def make(folder: RunFolder) -> RunScreen:
        made: Any = getattr(import_module(f"interp_dsl.tui.{module}"), name)
        screen: RunScreen = made(folder)
        return screen

    return make


def _no_table(folder: RunFolder) -> str | None:
    if folder.steps:
        return None
    return "no step has ended yet; its table will be here"


def _no_circuit(folder: RunFolder) -> str | None:
    if any(folder.path.glob("*.circuit.json")):
        return None
    return "no search has found a circuit yet; it will be here"


def _no_pairs(folder: RunFolder) -> str | None:
    if any((folder.path / "tensors").glob("pairs.*.safetensors")):
        return None
    return "no prompts are kept yet; the first pairs of each dataset will be here"


VIEWS: tuple[View, ...] = (
    View("watch", "w", "Watch", "tasks, curves, claims", _screen("screens.watch", "WatchScreen")),
    View("rank", "r", "Rank", "tables", _screen("screens.rank", "RankScreen"), _no_table),
    View("maps", "m", "Maps", "scores as a grid", _screen("screens.maps", "MapsScreen"), _no_table),
    View(
        "circuit",
        "c",
        "Circuit",
        "the edges that a search found",
        _screen("screens.circuit", "CircuitScreen"),
        _no_circuit,
    ),
    View(
        "prompt",
        "p",
        "Prompt",
        "tokens, attention, next tokens",
        _screen("screens.prompt", "PromptScreen"),
        _no_pairs,
    ),
)


def view(name: str) -> View:
    """The view of a name; KeyError where there is none."""
    return {one.name: one for one in VIEWS}[name]
