"""Where paths lead: by how much places move, for many rows at once.

A direction is made once for all examples, and serves every length along it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from interp_dsl.engine.means import behind_first
from interp_dsl.engine.no_direction import nowhere, too_few, too_few_components
from interp_dsl.engine.rebuilt import Place, Rebuilds
from interp_dsl.engine.sources import Address, Elsewhere, values_of
from interp_dsl.engine.state import State
from interp_dsl.engine.vectors import vector
from interp_dsl.geometry import directions
from interp_dsl.geometry.moments import Moments
from interp_dsl.geometry.planes import foot
from interp_dsl.models.edits import entries, moved
from interp_dsl.models.sites import width as site_width
from interp_dsl.plan.algebra import FromRun, Metric, Run, Source
from interp_dsl.plan.paths import (
    AlongSlope,
    AlongVector,
    Among,
    Between,
    Components,
    Decoders,
    Drawn,
    Moved,
    Path,
    Plane,
    Rebuilt,
    Sized,
    Toward,
)
from interp_dsl.plan.places import Point, Target, Unit

Direction = tuple[Tensor, Tensor]
"""Of all examples vectors and unit vectors [n, k, width]; of an arc its two ends."""


Key = tuple[Place, str, int]
"""A direction: where, along which path, which of its directions."""


class Paths:
    """Values of a Moved source: what is added to places of `into`. `shares` are the lengths of
    points that are each example's own, [n] by point."""

    def __init__(self, state: State, source: Moved, into: Run) -> None:
        self.state, self.into = state, into
        self.device = state.device(into)
        self.paths = {path.name: path for path in source.paths}
        self.norm_of = source.run
        self.shares: dict[Unit, Tensor] = {}
        self.dictionaries = Rebuilds(state, into)
        self._held: dict[Key, Direction] = {}
        """The directions of the last rows: the next ones go on along them."""

    def __call__(self, at: Address) -> Tensor:
        """By how much rows move [R, k, width]. Rows of one unit stand together, in the units'
        order."""
        assert at.which is not None
        points = [unit for unit in at.units if isinstance(unit, Point)]
        places = [Place(at.site, p.targets[0].index or 0, at.positions) for p in points]
        keys = [self._key(place, point) for place, point in zip(places, points, strict=True)]
        counts = torch.bincount(at.which, minlength=len(points)).tolist()
        fixed, own = self._lengths(points, places, at)
        self._held = self._directions(dict.fromkeys(keys))
        parts, row = [], 0
        for key, group in groupby(range(len(points)), keys.__getitem__):
            members = list(group)
            rows = slice(row, row + sum(counts[i] for i in members))
            row = rows.stop
            if rows.stop > rows.start:
                scales = {points[i].length.scale for i in members}
                parts.append(self._moved(key, scales, at.examples[rows], fixed[rows], own[rows]))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _key(self, place: Place, point: Point) -> Key:
        """Numbers beyond those of a path's directions tell points of one direction apart."""
        return place, point.path, point.number % getattr(self.paths[point.path], "n", 1)

    def _lengths(
        self, points: Sequence[Point], places: Sequence[Place], at: Address
    ) -> tuple[Tensor, Tensor]:
        """Of rows the lengths in L2 and those as multiples of the direction's own [R, 1, 1]; one of
        the two is 0."""
        assert at.which is not None
        scales = {"l2": dict.fromkeys(places, 1.0), "own": dict.fromkeys(places, 0.0)}
        if any(p.length.scale == "norm" for p in points):
            assert self.norm_of is not None
            norms = {place: self._moments(self.norm_of, place).norm for place in set(places)}
            scales["norm"] = norms
        fixed = torch.tensor(
            [
                p.length.value * scales[p.length.scale][place]
                for p, place in zip(points, places, strict=True)
            ]
        )
        own = torch.tensor([p.length.value * (p.length.scale == "own") for p in points])
        fixed, own = fixed.nan_to_num()[at.which], own[at.which]
        if self.shares:
            own = torch.stack([self.shares[p].to(own.dtype) for p in points])[at.which, at.examples]
        return _column(fixed, self.device), _column(own, self.device)

    def _moved(
        self, key: Key, scales: set[str], examples: Tensor, fixed: Tensor, own: Tensor
    ) -> Tensor:
        first, second = self._held[key]
        if _is_arc(self.paths[key[1]]):
            first, second = entries(first, examples), entries(second, examples)
            return directions.along_arc(first, second, own) - first
        if scales == {"own"}:
            return entries(first, examples) * own
        along = entries(second, examples) * fixed
        return along + entries(first, examples) * own if "own" in scales or self.shares else along

    def _directions(self, keys: Iterable[Key]) -> dict[Key, Direction]:
        """The directions of some keys, those that are drawn along one path all at once."""
        found = {key: self._held[key] for key in keys if key in self._held}
        drawn: dict[tuple[Place, str], list[int]] = defaultdict(list)
        for place, path, number in (key for key in keys if key not in found):
            if isinstance(self.paths[path], Drawn):
                drawn[place, path].append(number)
            else:
                found[place, path, number] = self._made(place, path, number)
        for (place, path), numbers in drawn.items():
            way = self.paths[path]
            assert isinstance(way, Drawn)
            v = self._drawn(place, way, numbers)
            made = zip(v, directions.unit(v)[0], strict=True)
            found |= {(place, path, k): one for k, one in zip(numbers, made, strict=True)}
        return found

    def _made(self, place: Place, path: str, number: int) -> Direction:
        way = self.paths[path]
        if isinstance(way, Plane):
            a, b, c = self.corners(place, way)
            return directions.apart(b, a), foot(a, b, c)[1]
        if isinstance(way, Toward | Between | Among) and _is_arc(way):
            return self._ends(place, way, number)
        v = self._vectors(place, way, number)
        return v, directions.unit(v)[0]

    def _vectors(self, place: Place, way: Path, number: int) -> Tensor:
        """The directions of all examples [n, k, width]."""
        match way:
            case Sized(path=inner, of=of):
                along, _ = directions.unit(self._vectors(place, inner, number))
                return along * self.dictionaries.error(of, place, self.own(place))
            case Rebuilt() | Decoders():
                counter, examples, where = (c[0] for c in self._counters(place, [number]))
                at = counter, examples, where
                return self.dictionaries.vectors(way, place, self.own(place), at)
            case Drawn() as drawn:
                return self._drawn(place, drawn, [number])[0]
            case Components(run=run):
                _, vectors = self._components(run, place)
                if number >= vectors.shape[1]:
                    raise too_few_components(place, number, vectors.shape[1])
                return self._everywhere(vectors[:, number], place)
            case AlongVector(name=name, vector=wanted):
                found = vector(wanted, self.state)
                if not bool(found.any()):
                    raise nowhere(name)
                return self._everywhere(found, place)
            case AlongSlope(metric=metric):
                return self._slopes(place, metric)
            case Toward() | Between() | Among():
                start, end = self._ends(place, way, number)
                return directions.apart(end, start)
        raise AssertionError("a plane has no direction of its own")

    # ---- what directions are made of

    def _counters(self, place: Place, numbers: Sequence[int]) -> directions.Counters:
        """What draws depend on [m, n, k] each: their numbers [m], the example, the position."""
        where = moved(self._where(place), self.device)
        shape = len(numbers), *where.shape
        examples = torch.arange(len(where), device=self.device)[:, None]
        number = torch.tensor(numbers, device=self.device)[:, None, None]
        return number.expand(shape), examples.expand(shape), where.expand(shape)

    def _drawn(self, place: Place, drawn: Drawn, numbers: Sequence[int]) -> Tensor:
        """The directions of these numbers [m, n, k, width]."""
        counters, seed = self._counters(place, numbers), drawn.seed
        _, examples, where = counters
        if drawn.run is None:
            width = site_width(place.site, self.state.executor(self.into).facts.shape)
            assert width is not None, "the checker lets no hook be moved"
            return directions.isotropic(seed, counters, width)
        match drawn.how:
            case "covariance":
                return directions.covariance_mixture(seed, counters, self._factor(drawn.run, place))
            case "toward_random":
                moments, factor = self._moments(drawn.run, place), self._factor(drawn.run, place)
                mean = moments.mean.to(self.device, factor.dtype)
                return directions.sampled(seed, counters, mean, factor) - self.own(place)
        pool, held = self._pool(drawn.run, place)
        own = torch.full_like(where, -1)
        if (drawn.run.data, drawn.run.side) == (self.into.data, self.into.side):
            own = held[examples, where]
        try:
            if drawn.how == "difference":
                return directions.real_mixture(seed, counters, pool, own)
            return directions.apart(directions.another(seed, counters, pool, own), self.own(place))
        except ValueError as error:
            raise too_few(place, str(error)) from None

    def _slopes(self, place: Place, metric: Metric) -> Tensor:
        """The slopes of a metric at the places of all examples [n, k, width]."""
        from interp_dsl.engine.slopes import slopes_of

        key = ("slopes", self.into, place.site, metric)
        found = self.state.once(key, lambda: slopes_of(metric, place.site, self.into, self.state))
        return self._at(place, found)

    def _where(self, place: Place) -> Tensor:
        """Token positions [n, k]."""
        return self.state.slots(self.into, place.positions).index

    def own(self, place: Place) -> Tensor:
        """What the places are before they are moved [n, k, width]."""
        return self._at(place, self.state.captured(self.into, place.site))

    def there(self, place: Place) -> Tensor:
        """Which of the places [n, k] are tokens of their own: a prompt with fewer repeats its
        first."""
        return moved(self.state.slots(self.into, place.positions).valid, self.device)

    def _at(self, place: Place, held: Tensor) -> Tensor:
        """The values [n, k, width] at a place, of those of its whole site [n, T, index, width]."""
        where = self._where(place)
        return entries(held, torch.arange(len(where))[:, None], where)[:, :, place.index]

    def _everywhere(self, v: Tensor, place: Place) -> Tensor:
        return v.float().to(self.device).expand(*self._where(place).shape, len(v))

    def _sources(self, place: Place, source: Source) -> Tensor:
        """What a source would set the places to."""
        return values_of(source, self.into, self.state)(self._address(place))

    def _address(self, place: Place) -> Address:
        examples = torch.arange(len(self._where(place)))
        return Address(
            place.site, place.positions, examples, torch.full_like(examples, place.index)
        )

    def _ends(
        self, place: Place, path: Toward | Between | Among, number: int
    ) -> tuple[Tensor, Tensor]:
        """Where a path begins and where it leads to [n, k, width] each."""
        own = self.own(place)
        match path:
            case Toward(source=source):
                end = self._sources(place, source)
            case Between():
                end = self._sources(place, FromRun(other_end(path, self.into)))
            case Among(run=run, n=n):
                here = replace(run, model=self.into.model, data=self.into.data)
                end = self._others(place, here, number % n + 1)
        return own, end.expand_as(own)

    def _others(self, place: Place, run: Run, behind: int) -> Tensor:
        """What the place is in the example so far behind one's own, counted round."""
        n = self.state.data[run.data].n
        pairs = (torch.arange(n) + behind) % n
        return Elsewhere(self.state, run, self.into, pairs)(self._address(place))

    def corners(self, place: Place, plane: Plane) -> tuple[Tensor, Tensor, Tensor]:
        """What a plane goes through [n, k, width] each, at least float32: a path's two ends, and
        the place in the next example that is neither."""
        way = plane.along
        assert isinstance(way, Toward | Between | Among)
        start, end = self._ends(place, way, 0)
        third = self._others(place, self.into, 2 if isinstance(way, Among) else 1)
        a, b, c = (x if x.dtype == torch.float64 else x.float() for x in (start, end, third))
        return a, b, c

    def _moments(self, run: Run, place: Place) -> Moments:
        found = self.state.kept(run).moments[Target(place.site, place.index)]
        if not found.n:
            raise too_few(place, "no prompt has a token behind its first")
        return found

    def _components(self, run: Run, place: Place) -> tuple[Tensor, Tensor]:
        key = ("components", run, place.site, place.index)
        return self.state.once(key, lambda: self._moments(run, place).components())

    def _factor(self, run: Run, place: Place) -> Tensor:
        values, vectors = self._components(run, place)
        if not len(values):
            raise too_few(place, "they are all the same")
        return (vectors * values.sqrt()).float().to(self.device)

    def _pool(self, run: Run, place: Place) -> tuple[Tensor, Tensor]:
        """The activations of a run [m, width], all real tokens but the first, and the number of
        each token among them [n, T], −1 for none."""

        def gathered() -> tuple[Tensor, Tensor]:
            captured = self.state.captured(run, place.site)[:, :, place.index]
            counted = behind_first(self.state.side(run), self.device)
            numbers = torch.full(counted.shape, -1, device=self.device)
            numbers[counted] = torch.arange(int(counted.sum()), device=self.device)
            return captured[counted], numbers

        return self.state.once(("pool", run, place.site, place.index), gathered)


def _is_arc(path: Path) -> bool:
    return isinstance(path, Toward | Between | Among) and path.how == "arc"


def _column(x: Tensor, device: torch.device) -> Tensor:
    return moved(x, device)[:, None, None]


def other_end(between: Between, run: Run) -> Run:
    """The run to which a path leads from another, which may hold further interventions."""
    pairs = [*zip(between.runs[::2], between.runs[1::2], strict=True)]
    ways = [*pairs, *((end, start) for start, end in pairs)]
    about = (run.model, run.data, run.side)
    ours = [w for w in ways if (w[0].model, w[0].data, w[0].side) == about]
    ours = [w for w in ours if run.under[: len(w[0].under)] == w[0].under]
    return max(ours, key=lambda way: len(way[0].under))[1]
