"""AtP* (Kramár et al. 2024, arXiv 2403.00745): two repairs of attribution patching.

QK fix. A softmax that is saturated has no slope. The change of the pattern p is
computed, and only what comes behind it is linear:

    effect = Σ_keys (p' - p) · ∂M/∂p

For a query p' is the softmax of its own row. A key changes all later rows; each position's key is
changed alone, as a unit is a key at one position.

GradDrop. Effects along several paths cancel. With layer l dropped, the gradient
does not flow back through what its attention and its MLP write, so that other paths are seen:

    estimate = 1/n Σ_l |estimate with l dropped|    over the n layers that are not the site's own

L of them for a residual stream, L - 1 for what is inside a layer, where dropping its own leaves
nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.nodes import Slopes, Source, canonical, slopes, summed, zeros
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit
from interp_dsl.models.precision import in_own_precision
from interp_dsl.plan.places import Site

INSIDE = ("q", "k", "v", "z", "pattern", "head", "attn_out", "neuron", "mlp_out")


@in_own_precision
def atp_star(
    executor: CompiledExecutor,
    examples: Examples,
    source: Source,
    qk_fix: bool = True,
    grad_drop: bool = True,
) -> dict[Site, Tensor]:
    """As `attribution_patching`, [index, B, T] a site, with the repairs. With `grad_drop` a result
    is a magnitude, and takes a pass forward and back a layer; without, it has a sign."""
    source = {site: canonical(x) for site, x in source.items()}
    fixed = [site for site in source if qk_fix and site.kind in ("q", "k")]
    wanted = zeros(examples, source) | _attention(executor, examples, fixed)
    if not grad_drop:
        found = slopes(executor, examples, wanted)
        return _estimates(executor, examples, source, found, fixed)
    total = {site: torch.zeros(()) for site in source}
    n_layers = executor.facts.shape.n_layers
    for dropped in _dropped(executor, examples):
        found = slopes(executor, examples, wanted, after=dropped)
        for site, x in _estimates(executor, examples, source, found, fixed).items():
            counted = n_layers - (site.kind in INSIDE)
            total[site] = total[site].to(x.device) + x.abs() / max(counted, 1)
    return total


def _estimates(
    executor: CompiledExecutor,
    examples: Examples,
    source: Source,
    found: Slopes,
    fixed: list[Site],
) -> dict[Site, Tensor]:
    estimates = {}
    for site, x in source.items():
        if site in fixed:
            estimates[site] = _fixed(executor, examples, site, x, found)
        else:
            estimates[site] = summed(site, (x - found.values[site]) * found.gradients[site])
    return estimates


def _fixed(
    executor: CompiledExecutor, examples: Examples, site: Site, x: Tensor, found: Slopes
) -> Tensor:
    """The effect of each query or key [index, B, T] being that of x [B, T, index, d_head]."""
    assert site.layer is not None
    layer = Layer(executor.model, site.layer)
    prompts = Prompts(executor.model, examples.tokens.shape[1], examples.mask)
    q, k = (found.values[Site(kind, site.layer)] for kind in "qk")
    gradient = found.gradients[Site("pattern", site.layer)].transpose(1, 2)
    scores = layer.scores(q, k, prompts)
    x = x.expand_as(q if site.kind == "q" else k)
    if site.kind == "q":
        new = layer.scores(x, k, prompts)
        return _effect(new, scores, gradient).movedim(1, 0)
    new = layer.scores(q, x, prompts)
    effects = torch.stack(list(_by_key(new, scores, gradient)), -1)
    by_head = effects.view(len(effects), k.shape[2], -1, effects.shape[-1])
    return by_head.sum(2).movedim(1, 0)


def _by_key(new: Tensor, old: Tensor, gradient: Tensor) -> Iterator[Tensor]:
    """The effect [B, H] of each key's scores, all [B, H, T, T], being the new ones."""
    for key in range(old.shape[-1]):
        scores = old.clone()
        scores[..., key] = new[..., key]
        yield _effect(scores, old, gradient).sum(-1)


def _effect(new: Tensor, old: Tensor, gradient: Tensor) -> Tensor:
    """[B, H, T]: what each query's new row of scores does."""
    dtype = torch.promote_types(new.dtype, torch.float32)
    return ((new.softmax(-1, dtype) - old.softmax(-1, dtype)) * gradient).sum(-1)


def _attention(
    executor: CompiledExecutor, examples: Examples, fixed: list[Site]
) -> dict[Site, Tensor]:
    """Nothing, to be added at the queries, keys and patterns of the layers to be fixed."""
    shape, (batch, length) = executor.facts.shape, examples.tokens.shape
    sizes = {
        "q": (shape.n_heads, shape.d_head),
        "k": (shape.n_kv_heads, shape.d_head),
        "pattern": (shape.n_heads, length),
    }
    return {
        Site(kind, layer): torch.zeros(
            batch, length, *size, dtype=executor.dtype, device=executor.device
        )
        for layer in {site.layer for site in fixed}
        for kind, size in sizes.items()
    }


def _dropped(executor: CompiledExecutor, examples: Examples) -> Iterator[list[Edit]]:
    """For each layer the edits that hold what it writes at its clean values: constants."""
    shape = executor.facts.shape
    kinds = ("attn_out",) if shape.attn_only else ("attn_out", "mlp_out")
    layers = [[Site(kind, layer) for kind in kinds] for layer in range(shape.n_layers)]
    with torch.no_grad():
        clean: Mapping[Site, Tensor] = executor.forward(
            examples.tokens,
            examples.reads,
            (),
            [site for sites in layers for site in sites],
            examples.mask,
        ).sites
    for sites in layers:
        yield [_held(site, clean[site]) for site in sites]


def _held(site: Site, x: Tensor) -> Edit:
    batch, length, *_ = x.shape
    rows = torch.arange(batch)
    positions = torch.arange(length).expand(batch, length)
    every = torch.ones_like(positions, dtype=torch.bool)
    return Edit(site, rows, torch.zeros_like(rows), positions, every, x[:, :, 0])
