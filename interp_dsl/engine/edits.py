"""Interventions lowered to edits of a packed batch.

All changes of one site become one edit, so that a batch costs a few tensor operations a site,
however many rows it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp_dsl.data.positions import check_aligned
from interp_dsl.engine.features import FeatureEdits, HeldFeatures
from interp_dsl.engine.means import Means
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.slots import ends
from interp_dsl.engine.sources import Address, Elsewhere, values_of
from interp_dsl.engine.state import State, token_text
from interp_dsl.engine.statistics import generator
from interp_dsl.engine.vectors import basis
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import Edit, moved
from interp_dsl.models.sites import n_indices
from interp_dsl.models.sites import width as width_of
from interp_dsl.plan.algebra import Blocked, FromRun, Intervention, Noise, Run
from interp_dsl.plan.paths import Moved
from interp_dsl.plan.places import Positions, Site, Target, Unit
from interp_dsl.plan.rewrite import parts


@dataclass(frozen=True)
class _Piece:
    """The rows of one site that are changed at the same named positions."""

    rows: Tensor
    index: Tensor
    positions: Tensor
    value: Tensor | None
    keys: Tensor | None


class Editor:
    """Lowers one intervention on one run's side; `holds` where the run itself is under it."""

    def __init__(
        self, intervention: Intervention, into: Run, state: State, holds: bool = False
    ) -> None:
        self.state, self.into = state, into
        self.source, self.site = intervention.source, intervention.site
        self.blocks = isinstance(self.source, Blocked)
        self.adds = isinstance(self.source, Noise | Moved)
        self.values = None if self.blocks else values_of(self.source, into, state)
        self.basis = basis(intervention.along, state)
        has_features = any(s.feature for s in parts(intervention.units, Site))
        self.features: FeatureEdits | HeldFeatures | None = None
        if has_features and self.values is not None:
            if holds and not isinstance(self.values, Elsewhere | Means):
                self.features = HeldFeatures(self.values, into, state)
            else:
                self.features = FeatureEdits(self.values, into, state, holds)

    def edits(self, batch: Packed, width: int) -> list[Edit]:
        """The edits of a batch of prompts of `width` tokens. Rows whose prompt has no token at a
        unit's positions are left as they are."""
        held: dict[Site, list[_Piece]] = defaultdict(list)
        for (site, positions), members in self._grouped(batch.units).items():
            rows, which = batch.rows([number for number, _ in members])
            index = torch.tensor([index for _, index in members])[which]
            units = tuple(batch.units[number] for number, _ in members)
            at = Address(site, positions, batch.examples[rows], index, units, which)
            piece = self._piece(at, rows, width)
            if len(piece.rows):
                held[site].append(piece)
        made = [self._edit(site, pieces) for site, pieces in held.items()]
        return made if self.features is None else made + self.features.edits(batch)

    def check(self, units: Iterable[Unit]) -> None:
        """What `aligns` says, and what features of these units are is made ready."""
        units = list(units)
        if self.features is not None:
            self.features.prepare(units)
        self.aligns(units)

    def check_means(self, units: Iterable[Unit]) -> None:
        """Raise InterpError where a mean has no value at the positions of units that are not run
        (E631 to E636): those that are run tell so by themselves."""
        if not isinstance(self.values, Means):
            return
        side = self.state.side(self.into)
        examples = torch.arange(len(side.tokens))
        one_each = {target.positions: unit for unit in units for target in unit.targets}
        for unit in one_each.values():
            self.edits(Packed.of_one(unit, examples), side.tokens.shape[1])

    def aligns(self, units: Iterable[Unit]) -> None:
        """Raise InterpError where units have positions that the prompts lack, or that those of the
        source do not correspond to (E410 to E414)."""
        side = self.state.side(self.into)
        other = self.state.side(self.source.run) if isinstance(self.source, FromRun) else side
        describe = token_text(self.state.executor(self.into).facts)
        for positions in {t.positions: None for u in units for t in u.targets}:
            check_aligned(positions, other, side, describe)

    def _indices(self, target: Target) -> Sequence[int]:
        if target.index is not None:
            return (target.index,)
        known = n_indices(target.site, self.state.executor(self.into).facts.shape)
        return range(known or self.state.entry_shape(self.into, target.site)[0])

    def _grouped(
        self, units: Sequence[Unit]
    ) -> dict[tuple[Site, Positions], list[tuple[int, int]]]:
        """Targets of all units by site and positions, features and errors left out: the unit's
        number, and an index."""
        groups: dict[tuple[Site, Positions], list[tuple[int, int]]] = defaultdict(list)
        for number, unit in enumerate(units):
            for target in (t for t in unit.targets if t.site.feature is None):
                members = groups[self.site(target), target.positions]
                members.extend((number, index) for index in self._indices(target))
        return groups

    def _piece(self, address: Address, rows: Tensor, width: int) -> _Piece:
        site, positions = address.site, address.positions
        examples, index = address.examples, address.index
        queries, named_keys = ends(positions)
        at = self.state.slots(self.into, queries)
        some = at.some[examples]
        if named_keys is not None:
            some = some & self.state.slots(self.into, named_keys).some[examples]
        if not bool(some.all()):
            rows, examples, index = rows[some], examples[some], index[some]
            which = None if address.which is None else address.which[some]
            address = replace(address, examples=examples, index=index, which=which)
        keys = self._keys(site, named_keys, examples, width)
        value = None
        if self.values is not None and len(rows):
            value = self.values(address)
            if site.kind == "pattern" and value.shape[2] > 1:
                value = _fit(value, width)
        if self.blocks:
            self._check_blocked(positions, at.index[examples], keys, examples)
        if keys is not None:
            keys = moved(keys, self.state.device(self.into))
        return _Piece(rows, index, at.index[examples], value, keys)

    def _keys(
        self, site: Site, named: Positions | None, examples: Tensor, width: int
    ) -> Tensor | None:
        """Which keys of a pattern's rows change [R, width]; all where none are named."""
        if site.kind != "pattern":
            return None
        shape = (len(examples), width)
        if named is None:
            return torch.ones(shape, dtype=torch.bool)
        at = self.state.slots(self.into, named).index[examples]
        return torch.zeros(shape, dtype=torch.bool).scatter(1, at, True)

    def _check_blocked(
        self, positions: Positions, queries: Tensor, keys: Tensor | None, examples: Tensor
    ) -> None:
        """A query must keep one key; with none its attention would be 0 ÷ 0."""
        assert keys is not None, "the checker lets only patterns be blocked"
        side = self.state.side(self.into)
        lengths = torch.from_numpy(side.lengths)[examples]
        at = torch.arange(keys.shape[1])
        seen = at[None, None] < lengths[:, None, None]
        if self.state.executor(self.into).facts.shape.causal:
            seen = seen & (at[None, None] <= queries[..., None])
        left = (seen & ~keys[:, None]).any(2)
        if not bool(left.all()):
            raise InterpError(
                Diagnostic(
                    "E636",
                    f"blocking {positions} leaves a query without any key to attend to",
                    notes=("attention needs one key: position 0 sees only itself",),
                    help="leave out the first position: at each -> each - first",
                )
            )

    def _edit(self, site: Site, pieces: list[_Piece]) -> Edit:
        k = max(p.positions.shape[1] for p in pieces)
        positions = torch.cat([_widened(p.positions, k) for p in pieces])
        value = None
        if not self.blocks:
            value = torch.cat([_full(p, k) for p in pieces]) if len(pieces) > 1 else pieces[0].value
        keys = [p.keys for p in pieces if p.keys is not None]
        return Edit(
            site=site,
            rows=torch.cat([p.rows for p in pieces]),
            index=torch.cat([p.index for p in pieces]),
            positions=positions,
            valid=torch.ones_like(positions, dtype=torch.bool),
            value=value,
            op="block" if self.blocks else "add" if self.adds else "set",
            basis=self.basis,
            keys=torch.cat(keys) if keys else None,
        )


