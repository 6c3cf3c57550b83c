"""Planted dictionaries are found; training goes on from a state as if it had never stopped."""

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    Now,
    Relu,
    TopK,
)
from interp_dsl.dictionaries.ends import Itself, Onto, loss_between
from interp_dsl.dictionaries.products import BY_NAME
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer
from tests.dictionaries.planted import features, mixtures, mmcs

ALL: list[Architecture] = [
    Relu(0.01, "unit"),
    Relu(0.1, "weighted"),
    TopK(3),
    BatchTopK(3),
    Matryoshka(3, prefixes=(0.5, 1.0)),
    JumpRelu(0.05, bandwidth=0.1, threshold=0.1),
    Gated(0.1),
]
IDS = [f"{a.name}-{getattr(a, 'norm', '')}" for a in ALL]


def _fit(
    architecture: Architecture,
    steps: int,
    lr: float,
    settings: Settings | None = None,
    schedule: Schedule | None = None,
) -> Trainer:
    generator = torch.Generator().manual_seed(1)
    known = features()
    settings = settings or Settings(128, lr, clip=0.0, bias="median")
    schedule = schedule or Schedule(steps)
    trainer = Trainer(architecture, settings, schedule, mixtures(known, 1024, generator))
    for _ in range(steps):
        trainer.step(mixtures(known, 256, generator))
    return trainer


def test_the_planted_dictionary_is_found_best_by_the_right_penalty() -> None:
    """d 32, 64 features, each on with probability 0.04: the order over coefficients is known, and
    one of 0.01 finds every feature."""
    constant = Schedule(2500, decay=0, sparsity_warmup=0)
    found = {
        l1: mmcs(
            features(), _fit(Relu(l1, "unit"), 2500, 2e-3, schedule=constant).params["decoder"]
        )
        for l1 in (1e-3, 3e-3, 1e-2)
    }
    assert found[1e-2] > 0.98
    assert found[1e-3] < found[3e-3] < found[1e-2]


