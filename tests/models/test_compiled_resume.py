"""A pass that starts in the middle gives what a whole pass gives, and multiplies no more than it
must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled import prefix
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit
from interp_dsl.plan import starts
from interp_dsl.plan.places import Site
from tests.largest import Largest
from tests.models.running import MODELS, compiled, executor, prompts, sites_of
from tests.models.test_compiled import LENGTH, masked, one, same, scattered

N, ROWS = 3, torch.tensor([2, 0, 0, 1, 2])
LAST = torch.full((len(ROWS), 1), LENGTH - 1)

pytestmark = pytest.mark.usefixtures("device")


def sources(model: CompiledExecutor, sites: list[Site]) -> dict[Site, Tensor]:
    """What other prompts have at the sites, a row for each of ROWS."""
    return model.forward(prompts(model, len(ROWS), LENGTH, seed=1), None, sites=sites).sites


def from_position(edit: Edit, position: int) -> Edit:
    """The edit without its entries before a position."""
    return replace(edit, valid=edit.valid & (edit.positions >= position))


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_place_and_start(name: str, with_mask: bool) -> None:
    model = compiled(name)
    tokens = prompts(model, N, LENGTH)
    mask = masked(tokens) if with_mask else None
    memory = model.remember(tokens, mask)
    of_rows = None if mask is None else mask[ROWS]
    sites = [site for site in sites_of(executor(name)) if site.layer == 1]
    source = sources(model, sites)
    positions = (0, 3, LENGTH - 1) if model.facts.shape.causal else (0,)
    for number, site in enumerate(sites):
        for position in positions:
            edit = from_position(scattered(site, 1.1 * source[site], number), position)
            whole = model.forward(tokens[ROWS], None, [edit], mask=of_rows).logits[:, position:]
            for layer in (0, 1):
                late = model.resume(memory, ROWS, layer, [edit], None, position).logits
                same(late, whole)
                late = model.resume(memory, ROWS, layer, [edit], LAST, position).logits
                same(late, whole[:, -1:])


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "rotary"])
def test_many_edits_and_captures(name: str) -> None:
    model = compiled(name)
    tokens = prompts(model, N, LENGTH)
    memory = model.remember(tokens)
    sites = [site for site in sites_of(executor(name)) if site.layer is not None]
    source = sources(model, sites)
    for position in (0, 4):
        edits = [
            from_position(scattered(site, scale * source[site], number, op), position)
            for number, site in enumerate(sites)
            for op, scale in (("set", 1.0), ("add", 0.3))
        ]
        watched = [*sites, Site("logits")]
        whole = model.forward(tokens[ROWS], None, edits, watched)
        late = model.resume(memory, ROWS, 0, edits, None, position, watched)
        same(late.logits, whole.logits[:, position:])
        for site in watched:
            same(late.sites[site], whole.sites[site][:, position:])
        reads = torch.tensor([[6, 4], [5, 5], [4, 6], [6, 6], [5, 6]])
        late = model.resume(memory, ROWS, 0, edits, reads, position)
        same(late.logits, whole.logits[torch.arange(len(ROWS))[:, None], reads])


def test_raw_hooks_are_the_places_that_they_name() -> None:
    model = compiled("gpt2")
    tokens = prompts(model, N, LENGTH)
    memory = model.remember(tokens)
    hook = Site("hook", hook="blocks.1.attn.hook_z")
    edit = one(Site("z", 1), 8)
    by_hook = model.resume(memory, ROWS, 1, [replace(edit, site=hook)], None, 2, [hook])
    by_site = model.resume(memory, ROWS, 1, [edit], None, 2, [edit.site])
    assert torch.equal(by_hook.logits, by_site.logits)
    assert torch.equal(by_hook.sites[hook], by_site.sites[edit.site])


def test_blocked_keys_from_a_position_on() -> None:
    model = compiled("llama")
    tokens = prompts(model, N, LENGTH)
    keys = torch.zeros(2, LENGTH, dtype=torch.bool)
    keys[:, 1] = True
    at = torch.tensor([[5, 3], [4, 6]])
    rows, index = torch.tensor([0, 3]), torch.tensor([1, 2])
    edit = Edit(Site("pattern", 1), rows, index, at, at > 0, None, "block", keys=keys)
    whole = model.forward(tokens[ROWS], None, [edit]).logits[:, 3:]
    same(model.resume(model.remember(tokens), ROWS, 1, [edit], None, 3).logits, whole)


def test_a_gradient_reaches_the_value_of_an_edit() -> None:
    model = compiled("gpt2")
    tokens = prompts(model, N, LENGTH)
    memory = model.remember(tokens)
    reads = torch.full((1, 1), LENGTH - 1)

    def gradient(late: bool) -> Tensor:
        value = torch.zeros(32, requires_grad=True)
        added = replace(one(Site("head", 0), 32), value=value, op="add")
        if late:
            run = model.resume(memory, torch.tensor([1]), 0, [added], reads, 2)
        else:
            run = model.forward(tokens[1:2], reads, [added])
        run.logits.square().sum().backward()
        assert value.grad is not None and value.grad.abs().max() > 0
        return value.grad

    same(gradient(True), gradient(False))


def at_places(site: Site, source: Tensor, places: Tensor, seed: int) -> Edit:
    """Some indices of a site in every row, set at the row's own places [R, c]."""
    generator = torch.Generator().manual_seed(seed)
    batch, _, count, _ = source.shape
    rows = torch.arange(batch).repeat(2)
    index = torch.randint(0, count, (2 * batch,), generator=generator)
    index[batch:] = (index[:batch] + 1) % count
    rows, index = (rows[:batch], index[:batch]) if count == 1 else (rows, index)
    at = places[rows]
    value = source[rows[:, None], at, index[:, None]]
    return Edit(site, rows, index, at, torch.ones_like(at, dtype=torch.bool), value)


