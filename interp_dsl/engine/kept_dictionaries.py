"""Dictionaries as a run's tensors keep them: behind a label where a step has several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted
from interp_dsl.runs.folder import RunFolder


def labelled(tensors: Mapping[str, NDArray[Any]], label: str) -> Dictionary:
    """The dictionary of a label, empty where it stands alone."""
    prefix = f"{label}/" if label else ""
    return Dictionary.of(
        {
            name.removeprefix(prefix): torch.from_numpy(value)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
    )


def decoders(folder: RunFolder, step: str, fitted: Fitted, found: Dictionary) -> list[Tensor]:
    """The decoders [d_sae, d] of a crosscoder's places, each relative to the mean length of the
    activations there: so they compare, whatever models and layers these are of."""
    facts = folder.step_facts(step)["dictionaries"]
    places = next(one for one in facts if one["label"] == fitted.label)["places"]
    parts = torch.split(found.tensors["W_dec"], [place["width"] for place in places], 1)
    return [part / place["length"] for part, place in zip(parts, places, strict=True)]


def read_dictionaries(
    folder: RunFolder, of: DictionaryOf, device: torch.device
) -> list[Dictionary]:
    """The dictionaries of a finished step, in the order wanted."""
    tensors = folder.read_tensors(of.step)
    return [labelled(tensors, fitted.label).to(device) for fitted in of.fitted]
