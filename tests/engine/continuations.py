"""Texts to be continued, and interventions under which they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from interp_dsl.data.types import Data
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.generate import generate
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import Result, State
from interp_dsl.models.executor import Executor
from interp_dsl.plan.algebra import (
    Blocked,
    Constant,
    Explicit,
    FromRun,
    Intervention,
    Mean,
    MeanVector,
    Points,
    Times,
    ToVector,
    Zero,
)
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.generation import Continuation, Generate
from interp_dsl.plan.paths import AlongVector, Drawn, Moved
from interp_dsl.plan.places import ALL, Length, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Forward
from interp_dsl.runs.folder import RunFolder

from .plans import CLEAN, CORRUPT, END, FIRST, LAST, folder_in, unit
from .tiny import side, singles

STREAM = Target(Site("resid_post", 0))
BEHIND, BUT_LAST = (Positions("minus", parts=(ALL, one)) for one in (FIRST, LAST))
PROMPTS = ([3, 1, 4, 1, 5], [2, 7], [1, 8, 2, 8])


def ragged() -> Data:
    """Prompts of several lengths; END is the last token, S the first two."""
    labels = {"END": [(len(p) - 1, len(p)) for p in PROMPTS], "S": [(0, 2)] * 3}
    other = [[1 + t for t in p] for p in PROMPTS]
    sides = {"clean": side("clean", PROMPTS, **labels), "corrupt": side("corrupt", other, **labels)}
    return Data("ragged", sides, singles(1, 2, 3), singles(2, 3, 1))


def state_of(model: Executor, path: Path, width: int, target: Target = STREAM) -> State:
    """A state in which passes of both sides have kept what interventions below ask for."""
    state = State(0)
    state.models["m"], state.data["d"] = model, ragged()
    generator = torch.Generator().manual_seed(3)
    decoder = torch.randn(6, width, generator=generator)
    tensors = {"W_enc": decoder.T.contiguous(), "W_dec": decoder, "b_enc": torch.ones(6)}
    sae = Dictionary("topk", {**tensors, "b_dec": torch.full((width,), 0.1)}, 4)
    state.results["sae"] = Result([], {k: v.numpy() for k, v in sae.saved().items()})
    mlp = Dictionary("topk", {**sae.tensors, "b_in": torch.zeros(width)}, 4)
    state.results["mlp"] = Result([], {k: v.numpy() for k, v in mlp.saved().items()})
    sites = (*{STREAM.site, target.site}, Site("head", 0), Site("resid_pre", 1))
    for run in (CLEAN, CORRUPT):
        run_forward(Forward("f", run, sites), (), state, Report(folder_in(path / run.side), "t"))
    return state


def feature(number: int, target: Target = STREAM, at: Positions = ALL) -> Unit:
    site = Fitted("", target, "topk", ()).features("sae")
    return Unit((Target(site, number, at),))


def transcoder_feature(number: int, at: Positions = ALL) -> Unit:
    ends = Target(Site("mlp_in", 1)), Target(Site("mlp_out", 1))
    site = Fitted("", ends[0], "topk", (), onto=ends[1]).features("mlp")
    return Unit((Target(site, number, at),))


def change(source: Any, *units: Unit) -> Intervention:
    return Intervention(Explicit(units), source)


VECTOR = MeanVector(CORRUPT, Target(Site("resid_pre", 1), None, LAST))
PUSHED = Intervention(
    Points(Explicit((unit("resid_pre", 1),)), (("v", 1),), (Length(2.0, "own"),)),
    Moved((AlongVector("v", VECTOR),)),
)
DRAWN = Intervention(
    Points(Explicit((unit("resid_pre", 1),)), (("r", 1),), (Length(3.0),)),
    Moved((Drawn("r", "random"),)),
)
FEATURES = change(Times(5.0, CLEAN), feature(1), feature(4))
KINDS: dict[str, tuple[Intervention, ...]] = {
    "heads without": (change(Zero(), unit("head", 0, 1), unit("head", 1, 0)),),
    "a label from elsewhere": (change(FromRun(CORRUPT), unit("resid_pre", 1, at=END)),),
    "the last of the prompt": (change(Constant(2.0), unit("resid_pre", 1, at=LAST)),),
    "all but the first": (
        change(Constant(0.3), unit("attn_out", 0, at=BEHIND)),
    ),
    "the mean": (change(Mean(CORRUPT, "all"), unit("head", 0, 0)),),
    "a vector": (change(ToVector(VECTOR), unit("resid_pre", 1)),),
    "blind heads": (
        change(
            Blocked(),
            unit("pattern", 1, 1, Positions("entry", parts=(FIRST, BEHIND))),
        ),
    ),
    "pushed": (PUSHED,),
    "drawn": (DRAWN,),
    "features": (FEATURES,),
    "features of a transcoder": (
        change(Constant(4.0), transcoder_feature(1), transcoder_feature(5)),
        change(Constant(9.0), transcoder_feature(3, LAST)),
    ),
    "a feature at the last": (change(Constant(9.0), feature(3, at=LAST)),),
    "a clamp and a push": (change(Constant(3.0), feature(2)), PUSHED),
}  # fmt: skip
TASK = Generate("g", "out", (), 4)


def run(state: State, path: Path, task: Generate) -> tuple[RunFolder, pl.DataFrame]:
    folder = folder_in(path)
    generate(task, "key", state, folder, Report(folder, "g"))
    return folder, folder.read_table("out.tokens")


def continued(*under: Intervention, turned: tuple[int, ...] = (), tokens: int = 4) -> Generate:
    runs = (Continuation("plain", CLEAN), Continuation("it", replace(CLEAN, under=under), turned))
    return replace(TASK, continuations=runs, tokens=tokens)


def written(table: pl.DataFrame, under: str) -> list[list[int]]:
    held = table.filter(under=under)
    return [held.filter(prompt=i)["id"].to_list() for i in range(len(PROMPTS))]