PLACES = torch.tensor([[4, 3], [6, 3], [5, 5], [3, 4], [4, 6]])


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_only_what_differs(name: str, with_mask: bool) -> None:
    """Changed positions alone are computed until later layers attend to them."""
    model = compiled(name)
    tokens = prompts(model, N, LENGTH)
    mask = masked(tokens) if with_mask else None
    memory = model.remember(tokens, mask)
    of_rows = None if mask is None else mask[ROWS]
    sites = [site for site in sites_of(executor(name)) if site.layer is not None]
    source = sources(model, sites)
    starts = (0, 3) if model.facts.shape.causal else (0,)
    reads = torch.tensor([[6, 4], [5, 5], [4, 6], [6, 6], [5, 6]])
    for number, site in enumerate(sites):
        assert site.layer is not None
        edit = at_places(site, 1.1 * source[site], PLACES, number)
        whole = model.forward(tokens[ROWS], None, [edit], mask=of_rows).logits
        for first in starts:
            for wanted in (None, reads):
                late = model.resume(
                    memory, ROWS, site.layer, [edit], wanted, first, changed=PLACES
                ).logits
                at = torch.arange(len(ROWS))[:, None]
                same(late, whole[:, first:] if wanted is None else whole[at, reads])


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "qwen3"])
def test_rows_attend_one_after_another(
    name: str, with_mask: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a row attends to is the same, however many rows' keys are brought together."""
    monkeypatch.setattr(starts, "JOINED", 1)
    assert starts.joined(len(ROWS), LENGTH, LENGTH, 1) == 1
    test_every_place_and_start(name, with_mask)
    test_only_what_differs(name, with_mask)


@pytest.mark.parametrize("is_narrow", [False, True])
def test_keys_of_many_rows_are_never_held_together(
    is_narrow: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that begins late holds little: nothing is as large as all rows' keys at all
    positions."""
    if device != "cpu":
        pytest.skip("counts what the processor's products hold")
    monkeypatch.setattr(starts, "JOINED", 1)
    model, length = compiled("gpt2"), 16
    memory = model.remember(prompts(model, N, length))
    rows = torch.arange(300) % N
    at = torch.full((len(rows), 1), length - 2)
    edit = Edit(Site("z", 0), torch.arange(len(rows)), 0 * rows, at, at > 0, torch.ones(1, 1, 1))
    changed, outputs = at if is_narrow else None, torch.arange(2)
    with Largest() as largest:
        model.resume(memory, rows, 0, [edit], at + 1, length - 2, changed=changed, outputs=outputs)
    shape = model.facts.shape
    hidden = len(rows) * 2 * shape.d_mlp
    assert hidden == largest.bytes // 4 < len(rows) * length * shape.d_model


@pytest.mark.parametrize("changes", [None, PLACES])
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma3_text", "qwen3", "rotary"])
def test_a_memory_under_edits(name: str, changes: Tensor | None) -> None:
    """Edits that hold throughout: those before the start are in the memory, the others are made
    again, and the step's own come after them."""
    model = compiled(name)
    tokens = prompts(model, N, LENGTH)
    sites = [site for site in sites_of(executor(name)) if site.layer is not None]
    source = sources(model, sites)

    def context(rows: Tensor) -> list[Edit]:
        """An addition at every place, the same for an example whichever row it is."""
        found = []
        for number, site in enumerate(sites):
            value = source[site][:N][rows, 2:6, number % source[site].shape[2]]
            at = torch.arange(2, 6).expand(len(rows), -1)
            index = torch.full((len(rows),), number % source[site].shape[2])
            every = torch.ones_like(at, dtype=torch.bool)
            found.append(
                Edit(site, torch.arange(len(rows)), index, at, every, 0.3 * value, op="add")
            )
        return found

    memory = model.remember(
        tokens, edits=lambda first, stop: context(torch.arange(first, stop)), rows=2
    )
    reads = torch.tensor([[6, 4], [5, 5], [4, 6], [6, 6], [5, 6]])
    for number, site in enumerate(sites):
        assert site.layer is not None
        edit = at_places(site, 1.1 * source[site], PLACES, number)
        whole = model.forward(tokens[ROWS], reads, [*context(ROWS), edit]).logits
        for first in (0, 3):
            late = model.resume(
                memory,
                ROWS,
                site.layer,
                [edit],
                reads,
                first,
                context=context(ROWS),
                changed=changes,
            ).logits
            same(late, whole)


@pytest.mark.parametrize("kind", ["resid_pre", "q", "z", "head", "neuron"])
@pytest.mark.parametrize("position", [0, 4])
@pytest.mark.parametrize("layer", [0, 1])
def test_what_is_multiplied(kind: str, position: int, layer: int) -> None:
    """Rows × positions × layers, the last layer at the read positions; the first layer's attention
    is left out where the edit lies behind it."""
    model = compiled("gpt2")
    tokens = prompts(model, N, LENGTH)
    memory = model.remember(tokens)
    width = {"resid_pre": 32, "head": 32, "neuron": 1}.get(kind, 8)
    at = torch.tensor([[LENGTH - 1]])
    zero = torch.tensor([0])
    edit = Edit(Site(kind, layer), zero, zero, at, at > 0, torch.ones(width))
    model.work.clear()
    model.resume(memory, ROWS, layer, [edit], LAST, position)
    n_layers, rows = model.facts.shape.n_layers, len(ROWS)
    positions = LENGTH - position
    skipped = int(kind in ("z", "head", "neuron"))
    whole_layers = n_layers - 1 - layer
    attends = whole_layers + 1 - skipped
    assert model.work["kv"] == rows * positions * attends
    assert model.work["q"] == (rows * positions * (attends - 1) + rows if attends else 0)
    assert model.work["out"] == rows * positions * whole_layers + rows
    assert model.work["mlp"] == rows * positions * whole_layers + rows
    assert model.work["unembed"] == rows * model.facts.shape.d_vocab_out


@pytest.mark.parametrize("kind", ["resid_pre", "k", "q", "z", "head", "neuron"])
@pytest.mark.parametrize("layer", [0, 1])
def test_what_is_multiplied_of_what_differs(kind: str, layer: int) -> None:
    """Two changed positions of five that are left, through the layer (behind the attention, or from
    its queries on) and through the next one's projections; then all that can see them."""
    model = compiled("gpt2")
    memory = model.remember(prompts(model, N, LENGTH))
    width = {"resid_pre": 32, "head": 32, "neuron": 1}.get(kind, 8)
    zero, at = torch.tensor([0]), torch.tensor([[4, 3]])
    edit = Edit(Site(kind, layer), zero, zero, at, at > 0, torch.ones(width))
    changed = at.expand(len(ROWS), -1)
    model.work.clear()
    model.resume(memory, ROWS, layer, [edit], LAST, 2, changed=changed)
    rows, left = len(ROWS), LENGTH - 2
    behind, spreads = kind in ("z", "head", "neuron"), kind in ("resid_pre", "k")
    if layer == 1:
        few = 2 if spreads else left
        expected = {"kv": 0 if behind else few, "q": 0 if behind else 2 if spreads else 1}
        expected |= {"out": 1, "mlp": 1, "pairs": 0 if behind else LENGTH}
    elif spreads:
        expected = {"kv": 2 + left, "q": 2 + 1, "out": left + 1, "mlp": left + 1}
        expected["pairs"] = (left + 1) * LENGTH
    else:
        own = 0 if behind else 2
        expected = {"kv": 2, "q": own + 2, "out": 2 + 1, "mlp": 2 + 1, "pairs": (own + 1) * LENGTH}
    assert {k: v for k, v in model.work.items() if k != "unembed"} == {
        k: rows * v for k, v in expected.items() if v
    }


def test_parts_of_a_memory() -> None:
    model = compiled("llama")
    tokens = prompts(model, N, LENGTH)
    memory = model.remember(tokens, parts=("resid_pre",))
    assert memory.z is None and memory.keys is None and memory.values is None
    whole = model.remember(tokens)
    assert memory.resid_pre is not None and whole.resid_pre is not None
    assert whole.keys is not None and whole.z is not None
    assert torch.equal(memory.resid_pre, whole.resid_pre)
    assert whole.keys.shape == (2, N, LENGTH, 2, 8) and whole.z.shape == (2, N, LENGTH, 4, 8)
    edit = one(Site("z", 1), 8)
    expected = model.resume(whole, ROWS, 1, [edit]).logits
    same(model.resume(memory, ROWS, 1, [edit]).logits, expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layer": 2}, "no layer 2"),
        ({"layer": 1}, "before layer 1"),
        ({"edits": [one(Site("embed"), 32)]}, "before layer 0"),
        ({"position": 3}, "before position 3"),
        ({"position": 2, "reads": torch.zeros(5, 1).long()}, "before position 2"),
        ({"position": 2, "parts": ("resid_pre",)}, "no keys"),
        ({"parts": ("z",)}, "no resid_pre"),
        ({"name": "bidirectional", "position": 2}, "bidirectional"),
    ],
)
def test_what_a_memory_cannot_do(options: dict[str, object], reason: str) -> None:
    asked = {"name": "gpt2", "layer": 0, "edits": [one(Site("q", 0), 8)], "reads": None}
    asked |= {"position": 0, "parts": ("resid_pre", "keys", "z")} | options
    model = compiled(str(asked["name"]))
    memory = model.remember(prompts(model, N, LENGTH), parts=asked["parts"])
    with pytest.raises(InterpError, match="E607") as caught:
        model.resume(
            memory, ROWS, asked["layer"], asked["edits"], asked["reads"], asked["position"]
        )
    assert reason in caught.value.diagnostics[0].notes[0]


@pytest.mark.parametrize("position", [LENGTH // 2 + 1, LENGTH - 2, LENGTH - 1])
@pytest.mark.parametrize("name", MODELS)
def test_rows_that_share_what_comes_before_them(
    name: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many rows an example, unevenly many and in any order: as each row by itself."""
    shared, calls = prefix.shared, []

    def told(q: Tensor, *others: Any) -> Tensor:
        calls.append(q.shape)
        return shared(q, *others)

    monkeypatch.setattr(prefix, "shared", told)
    monkeypatch.setattr(prefix, "TIMES", 2)
    model = compiled(name)
    if not model.facts.shape.causal:
        pytest.skip("a bidirectional model has no earlier positions")
    tokens = prompts(model, N, LENGTH)
    memory = model.remember(tokens)
    rows = torch.tensor([2, 0, 0, 1, 2, 2, 1, 0, 0, 2])
    for site in (Site("resid_pre", 0), Site("resid_post", 0), Site("z", 1)):
        other = prompts(model, len(rows), LENGTH, seed=1)
        source = model.forward(other, None, sites=[site]).sites[site]
        edit = from_position(scattered(site, 1.1 * source, 0), position)
        whole = model.forward(tokens[rows], None, [edit]).logits[:, position:]
        same(model.resume(memory, rows, site.layer or 0, [edit], None, position).logits, whole)
        last = torch.full((len(rows), 1), LENGTH - 1)
        late = model.resume(memory, rows, site.layer or 0, [edit], last, position).logits
        same(late, whole[:, -1:])
    windows = {layer.window for layer in model.model.description.layers}
    if model.model.fuses and windows == {None}:
        assert calls
