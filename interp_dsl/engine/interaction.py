"""`factor … by interaction_basis(…)`: bases of each layer, edges between them, what of both the
metric needs, and modules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from interp_dsl.engine.chain import Chain
from interp_dsl.engine.factors import Factored, note_few
from interp_dsl.engine.partitions import partition
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.geometry import ablation
from interp_dsl.geometry import interaction_basis as ib
from interp_dsl.geometry.modules import Modules, modules
from interp_dsl.plan.factors import depth
from interp_dsl.plan.metrics import good
from interp_dsl.plan.places import Target
from interp_dsl.plan.tasks import Factor

KINDS = ("interaction", "pca", "neuron")


def interaction_basis(task: Factor, state: State, report: Report) -> Factored:
    """The whole method on one run."""
    chain = Chain(task.into, task.metrics, state)
    with torch.no_grad():
        return _Study(task, chain, report).done()


class _Study:
    """Layers are numbered as the targets; `edges[kind][at]` goes from layer `at` to the next,
    `tail` from the last one to the logits."""

    def __init__(self, task: Factor, chain: Chain, report: Report) -> None:
        self.task, self.chain, self.report = task, chain, report
        self.options: dict[str, Any] = dict(task.options)
        self.partition = partition(self.options)
        self.targets: Sequence[Target] = task.targets
        depths = [depth(t.site, chain.n_layers) for t in self.targets]
        end = 2 * chain.n_layers + 1
        *self.layers, self.logits = chain.streams([*depths, end])
        for target, f in zip(self.targets, self.layers, strict=True):
            note_few(target, f, report)
        self.stages = [chain.stage(below, above) for below, above in pairwise(depths)]
        self.tail = chain.stage(depths[-1], end)
        self.found = Factored("basis", chain.n)
        self._done, self._total = 0, (3 + 2 * len(KINDS)) * len(self.stages) + 1

    def done(self) -> Factored:
        self.bases = self._bases()
        self.edges = self._edges()
        self.target = self._score(self.logits) - self.options["tolerance"]
        for kind in KINDS:
            least = []
            for at in range(len(self.stages)):
                self._ablate_nodes(kind, at)
                least.append(self._ablate_edges(kind, at))
            self._modules(kind, least)
        self._store()
        return self.found

    def _score(self, logits: Tensor) -> float:
        """The metric, turned so that more is better."""
        metric = self.task.metrics[0]
        return good(metric.term) * float(self.chain.values(logits)[0].double().mean())

    def _step(self) -> None:
        self._done += 1
        self.report.progress(self._done, self._total)

    def _bases(self) -> list[dict[str, ib.Basis]]:
        names = ("mode", "center", "drop", "sources", "seed")
        options = {name: self.options[name] for name in names}
        found = []
        for basis in ib.bases(self.stages, self.layers, **options):
            found.append(basis)
            self._step()
        return found[::-1]

    def _edges(self) -> dict[str, list[Tensor]]:
        found: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
        for at, stage in enumerate(self.stages):
            pairs = [self._pair(kind, at) for kind in KINDS]
            told = ib.sourced(stage, self.options["sources"], self.options["seed"])
            all_edges = ib.edges(told, self.layers[at], pairs, self.options["steps"])
            for kind, edges in zip(KINDS, all_edges, strict=True):
                found[kind].append(edges)
                self.found.score(self.targets[at], kind, "effective_edges", ib.effective(edges))
            self._step()
        return found

    def _pair(self, kind: str, at: int) -> tuple[ib.Basis, ib.Basis]:
        return self.bases[at][kind], self.bases[at + 1][kind]

    def _ablate_nodes(self, kind: str, at: int) -> None:
        basis, target = self.bases[at][kind], self.targets[at]
        keep = ablation.counts(len(basis.values))
        rest = ib.composed([*self.stages[at:], self.tail])
        scores = list(ablation.ablate_nodes(rest, self.layers[at], basis, keep, self._score))
        sign = good(self.task.metrics[0].term)
        self.found.rows(
            "ablation",
            [
                {"layer": target.place, "basis": kind, "kept": k, "score": sign * score}
                for k, score in zip(keep, scores, strict=True)
            ],
        )
        self.found.score(target, kind, "directions_required", _required(keep, scores, self.target))
        self._step()

    def _ablate_edges(self, kind: str, at: int) -> float | None:
        """The least edge that the metric needs; None where all together do not suffice."""
        n = min(self.options["examples"], self.chain.n)
        edges, pair = self.edges[kind][at], self._pair(kind, at)
        target = self._score(self.logits[:n]) - self.options["tolerance"]
        count = ablation.edges_required(
            self.stages[at],
            ib.composed([*self.stages[at + 1 :], self.tail]),
            self.layers[at][:n],
            pair,
            edges,
            self._score,
            target,
        )
        place, above = self.targets[at].place, self.targets[at + 1].place
        self.found.score(self.targets[at], kind, "edges_required", count)
        self._step()
        if not count:
            return None
        values, order = edges.flatten().sort(descending=True, stable=True)
        width = edges.shape[1]
        self.found.rows(
            "edges",
            [
                {
                    "basis": kind,
                    "source": place,
                    "source_k": index % width,
                    "target": above,
                    "target_k": index // width,
                    "edge": value,
                }
                for index, value in zip(
                    order[:count].tolist(), values[:count].tolist(), strict=True
                )
            ],
        )
        return float(values[count - 1])

    def _modules(self, kind: str, least: Sequence[float | None]) -> None:
        """Modules, where every layer's edges suffice."""
        floors = [floor for floor in least if floor]
        if len(floors) < len(self.stages):
            for metric in ("modules", "modularity", "module_share"):
                self.found.score(None, kind, metric, None)
            return
        found = modules(self.edges[kind], floors, self.partition, self.options["resolution"])
        self._store_modules(kind, found)

    def _store_modules(self, kind: str, found: Modules) -> None:
        self.found.score(None, kind, "modules", len(found.table))
        self.found.score(None, kind, "modularity", found.modularity)
        self.found.score(None, kind, "module_share", found.share)
        self.found.rows(
            "modules",
            [
                {"basis": kind, "layer": target.place, "k": k, "module": label}
                for target, labels in zip(self.targets, found.labels, strict=True)
                for k, label in enumerate(labels)
            ],
        )

    def _store(self) -> None:
        """Bases and edges as tensors, spectra as a table."""
        for target, by_kind in zip(self.targets, self.bases, strict=True):
            for kind, basis in by_kind.items():
                self.found.score(target, kind, "directions", len(basis.values))
                self.found.rows("spectrum", _spectrum(target.place, kind, basis))
                name = f"{target.place}.{kind}"
                self.found.tensor(f"{name}.to", basis.to)
                self.found.tensor(f"{name}.back", basis.back)
            self.found.tensor(f"{target.place}.mean", by_kind["pca"].mean)
        for kind, held in self.edges.items():
            for (below, above), edges in zip(pairwise(self.targets), held, strict=True):
                self.found.tensor(f"{below.place}->{above.place}.{kind}.edges", edges)
        self._step()


def _required(keep: Sequence[int], scores: Sequence[float], target: float) -> int | None:
    """The fewest directions from which on the score stays at the target."""
    found = None
    for k, score in zip(reversed(keep), reversed(scores), strict=True):
        if score < target:
            break
        found = k
    return found


def _spectrum(place: str, kind: str, basis: ib.Basis) -> list[dict[str, Any]]:
    kept = len(basis.values)
    values = [*basis.values.tolist(), *basis.dropped.tolist()]
    tied = [*basis.tied.tolist(), *(None for _ in basis.dropped)]
    return [
        {
            "layer": place,
            "basis": kind,
            "k": k,
            "value": value,
            "kept": k < kept,
            "tied": is_tied,
        }
        for k, (value, is_tied) in enumerate(zip(values, tied, strict=True))
    ]
