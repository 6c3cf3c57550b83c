"""Estimates for places agree with real patches where they must."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.attribution.atp_star import atp_star
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.hisp import hisp
from interp_dsl.circuits.attribution.nodes import (
    Source,
    attribution_patching,
    integrated_gradients,
    slopes,
    zeros,
)
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit
from interp_dsl.models.executor import Executor
from interp_dsl.plan.places import Site
from tests.circuits.models import executor_of
from tests.circuits.plain import close
from tests.circuits.tasks import LENGTH, READS, Task, induction, ioi, mixed
from tests.models.running import MODELS, compiled, everywhere, executor, prompts, sites_of

B = 3


def examples_of(name: str, mask: Tensor | None = None) -> tuple[Examples, Tensor]:
    clean, corrupt = (prompts(executor(name), B, LENGTH, seed) for seed in (0, 1))
    return Examples(clean, mixed, READS, mask), corrupt


def captured(model: Executor, examples: Examples, tokens: Tensor, sites: list[Site]) -> Source:
    with torch.no_grad():
        return model.forward(tokens, examples.reads, (), sites, examples.mask).sites


def measured(model: Executor, examples: Examples, edits: list[Edit]) -> Tensor:
    with torch.no_grad():
        found = model.forward(examples.tokens, examples.reads, edits, (), examples.mask)
    return examples.metric(found.logits)


def entry(site: Site, source: Tensor, index: int, position: int) -> Edit:
    """One index of a site at one position of all examples."""
    rows = torch.arange(len(source))
    at = torch.full((len(source), 1), position)
    value = source[:, position, index][:, None]
    return Edit(site, rows, torch.full_like(rows, index), at, torch.ones_like(at) > 0, value)


def masks() -> Tensor:
    mask = torch.ones(B, LENGTH, dtype=torch.bool)
    mask[1, 2] = mask[2, 0] = False
    return mask


@pytest.mark.parametrize("name", MODELS)
def test_every_site_to_first_order(name: str) -> None:
    """Moving an index of a site a little of the way has the estimated effect, and the error is of
    second order: a quarter at half the way. The logits are float32, whence the floor."""
    model = executor_of(name)
    examples, corrupt = examples_of(name, masks())
    sites = sites_of(executor(name))
    clean = captured(model, examples, examples.tokens, sites)
    source = captured(model, examples, corrupt, sites)
    base = measured(model, examples, [])
    seen = 0.0
    for site in sites:
        count = source[site].shape[2]
        index, position = count // 2, 3
        errors = []
        for share in (0.02, 0.01):
            near = {site: clean[site] + share * (source[site] - clean[site])}
            effect = measured(model, examples, [entry(site, near[site], index, position)]) - base
            found = attribution_patching(model, examples, near).contributions()[site]
            mine = found[index, :, position]
            mine = mine.sum(-1) if site.kind == "pattern" else mine
            assert mine.shape == (B,)
            errors.append(float((mine - effect).abs().max()))
            seen = max(seen, float(effect.abs().max()))
        assert errors[1] < 0.3 * errors[0] + 5e-5, site
    assert seen > 1e-2


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "qwen3", "capped"])
def test_both_executors(name: str) -> None:
    """All sites at once, by both; a raw hook is the site that it names."""
    examples, corrupt = examples_of(name, masks())
    sites = [*sites_of(executor(name)), Site("hook", hook="blocks.1.hook_resid_pre")]
    source = captured(executor(name), examples, corrupt, sites)
    mine = attribution_patching(compiled(name), examples, source).contributions()
    other = attribution_patching(executor(name), examples, source).contributions()
    for site in sites:
        assert mine[site].shape == other[site].shape
        assert (mine[site] - other[site]).abs().max() < 1e-4 * max(1, other[site].abs().max()), site
    assert close(mine[sites[-1]], mine[Site("resid_pre", 1)]) < 1e-6


def test_sources_that_are_one_for_all() -> None:
    """Zero, and a mean over examples and positions."""
    model = compiled("gpt2")
    examples, corrupt = examples_of("gpt2")
    site = Site("z", 1)
    x = captured(model, examples, corrupt, [site])[site]
    for one in (torch.zeros_like(x[:1, :1]), x.mean((0, 1), keepdim=True)):
        small = attribution_patching(model, examples, {site: one}).contributions()[site]
        large = attribution_patching(model, examples, {site: one.expand_as(x)}).contributions()[
            site
        ]
        assert small.shape == (4, B, LENGTH) and close(small, large) < 1e-6


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "rotary", "attn_only"])
def test_paths_of_a_site_are_complete(name: str) -> None:
    """Contributions of a site add up to patching it whole, up to an error that falls as 1/m for the
    published points and as 1/m² for those in the middle."""
    model = compiled(name)
    examples, corrupt = examples_of(name)
    kinds = ("q", "k", "pattern", "head", "resid_pre", "attn_out")
    sites = [Site(kind, 1) for kind in kinds]
    source = captured(model, examples, corrupt, sites)
    found = integrated_gradients(model, examples, source, 40, "site", "midpoint").contributions()
    base = measured(model, examples, [])
    for site in sites:
        edit = everywhere(site, source[site], source[site])
        effect = measured(model, examples, [edit]) - base
        assert close(found[site].movedim(1, 0).flatten(1).sum(1), effect) < 1e-2, site


@pytest.mark.parametrize("name", ["gpt2", "llama", "attn_only"])
def test_paths_of_the_inputs_are_complete(name: str) -> None:
    """The embeddings' contributions add up to the corrupt run."""
    model = compiled(name)
    examples, corrupt = examples_of(name)
    site = Site("embed")
    sites = [site, Site("head", 1), Site("resid_post", 1)]
    source = captured(model, examples, corrupt, sites)
    gap = measured(model, Examples(corrupt, mixed, READS), []) - measured(model, examples, [])
    errors = {}
    for rule in ("right", "midpoint"):
        for steps in (100, 200):
            path = integrated_gradients(model, examples, source, steps, "inputs", rule)
            found = path.contributions()
            assert found[site].shape == (1, B, LENGTH)
            assert found[Site("head", 1)].shape == (model.facts.shape.n_heads, B, LENGTH)
            errors[rule, steps] = close(found[site].sum((0, 2)), gap)
    assert errors["midpoint", 200] < 1e-3
    assert errors["right", 200] < 0.6 * errors["right", 100]
    assert errors["midpoint", 200] < errors["right", 200]


