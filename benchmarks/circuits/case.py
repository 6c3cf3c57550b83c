"""What is searched: the sizes of a model and its prompts, a threshold; as driver and workers read
it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """`gain`: how many times as large weights are as TransformerLens starts. `mlps`: each layer has
    one, of four times the width. `ours`: peers stay out."""

    name: str
    layers: int
    width: int
    heads: int
    vocab: int
    context: int
    batch: int
    threshold: float = 0.001
    gain: float = 3.0
    mlps: bool = False
    ours: bool = False


@dataclass(frozen=True)
class Job:
    """A case as a worker gets it. `folder` holds model/, pairs.safetensors and race.interp."""

    case: Case
    folder: str
    threads: int

    @classmethod
    def read(cls, path: Path) -> Job:
        held = json.loads(path.read_text())
        return cls(Case(**held.pop("case")), **held)


_TINY2 = Case("tiny2", layers=2, width=128, heads=4, vocab=500, context=24, batch=4)
_RAND2 = Case("rand2", layers=2, width=256, heads=8, vocab=1000, context=40, batch=8)
_GPT2 = Case(
    "gpt2-small",
    layers=12,
    width=768,
    heads=12,
    vocab=512,
    context=8,
    batch=16,
    gain=1.0,
    mlps=True,
    ours=True,
)

PRESETS: dict[str, Case] = {
    "tiny": Case("tiny", layers=2, width=16, heads=2, vocab=40, context=8, batch=2, mlps=True),
    "tiny2": _TINY2,
    "tiny2-sparse": replace(_TINY2, name="tiny2-sparse", threshold=0.2),
    "rand2": _RAND2,
    "rand2-sparse": replace(_RAND2, name="rand2-sparse", threshold=0.15),
    "gpt2-small": _GPT2,
}
