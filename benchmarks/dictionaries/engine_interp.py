"""interp's training step, with the settings that `fit` has where a file leaves them out.

Timed: scaling, loss, AuxK where features are dead, gradients of all parameters, clipping, Adam,
unit norms, counters of silence. The figures of the training curve are computed for some 200 steps
of a fit, and are not in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from case import BY_COUNT, Batches, Case
from torch import Tensor
from worker import Step, serve

FIRST = 8_192
"""Activations that say their scale, as in `fit`."""


class Interp:
    def begin(self, case: Case, batches: Batches) -> Step:
        trainer = _trainer(case, batches)

        def step(x: Tensor) -> object:
            if case.dead:
                trainer.silent[: case.dead] = 1 << 61
            return trainer.step(x)

        return step

    def fit(self, case: Case, batches: Batches, into: Path) -> None:
        from interp_dsl.dictionaries.formats.writing import Origin, encoded

        trainer = _trainer(case, batches)
        for number in range(case.steps):
            trainer.step(batches.batch(number, case.batch))
        for name, content in encoded(trainer.dictionary(), "saelens", Origin()).items():
            (into / name).write_bytes(content)


def _trainer(case: Case, batches: Batches) -> Any:
    import torch

    from interp_dsl.dictionaries.named import architecture
    from interp_dsl.dictionaries.schedules import Schedule
    from interp_dsl.dictionaries.starting import mean_length, scale_of
    from interp_dsl.dictionaries.training import Settings, Trainer

    torch.set_grad_enabled(False)
    options = _options(case)
    first = batches.batch(0, min(FIRST, batches.rows))
    scale = scale_of(first)
    made = architecture(case.architecture, options, mean_length(first) * scale)
    settings = Settings(
        case.width,
        options["lr"],
        options["clip"],
        options["dead_after"],
        options["bias"],
        case.seed,
        scale,
    )
    warming = options.get("sparsity_warmup", 0.0)
    schedule = Schedule(case.steps, options["warmup"], options["decay"], warming)
    return Trainer(made, settings, schedule, first)


def _options(case: Case) -> dict[str, Any]:
    """All options of an architecture: the case's, and else the language's defaults."""
    from interp_dsl.verbs.dictionaries import ARCHITECTURES, settled

    parameters = ARCHITECTURES[case.architecture].parameters
    options = {name: p.default for name, p in parameters.items()}
    options |= {"width": case.width, "batch": case.batch, "lr": case.lr}
    if case.architecture in BY_COUNT:
        options["k"] = case.k
    elif case.architecture == "relu":
        options["l1"] = case.sparsity
    else:
        options |= {"l0": 1.0, "target": case.sparsity}
    return settled(options, case.steps * case.batch)


if __name__ == "__main__":
    serve(Interp, ["interp-dsl", "torch"])