@pytest.mark.parametrize(
    ("architecture", "steps"),
    [
        (Relu(0.3, "weighted"), 1200),
        (TopK(3), 800),
        (BatchTopK(3), 800),
        (Matryoshka(3, prefixes=(0.5, 1.0)), 800),
        (JumpRelu(0.05, bandwidth=0.1, threshold=0.1), 1200),
        (Gated(0.3), 1200),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("dtype", BY_NAME)
def test_every_architecture_finds_the_planted_dictionary(
    architecture: Architecture, steps: int, dtype: str
) -> None:
    settings = Settings(128, 3e-3, clip=0.0, bias="median", products=BY_NAME[dtype])
    found = _fit(architecture, steps, 3e-3, settings)
    assert mmcs(features(), found.params["decoder"]) > 0.95


@pytest.mark.parametrize("dtype", BY_NAME)
@pytest.mark.parametrize("architecture", ALL, ids=IDS)
def test_a_restored_state_goes_on_to_the_same_numbers(
    architecture: Architecture, dtype: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    known = features(12, 8)
    batches = [mixtures(known, 32, generator, 0.3) for _ in range(12)]
    settings = Settings(24, 1e-2, dead_after=64, scale=1.7, products=BY_NAME[dtype])

    def new() -> Trainer:
        return Trainer(architecture, settings, Schedule(12), batches[0])

    whole, half = new(), new()
    for x in batches:
        whole.step(x)
    for x in batches[:5]:
        half.step(x)
    state = {k: v.clone() for k, v in half.state().items()}
    resumed = Trainer(architecture, settings, Schedule(12), batches[1])
    resumed.restore(state)
    for x in batches[5:]:
        resumed.step(x)
    assert whole.state().keys() == resumed.state().keys()
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


@pytest.mark.parametrize("architecture", ALL, ids=IDS)
def test_what_is_saved_does_on_activations_what_was_learned_of_scaled_ones(
    architecture: Architecture,
) -> None:
    """The scale is folded into biases and thresholds: the loss in training and that of the saved
    dictionary agree."""
    generator = torch.Generator().manual_seed(0)
    known = features(12, 8)
    x = mixtures(known, 256, generator, 0.3)
    scale = 2.5
    trainer = Trainer(architecture, Settings(24, 1e-2, scale=scale), Schedule(30), x)
    for _ in range(30):
        trainer.step(x)
    found = loss_between(Itself(), architecture, trainer.params, {}, (x * scale, x * scale), Now())
    if found.held:  # this batch's own threshold, just below the value that it stands for
        trainer.held = {"threshold": found.held["threshold"] * (1 - 1e-5)}
    saved = trainer.dictionary()
    error = saved.reconstruct(x) - x
    torch.testing.assert_close(error * scale, found.error, atol=1e-4, rtol=1e-4)
    assert torch.equal((saved.encode(x) > 0).sum(0), found.fired.long())


@pytest.mark.parametrize("architecture", ALL, ids=IDS)
def test_a_saved_transcoder_does_on_activations_what_was_learned_of_scaled_ones(
    architecture: Architecture,
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = mixtures(features(12, 8), 256, generator, 0.3), torch.randn(256, 5, generator=generator)
    settings = Settings(24, 1e-2, scale=2.5, onto=0.7)
    trainer = Trainer(architecture, settings, Schedule(30), x, Onto(True), y)
    for _ in range(30):
        trainer.step(x, y)
    batch = (x * 2.5, y * 0.7)
    found = loss_between(trainer.ends, architecture, trainer.params, trainer.fixed, batch, Now())
    if found.held:
        trainer.held = {"threshold": found.held["threshold"] * (1 - 1e-5)}
    saved = trainer.dictionary()
    error = saved.reconstruct(x) - y
    torch.testing.assert_close(error * 0.7, found.error, atol=1e-4, rtol=1e-4)
    assert torch.equal((saved.encode(x) > 0).sum(0), found.fired.long())


@pytest.mark.parametrize("architecture", ALL, ids=IDS)
def test_a_transcoder_learns_a_planted_map(architecture: Architecture) -> None:
    """Of mixtures onto mixtures of other directions by the same sizes."""
    generator = torch.Generator().manual_seed(0)
    known, onto = features(24, 16), torch.randn(24, 10, generator=generator)

    def drawn(n: int) -> tuple[Tensor, Tensor]:
        chance, size = torch.rand(2, n, 24, generator=generator)
        on = (chance < 0.08) * size
        return on @ known, on @ onto

    first = drawn(1024)
    settings = Settings(64, 1e-2, clip=0.0)
    trainer = Trainer(architecture, settings, Schedule(500), first[0], Onto(False), first[1])
    start = trainer.step(*drawn(256)).fvu
    for _ in range(499):
        figures = trainer.step(*drawn(256))
    assert figures.fvu < 0.35 and figures.fvu < start / 3


def test_gradients_are_clipped_together_and_decoder_rows_keep_their_length() -> None:
    trainer = _fit(TopK(3), 1, 1e-2, Settings(32, 1e-2, clip=1e-3))
    # Adam's first moment is then a tenth of the gradient
    norms = torch.stack([v.norm() for k, v in trainer.state().items() if k.startswith("first.")])
    assert float(norms.norm()) == pytest.approx(1e-4, rel=1e-3)
    torch.testing.assert_close(trainer.params["decoder"].norm(dim=1), torch.ones(32))


def test_silent_features_count_as_dead_and_revive() -> None:
    generator = torch.Generator().manual_seed(0)
    known = features(12, 8)
    settings = Settings(24, 1e-3, dead_after=64)
    trainer = Trainer(TopK(2), settings, Schedule(400, decay=0), mixtures(known, 64, generator))
    trainer.params["b_enc"][:6] = -5
    trainer.step(mixtures(known, 64, generator, 0.3))
    assert trainer.dead[:6].all()
    figures = trainer.step(mixtures(known, 64, generator, 0.3))
    assert figures.n_dead >= 6 and figures.terms["auxk"] > 0


def test_schedules() -> None:
    schedule = Schedule(100, warmup=0.1, decay=0.2, sparsity_warmup=0.05)
    assert schedule.rate(0) == pytest.approx(0.1) and schedule.rate(9) == 1
    assert schedule.rate(79) == 1 and schedule.rate(90) == pytest.approx(0.5)
    assert 0 < schedule.rate(99) < 0.06
    assert schedule.warmth(0) == pytest.approx(0.2) and schedule.warmth(4) == 1
    assert Schedule(10, decay=0, sparsity_warmup=0).rate(9) == 1
