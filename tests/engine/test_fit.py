"""Dictionaries fitted by the engine: the same as by a plain loop, alone as together, and as if
nothing had happened where a run was lost or stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interp_dsl.data.types import Data
from interp_dsl.dictionaries.architectures import Relu
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.verbs.dictionaries import ARCHITECTURES, settled

from .plans import LOADS, folder_in
from .test_resume import Dies
from .tiny import Given, Tiny, side

NEURONS, STREAM = Target(Site("neuron", 0)), Target(Site("resid_post", 1))
HEAD = Target(Site("z", 1), 1)


def _text(n: int = 30, seed: int = 0) -> Data:
    """Prompts of 3 to 9 tokens behind BOS, 0, which stands within some of them too."""
    random = np.random.default_rng(seed)
    prompts = [[0, *random.integers(0, 11, random.integers(3, 10))] for _ in range(n)]
    return Data("text", {"text": side("text", prompts)})


def _one(name: str, at: Target = NEURONS, label: str = "", **given: Any) -> Fitted:
    known = {k: p.default for k, p in ARCHITECTURES[name].parameters.items() if not p.is_required}
    known |= {k: v[0] for k, v in known.items() if k in ("seed", "l0")}
    options = settled({**known, "width": 24, "batch": 8, "buffer": 40, **given}, 400)
    return Fitted(label, at, name, tuple(sorted(options.items())))


def _plan(*dictionaries: Fitted, tokens: int = 400, step: str = "sae") -> Plan:
    run = Run("m", "d", "text")
    return Plan((*LOADS, Fit("f", step, run, dictionaries, tokens, 8, 40, batch=7)))


def _fit(plan: Plan, path: Path, model: Tiny | None = None, data: Data | None = None) -> RunFolder:
    folder = folder_in(path)
    execute(plan, folder, loaders=Given(model or Tiny(), d=data or _text()))
    return folder


def _same(one: RunFolder, other: RunFolder, step: str = "sae") -> None:
    assert one.read_table(step).equals(other.read_table(step))
    ours, theirs = one.read_tensors(step), other.read_tensors(step)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
    assert one.step_facts(step) == other.step_facts(step)


def test_a_fit_is_a_plain_loop_over_shuffled_activations(tmp_path: Path) -> None:
    data, model = _text(), Tiny()
    options = {"l1": 0.05, "lr": 1e-2, "bias": "mean"}
    folder = _fit(_plan(_one("relu", **options), tokens=393), tmp_path, model, data)

    tokens = data.sides["text"].tokens
    held: dict[Site, torch.Tensor] = {}
    found = model.forward(torch.from_numpy(tokens), None, sites=(NEURONS.site,))
    held = {NEURONS.site: found.sites[NEURONS.site][..., 0].float()}
    rows = [
        [x for x, t in zip(xs, ts, strict=True) if t != 0]
        for xs, ts in zip(held[NEURONS.site], tokens, strict=True)
    ]
    stream, number = [], 0
    while len(stream) < 400:
        order = np.random.default_rng((0, 0, number)).permutation(len(rows))
        stream += [x for i in order for x in rows[i]]
        number += 1
    x = torch.stack(stream[:400])
    scale = float(x.shape[1] ** 0.5 / x.norm(dim=1).mean())
    settings = Settings(24, 1e-2, dead_after=40, scale=scale)
    trainer = Trainer(Relu(0.05, "weighted"), settings, Schedule(50), x)
    for block in range(10):
        order = np.random.default_rng((0, 1, block)).permutation(40)
        for batch in x[40 * block :][torch.from_numpy(order)].split(8):
            trainer.step(batch)

    assert folder.read_table("sae")["step"].to_list() == list(range(50))
    for name, value in trainer.dictionary().tensors.items():
        np.testing.assert_allclose(folder.read_tensors("sae")[name], value, atol=1e-5)
    notes = [e["text"] for e in folder.events() if e["event"] == "note"]
    count = sum(map(len, rows))
    assert f"sae: the data holds {count:,} tokens, so it is passed {400 / count:.1f} times" in notes


def test_several_share_each_pass_and_are_what_each_is_alone(tmp_path: Path) -> None:
    several = [
        _one("topk", label="L0, k=2", k=2),
        _one("topk", label="L0, k=3", k=3),
        _one("jumprelu", STREAM, label="L1", target=3.0, width=16),
        _one("gated", HEAD, label="L1H1.z", l1=0.01, width=10),
    ]
    together, alone = Tiny(), Tiny()
    whole = _fit(_plan(*several), tmp_path / "all", together)
    tensors, table = whole.read_tensors("sae"), whole.read_table("sae")
    assert {name.split("/")[0] for name in tensors} == {d.label for d in several}
    for i, one in enumerate(several):
        single = _fit(_plan(replace(one, label="")), tmp_path / str(i), alone)
        for name, value in single.read_tensors("sae").items():
            np.testing.assert_array_equal(value, tensors[f"{one.label}/{name}"])
        assert table.filter(table["dictionary"] == one.label)["loss"].equals(
            single.read_table("sae")["loss"]
        )
    assert alone.rows == 4 * together.rows
    assert tensors["L1H1.z/W_enc"].shape == (4, 10) and tensors["L1/W_dec"].shape == (16, 8)


class Small(Tiny):
    """A model that has memory for three prompts at once."""

    def forward(self, tokens, *args, **kwargs):
        if len(tokens) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(tokens, *args, **kwargs)


def test_a_batch_that_was_too_large_leaves_no_trace(tmp_path: Path) -> None:
    plan = _plan(_one("topk", k=2))
    small = _fit(plan, tmp_path / "small", Small())
    _same(_fit(plan, tmp_path / "whole"), small)
    notes = [e["text"] for e in small.events() if "out of memory" in e.get("text", "")]
    assert notes == ["out of memory at 7 rows a batch; going on with 3"]


ROUNDED = _one("gated", l1=0.01, lr=1e-2, dtype="bfloat16")
RESAMPLED = _one("relu", l1=1.0, norm="unit", resample=(12, 30), window=3, lr=0.1)


@pytest.mark.parametrize(
    "one", [_one("batch_topk", k=2), RESAMPLED, ROUNDED], ids=["batch_topk", "resampled", "rounded"]
)
@pytest.mark.parametrize("rows", [20, 60, 90])
def test_a_lost_run_goes_on_to_the_same_numbers(tmp_path: Path, one: Fitted, rows: int) -> None:
    plan = _plan(one)
    whole = _fit(plan, tmp_path / "whole")
    folder = folder_in(tmp_path)
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Given(Dies(rows, RuntimeError("lost")), d=_text()))
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(whole, folder)
    assert not list((folder.path / "parts").glob("*/*"))


@pytest.mark.parametrize("rows", [2, 30, 70])
def test_a_stop_waits_for_no_block(tmp_path: Path, rows: int) -> None:
    """No pass is begun behind the one in which the stop comes, and nothing is lost or changed."""
    folder = folder_in(tmp_path)

    class Cancels(Tiny):
        passes_since = -1

        def forward(self, *args, **kwargs):
            if self.rows >= rows:
                folder.cancel()
                self.passes_since += 1
            return super().forward(*args, **kwargs)

    plan, model = _plan(_one("topk", k=2)), Cancels()
    assert execute(plan, folder, loaders=Given(model, d=_text())).status == "cancelled"
    assert model.passes_since == 0
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(_fit(plan, tmp_path / "whole"), folder)


@pytest.mark.parametrize("after", [1, 4, 23, 49])
def test_a_stopped_run_goes_on_from_the_very_step(tmp_path: Path, after: int) -> None:
    """Step 23 is in the middle of a block."""
    plan = _plan(_one("topk", k=2), RESAMPLED)
    plan = replace(
        plan,
        tasks=tuple(
            replace(
                t,
                dictionaries=tuple(replace(d, label=f"a{i}") for i, d in enumerate(t.dictionaries)),
            )
            if isinstance(t, Fit)
            else t
            for t in plan.tasks
        ),
    )
    whole = _fit(plan, tmp_path / "whole")
    folder = folder_in(tmp_path)

    def cancel(event: dict[str, Any]) -> None:
        if event["event"] == "fit" and event["at"] == after:
            folder.cancel()

    folder.log.listener = cancel
    assert execute(plan, folder, loaders=Given(Tiny(), d=_text())).status == "cancelled"
    held = list((folder.path / "parts" / "sae").glob("*.parquet"))
    assert [int(p.name.split("-")[0]) for p in held] == [after + 1]
    folder.log.listener = None
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(whole, folder)
    (told,) = (e["text"] for e in folder.events() if "goes on" in e.get("text", ""))
    assert told == f"sae: goes on behind step {after + 1} of 50"


def test_products_of_bfloat16_learn_nearly_the_same_and_leave_float32(tmp_path: Path) -> None:
    plain = replace(ROUNDED, options=_one("gated", l1=0.01, lr=1e-2).options)
    folders = {
        one.option("dtype"): _fit(_plan(one), tmp_path / str(i))
        for i, one in enumerate((plain, ROUNDED))
    }
    for dtype, folder in folders.items():
        (about,) = folder.step_facts("sae")["dictionaries"]
        assert about["options"]["dtype"] == dtype
    whole, rounded = (folder.read_tensors("sae") for folder in folders.values())
    for name, value in whole.items():
        assert rounded[name].dtype == np.float32 and not np.array_equal(rounded[name], value)
        off = np.linalg.norm(rounded[name] - value) / np.linalg.norm(value)
        assert off < 0.1


def test_resampling_is_said_and_changes_what_is_learned(tmp_path: Path) -> None:
    folder = _fit(_plan(RESAMPLED), tmp_path)
    notes = [e["text"] for e in folder.events() if "resampled" in e.get("text", "")]
    assert [n.split(" at ")[1] for n in notes] == ["step 12", "step 30"]
    assert not notes[0].startswith("sae: 0 ")
    before = _fit(_plan(_one("relu", l1=1.0, norm="unit", lr=0.1)), tmp_path / "plain")
    table, plain = folder.read_table("sae"), before.read_table("sae")
    assert table["loss"][:12].equals(plain["loss"][:12])
    assert table["loss"][12] != plain["loss"][12]


def test_data_without_text(tmp_path: Path) -> None:
    empty = Data("text", {"text": side("text", [[0, 0], [0]])})
    with pytest.raises(InterpError) as caught:
        _fit(_plan(_one("topk", k=2)), tmp_path / "empty", data=empty)
    assert caught.value.diagnostics[0].code == "E670"


WILD: dict[str, dict[str, Any]] = {
    "relu": {"l1": 0.0, "norm": "weighted"},
    "gated": {"l1": 0.0},
    "topk": {"k": 2},
    "batch_topk": {"k": 2},
    "matryoshka": {"k": 2},
    "jumprelu": {"l0": 0.0},
}


@pytest.mark.parametrize("name", WILD)
def test_a_loss_that_explodes(name: str, tmp_path: Path) -> None:
    with pytest.raises(InterpError) as caught:
        _fit(_plan(_one(name, lr=1e30, clip=0.0, **WILD[name])), tmp_path)
    assert caught.value.diagnostics[0].code == "E671"
