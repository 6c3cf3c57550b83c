"""Texts that grow token by token, keys and values kept, give what whole passes give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.edits import Edit
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.plan.places import Site
from tests.models.running import MODELS, compiled, executor, prompts, sites_of
from tests.models.test_compiled import same

LENGTHS, MORE = (5, 3, 4), 4
WIDTH = max(LENGTHS) + MORE
CAUSAL = [name for name in MODELS if name != "bidirectional"]

pytestmark = pytest.mark.usefixtures("device")


def edited(model: HookedExecutor) -> list[Edit]:
    """Every site moved in one index of every row: at all positions, at the first two, or at one
    behind the prompts."""
    found = []
    for number, site in enumerate(sites_of(model)):
        tokens = prompts(model, len(LENGTHS), WIDTH, seed=1)
        source = model.forward(tokens, None, sites=[site]).sites[site]
        places = [[*range(WIDTH)], [0, 1], [6]][number % 3]
        rows = torch.arange(len(LENGTHS))
        index = (rows + number) % source.shape[2]
        at = torch.tensor(places).expand(len(rows), -1)
        value = 1.1 * source[rows[:, None], at, index[:, None]]
        found.append(Edit(site, rows, index, at, torch.ones_like(at, dtype=torch.bool), value))
    turned = torch.nn.functional.normalize(torch.arange(1.0, 33.0), dim=0)
    last = next(e for e in found if e.site == Site("resid_post", 1))
    found.append(replace(last, value=last.value * 0.5, toward=turned))
    doubled = replace(last, value=None, op="map", map=lambda x: 2 * x + x.roll(1, -1))
    return [*found, doubled]


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", CAUSAL)
def test_growing_is_running_the_whole(name: str, with_mask: bool) -> None:
    """Prompts of several lengths at once, and one token of each at a time behind them."""
    model = compiled(name)
    tokens = prompts(model, len(LENGTHS), WIDTH)
    mask = None
    if with_mask:
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[0, 1] = mask[2, 0] = False  # the latter sees no key, and no one sees it
    for edits in ([], edited(executor(name))):
        whole = executor(name).forward(tokens, None, edits, mask=mask).logits
        memory = model.room(len(LENGTHS), WIDTH, mask)
        wide = max(LENGTHS)
        at = torch.arange(wide).expand(len(LENGTHS), -1)
        padded = tokens[:, :wide].clone()
        for row, length in enumerate(LENGTHS):
            padded[row, length:] = 1  # what pads a prompt is not what follows it
        found = model.grow(memory, padded, at, edits).logits
        for row, length in enumerate(LENGTHS):
            seen = slice(1 if with_mask else 0, length)
            same(found[row, seen], whole[row, seen])
        for step in range(MORE):
            now = torch.tensor([[length + step] for length in LENGTHS])
            found = model.grow(memory, tokens.gather(1, now.to(tokens.device)), now, edits).logits
            same(found[:, 0], whole[torch.arange(len(LENGTHS)), now[:, 0]])


def test_a_bidirectional_model_does_not_grow() -> None:
    model = compiled("bidirectional")
    with pytest.raises(InterpError) as caught:
        model.grow(model.room(1, 4), torch.zeros(1, 2, dtype=torch.long), torch.arange(2)[None])
    assert caught.value.diagnostics[0].code == "E607"


def test_a_turned_change_keeps_its_length() -> None:
    from interp_dsl.models.edits import changed

    old, value = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    rows = torch.arange(2)
    at = torch.arange(3).expand(2, -1)
    unit = torch.tensor([0.6, 0.0, -0.8, 0.0])
    edit = Edit(Site("embed"), rows, rows * 0, at, at >= 0, value, toward=unit)
    moved: Tensor = changed(old, edit) - old
    torch.testing.assert_close(moved, (value - old).norm(dim=-1, keepdim=True) * unit)