def test_one_step_is_attribution_patching() -> None:
    model = compiled("gpt2")
    examples, corrupt = examples_of("gpt2")
    source = captured(model, examples, corrupt, [Site("embed"), Site("k", 0), Site("neuron", 1)])
    plain = attribution_patching(model, examples, source).contributions()
    for along in ("inputs", "site"):
        found = integrated_gradients(model, examples, source, 1, along).contributions()
        for site in source:
            assert close(found[site], plain[site]) < 1e-5


def test_paths_that_are_not_there() -> None:
    examples, _ = examples_of("gpt2")
    with pytest.raises(ValueError, match="inputs, site"):
        integrated_gradients(compiled("gpt2"), examples, {}, along="weights")
    with pytest.raises(ValueError, match="embeddings of the source"):
        integrated_gradients(compiled("gpt2"), examples, {Site("z", 0): torch.zeros(1, 1, 4, 8)})


# ---- AtP*


def test_qk_fix_is_exact_before_what_is_linear() -> None:
    """No norm, no MLP, a linear metric: behind the last layer's patterns all is linear. Each query
    and each key at each position, against its real patch; the plain estimate is far off."""
    name = "attn_only"
    model = executor_of(name)
    clean, corrupt = (prompts(executor(name), B, LENGTH, seed) for seed in (0, 1))
    examples = Examples(clean, lambda logits: logits[..., 0, 3] - logits[..., 0, 5], READS)
    base = measured(model, examples, [])
    for kind in ("q", "k"):
        site = Site(kind, 1)
        source = {site: 2 * captured(model, examples, corrupt, [site])[site]}
        real = torch.stack(
            [
                measured(model, examples, [entry(site, source[site], head, at)]) - base
                for head in range(4)
                for at in range(LENGTH)
            ]
        )
        real = real.view(4, LENGTH, B).movedim(2, 1)
        fixed = atp_star(model, examples, source, grad_drop=False)[site]
        assert (fixed - real).abs().max() < 1e-5 * real.abs().max()
        linear = attribution_patching(model, examples, source).contributions()[site]
        assert (linear - real).abs().max() > 0.1 * real.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_qk_fix_recomputes_the_pattern(name: str) -> None:
    """Σ (p' - p) ∂M/∂p with the pattern p' that the executor itself gives under the patch: rotary
    positions, norms of queries and keys, shared keys, caps, windows, masks."""
    model = executor_of(name)
    examples, corrupt = examples_of(name, masks())
    pattern = Site("pattern", 1)
    kinds = [Site("q", 1), Site("k", 1)]
    source = captured(model, examples, corrupt, kinds)
    old = captured(model, examples, examples.tokens, [pattern])[pattern]
    gradient = slopes(model, examples, zeros(examples, {pattern: old})).gradients[pattern]
    found = atp_star(model, examples, source, grad_drop=False)
    for site in kinds:
        wanted = torch.zeros_like(found[site])
        for index in range(source[site].shape[2]):
            for at in range(LENGTH):
                edit = entry(site, source[site], index, at)
                with torch.no_grad():
                    run = model.forward(
                        examples.tokens, examples.reads, [edit], [pattern], examples.mask
                    )
                change = (run.sites[pattern] - old) * gradient
                wanted[index, :, at] = change.sum((1, 2, 3))
        assert close(found[site], wanted) < 1e-9, site


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "attn_only"])
def test_dropped_layers_do_not_answer(name: str) -> None:
    """With small changes, both ways, |effect| while what one layer writes is held at its clean
    values, averaged over the other layers."""
    model = executor_of(name)
    examples, corrupt = examples_of(name)
    kinds = ("attn_out",) if model.facts.shape.attn_only else ("attn_out", "mlp_out")
    sites = [Site("resid_pre", 0), Site("z", 0), Site("v", 1), Site("resid_post", 0)]
    clean = captured(model, examples, examples.tokens, [*sites, *held(kinds)])
    source = captured(model, examples, corrupt, sites)
    change = {site: 1e-2 * (source[site] - clean[site]) for site in sites}
    found = atp_star(model, examples, {site: clean[site] + x for site, x in change.items()})
    position = 3
    for site in sites:
        total = torch.zeros(B)
        for layer in range(2):
            frozen = [
                everywhere(Site(kind, layer), clean[Site(kind, layer)], clean[Site(kind, layer)])
                for kind in kinds
            ]
            up, down = (
                measured(model, examples, [entry(site, x, 0, position), *frozen])
                for x in (clean[site] + change[site], clean[site] - change[site])
            )
            total = total + (up - down).abs() / 2
        total = total / (1 if site.kind in ("z", "v") else 2)
        mine = found[site][0, :, position]
        assert total.max() > 1e-4, site
        assert (mine - total).abs().max() < 1e-2 * total.max() + 2e-5, site


