"""Every site of every family: seen as the bridge sees it, changed when changed, else untouched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import points
from interp_dsl.models.edits import Edit
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.plan.places import Site
from tests.models.running import MODELS, everywhere, executor, prompts, sites_of

pytestmark = pytest.mark.usefixtures("device")


def cached(model: HookedExecutor, tokens: Tensor, site: Site) -> Tensor:
    """The site in canonical form from the bridge's own cache."""
    hook, form = points.point(site.kind, site.layer)
    if site.kind == "resid_mid" and not model.facts.shape.attn_only:
        hook = f"blocks.{site.layer}.hook_resid_mid"
    elif site.kind == "resid_mid":
        hook = f"blocks.{site.layer}.hook_resid_post"
    if site.kind == "head":
        hook = f"blocks.{site.layer}.attn.hook_z"
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(tokens.to(model.device), names_filter=hook)
    x = points.canonical(cache[hook], form)
    if site.kind == "head":
        x = torch.stack(
            [x[:, :, h] @ w for h, w in enumerate(model.bridge.blocks[site.layer].attn.W_O)], 2
        )
    return x.cpu()


@pytest.mark.parametrize("name", MODELS)
def test_captures_equal_the_bridges_cache(name: str) -> None:
    model = executor(name)
    tokens = prompts(model, 2, 6)
    sites = sites_of(model, inputs=False)
    kept = model.forward(tokens, None, sites=sites).sites
    assert set(kept) == set(sites)
    for site in sites:
        torch.testing.assert_close(kept[site], cached(model, tokens, site), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_an_edit_is_seen_and_a_self_edit_changes_nothing(name: str) -> None:
    model = executor(name)
    tokens, other = prompts(model, 2, 6), prompts(model, 2, 6, seed=1)
    sites = sites_of(model, inputs=False)
    base = model.forward(tokens, None, sites=sites)
    source = model.forward(other, None, sites=sites).sites
    for site in sites:
        own = everywhere(site, base.sites[site], base.sites[site])
        same = model.forward(tokens, None, [own])
        torch.testing.assert_close(same.logits, base.logits, atol=0, rtol=0, msg=str(site))
        edit = everywhere(site, base.sites[site], source[site])
        new = model.forward(tokens, None, [edit], [site])
        torch.testing.assert_close(new.sites[site], source[site], msg=str(site))


@pytest.mark.parametrize("name", MODELS)
def test_one_entry_of_one_row(name: str) -> None:
    """An edit of row 1 at position 3 leaves row 0, and what a causal model saw before, alone."""
    model = executor(name)
    tokens = prompts(model, 2, 6)
    sites = sites_of(model, inputs=False)
    base = model.forward(tokens, None, sites=sites)
    for site in sites:
        x = base.sites[site]
        value = x[1:2, 2:3, -1].flip(-1) + 1
        at = torch.tensor([[3]])
        last = torch.tensor([x.shape[2] - 1])
        edit = Edit(site, torch.tensor([1]), last, at, at > 0, value)
        new = model.forward(tokens, None, [edit], [site])
        changed = (new.sites[site] != x).any(-1).nonzero().tolist()
        assert changed == [[1, 3, x.shape[2] - 1]], site
        difference = (new.logits - base.logits).abs().amax(-1)
        assert difference[0].max() == 0, site
        assert difference[1, 3:].max() > 1e-4, site
        if model.facts.shape.causal:
            assert difference[1, :3].max() == 0, site


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "rotary", "gpt_neox_sequential"])
def test_resid_mid_changes_the_skip_connection_too(name: str) -> None:
    """With the last resid_mid set to one vector everywhere, nothing of the tokens is left."""
    model = executor(name)
    tokens = prompts(model, 2, 6)
    last = Site("resid_mid", model.facts.shape.n_layers - 1)
    x = model.forward(tokens, None, sites=[last]).sites[last]
    constant = torch.linspace(-2, 2, 32).expand_as(x)
    logits = model.forward(tokens, None, [everywhere(last, x, constant)]).logits
    torch.testing.assert_close(logits, logits[:1, :1].expand_as(logits), atol=1e-4, rtol=1e-4)


