"""What circuits of nodes measure: some of an intervention's units as they are, all others changed
at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.setting import Floats
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import no_units
from interp_dsl.engine.state import State
from interp_dsl.engine.sweep import Sweeper, plain_values
from interp_dsl.models.graph import Bools
from interp_dsl.plan.metrics import good
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import NodeTask, Sweep


class NodeBench:
    """Measures circuits of a task's units. A circuit is a row of kept [C, U]."""

    def __init__(self, task: NodeTask, state: State, report: Report) -> None:
        self.task, self.metrics = task, task.metrics
        self.units = state.units(task.intervention.units, task.variant.into)
        if not self.units:
            raise no_units(task.step)
        about = ((task.variant,), task.intervention, task.metrics, task.reference)
        sweep = Sweep(task.id, task.step, *about, late=True, reads_few=True)
        self._sweeper = Sweeper(sweep, state, report.note)
        self._full = plain_values(task.variant.into, task.metrics, state).cpu().double()
        self._sweeper.check(task.variant, self.units)

    @property
    def all(self) -> Bools:
        """The circuit of all units [U]."""
        return np.ones(len(self.units), dtype=bool)

    @property
    def full(self) -> Tensor:
        """The metrics of the run as it is [metrics, n]."""
        return self._full

    def values(self, kept: Bools) -> Tensor:
        """The metrics [metrics, C, n] of circuits, float64; equal ones are measured once."""
        circuits, which = np.unique(kept, axis=0, return_inverse=True)
        found = self._full[:, None].repeat(1, len(circuits), 1)
        rows = np.flatnonzero(~circuits.all(1))
        if len(rows):
            out = [_joined(self.units, ~circuits[row]) for row in rows]
            values = self._sweeper.values(self.task.variant, out)
            found[:, torch.from_numpy(rows)] = values.cpu().double()
        return found[:, torch.from_numpy(which.reshape(-1))]

    def means(self, kept: Bools, metric: int = 0) -> Floats:
        """A metric's means over examples [C]."""
        means: Floats = self.values(kept)[metric].mean(1).numpy()
        return means

    def harm(self, kept: Bools) -> Floats:
        """The driving metric's means [C], the larger the worse."""
        return -good(self.metrics[0].term) * self.means(kept)


def _joined(units: Sequence[Unit], out: Bools) -> Unit:
    """The units that are out, as one."""
    targets = (t for number in np.flatnonzero(out).tolist() for t in units[number].targets)
    return Unit(tuple(dict.fromkeys(targets)))
