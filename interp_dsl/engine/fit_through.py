"""Fitting dictionaries end to end (Braun et al. 2024, arXiv 2405.12241): the loss is not how well
they rebuild an activation but what the model says with what they rebuild in its place.

    kl   the divergence from the model as it is, a mean over predicted tokens
    ce   the cross-entropy of the text, a mean over predicted tokens

and `downstream` times how far the streams that later layers read are from what they are: the mean
over these of the mean squared error of an element, over tokens of text.

A step takes whole prompts: its own share of the stream, up to the end of a prompt. The plain pass
is shared; each dictionary has one more, and one back."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import torch
from torch import Tensor

from interp_dsl.dictionaries.measures import divergences, losses
from interp_dsl.dictionaries.training import Figures, Trainer
from interp_dsl.engine.fitting import Fitting, Turn, read_and_rebuilt
from interp_dsl.engine.harvest import Block, Harvest
from interp_dsl.engine.splice import spliced
from interp_dsl.engine.state import canonical
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.room import is_out_of_memory
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Site

EVERY = 16
"""Steps after which a checkpoint may be written."""


def through_model(task: Fit, fitting: Fitting, harvest: Harvest) -> Generator[Turn | None]:
    """Steps on whole prompts, in the order of the stream; each ends with the prompt that makes the
    tokens of all up to it reach its share. Raises InterpError E674 where a step holds no prompt."""
    _check_longest(task, harvest)
    stream = harvest.stream
    start = stream.reaching(fitting.done * task.inputs)
    while fitting.done < task.steps:
        end = stream.reaching((fitting.done + 1) * task.inputs)
        passed = _Passed(task, harvest, harvest.prompts(start, end))
        yield Turn(passed.learn, stream.tokens_in(end))
        start = end
        if fitting.done % EVERY == 0:
            yield None


def _check_longest(task: Fit, harvest: Harvest) -> None:
    """With a prompt longer than a step's share, some steps would have none to take."""
    longest = int(harvest.stream.counts.max())
    if longest > task.inputs:
        raise InterpError(
            Diagnostic(
                "E674",
                f"a training step of {task.inputs:,} tokens holds no prompt of {longest:,}",
                help=f"write batch={longest} or more: end to end a step takes whole prompts",
            ),
            exit_code=1,
        )


class _Passed:
    """Prompts [B] that the plain model has read."""

    def __init__(self, task: Fit, harvest: Harvest, examples: Tensor) -> None:
        self.objective, self.harvest, self.examples = task.objective, harvest, examples
        (self.run,) = harvest.runs
        try:
            found, self.block = harvest.passed(self.run, examples, sites=task.downstream)
        except (RuntimeError, MemoryError) as error:
            raise _fitting_error(error, len(examples)) from error
        self.predicted, self.targets = harvest.predicted(examples)
        self.clean = found.logits[:, :-1].log_softmax(-1) if self.objective == "kl" else None
        self.streams = {site: self._text(found.sites[site]) for site in task.downstream}

    def learn(self, one: Fitted, trainer: Trainer) -> Figures:
        x, y = read_and_rebuilt(one, self.block)
        return trainer.step(x, y, lambda made: self._judged(one, self.block, made))

    def _judged(self, one: Fitted, block: Block, made: Tensor) -> tuple[Tensor, Tensor]:
        """The loss with what is made [rows, d_out] in the place of what it rebuilds, and its
        slope."""
        kept = self.harvest.kept(self.examples)
        widths = [block[target].shape[1] for target in one.rebuilt]
        with torch.enable_grad():
            made = made.detach().requires_grad_()
            try:
                edits = spliced(one.rebuilt, widths, kept, made)
                found, _ = self.harvest.passed(self.run, self.examples, edits, one.downstream)
                log = found.logits[:, :-1].log_softmax(-1)
                values = (
                    losses(log, self.targets)
                    if self.clean is None
                    else divergences(self.clean, log)
                )
                loss = (values * self.predicted).sum() / self.predicted.sum().clamp_min(1)
                loss = loss + self._behind(one, found.sites)
                (slope,) = torch.autograd.grad(loss, made)
            except (RuntimeError, MemoryError) as error:
                raise _fitting_error(error, len(self.examples)) from error
        return loss.detach(), slope

    def _behind(self, one: Fitted, found: Mapping[Site, Tensor]) -> Tensor | float:
        """How far the streams behind a dictionary are from what they are, times its weight."""
        errors = [
            (self._text(found[site]) - self.streams[site]).square().mean()
            for site in one.downstream
        ]
        return one.option("downstream") * sum(errors) / len(errors) if errors else 0.0

    def _text(self, x: Tensor) -> Tensor:
        """The rows of text of a stream, float32."""
        return self.harvest.text(canonical(x), self.examples).float()


def _fitting_error(error: Exception, prompts: int) -> Exception:
    """What says that memory ran out, where it did."""
    if not is_out_of_memory(error):
        return error
    return InterpError(
        Diagnostic(
            "E640",
            f"a step of {prompts} prompts does not fit into memory",
            help="take a smaller batch",
        ),
        exit_code=3,
    )
