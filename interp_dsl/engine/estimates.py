"""Estimates of units: each method of verbs/estimates.py that has them.

What a unit would be changed to is what an edit would make of it (edits.py), so that an estimate and
a patch ask the same. All units of a site that act at different positions share one source; where
positions overlap, as `all` and `END` do, each has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.atp_star import atp_star
from interp_dsl.circuits.attribution.direct import direct_logit_attribution
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.nodes import (
    Source,
    attribution_patching,
    integrated_gradients,
)
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.report import Report
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import State, canonical
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import apply
from interp_dsl.models.executor import Executor
from interp_dsl.models.graph import Graph
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Attribute

SHARE = 4
"""How many times fewer rows go through at once than in a plain pass: a slope keeps all layers."""

EMBED = Site("embed")
Piece = tuple[Site, Positions]
"""A site as the text names it, and where it is changed."""

Options = Mapping[str, Any]
Method = Callable[[Executor, Examples, Source, Options], dict[Site, Tensor]]

METHODS: dict[str, Method] = {
    "atp": lambda executor, examples, source, _: attribution_patching(executor, examples, source),
    "hisp": lambda executor, examples, source, _: attribution_patching(executor, examples, source),
    "ig": lambda executor, examples, source, options: integrated_gradients(
        executor, examples, source, options["steps"], options["at"], options["rule"]
    ),
    "atp_star": lambda executor, examples, source, options: atp_star(
        _compiled(executor, "atp_star"), examples, source, options["qk_fix"], options["grad_drop"]
    ),
}


def unit_estimates(
    task: Attribute, state: State, report: Report
) -> tuple[tuple[Unit, ...], Tensor]:
    """The units and their estimated effects [metrics, units, n], float64 in the processor's
    memory. Raises InterpError E643 for no units, E650 for a method that the hooks do not run, E651
    and E654."""
    run = task.variant.into
    units = state.units(task.intervention.units, run)
    if not units:
        raise _none(task.step)
    bench = Bench(run, task.metrics, state.kept(task.reference).logits, state)
    if len(bench.reads.variants) > 1:
        raise sequences(state.data[run.data].name)
    of_batch = _Direct(task, bench, units) if task.method == "dla" else _Sites(task, bench, units)
    n = state.data[run.data].n
    found = torch.empty(len(task.metrics), len(units), n, dtype=torch.float64)

    def work(start: int, stop: int) -> None:
        numbers = torch.arange(start, stop)
        found[:, :, start:stop] = of_batch(numbers)
        report.progress(stop, n)

    in_batches(n, max(1, default_rows(bench.width) // SHARE), work, report.note)
    return units, found


def examples_of(bench: Bench, numbers: Tensor, metric: int) -> Examples:
    """Some examples of a run, by number, and one of the bench's metrics."""
    plain, there = bench.reads.variants["plain"], numbers.to(bench.device)

    def measure(logits: Tensor) -> Tensor:
        return bench.meter.measure({"plain": logits.float()}, there)[metric]

    return Examples(
        torch.from_numpy(plain.tokens)[numbers].to(bench.device),
        measure,
        None if plain.reads is None else torch.from_numpy(plain.reads)[numbers].to(bench.device),
        None if plain.mask is None else torch.from_numpy(plain.mask)[numbers].to(bench.device),
    )


