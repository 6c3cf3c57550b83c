"""What patching a place would do, from gradients, for any site of the language and any executor.

Attribution patching (Nanda 2023; Syed et al. 2023, arXiv 2310.10348): to first order, the effect of
replacing X by the source's X' at an entry is (X' - X) · ∂M/∂X. A gradient is taken with respect to
what is added to a site, which is zero.

All functions: `source` holds X' for the sites that are wanted, as an executor captures them
([B, T, index, width]; B and T may be 1). Contributions of a site are summed over its width:
[index, B, T], and [head, B, query, key] for a pattern. Units of several entries have the sum of
theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.examples import Examples, points
from interp_dsl.models.edits import Edit
from interp_dsl.models.executor import Executor
from interp_dsl.models.precision import in_own_precision
from interp_dsl.plan.places import Site

Source = Mapping[Site, Tensor]
PATHS = ("inputs", "site")


class Slopes(NamedTuple):
    """Clean values of sites, and the gradients there: both [B, T, index, width]."""

    values: dict[Site, Tensor]
    gradients: dict[Site, Tensor]


class FirstOrder(NamedTuple):
    """Changes X' - X of sites, and the slopes that they are multiplied by: both [B, T, index,
    width]."""

    changes: dict[Site, Tensor]
    slopes: dict[Site, Tensor]

    def contributions(self) -> dict[Site, Tensor]:
        """(X' - X) · ∂M/∂X of each entry."""
        return {site: summed(site, x * self.slopes[site]) for site, x in self.changes.items()}


def attribution_patching(executor: Executor, examples: Examples, source: Source) -> FirstOrder:
    """AtP: one pass forward and one back for all sites."""
    found = slopes(executor, examples, zeros(examples, source))
    changes = {site: canonical(x) - found.values[site] for site, x in source.items()}
    return FirstOrder(changes, found.gradients)


def integrated_gradients(
    executor: Executor,
    examples: Examples,
    source: Source,
    steps: int = 5,
    along: str = "inputs",
    rule: str = "right",
) -> FirstOrder:
    """AtP with the mean gradient of a path (Sundararajan et al. 2017, arXiv 1703.01365). `along`:

    inputs  the token embeddings go straight from clean to the source's, and all else responds, one
            path for all sites (Hanna et al. 2024, arXiv 2403.17806). `source` holds Site("embed"),
            whose contributions add up to M(source's tokens) - M(clean). `steps` passes
    site    what all indices of a site hold, at all positions, goes straight from clean to the
            source's, one site after another (Marks et al. 2024, arXiv 2403.19647, equation 4). A
            site's contributions add up to the exact effect of patching it whole. `steps` passes a
            site

    `rule`: see examples.py. Raises ValueError for another path, and for inputs without their
    source."""
    if along not in PATHS:
        raise ValueError(f"a path is one of {', '.join(PATHS)}, not {along!r}")
    at = points(steps, rule)
    if along == "site":
        parts = [_along(executor, examples, {site: x}, site, at) for site, x in source.items()]
        return FirstOrder(
            {site: x for part in parts for site, x in part.changes.items()},
            {site: x for part in parts for site, x in part.slopes.items()},
        )
    if Site("embed") not in source:
        raise ValueError("a path of the inputs needs the embeddings of the source")
    return _along(executor, examples, source, Site("embed"), at)


def _along(
    executor: Executor,
    examples: Examples,
    source: Source,
    moved: Site,
    at: Sequence[tuple[float, float]],
) -> FirstOrder:
    """The mean gradient while one site moves from clean to source."""
    with torch.no_grad():
        clean = executor.forward(
            examples.tokens, examples.reads, examples.under, [*source], examples.mask
        )
    differences = {site: canonical(x) - canonical(clean.sites[site]) for site, x in source.items()}
    total = {site: torch.zeros_like(x) for site, x in differences.items()}
    for part, weight in at:
        offsets = {site: torch.zeros_like(x) for site, x in differences.items()}
        offsets[moved] = part * differences[moved]
        for site, gradient in slopes(executor, examples, offsets).gradients.items():
            total[site] += weight * gradient
    return FirstOrder(differences, total)


@in_own_precision
def slopes(
    executor: Executor,
    examples: Examples,
    offsets: Mapping[Site, Tensor],
    before: Sequence[Edit] = (),
    after: Sequence[Edit] = (),
) -> Slopes:
    """∂M/∂X for the sites of `offsets`, what is added to them. Other edits are made before or
    after that."""
    with torch.enable_grad():
        edits = [_everywhere(site, offset) for site, offset in offsets.items()]
        values = [edit.value for edit in edits if edit.value is not None]
        found = executor.forward(
            examples.tokens,
            examples.reads,
            [*examples.under, *before, *edits, *after],
            [*offsets],
            examples.mask,
        )
        total = examples.metric(found.logits).sum()
        gradients = torch.autograd.grad(total, values, allow_unused=True, materialize_grads=True)
    return Slopes(
        {site: canonical(x.detach()) for site, x in found.sites.items()},
        {
            site: gradient.view(len(x), -1, *gradient.shape[1:]).transpose(1, 2)
            for (site, x), gradient in zip(offsets.items(), gradients, strict=True)
        },
    )


def zeros(examples: Examples, source: Source) -> dict[Site, Tensor]:
    """Nothing, to be added at the sites of a source."""
    batch = examples.tokens.shape
    return {
        site: torch.zeros(*batch, *canonical(x).shape[2:], dtype=x.dtype, device=x.device)
        for site, x in source.items()
    }


def canonical(x: Tensor) -> Tensor:
    """[B, T, index, width]: a raw hook's tensor may lack the index."""
    return x.unsqueeze(2) if x.ndim == 3 else x


def summed(site: Site, products: Tensor) -> Tensor:
    """[B, T, index, width] -> [index, B, T]; a pattern keeps its keys."""
    x = products if site.kind == "pattern" else products.sum(-1)
    return x.movedim(2, 0)


def _everywhere(site: Site, offset: Tensor) -> Edit:
    """`offset` [B, T, index, width] added to a whole site, as a leaf of the gradient."""
    batch, length, count, _ = offset.shape
    positions = torch.arange(length).expand(batch * count, length)
    return Edit(
        site,
        torch.arange(batch).repeat_interleave(count),
        torch.arange(count).repeat(batch),
        positions,
        torch.ones_like(positions, dtype=torch.bool),
        offset.transpose(1, 2).flatten(0, 1).detach().requires_grad_(),
        "add",
    )
