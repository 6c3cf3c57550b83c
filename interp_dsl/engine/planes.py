"""Pictures of what a model makes of the points of a plane through three activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.rebuilt import Place
from interp_dsl.engine.state import token_text
from interp_dsl.engine.sweep import Sweeper
from interp_dsl.geometry.planes import foot, similarities
from interp_dsl.plan.curves import PLANE, plane_points, ticks
from interp_dsl.plan.paths import Moved, Plane
from interp_dsl.plan.places import Length, Point, Site, Target, Unit
from interp_dsl.plan.tasks import Regions, Sweep, Variant

Row = dict[str, Any]
CORNERS = ("a", "b", "c")


def planes(task: Sweep, sweeper: Sweeper) -> list[Row]:
    """A row a point of each picture, row after row from the bottom."""
    found: list[Row] = []
    for variant in task.variants:
        units = sweeper.state.units(task.intervention.units, variant.into)
        for targets in dict.fromkeys(unit.targets for unit in units):
            found += _Picture(task, sweeper, variant, targets).rows()
    return found


class _Picture:
    """The pictures of one place, one a prompt."""

    def __init__(
        self, task: Sweep, sweeper: Sweeper, variant: Variant, targets: tuple[Target, ...]
    ) -> None:
        regions, source = task.curves, task.intervention.source
        assert isinstance(regions, Regions) and isinstance(source, Moved)
        self.sweeper, self.variant, self.targets = sweeper, variant, targets
        self.state, self.regions = sweeper.state, regions
        self.n = min(regions.planes, self.state.data[variant.into.data].n)
        (self.plane,) = (path for path in source.paths if isinstance(path, Plane))

    def rows(self) -> Iterator[Row]:
        """The points of each prompt's picture."""
        at = ticks(self.regions)
        points = plane_points(self.targets, self.regions)
        outputs, tokens = self._outputs(points, torch.tensor([at[p.number] for p in points]))
        corners, _ = self._outputs(*self._corners())
        unit = Unit(self.targets)
        text = token_text(self.state.executor(self.variant.into).facts)
        for prompt in range(self.n):
            alike = similarities(outputs[:, prompt], corners[:, prompt]).tolist()
            for point, values, token in zip(points, alike, tokens[:, prompt].tolist(), strict=True):
                yield {
                    "unit": unit.place,
                    "position": unit.position,
                    **dict(self.variant.columns),
                    "prompt": prompt,
                    "along": at[point.number],
                    "across": point.length.value,
                    **dict(zip(CORNERS, values, strict=True)),
                    "nearest": CORNERS[values.index(max(values))],
                    "token": text(token),
                }

    def _corners(self) -> tuple[tuple[Point, ...], Tensor]:
        """The three activations as points of the plane, and how far along each is [3, n]."""
        (target,) = self.targets
        place = Place(target.site, target.index or 0, target.positions)
        share, _ = foot(*self.sweeper.paths_of(self.variant).corners(place, self.plane))
        across = (0.0, 0.0, 1.0)
        points = tuple(Point(self.targets, PLANE, i, Length(x)) for i, x in enumerate(across))
        share = share.float().cpu()
        return points, torch.stack([torch.zeros_like(share), torch.ones_like(share), share])

    def _outputs(self, points: tuple[Point, ...], along: Tensor) -> tuple[Tensor, Tensor]:
        """The stream behind the last block at the position that is read [points, prompts,
        d_model], and the most likely next token [points, prompts]. `along`: [points] or [points,
        n]."""
        run = self.variant.into
        bench = Bench(run, (), {}, self.state, (None,))
        last = Site("resid_post", bench.executor.facts.shape.n_layers - 1)
        read = torch.from_numpy(self.state.side(run).read)
        n, found, tokens = self.n, list[Tensor](), list[Tensor]()
        _, editor = self.sweeper.bench(self.variant)
        every = (
            along[:, None].expand(-1, self.state.data[run.data].n) if along.dim() == 1 else along
        )
        paths = self.sweeper.paths_of(self.variant)

        def work(start: int, stop: int) -> None:
            batch = Packed.stretch(points, n, start, stop)
            seen = bench.forward("plain", batch.examples, editor, batch, (last,))
            rows, at = torch.arange(stop - start), read[batch.examples]
            stream, token = seen.sites[last][rows, at].flatten(1), seen.logits[:, 0].argmax(-1)
            found.append(stream.double())
            tokens.append(token)

        paths.shares = dict(zip(points, every, strict=True))
        in_batches(len(points) * n, default_rows(bench.width), work, self.sweeper.note)
        paths.shares = {}
        streams, likely = torch.cat(found), torch.cat(tokens)
        return streams.view(len(points), n, -1), likely.view(len(points), n)
