"""`python -m interp_dsl.training NAME`: trains a bundled model and writes its folder."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from interp_dsl.training import bundle, recipes, text
from interp_dsl.training.loop import Report, Trainer, train
from interp_dsl.training.recipes import Figures, Recipe

RECIPES = {
    "induction-2l": recipes.induction,
    "ioi-3l": recipes.ioi,
    "docstring-4l": recipes.docstring,
    "modadd-113": recipes.addition,
}
NAMES = (*RECIPES, "text-1l-512")


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m interp_dsl.training", description=__doc__)
    result.add_argument("name", choices=NAMES)
    result.add_argument("--out", type=Path, help="where training is kept (runs/training/NAME)")
    result.add_argument("--bundle", type=Path, help="the folder to write at the end (OUT/bundle)")
    result.add_argument("--steps", type=int, help="length of the run; the rate falls towards it")
    result.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT")
    result.add_argument("--no-train", action="store_true", help="only write the bundle")
    result.add_argument("--device", default="cpu")
    result.add_argument("--threads", type=int, default=1)
    result.add_argument(
        "--prose", type=Path, action="append", default=[], metavar="FILE", help="more text to read"
    )
    return result


def recipe(name: str, out: Path, prose: Sequence[Path] = ()) -> Recipe:
    """The recipe of a bundled model; that of text-1l-512 keeps its corpus in `out`."""
    if name == "text-1l-512":
        return text.text(out, prose=prose)
    return RECIPES[name]()


def reporter() -> Report:
    """Prints a row of the curve with the seconds since the start."""
    start = time.monotonic()

    def report(row: Figures) -> None:
        figures = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        print(f"{time.monotonic() - start:7.0f}s  {figures}", flush=True)

    return report


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    out = options.out or Path("runs/training") / options.name
    chosen = recipe(options.name, out, options.prose)
    if options.no_train:
        trainer = Trainer(chosen, out, options.device)
        trainer.load()
    else:
        trainer = train(
            chosen,
            out,
            steps=options.steps,
            resume=options.resume,
            device=options.device,
            report=reporter(),
        )
    folder = options.bundle or out / "bundle"
    card = bundle.write(trainer, folder)
    print(f"{folder}: {card['measured']}")


if __name__ == "__main__":
    main()
