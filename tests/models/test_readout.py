"""The linear way to the logits equals what a real change of an activation does to them, once what
the final norm divides by is multiplied in again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.weights import Norm
from interp_dsl.models.edits import Edit
from interp_dsl.models.readout import POST, ReadOut, _through
from interp_dsl.models.sites import missing, width
from interp_dsl.plan.places import Site, Target
from tests.models.running import MODELS, compiled, executor, prompts

PLACES = ("resid_post", "mlp_out", "attn_out", "head", "z", "neuron")

pytestmark = pytest.mark.usefixtures("device")


def _everywhere(target: Target, tokens: Tensor, direction: Tensor) -> Edit:
    """The direction added at all positions of a target."""
    n, length = tokens.shape
    rows, positions = torch.arange(n), torch.arange(length).expand(n, -1)
    index = torch.full_like(rows, target.index or 0)
    valid = torch.ones(n, length, dtype=torch.bool)
    value = direction.expand(n, length, -1)
    return Edit(target.site, rows, index, positions, valid, value, op="add")


def _as_set(site: Site, x: Tensor) -> Edit:
    n, length = x.shape[:2]
    valid = torch.ones(n, length, dtype=torch.bool)
    positions = torch.arange(length).expand(n, -1)
    return Edit(site, torch.arange(n), torch.zeros(n).long(), positions, valid, x[:, :, 0])


def _whole(name: str, target: Target, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Scale times logits, less the logits of no stream, of a plain run and of one with a direction
    added; what MLPs make of the change is held back. Soft caps are undone."""
    model = compiled(name)
    last = model.facts.shape.n_layers - 1
    tokens = prompts(executor(name), 2, 5)
    end, mlp = Site("resid_post", last), Site("mlp_out", last)
    sites = [end] if model.facts.shape.attn_only else [end, mlp]
    plain = model.forward(tokens, None, (), sites)
    edits = [_everywhere(target, tokens, direction)]
    if target.site.kind in ("attn_out", "head", "z") and mlp in plain.sites:
        edits.append(_as_set(mlp, plain.sites[mlp]))
    changed = model.forward(tokens, None, edits, [end])
    description = model.model.description
    d_model = plain.sites[end].shape[-1]
    nothing = model.model.logits(torch.zeros(1, 1, d_model, device=model.device)).cpu()
    cap = description.logit_cap

    def scaled(logits: Tensor, x: Tensor) -> Tensor:
        if description.final_norm == "LN":
            x = x - x.mean(-1, keepdim=True)
        scale = (x.square().mean(-1, keepdim=True) + description.eps).sqrt()
        scale = torch.ones_like(scale) if description.final_norm is None else scale
        bare, none = ((v if cap is None else cap * torch.atanh(v / cap)) for v in (logits, nothing))
        return scale * (bare - none)

    before, after = (scaled(p.logits, p.sites[end][:, :, 0].float()) for p in (plain, changed))
    return before, after


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_of_a_direction_are_those_of_a_real_change(name: str, kind: str) -> None:
    model = compiled(name)
    shape = model.facts.shape
    target = Target(Site(kind, shape.n_layers - 1), 1 if kind in POST else None)
    if missing(target, shape):
        pytest.skip("the model has no such place")
    if kind in POST and (shape.post_norms or model.model.weights.blocks[-1].mid_norm is not None):
        pytest.skip("a norm of the block stands between, which is linear up to its own scale")
    size = width(target.site, shape)
    assert size is not None
    direction = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(model.device)
    before, after = _whole(name, target, direction)
    found = ReadOut(model).logits(target, direction[None])[0]
    change = (after - before).to(model.device)
    expected = change - change.mean(-1, keepdim=True)
    torch.testing.assert_close(expected, found.expand_as(expected), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["gemma2", "gemma3_text"])
def test_a_norm_behind_the_mlp_is_linear_up_to_its_own_scale(name: str) -> None:
    model = compiled(name)
    block, shape = model.model.weights.blocks[-1], model.facts.shape
    assert block.w_out is not None and block.ln2_post is not None
    generator = torch.Generator().manual_seed(1)
    h, d = torch.randn(2, shape.d_mlp, generator=generator).to(model.device)
    before, after = (
        _scaled(model, x @ block.w_out.T, block.ln2_post, model.model.description.norm)
        for x in (h, h + d)
    )
    layer, out = shape.n_layers - 1, ReadOut(model)
    expected = out.logits(Target(Site("resid_post", layer)), (after - before)[None])
    found = out.logits(Target(Site("neuron", layer)), d[None])
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_a_norm_in_front_of_the_output_is_linear_up_to_its_own_scale() -> None:
    generator = torch.Generator().manual_seed(1)
    x, into = torch.randn(5, generator=generator), torch.randn(5, 3, generator=generator)
    weight = torch.randn(5, generator=generator)
    torch.testing.assert_close(x @ _through(Norm(weight), into), ((x - x.mean()) * weight) @ into)


def _scaled(model: CompiledExecutor, x: Tensor, norm: Norm, kind: str | None) -> Tensor:
    """The norm of x with what it divides by multiplied in again, and its bias off."""
    bare = x - x.mean() if kind == "LN" else x
    scale = (bare.square().mean() + model.model.description.eps).sqrt()
    found = model.model.normed(x, norm, kind)
    return scale * (found if norm.bias is None else found - norm.bias)


def test_a_model_that_runs_by_hooks_is_refused() -> None:
    with pytest.raises(InterpError) as error:
        ReadOut(executor(MODELS[0]))
    assert error.value.diagnostics[0].code == "E650"
