"""interp's ACDC by itself: the clean and the corrupt run and the search, without a run folder; and
what a plain forward costs, the unit that searches are counted in."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import torch
from case import Job
from safetensors.torch import load_file
from searcher import Answer, serve
from torch import Tensor
from torch.nn import functional

FORWARDS = 20


class Acdc:
    def __init__(self, job: Job) -> None:
        from interp_dsl.circuits.acdc import discover
        from interp_dsl.circuits.clean import Clean
        from interp_dsl.circuits.forward import EdgeForward
        from interp_dsl.circuits.rules import PRESETS
        from interp_dsl.models.compiled.executor import CompiledExecutor
        from interp_dsl.models.graph import Graph
        from interp_dsl.models.load import load

        folder = Path(job.folder)
        spec = {"kind": "weights", "folder": str(folder / "model")}
        executor = load(spec, device="cpu", executor="compiled")
        assert isinstance(executor, CompiledExecutor)
        self.executor, self.threshold = executor, job.case.threshold
        self.forward = EdgeForward(executor.model, Graph(executor.facts.shape))
        self.discover, self.clean, self.rules = discover, Clean, PRESETS["auto-circuit"]
        pairs = load_file(folder / "pairs.safetensors")
        self.base, self.source = pairs["clean"], pairs["corrupt"]
        self.reads = torch.full((job.case.batch, 1), job.case.context - 1)

    @torch.no_grad()
    def search(self) -> Answer:
        timed = [self._timed() for _ in range(FORWARDS)]
        plain, of_processor = (median(times) for times in zip(*timed, strict=True))
        started, began = time.perf_counter(), time.process_time()
        reference = self.executor.forward(self.base, self.reads).logits.log_softmax(-1)

        def kl(logits: Tensor) -> Tensor:
            found = logits.log_softmax(-1)
            each = functional.kl_div(found, reference, reduction="none", log_target=True)
            return each.sum(-1).mean(-1)

        corrupt = self.forward.outputs(self.source)
        clean = self.clean(self.forward, self.base, corrupt, kl, self.reads)
        (found,) = self.discover(clean, self.threshold, self.rules)
        seconds, worked = time.perf_counter() - started, time.process_time() - began
        edges = [str(edge) for edge in self.forward.graph.edges]
        extra = {
            "forward": plain,
            "processor": (worked, of_processor),
            "edges": len(edges),
            "tests": found.tests,
            "again": found.again,
            "margins": dict(zip(edges, found.margin.tolist(), strict=True)),
        }
        kept = [edge for edge, is_kept in zip(edges, found.kept, strict=True) if is_kept]
        return Answer(seconds, kept, extra)

    def _timed(self) -> tuple[float, float]:
        """Seconds of a plain forward of the same prompts, logits at every position: by the clock,
        and of the processor."""
        started, began = time.perf_counter(), time.process_time()
        self.executor.forward(self.base, None)
        return time.perf_counter() - started, time.process_time() - began


if __name__ == "__main__":
    serve(Acdc, ("interp-dsl", "torch"))
