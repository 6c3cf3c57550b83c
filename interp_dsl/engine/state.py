"""What a run knows so far: models, data, runs kept, results."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.data.types import Data, Side
from interp_dsl.engine.slots import Slots, slots
from interp_dsl.geometry.moments import Moments
from interp_dsl.models.compiled.memory import Memory
from interp_dsl.models.executor import Executor
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import MetricTerm, Run, Units
from interp_dsl.plan.expressions import Row
from interp_dsl.plan.metrics import Stream
from interp_dsl.plan.places import Positions, Site, Target, Unit
from interp_dsl.plan.units import expand

T = TypeVar("T")


class Memo:
    """Values made once: `memo(key, make)` is what `make` returned when the key was first asked
    for."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


@dataclass
class Kept:
    """What forwards of one run have left: sites [n, T, index, width] on the device, values [n] of
    metrics, logits [n, d_vocab_out] where they serve as a reference, `streams` [n, d_model] that
    distances start from, moments of places, and by variant of the prompts what late passes start
    from."""

    sites: dict[Site, Tensor] = field(default_factory=dict)
    values: dict[MetricTerm, Tensor] = field(default_factory=dict)
    logits: dict[Positions | None, Tensor] = field(default_factory=dict)
    streams: dict[Stream, Tensor] = field(default_factory=dict)
    moments: dict[Target, Moments] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A finished step: its rows, the values of single examples `base` and `value` [rows, n], and
    what was noted of it as a whole."""

    rows: list[Row]
    tensors: dict[str, NDArray[np.generic]]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class State:
    """All by task id, by run, by step."""

    seed: int
    models: dict[str, Executor] = field(default_factory=dict)
    data: dict[str, Data] = field(default_factory=dict)
    runs: dict[Run, Kept] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    unread: dict[str, Callable[[], Result]] = field(default_factory=dict)
    """Steps that are finished and read when something asks for them."""
    once: Memo = field(default_factory=Memo)

    def executor(self, run: Run) -> Executor:
        return self.models[run.model]

    def side(self, run: Run) -> Side:
        return self.data[run.data].sides[run.side]

    def device(self, run: Run) -> torch.device:
        return self.models[run.model].device

    def slots(self, run: Run, positions: Positions) -> Slots:
        """Named positions in the prompts of a run's side."""
        key = ("slots", run.data, run.side, positions)
        return self.once(key, lambda: slots(positions, self.side(run)))

    def entry_shape(self, run: Run, site: Site) -> tuple[int, int]:
        """How many indices a site has, and how wide each is, by a forward of one prompt."""

        def probe() -> tuple[int, int]:
            tokens = torch.from_numpy(self.side(run).tokens[:1]).to(self.device(run))
            found = self.executor(run).forward(tokens, tokens[:, :1] * 0, sites=(site,))
            shape = canonical(found.sites[site]).shape
            return shape[2], shape[3]

        return self.once(("shape", run.model, run.data, run.side, site), probe)

    def kept(self, run: Run) -> Kept:
        return self.runs.setdefault(run, Kept())

    def captured(self, run: Run, site: Site) -> Tensor:
        """A site of a run [n, T, index, width], as an earlier forward kept it."""
        assert run in self.runs and site in self.runs[run].sites, (
            f"the plan has no forward that keeps {site} of {run.side}"
        )
        return self.runs[run].sites[site]

    def result(self, step: str) -> Result:
        if step not in self.results:
            assert step in self.unread, f"the plan reads step {step} before it has run"
            self.results[step] = self.unread.pop(step)()
        return self.results[step]

    def rows(self, step: str) -> list[Row]:
        return self.result(step).rows

    def agreement(self, step: str) -> dict[str, dict[str, float | None]]:
        """By metric, how well a step's estimates go together with real patches."""
        found: dict[str, dict[str, float | None]] = self.result(step).facts.get("verified", {})
        return found

    def units(self, units: Units, run: Run) -> tuple[Unit, ...]:
        """The units of an expression, for the prompts of a run."""
        return expand(units, self.rows, int(self.side(run).lengths.max()))


def reference_of(run: Run, data: Data) -> Run:
    """The run that divergences start from: the clean side of a pair, or the one side there is,
    with no intervention."""
    return Run(run.model, run.data, data.first_side)


def canonical(captured: Tensor) -> Tensor:
    """A captured site as [batch, position, index, width]; a raw hook without indices has one."""
    return captured.unsqueeze(2) if captured.dim() == 3 else captured


def token_text(facts: ModelFacts) -> Callable[[int], str]:
    """How a token id is shown in messages: as text where the model has a tokenizer."""
    return load_tokenizer(facts).token_text if facts.tokenizer else str


def text_of(facts: ModelFacts) -> Callable[[Sequence[int]], str]:
    """How tokens one behind another are told: as text, or by number where the model has no
    tokenizer."""
    if facts.tokenizer is None:
        return lambda ids: " ".join(map(str, ids))
    return load_tokenizer(facts).continued
