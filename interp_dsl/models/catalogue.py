"""What models are at hand: those of the package, and those in the hub's cache. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import files
from interp_dsl.models.facts import checkpoint_facts, facts
from interp_dsl.models.files import bundled_names, bundled_steps
from interp_dsl.models.shape import Shape

__all__ = ["Entry", "bundled_names", "bundled_steps", "card", "catalogue"]


@dataclass(frozen=True)
class Entry:
    """A model at hand. `kind` is bundled or pretrained; `summary` is the card's own, empty for a
    cached one; `shape` is None where config.json does not say it; `has_weights` is false where
    only a part of a model was fetched."""

    kind: str
    name: str
    summary: str
    shape: Shape | None
    has_weights: bool
    folder: Path


def card(name: str) -> Mapping[str, Any]:
    """The model card of a bundled model. Raises InterpError E450 for an unknown name, E451 where
    its card is missing."""
    return files.read_json(files.bundled_files(name).folder / "card.json")


def catalogue() -> list[Entry]:
    """Bundled models, then the hub's cache, each sorted by name."""
    return [_bundled(name) for name in bundled_names()] + [
        _cached(name, snapshot) for name, snapshot in files.cached_models()
    ]


def _bundled(name: str) -> Entry:
    found = files.bundled_files(name)
    known = facts({"kind": "bundled", "name": name})
    shape = known.shape if known else None
    return Entry(
        "bundled",
        name,
        str(card(name).get("summary", "")),
        shape,
        found.tensors is not None,
        found.folder,
    )


def _cached(name: str, snapshot: Path) -> Entry:
    try:
        known = checkpoint_facts(snapshot, name)
    except InterpError:
        known = None  # a broken download is listed, without a shape
    shape = known.shape if known else None
    return Entry("pretrained", name, "", shape, files.has_weights(snapshot), snapshot)
