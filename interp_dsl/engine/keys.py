"""Keys: what a step's results depend on, as one hash. Equal keys, equal results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from interp_dsl.engine.loaded import fingerprint_of
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import run_of
from interp_dsl.plan.places import Target
from interp_dsl.plan.serialise import to_data
from interp_dsl.plan.tasks import Step, Sweep
from interp_dsl.runs.versions import versions

_IRRELEVANT = ("id", "step", "key", "place", "packing", "batch", "store", "stored_by")
_VERSIONS = ("torch", "transformer_lens", "interp_dsl")


def step_key(task: Step, seed: int, ids: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """sha256 of the task with models, data and folders of dictionaries as fingerprints (`ids`: task
    id to fingerprint) and the steps it reads as their own keys, of the seed, and of the versions of
    what computes. A name, a place in the text and the packing do not count; the shards do, as parts
    have the key. KeyError where a model, data or step is not there yet."""
    data = {k: v for k, v in to_data(task).items() if k not in _IRRELEVANT}
    if isinstance(task, Sweep) and task.packing:
        data["shard"] = task.packing.shard
    about = {
        "task": _resolved(data, ids, keys),
        "seed": seed,
        "versions": {name: versions()[name] for name in _VERSIONS},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def activations_key(
    runs: tuple[Run, ...], target: Target, ids: Mapping[str, str], keys: Mapping[str, str]
) -> str:
    """sha256 of what activations depend on: model, data and interventions of the run that a target
    is read in, and the place."""
    about = {
        "run": _resolved(to_data(run_of(runs, target)), ids, keys),
        "target": to_data(replace(target, model=None)),
        "versions": {name: versions()[name] for name in _VERSIONS},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _resolved(data: Any, ids: Mapping[str, str], keys: Mapping[str, str]) -> Any:
    if isinstance(data, list):
        return [_resolved(d, ids, keys) for d in data]
    if not isinstance(data, dict):
        return data
    names: dict[str, Callable[[str], str]] = {}
    if data.get("is") == "Run":
        names = {"model": ids.__getitem__, "data": ids.__getitem__}
    elif data.get("is") in ("ScoreOf", "Top", "OfCircuit", "CircuitOf", "DictionaryOf"):
        names = {"step": keys.__getitem__}
    elif data.get("is") == "InspectWeights" or (data.get("is") == "Target" and data.get("model")):
        names = {"model": ids.__getitem__}
    elif data.get("is") == "LoadDictionary":
        names = {"folder": fingerprint_of}
    elif data.get("is") == "Site" and data.get("feature"):
        names = {"feature": lambda name: keys[name.partition("[")[0]] + name.partition("[")[2]}
    return {k: names[k](v) if k in names else _resolved(v, ids, keys) for k, v in data.items()}
