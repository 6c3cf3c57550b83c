"""Sweeps equal TransformerLens's own patching, cell by cell, on every family.

Ours packs all cells of a layer into one batch, a row an (example, cell) pair; TransformerLens runs
a forward pass a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor

from interp_dsl.models.edits import Edit
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.sites import n_indices
from interp_dsl.plan.places import Site
from tests.models.running import MODELS, executor, prompts

PAIRS, LENGTH = 2, 5
Cell = tuple[int, ...]

pytestmark = pytest.mark.usefixtures("device")


@dataclass(frozen=True)
class Sweep:
    """`oracle` is TransformerLens's function. `axes` says what a cell's indices after the layer
    are: pos (all heads' one index), head, dest, src."""

    oracle: str
    kind: str
    axes: tuple[str, ...]


SWEEPS = (
    Sweep("get_act_patch_resid_pre", "resid_pre", ("pos",)),
    Sweep("get_act_patch_resid_mid", "resid_mid", ("pos",)),
    Sweep("get_act_patch_attn_out", "attn_out", ("pos",)),
    Sweep("get_act_patch_mlp_out", "mlp_out", ("pos",)),
    Sweep("get_act_patch_attn_head_out_all_pos", "z", ("head",)),
    Sweep("get_act_patch_attn_head_out_by_pos", "head", ("pos", "head")),
    Sweep("get_act_patch_attn_head_q_all_pos", "q", ("head",)),
    Sweep("get_act_patch_attn_head_q_by_pos", "q", ("pos", "head")),
    Sweep("get_act_patch_attn_head_k_all_pos", "k", ("head",)),
    Sweep("get_act_patch_attn_head_k_by_pos", "k", ("pos", "head")),
    Sweep("get_act_patch_attn_head_v_all_pos", "v", ("head",)),
    Sweep("get_act_patch_attn_head_v_by_pos", "v", ("pos", "head")),
    Sweep("get_act_patch_attn_head_pattern_all_pos", "pattern", ("head",)),
    Sweep("get_act_patch_attn_head_pattern_by_pos", "pattern", ("head", "pos")),
    Sweep("get_act_patch_attn_head_pattern_dest_src_pos", "pattern", ("head", "dest", "src")),
)


def metric(logits: Tensor) -> Tensor:
    """A logit difference at the last position, one number an example."""
    return logits[:, -1, 3] - logits[:, -1, 7]


def cells(sweep: Sweep, heads: int) -> Iterator[Cell]:
    sizes = [heads if axis == "head" else LENGTH for axis in sweep.axes]
    return product(*map(range, sizes))


def edit_of(sweep: Sweep, site: Site, source: Tensor, grid: list[Cell]) -> Edit:
    """Rows are cells x examples; each takes its own entries of `source` [B, T, index, width]."""
    index, positions, rows_of_source, keys = [], [], [], []
    for cell in grid:
        where = dict(zip(sweep.axes, cell, strict=True))
        at = where.get("pos", where.get("dest"))
        for example in range(PAIRS):
            index.append(where.get("head", 0))
            positions.append(list(range(LENGTH)) if at is None else [at])
            rows_of_source.append(example)
            keys.append([where.get("src", key) == key for key in range(LENGTH)])
    heads, at_positions = torch.tensor(index), torch.tensor(positions)
    value = source[torch.tensor(rows_of_source)[:, None], at_positions, heads[:, None]]
    return Edit(
        site,
        torch.arange(len(heads)),
        heads,
        at_positions,
        torch.ones_like(at_positions, dtype=torch.bool),
        value,
        keys=torch.tensor(keys) if "src" in sweep.axes else None,
    )


def ours(model: HookedExecutor, sweep: Sweep, clean: Tensor, corrupt: Tensor) -> Tensor:
    """[layer, *cell]: the metric of the corrupt run with one cell from the clean run."""
    tables = []
    for layer in range(model.facts.shape.n_layers):
        site = Site(sweep.kind, layer)
        source = model.forward(clean, None, sites=[site]).sites[site]
        grid = list(cells(sweep, n_indices(site, model.facts.shape) or 1))
        edit = edit_of(sweep, site, source, grid)
        values = metric(model.forward(corrupt.repeat(len(grid), 1), None, [edit]).logits)
        table = values.view(len(grid), PAIRS).mean(1)
        tables.append(table.view([max(c) + 1 for c in zip(*grid, strict=True)]))
    return torch.stack(tables)


def theirs(model: HookedExecutor, sweep: Sweep, clean: Tensor, corrupt: Tensor) -> Tensor:
    from transformer_lens import patching

    clean, corrupt = clean.to(model.device), corrupt.to(model.device)
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(clean)
        oracle: Callable[..., Tensor] = getattr(patching, sweep.oracle)
        result = oracle(model.bridge, corrupt, cache, lambda logits: metric(logits).mean())
    return result.as_subclass(Tensor).cpu()


def applies(sweep: Sweep, model: HookedExecutor) -> bool:
    shape = model.facts.shape
    if sweep.kind == "mlp_out":
        return not shape.attn_only
    return sweep.kind != "resid_mid" or not (shape.attn_only or shape.parallel)


@pytest.mark.parametrize("name", MODELS)
def test_sweeps_equal_transformer_lens(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    model = executor(name)
    clean, corrupt = prompts(model, PAIRS, LENGTH), prompts(model, PAIRS, LENGTH, seed=1)
    clean[:, 0] = corrupt[:, 0]
    largest = 0.0
    for sweep in SWEEPS:
        if not applies(sweep, model):
            continue
        mine, reference = ours(model, sweep, clean, corrupt), theirs(model, sweep, clean, corrupt)
        if sweep.kind in ("k", "v"):  # padded with zeros to the query heads
            reference = reference[..., : model.facts.shape.n_kv_heads]
        assert mine.shape == reference.shape, sweep
        spread = float(mine.std())
        assert spread > 1e-4, sweep
        largest = max(largest, float((mine - reference).abs().max()))
        assert largest < 1e-5 * max(1.0, float(reference.abs().max())), sweep
    record_property("largest_difference", largest)
    print(f"{name}: largest difference from transformer_lens.patching {largest:.1e}")
