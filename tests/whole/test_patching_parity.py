"""From text to table: every sweep that transformer_lens.patching has, on every family, run from an
`.interp` file, equals TransformerLens cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import interp_dsl
from interp_dsl.models.hooked import HookedExecutor
from tests.devices import here
from tests.models.checkpoints import NATIVE, tiny, tiny_native
from tests.models.running import MODELS, executor, prompts

UNITS = {"z": "heads", "head": "heads", "q": "queries", "k": "keys", "v": "values"}
ANSWER, WRONG = 3, 7
PAIRS, LENGTH = 2, 5


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
    """The mean logit difference at the last position."""
    return (logits[:, -1, ANSWER] - logits[:, -1, WRONG]).mean()


def theirs(model: HookedExecutor, sweep: Sweep, clean: Tensor, corrupt: Tensor) -> Tensor:
    from transformer_lens import patching

    clean, corrupt = clean.to(model.device), corrupt.to(model.device)
    with torch.no_grad():
        _, cache = model.bridge.run_with_cache(clean)
        oracle: Callable[..., Tensor] = getattr(patching, sweep.oracle)
        result = oracle(model.bridge, corrupt, cache, metric)
    return result.as_subclass(Tensor).cpu()


def applies(sweep: Sweep, model: HookedExecutor) -> bool:
    shape = model.facts.shape
    if sweep.kind == "mlp_out":
        return not shape.attn_only
    return sweep.kind != "resid_mid" or not (shape.attn_only or shape.parallel)


def phrase(sweep: Sweep) -> str:
    """The units and positions of TransformerLens's sweep, in the language's words."""
    family = UNITS.get(sweep.kind, "patterns" if sweep.kind == "pattern" else sweep.kind)
    if "src" in sweep.axes:
        return f"{family} at each -> each"
    return f"{family} at each" if "pos" in sweep.axes else family


def program(name: str, folder: Path, sweeps: list[Sweep]) -> str:
    kind = "weights" if name in NATIVE else "checkpoint"
    steps = [
        f"step {sweep.oracle} = patch {phrase(sweep)} from pairs.clean into pairs.corrupt "
        "measure gap"
        for sweep in sweeps
    ]
    return "\n".join(
        [
            f'model m = {kind}("{folder}")',
            'dataset pairs = tokens("pairs.safetensors")',
            "metric gap = logit_diff()",
            *steps,
        ]
    )


def cell(sweep: Sweep, row: dict[str, Any]) -> tuple[int, ...]:
    """Where a row of our table stands in TransformerLens's tensor."""
    position = row["position"]
    where = {"head": row["head"]}
    if "src" in sweep.axes:
        where["src"], where["dest"] = map(int, position.split(" -> "))
    elif "pos" in sweep.axes:
        where["pos"] = int(position)
    return (row["layer"], *(where[axis] for axis in sweep.axes))


def pairs_file(model: HookedExecutor, path: Path) -> tuple[Tensor, Tensor]:
    clean, corrupt = prompts(model, PAIRS, LENGTH), prompts(model, PAIRS, LENGTH, seed=1)
    clean[:, 0] = corrupt[:, 0]
    tensors = {
        "clean": clean,
        "corrupt": corrupt,
        "answer": torch.full((PAIRS,), ANSWER),
        "wrong": torch.full((PAIRS,), WRONG),
    }
    save_file(tensors, path)
    return clean, corrupt


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", MODELS)
def test_every_sweep_equals_transformer_lens(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    model = executor(name)
    folder = tiny_native(name) if name in NATIVE else tiny(name)
    clean, corrupt = pairs_file(model, tmp_path / "pairs.safetensors")
    sweeps = [s for s in SWEEPS if applies(s, model)]
    (tmp_path / "parity.interp").write_text(program(name, folder, sweeps))
    run = interp_dsl.run(
        tmp_path / "parity.interp", out=tmp_path / "run", allow=[folder], device=here()
    )
    largest = 0.0
    for sweep in sweeps:
        reference = theirs(model, sweep, clean, corrupt)
        rows = run.scores(sweep.oracle).to_dicts()
        differences = [abs(row["value"] - float(reference[cell(sweep, row)])) for row in rows]
        assert max(abs(row["effect"]) for row in rows) > 1e-4, sweep
        assert len(rows) == expected_rows(sweep, model), sweep
        largest = max(largest, *differences)
        assert largest < 1e-5 * max(1.0, float(reference.abs().max())), sweep
    record_property("largest_difference", largest)
    print(f"{name}: largest difference from transformer_lens.patching {largest:.1e}")


def expected_rows(sweep: Sweep, model: HookedExecutor) -> int:
    """Cells of a sweep: key/value heads are counted as they are, and a causal pattern has no entry
    whose key comes after its query."""
    shape = model.facts.shape
    heads = shape.n_kv_heads if sweep.kind in ("k", "v") else shape.n_heads
    entries = LENGTH * (LENGTH + 1) // 2
    sizes = {"head": heads, "pos": LENGTH, "dest": entries, "src": 1}
    count = shape.n_layers
    for axis in sweep.axes:
        count *= sizes[axis]
    return count
