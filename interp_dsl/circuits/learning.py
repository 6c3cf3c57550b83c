"""Masks on their way: an optimizer's steps, each with a draw of its own, and a place to go on from
after any of them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.progress import Progress, Snapshot


class Learning:
    """The optimizer of some parameters, which a snapshot's values are given; how many steps it has
    done; and the `generator` that draws come from."""

    def __init__(
        self, optimizer: torch.optim.Adam, seed: int, snapshot: Snapshot | None = None
    ) -> None:
        self.optimizer, self.step = optimizer, 0
        self.generator = torch.Generator().manual_seed(seed)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if snapshot is not None:
            self._take_up(snapshot)

    def descend(self, loss: Tensor) -> None:
        """One step along the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1

    def progress(self, steps: int, kept: int, value: Tensor) -> Progress:
        """After the steps done, of so many."""
        return Progress(math.nan, self.step, steps, kept, value.item(), self._snapshot)

    def _snapshot(self) -> Snapshot:
        made = {"step": np.array(self.step), "generator": self.generator.get_state().numpy()}
        for number, parameter in enumerate(self._parameters):
            made[f"{number}"] = parameter.detach().cpu().numpy().copy()
            for name, value in self.optimizer.state[parameter].items():
                made[f"{number}.{name}"] = value.cpu().numpy().copy()
        return made

    @torch.no_grad()
    def _take_up(self, snapshot: Snapshot) -> None:
        self.step = int(snapshot["step"])
        self.generator.set_state(torch.from_numpy(snapshot["generator"]))
        for name, array in snapshot.items():
            number, _, field = name.partition(".")
            if not number.isdecimal():
                continue
            parameter, value = self._parameters[int(number)], torch.from_numpy(array)
            if field:
                on = value if field == "step" else value.to(parameter.device)
                self.optimizer.state[parameter][field] = on.clone()
            else:
                parameter.copy_(value)
