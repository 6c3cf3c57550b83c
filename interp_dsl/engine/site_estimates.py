"""Estimates of places from slopes: attribution patching, integrated gradients, AtP*.

What a unit would be changed to is what an edit would make of it (edits.py), so that an estimate and
a patch ask the same. All units of a site that act at different positions share one source; where
positions overlap, as `all` and `END` do, each has its own. Features of a dictionary, and its error,
are read off the slope of the place that it rebuilds (feature_changes.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.atp_star import atp_star
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.nodes import (
    FirstOrder,
    Source,
    attribution_patching,
    integrated_gradients,
)
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.feature_changes import Changed, FeatureChanges
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import canonical
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import apply
from interp_dsl.models.executor import Executor
from interp_dsl.plan.memory import SLOPED
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit, telling
from interp_dsl.plan.tasks import Attribute

FEATURES = 2**26
"""How many features are held at once, of all the tokens of a batch."""

EMBED = Site("embed")
Piece = tuple[Site, Positions]
"""A site as the text names it, and where it is changed."""

Options = Mapping[str, Any]


class Read(NamedTuple):
    """What a method finds of sites: the contributions of their entries, and where the estimate is a
    change times a slope, the slopes [B, T, index, width]."""

    contributions: Mapping[Site, Tensor]
    slopes: Mapping[Site, Tensor]

    @classmethod
    def of(cls, found: FirstOrder) -> Read:
        return cls(found.contributions(), found.slopes)


Method = Callable[[Executor, Examples, Source, Options], Read]

METHODS: dict[str, Method] = {
    "atp": lambda executor, examples, source, _: Read.of(
        attribution_patching(executor, examples, source)
    ),
    "hisp": lambda executor, examples, source, _: Read.of(
        attribution_patching(executor, examples, source)
    ),
    "ig": lambda executor, examples, source, options: Read.of(
        integrated_gradients(
            executor, examples, source, options["steps"], options["at"], options["rule"]
        )
    ),
    "atp_star": lambda executor, examples, source, options: Read(
        atp_star(
            compiled(executor, "atp_star"),
            examples,
            source,
            options["qk_fix"],
            options["grad_drop"],
        ),
        {},
    ),
}


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
        under=bench.context(numbers, bench.width),
    )


class SiteEstimates:
    """Estimates from slopes at sites."""

    def __init__(self, task: Attribute, bench: Bench, units: Sequence[Unit]) -> None:
        self.task, self.bench, self.units = task, bench, units
        self.options: Options = dict(task.options)
        self.editor = Editor(task.intervention, bench.run, bench.state)
        self.editor.aligns(units)
        values = self.editor.values
        assert values is not None, "the checker refuses blocking"
        self.features = FeatureChanges(values, units, bench.run, bench.state)
        self.moves_inputs = self.options.get("at") == "inputs"
        pieces = {(t.site, t.positions): None for unit in units for t in unit.targets}
        self.masks = {piece: self._mask(piece) for piece in pieces}
        self.layers = self._layers(pieces)
        _check_overlaps(units, self.layers)

    @property
    def rows(self) -> int:
        """How many examples go through at once."""
        held = FEATURES // (self.bench.width * max(1, self.features.n_features))
        return max(1, min(rows_of(self.bench), held))

    def __call__(self, numbers: Tensor) -> Tensor:
        """[metrics, units, B]"""
        clean = self._clean(numbers)
        changed = {
            piece: self.features.of(piece, clean, numbers)
            for piece in self.layers
            if piece[0].feature
        }
        sources = self._sources(numbers, clean, changed)
        return torch.stack(
            [self._of_metric(m, numbers, sources, changed) for m in range(len(self.task.metrics))]
        )

    def _of_metric(
        self,
        m: int,
        numbers: Tensor,
        sources: Sequence[Source],
        changed: Mapping[Piece, Changed],
    ) -> Tensor:
        examples, method = examples_of(self.bench, numbers, m), METHODS[self.task.method]
        found = [method(self.bench.executor, examples, s, self.options) for s in sources]
        parts: dict[Piece, Tensor] = {}
        for piece, layer in self.layers.items():
            at = self._site(piece[0])
            if piece in changed:
                slopes = found[layer].slopes[at]
                held = self.features.contributions(piece, changed[piece], slopes)
                parts[piece] = held.cpu().double()
                continue
            held = found[layer].contributions[at].cpu().double()
            parts[piece] = (held * self.masks[piece][numbers]).flatten(2).sum(2)
        return torch.stack([self._total(unit, parts) for unit in self.units])

    def _total(self, unit: Unit, parts: Mapping[Piece, Tensor]) -> Tensor:
        """The sum [B] over a unit's targets of what each piece's indices [index, B] contribute."""
        terms = []
        for target in unit.targets:
            piece = (target.site, target.positions)
            if target.site.feature:
                terms.append(parts[piece][self.features.row(piece, target.index)])
            elif target.index is None:
                terms.append(parts[piece].sum(0))
            else:
                terms.append(parts[piece][target.index])
        return torch.stack(terms).sum(0)

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
        """Which source each piece is part of: pieces of one place in one source do not overlap. The
        embeddings are in all, whole, where they go along the path."""
        taken: list[dict[Site, list[Piece]]] = [{}]
        found = {}
        for piece in pieces:
            site = self._site(piece[0])
            if site == EMBED and self.moves_inputs and piece[0].feature is None:
                found[piece] = 0
                continue
            held = (other.get(site, []) for other in taken)
            free = (i for i, other in enumerate(held) if not self._overlaps(piece, other))
            layer = next(free, len(taken))
            taken += [{}] if layer == len(taken) else []
            taken[layer].setdefault(site, []).append(piece)
            found[piece] = layer
        return found

    def _overlaps(self, piece: Piece, others: Iterable[Piece]) -> bool:
        """Whether a piece has entries of its place in common with others there."""
        mask = self.masks[piece]
        return any(
            bool((mask & self.masks[other]).any())
            for other in others
            if not self.features.differ(piece, other)
        )

    def _sources(
        self,
        numbers: Tensor,
        clean: Mapping[Site, Tensor],
        changed: Mapping[Piece, Changed],
    ) -> list[Source]:
        """By layer what each site would hold, [B, T, index, width]: the run's own values with the
        pieces changed, at all indices of the site, and features that are units."""
        pieces = self._moved()
        sources: list[dict[Site, Tensor]] = [{} for _ in range(1 + max(pieces.values()))]
        for piece, layer in pieces.items():
            at, held = self._site(piece[0]), sources[layer]
            x = held.get(at, clean[at])
            if piece in changed:
                held[at] = self.features.moved(piece, changed[piece], x)
                continue
            unit = Unit((Target(piece[0], None, piece[1]),))
            held[at] = apply(x, self.editor.edits(Packed.of_one(unit, numbers), self.bench.width))
        for source in sources[1:] if self.moves_inputs else ():
            source[EMBED] = sources[0][EMBED]
        return list(sources)

    def _moved(self) -> dict[Piece, int]:
        """The pieces that sources are made of: the embeddings go whole where they go along."""
        if not self.moves_inputs:
            return self.layers
        return {p: i for p, i in self.layers.items() if p[0] != EMBED} | {(EMBED, ALL): 0}

    def _clean(self, numbers: Tensor) -> dict[Site, Tensor]:
        examples = examples_of(self.bench, numbers, 0)
        nowhere = torch.zeros(len(numbers), 0, dtype=torch.long)
        pieces = self._moved()
        wanted = {self._site(site): None for site, _ in pieces}
        sites = [*wanted | dict.fromkeys(telling(site for site, _ in pieces))]
        with torch.no_grad():
            found = self.bench.executor.forward(
                examples.tokens, nowhere, examples.under, sites, examples.mask
            )
        return {site: canonical(x) for site, x in found.sites.items()}


def rows_of(bench: Bench) -> int:
    """How many examples of a bench go through at once."""
    return max(1, SLOPED // bench.width)


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


def compiled(executor: Executor, method: str) -> CompiledExecutor:
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
