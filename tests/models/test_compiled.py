"""The compiled executor equals the hooked one: every family, every place, every kind of edit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled import gate
from interp_dsl.models.edits import Edit
from interp_dsl.models.executor import Executor
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.load import load
from interp_dsl.plan.places import Site
from tests.devices import from_cpu, here
from tests.models.running import (
    MODELS,
    compiled,
    compiled_of,
    everywhere,
    executor,
    prompts,
    sites_of,
    spec,
)

BATCH, LENGTH = 3, 7

pytestmark = pytest.mark.usefixtures("device")


def in_dtype(name: str, dtype: str) -> HookedExecutor:
    return from_cpu(load(spec(name), here(), dtype, executor="hooked"))


def masked(tokens: Tensor) -> Tensor:
    """One row with a hole, one that begins with padding."""
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, 2] = mask[2, 0] = False
    return mask


def scattered(site: Site, source: Tensor, seed: int, op: str = "set") -> Edit:
    """Entries of several rows and indices of a site [B, T, index, width], in no order, ragged, two
    positions each; values are those of `source`."""
    generator = torch.Generator().manual_seed(seed)
    batch, length, count, _ = source.shape
    pairs = torch.randperm(batch * count, generator=generator)[: max(2, batch * count // 2)]
    rows, index = pairs // count, pairs % count
    positions = torch.stack(
        [torch.randperm(length, generator=generator)[:2] for _ in range(len(pairs))]
    )
    valid = torch.rand(positions.shape, generator=generator) < 0.8
    valid[0] = True
    value = source[rows[:, None], positions, index[:, None]]
    return Edit(site, rows, index, positions, valid, value, op=op)


def same(mine: Tensor, other: Tensor, tolerance: float = 1e-5) -> None:
    assert gate.relative_difference(mine, other) <= tolerance


def both(name: str, *arguments: object, **options: object) -> tuple[Tensor, Tensor]:
    """Logits of the compiled and of the hooked executor."""
    mine = compiled(name).forward(*arguments, **options)
    other = executor(name).forward(*arguments, **options)
    for site, x in other.sites.items():
        same(mine.sites[site], x)
    return mine.logits, other.logits


@pytest.mark.parametrize("name", MODELS)
def test_captures_and_logits(name: str, record_property: Callable[[str, object], None]) -> None:
    model, reference = compiled(name), executor(name)
    found = gate.compare(model, reference)
    record_property("largest_difference", found.difference)
    print(f"{name}: {found.difference:.1e} at {found.place}")
    assert found.difference <= 1e-5
    tokens = prompts(model, BATCH, LENGTH)
    sites = [*sites_of(reference), Site("logits")]
    for mask in (None, masked(tokens)):
        kept = model.forward(tokens, None, sites=sites, mask=mask).sites
        assert set(kept) == set(sites)
        same(*both(name, tokens, None, sites=sites, mask=mask))
        same(*both(name, tokens, torch.tensor([[6, 0], [5, 5], [1, 4]]), mask=mask))


@pytest.mark.parametrize("name", MODELS)
def test_double_precision_agrees_to_double_precision(name: str, device: str) -> None:
    if device == "cuda" and name == "rotary":
        pytest.skip("TransformerLens takes a native model's cosines, float32, on the processor")
    reference = in_dtype(name, "float64")
    model = compiled_of(reference)
    assert gate.compare(model, reference).difference <= 1e-13
    tokens = prompts(model, BATCH, LENGTH)
    sites = sites_of(reference)
    source = reference.forward(prompts(model, BATCH, LENGTH, seed=1), None, sites=sites).sites
    edits = [scattered(site, source[site], 3) for site in sites]
    logits = [Site("logits")]
    mine = model.forward(tokens, None, edits, logits).sites[logits[0]]
    same(mine, reference.forward(tokens, None, edits, logits).sites[logits[0]], 1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "rotary"])
def test_low_precision_within_its_tolerance(name: str, dtype: str) -> None:
    reference = in_dtype(name, dtype)
    model = compiled_of(reference)
    found = gate.compare(model, reference)
    assert found.passed and found.tolerance == gate.TOLERANCES[reference.dtype]
    kept = model.forward(prompts(model, 2, 5), None, sites=[Site("head", 1)])
    assert kept.logits.dtype == torch.float32 and kept.sites[Site("head", 1)].dtype == model.dtype


@pytest.mark.parametrize("name", MODELS)
def test_every_place_changed(name: str) -> None:
    """Logits after an edit of scattered entries, all positions and the last, masked."""
    model = compiled(name)
    tokens, other = prompts(model, BATCH, LENGTH), prompts(model, BATCH, LENGTH, seed=1)
    sites = sites_of(executor(name))
    source = executor(name).forward(other, None, sites=sites).sites
    last = torch.full((BATCH, 1), LENGTH - 1)
    for number, site in enumerate(sites):
        edit = scattered(site, 1.1 * source[site].roll(1, 1), number)
        same(*both(name, tokens, None, [edit], [site]))
        same(*both(name, tokens, last, [edit]))
        same(*both(name, tokens, last, [edit], mask=masked(tokens)))
        same(*both(name, tokens, None, [everywhere(site, source[site], source[site])]))


@pytest.mark.parametrize("name", MODELS)
def test_many_edits_at_once(name: str) -> None:
    """Two at every place (a set and an addition of the same entries), in one pass: each sees what
    the one before it left."""
    model = compiled(name)
    tokens, other = prompts(model, BATCH, LENGTH), prompts(model, BATCH, LENGTH, seed=1)
    sites = sites_of(executor(name))
    source = executor(name).forward(other, None, sites=sites).sites
    edits = [
        scattered(site, source[site] * scale, number, op)
        for number, site in enumerate(sites)
        for op, scale in (("set", 1.0), ("add", 0.3), ("add", -0.1))
    ]
    for reads in (None, torch.tensor([[6, 0], [5, 5], [1, 4]])):
        same(*both(name, tokens, reads, edits))
    same(*both(name, tokens, None, edits, sites))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma3_text", "bidirectional"])
def test_subspaces_keys_and_blocked_keys(name: str) -> None:
    model = compiled(name)
    tokens, other = prompts(model, BATCH, LENGTH), prompts(model, BATCH, LENGTH, seed=1)
    sites = [Site(kind, 1) for kind in ("resid_pre", "q", "v", "z", "head", "attn_out", "pattern")]
    source = executor(name).forward(other, None, sites=sites).sites
    last = torch.full((BATCH, 1), LENGTH - 1)
    for site in sites[:-1]:
        width = source[site].shape[-1]
        noise = torch.randn(width, 2, generator=torch.Generator().manual_seed(1))
        edit = scattered(site, source[site], 5)
        narrow = Edit(**{**vars(edit), "basis": torch.linalg.qr(noise).Q})
        for reads in (None, last):
            same(*both(name, tokens, reads, [edit, narrow]))
    edit = scattered(sites[-1], source[sites[-1]], 5)
    keys = torch.zeros(len(edit.rows), LENGTH, dtype=torch.bool)
    keys[:, 1] = True
    for changes in ({"keys": keys}, {"keys": keys, "op": "block", "value": None}):
        for reads in (None, last):
            same(*both(name, tokens, reads, [Edit(**{**vars(edit), **changes})]))


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "qwen3", "capped"])
def test_gradients(name: str) -> None:
    """With respect to a value added everywhere at a place, as attribution takes them."""
    tokens = prompts(compiled(name), BATCH, LENGTH)
    for kind in ("resid_pre", "q", "v", "pattern", "z", "head", "mlp_out"):
        site = Site(kind, 1)
        x = executor(name).forward(tokens, None, sites=[site]).sites[site]

        def gradient(model: Executor, site: Site = site, x: Tensor = x) -> Tensor:
            edit = everywhere(site, x, torch.zeros_like(x))
            value = torch.zeros_like(edit.value, requires_grad=True)
            added = Edit(**{**vars(edit), "value": value, "op": "add"})
            model.forward(tokens, None, [added]).logits[:, -1, :3].square().sum().backward()
            assert value.grad is not None and value.grad.abs().max() > 0
            return value.grad

        same(gradient(compiled(name)), gradient(executor(name)), 3e-5)
    assert not compiled(name).forward(tokens, None).logits.requires_grad


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "rotary"])
def test_raw_hooks_that_name_a_place(name: str) -> None:
    model = compiled(name)
    tokens, other = prompts(model, BATCH, LENGTH), prompts(model, BATCH, LENGTH, seed=1)
    hooks = ["hook_resid_pre", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_pattern"]
    hooks += ["attn.hook_z", "hook_attn_out", "hook_resid_mid", "mlp.hook_post", "hook_mlp_out"]
    sites = [Site("hook", hook=f"blocks.1.{hook}") for hook in (*hooks, "hook_resid_post")]
    sites.append(Site("hook", hook="hook_embed"))
    same(*both(name, tokens, None, sites=sites))
    kept = executor(name).forward(other, None, sites=sites).sites
    for number, site in enumerate(sites):
        raw = kept[site]
        if site.hook == "blocks.1.attn.hook_pattern":
            raw = raw.transpose(1, 2)
        edit = scattered(site, raw if raw.ndim == 4 else raw.unsqueeze(2), number)
        same(*both(name, tokens, None, [edit], [site, sites[-2]]))


def test_a_pass_without_reads_ends_after_the_last_place() -> None:
    model = compiled("llama")
    tokens = prompts(model, BATCH, LENGTH)
    nothing = torch.zeros(BATCH, 0, dtype=torch.long)
    model.work.clear()
    kept = model.forward(tokens, nothing, sites=[Site("embed"), Site("neuron", 0)])
    assert kept.logits.shape == (BATCH, 0, 400) and len(kept.sites) == 2
    assert dict(model.work) == {key: BATCH * LENGTH for key in ("q", "kv", "out", "mlp")} | {
        "unembed": 0,
        "pairs": BATCH * LENGTH * LENGTH,
    }


def test_a_pass_for_a_stream_ends_before_its_layer() -> None:
    model = compiled("llama")
    tokens = prompts(model, BATCH, LENGTH)
    site, nothing = Site("resid_pre", 1), torch.zeros(BATCH, 0, dtype=torch.long)
    edit = everywhere(site, torch.zeros(BATCH, LENGTH, 1, 32), torch.ones(BATCH, LENGTH, 1, 32))
    model.work.clear()
    kept = model.forward(tokens, nothing, sites=[site]).sites[site]
    assert model.work["mlp"] == BATCH * LENGTH
    same(kept, executor("llama").forward(tokens, None, sites=[site]).sites[site])
    assert (model.forward(tokens, nothing, [edit], [site]).sites[site] == 1).all()


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "plain"])
def test_some_outputs_are_those_of_all(name: str) -> None:
    """Logit caps and biases of the unembedding among them."""
    model, few = compiled(name), torch.tensor([1, 7, 19])
    tokens = prompts(model, BATCH, LENGTH)
    whole = model.forward(tokens, None).logits
    model.work.clear()
    same(model.forward(tokens, None, outputs=few).logits, whole[..., few])
    assert model.work["unembed"] == BATCH * LENGTH * 3


def test_the_last_layer_computes_what_is_read() -> None:
    model = compiled("gpt2")
    tokens = prompts(model, BATCH, LENGTH)
    model.work.clear()
    model.forward(tokens, torch.full((BATCH, 1), LENGTH - 1), [])
    rest = BATCH * LENGTH + BATCH
    assert dict(model.work) == {
        "kv": 2 * BATCH * LENGTH,
        "q": rest,
        "out": rest,
        "mlp": rest,
        "unembed": BATCH * model.facts.shape.d_vocab_out,
        "pairs": rest * LENGTH,
    }


def one(site: Site, width: int) -> Edit:
    zero, at = torch.tensor([0]), torch.tensor([[2]])
    return Edit(site, zero, zero, at, at > 0, torch.ones(width))


@pytest.mark.parametrize(
    ("name", "site", "code"),
    [
        ("gpt2", Site("logits"), "E601"),
        ("gpt2", Site("hook", hook="ln_final.hook_scale"), "E606"),
        ("gpt2", Site("hook", hook="blocks.0.attn.hook_attn_scores"), "E606"),
        ("gpt2", Site("hook", hook="blocks.2.hook_resid_pre"), "E606"),
        ("rotary", Site("pos_embed"), "E606"),
        ("attn_only", Site("neuron", 0), "E606"),
        ("gpt_neox", Site("resid_mid", 0), "E606"),
    ],
)
def test_places_that_are_not_there(name: str, site: Site, code: str) -> None:
    tokens = prompts(compiled(name), BATCH, LENGTH)
    with pytest.raises(InterpError) as caught:
        compiled(name).forward(tokens, None, [one(site, 1)])
    assert caught.value.diagnostics[0].code == code


def test_the_order_of_two_changes_at_one_hook_is_not_guessed() -> None:
    tokens = prompts(compiled("gpt2"), BATCH, LENGTH)
    edits = [one(Site("resid_mid", 0), 32), one(Site("hook", hook="blocks.0.hook_attn_out"), 32)]
    with pytest.raises(InterpError, match="E606"):
        compiled("gpt2").forward(tokens, None, edits)


def test_prompts_longer_than_the_context() -> None:
    with pytest.raises(InterpError, match="E604"):
        compiled("rotary").forward(prompts(compiled("rotary"), 1, 33), None)


@pytest.mark.parametrize("name", ["plain", "rotary", "llama"])
def test_fingerprints_are_those_of_the_hooked_executor(name: str) -> None:
    assert compiled(name).fingerprint() == executor(name).fingerprint()