class Contexts:
    """What holds throughout in a run: its own interventions, each of all its units at once. Those
    of the numbers `turned` change as much in a random direction, one a site, drawn by `seed`."""

    def __init__(self, run: Run, state: State, turned: Collection[int] = (), seed: int = 0) -> None:
        self.run, self.state, self.seed = run, state, seed
        self.turned = [number in turned for number in range(len(run.under))]
        self._held = [
            (Editor(i, run, state, holds=True), _joined(state.units(i.units, run)))
            for i in run.under
        ]
        for editor, unit in self._held:
            editor.check([unit])

    def edits(self, examples: Tensor, width: int) -> list[Edit]:
        """The edits of rows of these examples, prompts of `width` tokens."""
        return [
            replace(edit, toward=self._direction(edit.site)) if turns else edit
            for (editor, unit), turns in zip(self._held, self.turned, strict=True)
            for edit in editor.edits(Packed.of_one(unit, examples), width)
        ]

    def _direction(self, site: Site) -> Tensor:
        """A random direction [width] of a site's vectors."""
        executor = self.state.executor(self.run)
        shape = executor.facts.shape
        size = shape.d_mlp if site.kind == "hook" else width_of(site, shape)
        assert size is not None, "the checker turns no other hook"
        drawn = torch.randn(size, generator=generator(self.seed, "control", site))
        unit: Tensor = drawn / drawn.norm()
        return unit.to(executor.device)


def _joined(units: Sequence[Unit]) -> Unit:
    """All units as one; a single one as it is, which may be a point of a path."""
    if len(units) == 1:
        return units[0]
    return Unit(tuple(t for u in units for t in u.targets))


def _widened(x: Tensor, k: int) -> Tensor:
    """[R, j, …] as [R, k, …], repeating the first."""
    if x.shape[1] == k:
        return x
    more = x[:, :1].expand(-1, k - x.shape[1], *x.shape[2:])
    return torch.cat([x, more], dim=1)


def _full(piece: _Piece, k: int) -> Tensor:
    assert piece.value is not None
    shape = (len(piece.rows), piece.positions.shape[1], piece.value.shape[2])
    return _widened(piece.value.expand(shape), k)


def _fit(value: Tensor, width: int) -> Tensor:
    """Pattern rows cut or filled with zeros to `width` keys."""
    missing = width - value.shape[2]
    return torch.nn.functional.pad(value, (0, missing)) if missing else value
