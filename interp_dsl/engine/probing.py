"""Sparse probes of dictionaries on labels of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from interp_dsl.data.labels import Labels, labels
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.measures import Ratio
from interp_dsl.dictionaries.probing import Division, Probe, divided, fitted
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.plan.dictionaries import EvaluateDictionary, Judged
from interp_dsl.runs.schema import PROBE_COLUMNS, polars_types


class Probing:
    """The measures of a task that are probes. What they read are means over each example's tokens:
    of each dictionary's features [n, d_sae], and of the activations that it is of [n, d_in]."""

    def __init__(
        self,
        task: EvaluateDictionary,
        found: Sequence[Dictionary],
        state: State,
        report: Report,
    ) -> None:
        self.task, self.n = task, state.data[task.run.data].n
        self.measures = [m for m in task.measures if m.function == "sparse_probing"]
        widths = [{"sae": d.d_sae, "llm": d.d_in} for d in found] if self.measures else []
        self.means = [{of: torch.zeros(self.n, w) for of, w in held.items()} for held in widths]
        self._labels: dict[Judged, Labels] = {}
        self._divisions: dict[Judged, list[Division]] = {}
        for measure in self.measures:
            self._divide(measure, state, report)
        self._rows: list[dict[str, Any]] = []

    def _divide(self, measure: Judged, state: State, report: Report) -> None:
        given = measure.given
        held = labels(state.data[self.task.run.data], given["target"])
        if held.few:
            few = ", ".join(f"{name} ({n})" for name, n in held.few.items())
            report.note(f"too few examples to probe for, left out: {few}")
        numbers = torch.from_numpy(held.of)
        self._labels[measure] = held
        self._divisions[measure] = divided(numbers, len(held.names), given["test"], given["seed"])

    def see(self, i: int, examples: Tensor, owner: Tensor, f: Tensor, x: Tensor) -> None:
        """Features f and activations x of tokens [R] of some examples; seen again, they are the
        same."""
        if not self.measures:
            return
        place = (owner - examples[0]).to(f.device)
        counts = torch.bincount(place.cpu(), minlength=len(examples)).clamp_min(1)[:, None]
        for of, values in (("sae", f), ("llm", x)):
            sums = torch.zeros(len(examples), values.shape[1], device=f.device)
            sums.index_add_(0, place, values.float())
            self.means[i][of][examples] = sums.cpu() / counts

    def told(self, i: int, measure: Judged) -> dict[str, Ratio]:
        """The accuracies of dictionary i, means over classes, as ratios of sums over examples; what
        they leave for the table of probes is kept."""
        counts: list[int | None] = [*dict.fromkeys(measure.given["k"]), None]
        return {
            f"{of}{'' if k is None else f'_top_{k}'}_test_accuracy": self._accuracy(
                i, measure, of, k
            )
            for k in counts
            for of in ("sae", "llm")
        }

    def _accuracy(self, i: int, measure: Judged, of: str, k: int | None) -> Ratio:
        x, right, tried = self.means[i][of], *torch.zeros(2, self.n, dtype=torch.float64)
        for c, division in enumerate(self._divisions[measure]):
            learned, is_own = division.learned
            probe = fitted(x[learned], is_own, k)
            examples, is_own = division.tried
            hits = probe.is_right(x[examples], is_own).double()
            right.index_add_(0, examples, hits / len(hits))
            tried.index_add_(0, examples, torch.ones_like(hits) / len(hits))
            if of == "sae" and k is not None:
                self._keep(i, measure, c, probe, hits)
        return Ratio(right, tried)

    def _keep(self, i: int, measure: Judged, c: int, probe: Probe, hits: Tensor) -> None:
        about = {
            "dictionary": self.task.of.fitted[i].label or None,
            "target": measure.given["target"],
            "label": self._labels[measure].names[c],
            "k": len(probe.features),
            "accuracy": float(hits.mean()),
            "n": len(hits),
        }
        columns = (probe.features, probe.difference, probe.weight)
        for rank, (feature, difference, weight) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), 1
        ):
            found = {"feature": feature, "difference": difference, "weight": weight}
            self._rows.append({**about, "rank": rank, **found})

    def rows(self) -> dict[str, pl.DataFrame]:
        """The table `probes`; none where nothing asks for it."""
        if not self.measures:
            return {}
        return {"probes": pl.DataFrame(self._rows, schema=polars_types(PROBE_COLUMNS))}
