"""A pass that starts behind what a layer's attention wrote, and adds what heads change of it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.memory import Memory
from interp_dsl.models.edits import Edit
from interp_dsl.plan.places import Site
from interp_dsl.plan.starts import BESIDE_ATTENTION
from tests.models.running import MODELS, compiled, executor, prompts, sites_of
from tests.models.test_compiled import LENGTH, masked, same, scattered
from tests.models.test_compiled_resume import LAST, ROWS, N, from_position, sources

pytestmark = pytest.mark.usefixtures("device")


def is_sequential(name: str) -> bool:
    shape = compiled(name).facts.shape
    return not (shape.parallel or shape.post_norms)


def late(
    model: CompiledExecutor, memory: Memory, layer: int, edits: list[Edit], **options: object
) -> Tensor:
    asked = {"reads": None, "position": 0} | options
    return model.resume(memory, ROWS, layer, edits, from_mid=True, **asked).logits  # type: ignore[arg-type]


@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", [name for name in MODELS if is_sequential(name)])
def test_every_place(name: str, with_mask: bool, with_gradient: bool) -> None:
    model = compiled(name)
    tokens = prompts(model, N, LENGTH)
    mask = masked(tokens) if with_mask else None
    memory = model.remember(tokens, mask)
    of_rows = None if mask is None else mask[ROWS]
    last = model.facts.shape.n_layers - 1
    sites = [s for s in sites_of(executor(name)) if s.kind in BESIDE_ATTENTION]
    assert {s.kind for s in sites} >= {"z", "resid_mid", "resid_post"}
    source = sources(model, sites)
    positions = (0, 3, LENGTH - 1) if model.facts.shape.causal else (0,)
    for number, site in enumerate(sites):
        value = (1.1 * source[site]).requires_grad_(with_gradient)
        for position in positions:
            edit = from_position(scattered(site, value, number), position)
            whole = model.forward(tokens[ROWS], None, [edit], mask=of_rows).logits[:, position:]
            found = late(model, memory, site.layer or 0, [edit], position=position)
            same(found.detach(), whole.detach())
            assert found.requires_grad is whole.requires_grad
            if site.layer == last:
                read = late(model, memory, last, [edit], position=position, reads=LAST)
                same(read.detach(), whole[:, -1:].detach())


def covering(model: CompiledExecutor, head: Tensor, value: Tensor) -> Edit:
    """A head a row, at all positions."""
    at = torch.arange(LENGTH).expand(len(ROWS), -1)
    return Edit(Site("z", 0), torch.arange(len(ROWS)), head, at, at >= 0, value)


@pytest.mark.parametrize("gradients", [torch.no_grad, nullcontext])
def test_a_head_of_each_row_at_all_positions(gradients: type) -> None:
    model = compiled("llama")
    tokens = prompts(model, N, LENGTH)
    memory, site = model.remember(tokens), Site("z", 0)
    head = torch.tensor([2, 2, 0, 3, 3])
    value = sources(model, [site])[site][torch.arange(len(ROWS)), :, head]
    edit = covering(model, head, value)
    with gradients():
        whole = model.forward(tokens[ROWS], None, [edit]).logits
        same(late(model, memory, 0, [edit]), whole)
        same(late(model, memory, 0, [edit], reads=LAST), whole[:, -1:])


def test_edits_of_one_entry_come_one_after_another() -> None:
    model = compiled("gpt2")
    tokens = prompts(model, N, LENGTH)
    memory, site = model.remember(tokens), Site("z", 0)
    value = sources(model, [site])[site]
    head = torch.tensor([1, 1, 1, 0, 2])
    first = covering(model, head, value[torch.arange(len(ROWS)), :, head])
    edits = [first, scattered(site, value, 1, "add"), scattered(site, 2 * value, 2)]
    same(late(model, memory, 0, edits), model.forward(tokens[ROWS], None, edits).logits)


def test_what_a_head_is_already_changes_nothing_at_all() -> None:
    model = compiled("gpt2")
    memory = model.remember(prompts(model, N, LENGTH))
    assert memory.z is not None
    head = torch.tensor([1, 1, 2, 0, 3])
    edit = covering(model, head, memory.z[0][ROWS, :, head])
    assert torch.equal(late(model, memory, 0, [edit]), late(model, memory, 0, []))


@pytest.mark.parametrize("layer", [0, 1])
def test_what_is_multiplied(layer: int) -> None:
    """Nothing of the layer's attention, W_O included; the MLP of a last layer where it is read."""
    model = compiled("gpt2")
    memory = model.remember(prompts(model, N, LENGTH))
    head = torch.zeros(len(ROWS), dtype=torch.long)
    edit = covering(model, head, torch.ones(8))
    model.work.clear()
    late(model, memory, layer, [Edit(**{**vars(edit), "site": Site("z", layer)})], reads=LAST)
    rows, later = len(ROWS), 1 - layer
    expected = {
        "kv": LENGTH * later,
        "q": later,
        "out": later,
        "mlp": LENGTH * later + 1,
        "pairs": LENGTH * later,
    }
    counted = {k: v for k, v in model.work.items() if k != "unembed" and v}
    assert counted == {k: rows * v for k, v in expected.items() if v}


@pytest.mark.parametrize(
    ("name", "kind", "parts", "reason"),
    [
        ("gpt2", "z", ("resid_pre", "z"), "no resid_mid"),
        ("gpt2", "z", ("resid_pre", "resid_mid"), "no z"),
        ("gpt2", "head", ("resid_pre", "resid_mid", "z"), "more than single heads"),
        ("gpt_neox", "z", ("resid_pre", "resid_mid", "z"), "more than single heads"),
        ("gemma2", "z", ("resid_pre", "resid_mid", "z"), "more than single heads"),
    ],
)
def test_what_cannot_start_there(name: str, kind: str, parts: tuple[str, ...], reason: str) -> None:
    model = compiled(name)
    memory = model.remember(prompts(model, N, LENGTH), parts=parts)
    zero, at = torch.tensor([0]), torch.tensor([[LENGTH - 1]])
    edit = Edit(Site(kind, 0), zero, zero, at, at > 0, torch.ones(1))
    with pytest.raises(InterpError, match="E607") as caught:
        late(model, memory, 0, [edit])
    assert reason in caught.value.diagnostics[0].notes[0]
