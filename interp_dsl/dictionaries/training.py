"""One training step of any architecture, once: gradients, clipping, Adam, unit norms, counters.

Equal states and equal batches give equal next states: `state()` is all that a step depends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from interp_dsl.dictionaries import processor
from interp_dsl.dictionaries.architectures.base import (
    Architecture,
    Found,
    Now,
    Params,
    Room,
    Sizes,
    sum_of_squares,
)
from interp_dsl.dictionaries.crew import ALONE, Crew
from interp_dsl.dictionaries.dictionary import Dictionary, Scale, finished
from interp_dsl.dictionaries.dying import Dying
from interp_dsl.dictionaries.ends import (
    OBJECTIVE,
    Ends,
    Itself,
    Objective,
    loss_between,
    loss_through,
)
from interp_dsl.dictionaries.products import PLAIN, Products
from interp_dsl.dictionaries.resampling import drawn, resample
from interp_dsl.dictionaries.schedules import Schedule

BETAS = (0.9, 0.999)


class _Adam(torch.optim.Adam):
    """`grad_scale`: what the fused step divides gradients by where it reads them."""

    grad_scale: Tensor | None = None


@dataclass(frozen=True)
class Settings:
    """`lr` of Adam; `clip`: the largest norm of all gradients together, 0 for any; `dead_after`
    inputs without firing a feature counts as dead; `bias`: where b_dec begins (starting.py);
    `seed` of the first parameters. Activations are learned from times `scale`, those that a
    transcoder rebuilds times `onto`: a factor, or one for each element. `products` makes the dense
    products of a step."""

    width: int
    lr: float
    clip: float = 1.0
    dead_after: int = 10_000_000
    bias: str = "mean"
    seed: int = 0
    scale: Scale = 1.0
    onto: Scale | None = None
    products: Products = PLAIN

    @property
    def scales(self) -> tuple[Scale, Scale]:
        """Of what is read, and of what is rebuilt."""
        return self.scale, self.scale if self.onto is None else self.onto


@dataclass(frozen=True)
class Figures:
    """Of one step: what was found of its batch, which was to rebuild y [B, d_out], which features
    were dead, the summed squared error where the found one is a part of it. The figures are
    computed where they are asked for."""

    found: Found
    y: Tensor
    dead: Tensor
    squares: Tensor | None = None

    @property
    def loss(self) -> float:
        return float(torch.stack(list(self.found.terms.values())).sum())

    @property
    def terms(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.found.terms.items()}

    @property
    def mse(self) -> float:
        """The squared error as the loss counts it; where it is none of it, a mean over elements."""
        if "mse" in self.terms:
            return self.terms["mse"]
        return self._squares / self.y.numel()

    @property
    def penalty(self) -> float:
        """What the loss has besides the squared error or what stands in its place."""
        main = "mse" if "mse" in self.terms else OBJECTIVE
        return self.loss - self.terms[main]

    @property
    def l0(self) -> float:
        """Features on for an input."""
        return float(self.found.fired.sum() / len(self.y))

    @property
    def fvu(self) -> float:
        """The fraction of variance unexplained."""
        total = (self.y - self.y.mean(0)).square().sum()
        return self._squares / float(total)

    @property
    def _squares(self) -> float:
        return float(sum_of_squares(self.found.error) if self.squares is None else self.squares)

    @property
    def n_dead(self) -> int:
        return int(self.dead.sum())


class Trainer:
    """A dictionary being fitted to activations times `settings.scale`."""

    def __init__(
        self,
        architecture: Architecture,
        settings: Settings,
        schedule: Schedule,
        first: Tensor,
        ends: Ends | None = None,
        onto: Tensor | None = None,
        crew: Crew = ALONE,
    ) -> None:
        """`first` [n, d_in]: activations that say where biases begin; `onto` [n, d_out]: those
        that a transcoder is to rebuild from them. Of a `crew` each has a trainer like this one,
        and takes each step with it on a part of the batch."""
        self.architecture, self.settings, self.schedule = architecture, settings, schedule
        self.ends, self.crew = ends or Itself(), crew
        x, y = self._scaled(first, onto)
        sizes = Sizes(x.shape[1], y.shape[1], settings.width, self.ends.is_tied)
        generator = torch.Generator().manual_seed(settings.seed)
        start = architecture.initial(sizes, generator)
        own, self.fixed = self.ends.initial(x, y, settings.bias)
        self.params: Params = {**{name: v.to(x.device) for name, v in start.items()}, **own}
        self.held: Params = {}
        self._room = Room()
        self.silent = torch.zeros(settings.width, dtype=torch.int64, device=first.device)
        revives = bool(getattr(architecture, "alpha", 0)) and not processor.has(self.silent)
        self._dying = Dying(settings.dead_after) if revives else None
        self.n_steps = 0
        self._adam = _Adam(self.params.values(), settings.lr, BETAS, fused=True)
        self._begin_moments()

    def step(
        self, x: Tensor, onto: Tensor | None = None, objective: Objective | None = None
    ) -> Figures:
        """Learn from a batch x [B, d_in]; for a transcoder, `onto` [B, d_out]. An `objective` of
        what is rebuilt takes the place of its squared error."""
        x, y = self._scaled(x, onto)
        dead = self.dead
        inputs = len(x) * self.crew.size
        warmth, most = self.schedule.warmth(self.n_steps), None
        if self._dying is not None:
            most = self._dying.most(self.silent, inputs, self.n_steps)
        by = self.settings.products
        now = Now(warmth, dead, self.held, self.crew, self._room, by, most=most)
        given = self.ends, self.architecture, self.params, self.fixed, (x, y), now
        if objective is None:
            found = loss_between(*given)
        else:
            found = loss_through(*given, partial(self._unscaled, objective))
        squares = None
        if self.crew.size > 1:
            squares = self.crew.total(sum_of_squares(found.error))
            found = self._joined(found)
        self._learn(found.gradients)
        self.held = found.held
        self.silent = (self.silent + inputs).masked_fill_(found.fired > 0, 0)
        self.n_steps += 1
        return Figures(found, y, dead, squares)

    def _joined(self, found: Found) -> Found:
        """What all parts of a batch say together."""
        share = 1 / self.crew.size
        gradients, terms = (
            {name: self.crew.total(value * share) for name, value in held.items()}
            for held in (found.gradients, found.terms)
        )
        fired = self.crew.total(found.fired.clone())
        return replace(found, gradients=gradients, terms=terms, fired=fired)

    def _unscaled(self, objective: Objective, made: Tensor) -> tuple[Tensor, Tensor]:
        """The objective of activations as they are, and its slope along scaled ones."""
        onto = self.settings.scales[1]
        value, slope = objective(made / onto)
        return value, slope / onto

    def _scaled(self, x: Tensor, onto: Tensor | None) -> tuple[Tensor, Tensor]:
        own, other = self.settings.scales
        x = x * own
        return x, x if onto is None else onto * other

    @property
    def dead(self) -> Tensor:
        """Which features [m] have not fired for `dead_after` inputs."""
        return self.silent >= self.settings.dead_after

    def resample(self, batches: Iterable[Tensor], window: int, generator: torch.Generator) -> int:
        """New directions for the features that were silent for the last `window` inputs, drawn
        from batches of activations; how many were changed."""
        dead = self.silent >= window
        n = int(dead.sum())
        if not n:
            return 0
        inputs = drawn(self._losses(batches), n, generator)
        changed = resample(self.params, self._moments(), dead, inputs)
        self.silent[changed] = 0
        return len(changed)

    def dictionary(self) -> Dictionary:
        """What has been learned, for activations as they are."""
        k: int | None = getattr(self.architecture, "k", None)
        return self._finished(k, self.settings.scales)

    def _finished(self, k: int | None, scales: tuple[Scale, Scale]) -> Dictionary:
        threshold = self.architecture.thresholds(self.params, self.held)
        params = {**self.params, **self.fixed}
        return finished(self.architecture.name, params, threshold, k, scales)

    # ---- state

    def state(self) -> Params:
        """All that the next steps depend on, by name."""
        first, second = self._moments()
        return {
            **{f"param.{k}": v for k, v in self.params.items()},
            **{f"first.{k}": v for k, v in first.items()},
            **{f"second.{k}": v for k, v in second.items()},
            **{f"held.{k}": v for k, v in self.held.items()},
            **{f"fixed.{k}": v for k, v in self.fixed.items()},
            "silent": self.silent,
            **({} if self._dying is None else {"dying": self._dying.state()}),
            "n_steps": torch.tensor(self.n_steps),
        }

    def restore(self, state: Params) -> None:
        """Go on from a state."""
        for kind, kept in zip(("param", "first", "second"), self._kept(), strict=True):
            for name, value in kept.items():
                value.copy_(state[f"{kind}.{name}"])
        device = self.silent.device
        self.held, self.fixed = (
            {k.removeprefix(p): v.to(device) for k, v in state.items() if k.startswith(p)}
            for p in ("held.", "fixed.")
        )
        self.silent = state["silent"].to(device)
        if self._dying is not None:
            self._dying.restore(state.get("dying"))
        self.n_steps = int(state["n_steps"])
        for value in self.params.values():
            self._adam.state[value]["step"].fill_(float(self.n_steps))

    def _kept(self) -> tuple[Params, Params, Params]:
        return (self.params, *self._moments())

    def _begin_moments(self) -> None:
        """Moments of zero before the first step, so that a state always has all its parts."""
        for value in self.params.values():
            self._adam.state[value] = {
                "step": torch.zeros((), device=value.device),
                "exp_avg": torch.zeros_like(value),
                "exp_avg_sq": torch.zeros_like(value),
            }

    def _moments(self) -> tuple[Params, Params]:
        first, second = (
            {name: self._adam.state[value][key] for name, value in self.params.items()}
            for key in ("exp_avg", "exp_avg_sq")
        )
        return first, second

    def _learn(self, gradients: Params) -> None:
        """Adam. The decoder's gradient loses what would change its rows' lengths, which are then
        set to 1 again."""
        decoder = self.params["decoder"]
        if self.architecture.has_unit_norm:
            g = gradients["decoder"]
            along = torch.linalg.vecdot(g, decoder)[:, None]
            g.addcmul_(along, decoder, value=-1)
        for name, value in self.params.items():
            value.grad = gradients[name]
        if self.settings.clip:
            norm = torch.stack([sum_of_squares(g) for g in gradients.values()]).sum().sqrt()
            self._adam.grad_scale = (norm / self.settings.clip).clamp_min(1)
        for group in self._adam.param_groups:
            group["lr"] = self.settings.lr * self.schedule.rate(self.n_steps)
        self._adam.step()
        self._adam.zero_grad()
        if self.architecture.has_unit_norm:
            decoder.div_(torch.linalg.vector_norm(decoder, dim=1, keepdim=True))

    def _losses(self, batches: Iterable[Tensor]) -> Iterable[tuple[Tensor, Tensor]]:
        """Each batch, scaled, with the loss of each input: its squared error and its L1."""
        weight = getattr(self.architecture, "l1", 0.0)
        fit = self._finished(None, (1.0, 1.0))
        for batch in batches:
            x = batch * self.settings.scale
            f = fit.encode(x)
            squares = (fit.decode(f) - x).square()
            error = squares.mean(1) if self.architecture.convention == "mean" else squares.sum(1)
            yield x, error + weight * f.sum(1)
