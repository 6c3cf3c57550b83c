"""Resampling changes exactly what it should; the draw is proportional to the squared loss."""

import torch

from interp_dsl.dictionaries.architectures import Relu
from interp_dsl.dictionaries.resampling import drawn
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer
from tests.dictionaries.planted import features, mixtures


def test_only_dead_features_change() -> None:
    generator = torch.Generator().manual_seed(0)
    known = features(12, 8)
    trainer = Trainer(
        Relu(0.01, "unit"), Settings(20, 1e-2), Schedule(100), mixtures(known, 256, generator, 0.3)
    )
    dead = torch.tensor([2, 7, 11])
    for _ in range(3):
        trainer.params["b_enc"][dead] = -100
        trainer.step(mixtures(known, 256, generator, 0.3))
    before = {k: v.clone() for k, v in trainer.state().items()}
    # what has begun to fire in the last step is alive: silent counts it from 0
    alive = torch.ones(20, dtype=torch.bool)
    alive[trainer.silent >= 512] = False
    changed = ~alive
    assert set(dead.tolist()) <= set(changed.nonzero()[:, 0].tolist())
    inputs = mixtures(known, 512, generator, 0.3)
    count = trainer.resample([inputs[:100], inputs[100:]], 512, torch.Generator().manual_seed(1))
    assert count == int(changed.sum())
    after = trainer.state()
    rows = trainer.params["decoder"][changed]
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(count))
    directions = inputs / inputs.norm(dim=1, keepdim=True)
    assert all(bool(((directions - row).abs().amax(1) < 1e-6).any()) for row in rows)
    length = 0.2 * before["param.encoder"][alive].norm(dim=1).mean()
    torch.testing.assert_close(trainer.params["encoder"][changed], rows * length)
    assert trainer.params["b_enc"][changed].abs().max() == 0
    for kind in ("param", "first", "second"):
        assert torch.equal(before[f"{kind}.b_dec"], after[f"{kind}.b_dec"])
        for name in ("encoder", "decoder", "b_enc"):
            key = f"{kind}.{name}"
            assert torch.equal(before[key][alive], after[key][alive])
            assert kind == "param" or after[key][changed].abs().max() == 0
            assert kind == "param" or before[key][alive].abs().max() > 0
    assert trainer.silent[changed].max() == 0


def test_nothing_dead_nothing_changed() -> None:
    generator = torch.Generator().manual_seed(0)
    known = features(6, 4)
    trainer = Trainer(
        Relu(0.0, "unit"), Settings(6, 1e-3), Schedule(9), mixtures(known, 64, generator)
    )
    before = {k: v.clone() for k, v in trainer.state().items()}
    assert trainer.resample([mixtures(known, 64, generator)], 1, generator) == 0
    assert all(torch.equal(before[k], v) for k, v in trainer.state().items())


def test_inputs_are_drawn_by_the_square_of_their_loss() -> None:
    generator = torch.Generator().manual_seed(3)
    x, losses = torch.eye(3), torch.tensor([1.0, 2.0, 3.0])
    counts = torch.zeros(3)
    for _ in range(4000):
        counts += drawn([(x[:2], losses[:2]), (x[2:], losses[2:])], 1, generator)[0]
    wanted = losses.square() / losses.square().sum()
    assert (counts / 4000 - wanted).abs().max() < 0.03  # four standard errors


def test_no_input_is_drawn_twice() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.arange(10.0)[:, None]
    found = drawn([(x, x[:, 0] + 1)], 10, generator)
    assert sorted(found[:, 0].tolist()) == list(range(10))