def test_sites_at_one_point_see_each_other() -> None:
    """z, then the heads, then attn_out, then resid_mid: each reads what the one before left."""
    model = executor("gpt2")
    tokens = prompts(model, 2, 6)
    chain = [Site(kind, 1) for kind in ("z", "head", "attn_out", "resid_mid")]
    base = model.forward(tokens, None, sites=chain).sites
    edits = [
        Edit(
            site,
            torch.tensor([0]),
            torch.tensor([0]),
            torch.tensor([[2]]),
            torch.tensor([[True]]),
            torch.ones(base[site].shape[-1]),
            op="add",
        )
        for site in chain
    ]
    moved = model.forward(tokens, None, edits, chain).sites
    delta = {site.kind: (moved[site] - base[site])[0, 2] for site in chain}
    torch.testing.assert_close(delta["z"][0], torch.ones(8))
    from_z = model.output_weight(1)[0].sum(0).cpu()
    torch.testing.assert_close(delta["head"][0], from_z + 1, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(delta["attn_out"][0], from_z + 2, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(delta["resid_mid"][0], from_z + 3, atol=1e-5, rtol=1e-5)


def test_reads_pick_positions() -> None:
    model = executor("llama")
    tokens = prompts(model, 3, 6)
    everything = model.forward(tokens, None).logits
    reads = torch.tensor([[5, 0], [2, 2], [1, 4]])
    picked = model.forward(tokens, reads).logits
    assert torch.equal(picked, everything[torch.arange(3)[:, None], reads])


@pytest.mark.parametrize("name", ["bidirectional", "plain", "gpt2", "llama"])
def test_masked_tokens_are_not_seen_and_positions_are_indices(name: str) -> None:
    model = executor(name)
    tokens = prompts(model, 2, 6)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, 2] = False
    seen = model.forward(tokens, None, mask=mask).logits
    swapped = tokens.clone()
    swapped[1, 2] = (tokens[1, 2] + 1) % 50
    again = model.forward(swapped, None, mask=mask).logits
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(again[:, others], seen[:, others])
    plain = model.forward(tokens, None).logits
    torch.testing.assert_close(seen[0], plain[0])
    assert (seen[1, 5] - plain[1, 5]).abs().max() > 1e-3
    late = model.forward(tokens, None, sites=[Site("resid_pre", 0)], mask=mask).sites
    early = model.forward(tokens, None, sites=[Site("resid_pre", 0)]).sites
    torch.testing.assert_close(
        late[Site("resid_pre", 0)][:, others], early[Site("resid_pre", 0)][:, others]
    )


def test_gradient_flows_to_a_value_that_asks_for_it_only() -> None:
    model = executor("gpt2")
    tokens = prompts(model, 2, 6)
    site = Site("head", 0)
    assert not model.forward(tokens, None).logits.requires_grad
    edit = Edit(
        site,
        torch.tensor([0]),
        torch.tensor([1]),
        torch.tensor([[2]]),
        torch.tensor([[True]]),
        torch.zeros(32, requires_grad=True),
        op="add",
    )
    model.forward(tokens, None, [edit]).logits[0, -1, 3].backward()
    assert edit.value is not None and edit.value.grad is not None
    step = 1e-2 * torch.eye(32)[4]
    up = model.forward(tokens, None, [Edit(**{**vars(edit), "value": step})]).logits[0, -1, 3]
    down = model.forward(tokens, None, [Edit(**{**vars(edit), "value": -step})]).logits[0, -1, 3]
    torch.testing.assert_close((up - down) / 2e-2, edit.value.grad[4], atol=1e-3, rtol=1e-2)


def test_raw_hooks() -> None:
    """A TransformerLens hook is a place: kept raw; changed where its positions are its second
    axis. resid_mid and the pattern by their hook names are the places of those names."""
    model = executor("gpt2")
    tokens = prompts(model, 2, 6)
    scale, z = Site("hook", hook="ln_final.hook_scale"), Site("hook", hook="blocks.1.attn.hook_z")
    kept = model.forward(tokens, None, sites=[scale, z]).sites
    assert kept[scale].shape == (2, 6, 1) and kept[z].shape == (2, 6, 4, 8)
    for name, site in (
        ("blocks.0.hook_resid_mid", Site("resid_mid", 0)),
        ("blocks.1.attn.hook_pattern", Site("pattern", 1)),
        ("blocks.1.attn.hook_z", Site("z", 1)),
        ("blocks.1.hook_mlp_out", Site("mlp_out", 1)),
    ):
        x = model.forward(tokens, None, sites=[site]).sites[site]
        by_hook = model.forward(tokens, None, [everywhere(Site("hook", hook=name), x, x.flip(1))])
        by_site = model.forward(tokens, None, [everywhere(site, x, x.flip(1))])
        torch.testing.assert_close(by_hook.logits, by_site.logits)


def one(site: Site, width: int) -> Edit:
    zero = torch.tensor([0])
    at = torch.tensor([[2]])
    return Edit(site, zero, zero, at, at > 0, torch.ones(width))


@pytest.mark.parametrize(
    ("name", "site", "code"),
    [
        ("gpt_neox", Site("hook", hook="blocks.0.attn.hook_rot_q"), "E600"),
        ("gpt2", Site("logits"), "E601"),
        ("gpt2", Site("hook", hook="blocks.0.attn.hook_attn_scores"), "E601"),
        ("qwen3", Site("hook", hook="blocks.0.attn.q_norm.hook_out"), "E601"),
        ("gpt2", Site("hook", hook="blocks.0.hook_resid_pry"), "E603"),
        ("rotary", Site("pos_embed"), "E603"),
        ("plain", Site("hook", hook="blocks.0.attn.hook_result"), "E601"),
    ],
)
def test_a_place_that_cannot_be_changed_is_an_error(name: str, site: Site, code: str) -> None:
    model = executor(name)
    tokens = prompts(model, 2, 6)
    before = model.forward(tokens, None).logits
    with pytest.raises(InterpError) as caught:
        model.forward(tokens, None, [one(Site("resid_pre", 0), 32), one(site, 1)])
    assert caught.value.diagnostics[0].code == code
    assert torch.equal(model.forward(tokens, None).logits, before)  # no hook stayed behind


def test_prompts_longer_than_the_context() -> None:
    model = executor("rotary")
    with pytest.raises(InterpError, match="E604"):
        model.forward(prompts(model, 1, 33), None)
