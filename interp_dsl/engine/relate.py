"""`relate … by similarity(…)`: features of each layer with those of the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.ablation import Ablation
from interp_dsl.engine.factors import Factored, write
from interp_dsl.engine.harvest import Harvest
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.engine.partitions import partition
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.geometry import gates, similarity
from interp_dsl.geometry.communities import Edge, modularity
from interp_dsl.geometry.similarity import Related, Stream
from interp_dsl.plan.dictionaries import Fitted, Relate
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.related import TABLES


def relate(task: Relate, key: str, state: State, folder: RunFolder, report: Report) -> None:
    """Run the method and write what it leaves. Raises InterpError E693."""
    with torch.no_grad():
        found = _Study(task, state, folder, report).done()
    write(found, TABLES, task.step, key, folder)


class _Study:
    """Dictionaries are numbered from the lowest up; features of all of them as nodes, one
    dictionary's after the other's."""

    def __init__(self, task: Relate, state: State, folder: RunFolder, report: Report) -> None:
        self.task, self.state, self.report = task, state, report
        self.options: dict[str, Any] = task.given
        self.partition = partition(self.options)
        self.fitted = task.fitted
        self.device = state.device(task.run)
        self.dictionaries = [read_dictionaries(folder, of, self.device)[0] for of in task.of]
        self.n = state.data[task.run.data].n
        self.found = Factored(None, self.n)
        self.edges: list[Edge] = []

    def done(self) -> Factored:
        total = len(self.fitted) - 1
        for at in range(total):
            self._pair(at)
            self.report.progress(at + 1, total)
        self._communities()
        return self.found

    def _pair(self, at: int) -> None:
        """One dictionary with the next."""
        below, above = self.dictionaries[at : at + 2]
        stream = self._stream(at)
        thresholds = self._thresholds(at, stream)
        keep = similarity.Keep(
            {self.options["measure"]: self.options["least"]},
            self.options["top"],
            self.options["support"],
            dict.fromkeys(gates.KINDS.values(), self.options["gate"]),
        )
        sizes = (below.d_sae, above.d_sae)
        related = similarity.relate(
            stream, sizes, thresholds, keep, self.task.rows, device=self.device
        )
        self._pairs(at, related)
        self._passage(at, related)
        self._gates(at, related, stream, thresholds)
        rows = self._verified(at, related)
        self.found.rows("verified", rows)
        self.found.score(self.fitted[at].target, None, "verified", _correlation(rows))

    def _stream(self, at: int) -> Stream:
        """Features of a dictionary and the next, block after block of prompts."""
        harvest, pair = self._harvest(at), [d.target for d in self.fitted[at : at + 2]]

        def stream() -> Iterator[tuple[Tensor, Tensor]]:
            for examples in torch.split(torch.arange(self.n), harvest.rows):
                _, block = harvest.of(examples)
                below, above = (
                    d.encode(block[target])
                    for d, target in zip(self.dictionaries[at : at + 2], pair, strict=True)
                )
                yield below, above

        return stream

    def _harvest(self, at: int) -> Harvest:
        pair = [d.target for d in self.fitted[at : at + 2]]
        return Harvest((self.task.run,), pair, self.state, 0, self.task.batch, self.report)

    def _thresholds(self, at: int, stream: Stream) -> tuple[Tensor | float, Tensor | float]:
        share = self.options["active"]
        if not share:
            return 0.0, 0.0
        largest = [torch.zeros(d.d_sae, device=self.device) for d in self.dictionaries[at : at + 2]]
        for features in stream():
            for held, x in zip(largest, features, strict=True):
                torch.maximum(held, x.amax(0), out=held)
        return share * largest[0], share * largest[1]

    # ---- what is told of a pair of layers

    def _pairs(self, at: int, related: Related) -> None:
        below, above = self.fitted[at : at + 2]
        cosine = _decoders(self.dictionaries[at], self.dictionaries[at + 1], related)
        columns = {
            "i": related.below,
            "j": related.above,
            **related.values,
            "decoder_cosine": cosine,
            "support": related.support.long(),
            "lift": related.lift,
            "lift_low": related.lift_low,
        }
        about = {"below": below.target.place, "above": above.target.place}
        lists = [column.tolist() for column in columns.values()]
        rows = [
            {**about, **dict(zip(columns, row, strict=True))} for row in zip(*lists, strict=True)
        ]
        self.found.rows("pairs", rows)
        self.found.score(below.target, None, "pairs", len(rows))
        self._join(at, related)

    def _join(self, at: int, related: Related) -> None:
        """The pairs that form communities, as edges between nodes."""
        first = sum(d.d_sae for d in self.dictionaries[:at])
        second = first + self.dictionaries[at].d_sae
        values = related.values[self.options["measure"]]
        is_joined = values >= self.options["joined"]
        columns = (related.below + first, related.above + second, values)
        self.edges += zip(*(x[is_joined].tolist() for x in columns), strict=True)

    def _passage(self, at: int, related: Related) -> None:
        place = self.fitted[at].target
        found = similarity.passage(related, self.options["passing"], self.options["measure"])
        special, general = similarity.specialising(related)
        for metric, value in (
            ("passed", found.passed),
            ("disappearing", found.disappearing),
            ("appearing", found.appearing),
            ("specialising", float(special.sum())),
            ("generalising", float(general.sum())),
        ):
            self.found.score(place, None, metric, None if value != value else value)

    def _gates(
        self,
        at: int,
        related: Related,
        stream: Stream,
        thresholds: tuple[Tensor | float, Tensor | float],
    ) -> None:
        """Gates of both kinds, in one pass."""
        least, most = self.options["gate"], self.options["inputs"]
        found = [g for kind in gates.KINDS for g in gates.candidates(related, kind, least, most)]
        scored = gates.scored(stream, found, thresholds) if found else ()
        better = [one.gate.kind for one in scored if one.is_better and one.child_of is None]
        for kind in gates.KINDS:
            self.found.score(self.fitted[at].target, None, f"{kind}_gates", better.count(kind))
        self.found.rows("gates", [_gate(self.fitted[at + 1], one) for one in scored])

    def _verified(self, at: int, related: Related) -> list[dict[str, Any]]:
        """Pairs over the whole range of the measure, with what ablating the lower feature does."""
        values = related.values[self.options["measure"]]
        if not self.options["verify"] or not len(values):
            return []
        below, above = self.fitted[at : at + 2]
        ablation = Ablation(self._harvest(at), below, above, self.dictionaries[at : at + 2])
        examples = torch.arange(min(self.n, self.options["prompts"]))
        ablation.see(examples)
        found = []
        for pair in similarity.spread(values, self.options["verify"]).tolist():
            i, j = int(related.below[pair]), int(related.above[pair])
            about = {"below": below.target.place, "i": i, "above": above.target.place, "j": j}
            found.append({**about, "measure": float(values[pair]), **ablation.of(i, j)})
        return found

    def _communities(self) -> None:
        """Communities of features of all layers."""
        sizes = [d.d_sae for d in self.dictionaries]
        labels = self.partition(sum(sizes), self.edges)
        counts = [0] * (max(labels) + 1)
        for label in labels:
            counts[label] += 1
        self.found.score(None, None, "communities", sum(count > 1 for count in counts))
        q = modularity(sum(sizes), self.edges, labels, self.options["resolution"])
        self.found.score(None, None, "modularity", q)
        nodes = (
            (one, k) for one, size in zip(self.fitted, sizes, strict=True) for k in range(size)
        )
        self.found.rows(
            "communities",
            [
                {"layer": one.target.place, "feature": k, "community": label}
                for (one, k), label in zip(nodes, labels, strict=True)
                if counts[label] > 1
            ],
        )


def _correlation(rows: list[dict[str, Any]]) -> float | None:
    """Pearson's, of the measure with the share that is lost."""
    pairs = [(row["measure"], row["lost"]) for row in rows if row["n"]]
    if len(pairs) < 3:
        return None
    found = float(torch.corrcoef(torch.tensor(pairs, dtype=torch.float64).T)[0, 1])
    return None if found != found else found


def _decoders(below: Dictionary, above: Dictionary, related: Related) -> Tensor:
    """Cosines of the decoders' directions; NaN where the two places have not one width."""
    one, other = below.tensors["W_dec"], above.tensors["W_dec"]
    if one.shape[1] != other.shape[1]:
        return torch.full(related.below.shape, torch.nan)
    return similarity.decoder_cosine(one, other, related.below, related.above)


def _gate(fitted: Fitted, one: gates.Scored) -> dict[str, Any]:
    return {
        "layer": fitted.target.place,
        "kind": one.gate.kind,
        "output": one.gate.output,
        "inputs": ", ".join(map(str, one.gate.inputs)),
        "precision": one.precision,
        "recall": one.recall,
        "f1": one.f1,
        "best_single": one.single,
        "support": one.support,
        "child_of": one.child_of,
    }
