"""Dictionaries as a run folder keeps them."""

from __future__ import annotations

import torch

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.plan.dictionaries import DictionaryOf
from interp_dsl.runs.folder import RunFolder


def read_dictionaries(
    folder: RunFolder, of: DictionaryOf, device: torch.device
) -> list[Dictionary]:
    """The dictionaries of a finished step, in the order wanted."""
    tensors = folder.read_tensors(of.step)
    known = {one["label"]: one for one in folder.step_facts(of.step)["dictionaries"]}
    found = []
    for fitted in of.fitted:
        prefix = f"{fitted.label}/" if fitted.label else ""
        held = {
            name.removeprefix(prefix): torch.from_numpy(value)
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        about = known[fitted.label]
        found.append(Dictionary(about["activation"], held, about["k"], about).to(device))
    return found