class _Sites:
    """Estimates from slopes at sites."""

    def __init__(self, task: Attribute, bench: Bench, units: Sequence[Unit]) -> None:
        self.task, self.bench, self.units = task, bench, units
        self.options: Options = dict(task.options)
        self.editor = Editor(task.intervention, bench.run, bench.state)
        self.editor.check(units)
        self.moves_inputs = self.options.get("at") == "inputs"
        pieces = {(t.site, t.positions): None for unit in units for t in unit.targets}
        self.masks = {piece: self._mask(piece) for piece in pieces}
        self.layers = self._layers(pieces)
        _check_overlaps(units, self.layers)

    def __call__(self, numbers: Tensor) -> Tensor:
        """[metrics, units, B]"""
        sources = self._sources(numbers)
        return torch.stack(
            [self._of_metric(m, numbers, sources) for m in range(len(self.task.metrics))]
        )

    def _of_metric(self, m: int, numbers: Tensor, sources: Sequence[Source]) -> Tensor:
        examples, method = examples_of(self.bench, numbers, m), METHODS[self.task.method]
        found = [method(self.bench.executor, examples, s, self.options) for s in sources]
        parts: dict[Piece, Tensor] = {}
        for piece, layer in self.layers.items():
            at = self._site(piece[0])
            held = found[layer][at].cpu().double()
            parts[piece] = (held * self.masks[piece][numbers]).flatten(2).sum(2)
        return torch.stack([_total(unit, parts) for unit in self.units])

    def _site(self, site: Site) -> Site:
        """Where a site is changed."""
        return self.task.intervention.site(Target(site))

    def _mask(self, piece: Piece) -> Tensor:
        """The entries of a piece, [n, T], of a pattern [n, T, T]."""
        site, positions = piece
        queries, keys = ends(positions)
        mask = self._at(queries)
        if site.kind != "pattern":
            return mask
        seen = torch.ones_like(mask) if keys is None else self._at(keys)
        return mask[:, :, None] & seen[:, None]

    def _at(self, positions: Positions) -> Tensor:
        run, state = self.bench.run, self.bench.state
        at, tokens = state.slots(run, positions), state.side(run).tokens
        counts = torch.zeros(tokens.shape, dtype=torch.int64)
        return counts.scatter_add_(1, at.index, at.valid.long()) > 0

    def _layers(self, pieces: Iterable[Piece]) -> dict[Piece, int]:
        """Which source each piece is part of: pieces of one site in one source do not overlap. The
        embeddings are in all, whole, where they go along the path."""
        taken: list[dict[Site, Tensor]] = [{}]
        found = {}
        for piece in pieces:
            site, mask = self._site(piece[0]), self.masks[piece]
            if site == EMBED and self.moves_inputs:
                found[piece] = 0
                continue
            free = (i for i, held in enumerate(taken) if not _overlap(held.get(site), mask))
            layer = next(free, len(taken))
            taken += [{}] if layer == len(taken) else []
            held = taken[layer].get(site)
            taken[layer][site] = mask if held is None else held | mask
            found[piece] = layer
        return found

    def _sources(self, numbers: Tensor) -> list[Source]:
        """By layer what each site would hold, [B, T, index, width]: the run's own values with the
        pieces changed, at all indices of the site."""
        pieces = dict(self.layers)
        if self.moves_inputs:
            pieces = {p: i for p, i in pieces.items() if p[0] != EMBED}
            pieces |= {(EMBED, ALL): 0}
        clean = self._clean(numbers, {self._site(site) for site, _ in pieces})
        sources: list[dict[Site, Tensor]] = [{} for _ in range(1 + max(pieces.values()))]
        width = self.bench.width
        for (site, positions), layer in pieces.items():
            at, held = self._site(site), sources[layer]
            unit = Unit((Target(site, None, positions),))
            edits = self.editor.edits(Packed.of_one(unit, numbers), width)
            held[at] = apply(held.get(at, clean[at]), edits)
        for source in sources[1:] if self.moves_inputs else ():
            source[EMBED] = sources[0][EMBED]
        return list(sources)

    def _clean(self, numbers: Tensor, sites: Iterable[Site]) -> dict[Site, Tensor]:
        examples = examples_of(self.bench, numbers, 0)
        nowhere = torch.zeros(len(numbers), 0, dtype=torch.long)
        with torch.no_grad():
            found = self.bench.executor.forward(
                examples.tokens, nowhere, (), [*sites], examples.mask
            )
        return {site: canonical(x) for site, x in found.sites.items()}


class _Direct:
    """Direct logit attribution of whole nodes."""

    def __init__(self, task: Attribute, bench: Bench, units: Sequence[Unit]) -> None:
        executor = _compiled(bench.executor, task.method)
        graph = Graph(executor.facts.shape, split_embed=True)
        self.forward = EdgeForward(executor.model, graph, executor.tf32)
        self.task, self.bench = task, bench
        self.members = torch.zeros(len(units), len(graph.senders), dtype=torch.float64)
        for u, unit in enumerate(units):
            for target in unit.targets:
                if target.place not in graph.senders or target.positions != ALL:
                    raise _no_node(task.method, unit)
                self.members[u, graph.senders.index(target.place)] = 1

    def __call__(self, numbers: Tensor) -> Tensor:
        """[metrics, units, B]"""
        found = [
            direct_logit_attribution(self.forward, examples_of(self.bench, numbers, m)).senders
            for m in range(len(self.task.metrics))
        ]
        return self.members @ torch.stack(found).cpu().double()


def _total(unit: Unit, parts: Mapping[Piece, Tensor]) -> Tensor:
    """The sum [B] over a unit's targets of what each piece's indices [index, B] contribute."""
    terms = []
    for target in unit.targets:
        part = parts[target.site, target.positions]
        terms.append(part.sum(0) if target.index is None else part[target.index])
    return torch.stack(terms).sum(0)


def _overlap(held: Tensor | None, mask: Tensor) -> bool:
    return held is not None and bool((held & mask).any())


def _check_overlaps(units: Iterable[Unit], layers: Mapping[Piece, int]) -> None:
    """No unit changes an entry twice."""
    for unit in units:
        seen: dict[tuple[Site, int | None], int] = {}
        for t in unit.targets:
            layer = layers[t.site, t.positions]
            if seen.setdefault((t.site, t.index), layer) != layer:
                raise InterpError(
                    Diagnostic(
                        "E654",
                        f"{unit} names a place twice, at positions that overlap",
                        help="name it once, at together(…) of its positions",
                    ),
                    exit_code=1,
                )


def _compiled(executor: Executor, method: str) -> CompiledExecutor:
    if isinstance(executor, CompiledExecutor):
        return executor
    raise InterpError(
        Diagnostic(
            "E650",
            f"{executor.facts.name} runs by TransformerLens's hooks, which {method} does not",
            notes=(executor.remark,) if executor.remark else (),
            help="take atp() or ig(), which do",
        ),
        exit_code=1,
    )


def sequences(data: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E651",
            f"a metric reads answers of several tokens of {data}, and slopes are of the prompts "
            "alone",
            help="use answers of one token, or measure kl()",
        ),
        exit_code=1,
    )


def _none(step: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E643",
            f"step {step} has no units",
            notes=("its filter left none",),
            help="loosen the filter",
        )
    )


def _no_node(method: str, unit: Unit) -> InterpError:
    return InterpError(
        Diagnostic(
            "E654",
            f"{unit} is no whole node, and {method} looks at those",
            help="attribute nodes, heads or mlps, without positions",
        ),
        exit_code=1,
    )