def held(kinds: tuple[str, ...]) -> list[Site]:
    return [Site(kind, layer) for layer in range(2) for kind in kinds]


def by_position(task: Task, source: Source, site: Site) -> Tensor:
    """Real effects of each index at each position, [index, B, T]."""
    base = measured(task.executor, task.examples, [])
    x = source[site]
    found = [
        measured(task.executor, task.examples, [entry(site, x, index, at)]) - base
        for index in range(x.shape[2])
        for at in range(x.shape[1])
    ]
    return torch.stack(found).view(x.shape[2], x.shape[1], -1).movedim(2, 1)


def agreement(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.mean(1).flatten(), b.mean(1).flatten()]))[0, 1])


@pytest.mark.parametrize("task", [induction, ioi])
def test_trained_models(task: partial[Task]) -> None:
    """Means over examples of estimates and real patches of each head, query, key and value at each
    position are in proportion (Pearson). Saturated attention is where the plain gradient fails, and
    what the repairs are for."""
    found = task()
    model, examples = found.executor, found.examples
    layers = range(model.facts.shape.n_layers)
    for kind in ("head", "v", "k", "q"):
        sites = [Site(kind, layer) for layer in layers]
        source = captured(model, examples, found.corrupt, sites)
        real = torch.cat([by_position(found, source, site) for site in sites])

        def score(estimates: Source, real: Tensor = real) -> float:
            return agreement(torch.cat([*estimates.values()]), real)

        plain = score(attribution_patching(model, examples, source).contributions())
        path = score(integrated_gradients(model, examples, source, 5, "site").contributions())
        assert path > 0.98, kind
        if kind in ("head", "v"):
            assert plain > 0.99, kind
        if kind == "k":
            fixed = score(atp_star(model, examples, source, grad_drop=False))
            assert fixed > 0.99
            assert fixed > plain + (0.5 if task is ioi else 0)


def test_hisp_by_hand() -> None:
    effects = torch.tensor([[3.0, 3.0], [-4.0, -4.0], [1.0, -1.0], [0.0, 2.0], [0.0, 0.0]])
    layers = torch.tensor([0, 0, 1, 1, 2])
    assert torch.allclose(hisp(effects, layers), torch.tensor([0.6, 0.8, 0.0, 1.0, 0.0]))


def test_hisp_ranks_the_heads_that_matter() -> None:
    """On ioi-3l the name mover leads its layer."""
    found = ioi()
    model: CompiledExecutor = found.executor
    sites = [Site("head", layer) for layer in range(3)]
    source = captured(model, found.examples, found.corrupt, sites)
    estimates = attribution_patching(model, found.examples, source).contributions()
    effects = torch.cat([estimates[site].sum(-1) for site in sites])
    scores = hisp(effects, torch.arange(3).repeat_interleave(4))
    assert int(scores[8:].argmax()) == 0
    assert torch.allclose(scores.view(3, 4).norm(dim=1), torch.ones(3))
