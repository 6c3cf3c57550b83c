"""Metrics against values worked out by hand from the logits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_dsl.data.types import Answer, Data
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.metrics import FUNCTIONS, Rows
from interp_dsl.engine.references import CACHED, References
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import FromRun, Literal, Metric, MetricCall, MetricSum, Zero
from interp_dsl.plan.metrics import METRICS, in_logits, needs
from interp_dsl.plan.places import Positions

from .plans import CLEAN, CORRUPT, END, GAP, HEADS, packed, run, sweep_plan
from .tiny import SHAPE, Tiny, pairs, side, singles

MODEL = Tiny()
DATA = pairs()
N = DATA.n


def logits(which: str) -> torch.Tensor:
    tokens = torch.from_numpy(DATA.sides[which].tokens)
    return MODEL.run(tokens, lambda site, x: x)


CLEAN_LOGITS = logits("clean")[:, -1]
CORRUPT_LOGITS = logits("corrupt")[:, -1]


def measured(term, data: Data = DATA, run_=CORRUPT, model=MODEL) -> list[float]:
    state = State(0, {"m": model}, {"d": data})
    reference = {at: CLEAN_LOGITS for at in (None, END)}
    bench = Bench(run_, (Metric("x", term),), reference, state)
    return bench.measure(torch.arange(data.n))[0].tolist()


RIGHT = [a.alternatives[0][0] for a in DATA.answers]
WRONG = [a.alternatives[0][0] for a in DATA.wrongs]
P, Q = CLEAN_LOGITS.softmax(1).numpy(), CORRUPT_LOGITS.softmax(1).numpy()
RAW = CORRUPT_LOGITS.numpy()
MIDDLE = (P + Q) / 2


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(p / q)).sum(1)


ROWS = np.arange(N)
BY_HAND = {
    "logit_diff": RAW[ROWS, RIGHT] - RAW[ROWS, WRONG],
    "logit": RAW[ROWS, RIGHT],
    "logprob": np.log(Q[ROWS, RIGHT]),
    "logprob_diff": np.log(Q[ROWS, RIGHT]) - np.log(Q[ROWS, WRONG]),
    "prob": Q[ROWS, RIGHT],
    "prob_diff": Q[ROWS, RIGHT] - Q[ROWS, WRONG],
    "accuracy": (RAW.argmax(1) == RIGHT).astype(float),
    "rank": 1 + (RAW[ROWS, RIGHT][:, None] < RAW).sum(1),
    "kl": kl(P, Q),
    "js": (kl(P, MIDDLE) + kl(Q, MIDDLE)) / 2,
    "mean_abs_diff": np.abs(RAW - CLEAN_LOGITS.numpy()).mean(1),
    "entropy": -(Q * np.log(Q)).sum(1),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    np.testing.assert_allclose(measured(MetricCall(name)), BY_HAND[name], atol=2e-5)


def test_every_metric_has_a_test() -> None:
    # python: tests/whole/test_own_metric.py; distance: tests/engine/test_paths.py
    assert METRICS.keys() == {*BY_HAND, "loss", "python", "distance"}


def test_loss_is_over_the_real_tokens() -> None:
    data = Data("d", {"clean": side("clean", [[1, 2, 3, 4], [5, 6, 7]])})
    wanted = []
    for prompt in ([1, 2, 3, 4], [5, 6, 7]):
        scores = MODEL.run(torch.tensor([prompt]), lambda site, x: x)[0].log_softmax(1)
        wanted.append(-np.mean([float(scores[i, t]) for i, t in enumerate(prompt[1:])]))
    assert measured(MetricCall("loss"), data, CLEAN) == pytest.approx(wanted, abs=1e-5)


def test_a_metric_read_elsewhere() -> None:
    start = Positions("label", label="S", pick="first")
    first = DATA.sides["corrupt"].labels["S"][:, 0]
    at = logits("corrupt")[ROWS, first].numpy()
    found = measured(MetricCall("logit_diff", at=start))
    np.testing.assert_allclose(found, at[ROWS, RIGHT] - at[ROWS, WRONG], atol=1e-5)
    with_loss = MetricSum("-", (MetricCall("logit", at=start), MetricCall("loss")))
    plain = np.array(measured(MetricCall("loss")))
    np.testing.assert_allclose(measured(with_loss), at[ROWS, RIGHT] - plain, atol=1e-5)


def test_a_metric_reads_one_position() -> None:
    with pytest.raises(InterpError, match="E623"):
        measured(MetricCall("entropy", at=Positions("label", label="S")))


CLASSES = replace(
    DATA,
    answers=tuple(Answer(((1,), (2,), (3,))[: 1 + i % 3]) for i in range(N)),
    wrongs=tuple(Answer(((4,), (5,))) for _ in range(N)),
)


def test_classes() -> None:
    own = [list(range(1, 2 + i % 3)) for i in range(N)]
    mean = np.array([RAW[i, c].mean() for i, c in enumerate(own)])
    prob = np.array([Q[i, c].sum() for i, c in enumerate(own)])
    wanted = {
        MetricCall("logit_diff"): mean - RAW[:, 4:6].mean(1),
        MetricCall("logit_diff", (("wrong", "max"),)): mean - RAW[:, 4:6].max(1),
        MetricCall("prob"): prob,
        MetricCall("prob_diff"): prob - Q[:, 4:6].sum(1),
        MetricCall("logprob"): np.log(prob),
        MetricCall("accuracy"): np.array([RAW[i].argmax() in c for i, c in enumerate(own)]),
        MetricCall("rank"): np.array(
            [1 + (RAW[i] > RAW[i, c].max()).sum() for i, c in enumerate(own)]
        ),
    }
    for call, values in wanted.items():
        np.testing.assert_allclose(measured(call, CLASSES), values, atol=2e-5, err_msg=str(call))


SEQUENCES = replace(
    DATA,
    answers=tuple(Answer(((3, 4, 5)[: 1 + i % 3],)) for i in range(N)),
    wrongs=tuple(Answer(((6, 7),)) for _ in range(N)),
)


def forced(prompt: list[int], answer: tuple[int, ...]) -> float:
    """Log probability of an answer, one token after the other."""
    total = 0.0
    for token in answer:
        scores = MODEL.run(torch.tensor([prompt]), lambda site, x: x)[0, -1].log_softmax(0)
        total, prompt = total + float(scores[token]), [*prompt, token]
    return total


def test_sequences_are_teacher_forced() -> None:
    prompts = DATA.sides["corrupt"].tokens.tolist()
    right, wrong = (
        np.array([forced(p, a.alternatives[0]) for p, a in zip(prompts, answers, strict=True)])
        for answers in (SEQUENCES.answers, SEQUENCES.wrongs)
    )
    for name, wanted in (
        ("logprob", right),
        ("prob", np.exp(right)),
        ("logprob_diff", right - wrong),
    ):
        np.testing.assert_allclose(measured(MetricCall(name), SEQUENCES), wanted, atol=1e-5)
    both = MetricSum("+", (MetricCall("logprob"), MetricCall("entropy")))
    np.testing.assert_allclose(measured(both, SEQUENCES), right + BY_HAND["entropy"], atol=1e-5)


def test_sequences_of_ragged_prompts_under_a_patch(tmp_path: Path) -> None:
    data = Data(
        "d",
        {k: side(k, [[1, 2, 3], [4, 5, 6, 7, 8]]) for k in ("clean", "corrupt")},
        (Answer(((3, 4),)), Answer(((5,),))),
    )
    metric = Metric("logprob", MetricCall("logprob"))
    ran = run(sweep_plan(HEADS, Zero(), metrics=(metric,), other=None), MODEL, tmp_path, d=data)

    def cut(prompt: list[int], answer: tuple[int, ...]) -> float:
        total, real = 0.0, len(prompt)
        for token in answer:

            def change(site, x):
                x = x.clone()
                if site == HEADS.units[1].targets[0].site:
                    x[:, :real, 1] = 0
                return x

            scores = MODEL.run(torch.tensor([prompt]), change)[0, -1].log_softmax(0)
            total, prompt = total + float(scores[token]), [*prompt, token]
        return total

    wanted = [cut([1, 2, 3], (3, 4)), cut([4, 5, 6, 7, 8], (5,))]
    np.testing.assert_allclose(ran.values[1], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["logit_diff", "logit", "accuracy", "rank", "prob_diff"])
def test_other_metrics_refuse_sequences_and_show_them(name: str) -> None:
    data = replace(SEQUENCES, wrongs=singles(*WRONG))
    with pytest.raises(InterpError, match="E621") as caught:
        measured(MetricCall(name), data)
    assert "3|4" in caught.value.diagnostics[0].notes[0]


def test_what_the_data_cannot_give() -> None:
    with pytest.raises(InterpError, match="E620"):
        measured(MetricCall("logit_diff"), replace(DATA, wrongs=None))
    both = Answer(((1, 2), (3, 4)))
    with pytest.raises(InterpError, match="E622"):
        measured(MetricCall("logprob"), replace(DATA, answers=(both,) * N))
    early = replace(DATA.sides["corrupt"], read=DATA.sides["corrupt"].read - 1)
    with pytest.raises(InterpError, match="E624"):
        measured(MetricCall("logprob"), replace(SEQUENCES, sides={"corrupt": early}))
    with pytest.raises(InterpError, match="E625"):
        measured(MetricCall("logit"), replace(DATA, answers=singles(*[99] * N)))
    with pytest.raises(InterpError, match="E625"):
        measured(
            MetricCall("loss"),
            model=Tiny(shape=replace(SHAPE, d_vocab_out=3)),
            data=Data("d", {"corrupt": DATA.sides["corrupt"]}),
        )


def test_arithmetic_is_per_example() -> None:
    logit, prob = MetricCall("logit"), MetricCall("prob")
    a, b = BY_HAND["logit"], BY_HAND["prob"]
    for op, wanted in {"+": a + b, "-": a - b, "*": a * b, "/": a / b}.items():
        np.testing.assert_allclose(measured(MetricSum(op, (logit, prob))), wanted, rtol=1e-4)
    half = MetricSum("/", (MetricSum("neg", (logit,)), Literal(2)))
    np.testing.assert_allclose(measured(half), -a / 2, rtol=1e-5)


def test_needs_and_units_of_arithmetic() -> None:
    both = MetricSum("-", (MetricCall("logit_diff"), MetricCall("kl")))
    assert needs(both) == {"answer", "wrong", "reference"}
    assert in_logits(MetricSum("-", (MetricCall("logit"), MetricCall("logit_diff"))))
    assert not in_logits(MetricSum("/", (MetricCall("logit"), Literal(2))))


def test_divergences_in_a_sweep_start_from_the_clean_run(tmp_path: Path) -> None:
    metrics = (Metric("kl", MetricCall("kl")), GAP)
    plan = sweep_plan(HEADS, FromRun(CLEAN), into=CORRUPT, other=CLEAN, metrics=metrics)
    ran = run(plan, MODEL, tmp_path, d=DATA)
    base = ran.folder.read_tensors("who")["base"]
    np.testing.assert_allclose(base[0], BY_HAND["kl"], atol=1e-5)
    assert ran.table["metric"].to_list() == ["kl", "gap"] * 4


def test_a_value_that_is_no_number_says_whose_it_is(tmp_path: Path) -> None:
    from interp_dsl.plan.tasks import Place, Sweep

    one = MetricSum("-", (MetricCall("accuracy"), MetricCall("accuracy")))
    nan = Metric("odd", MetricSum("/", (one, one)))
    plan = sweep_plan(HEADS, FromRun(CORRUPT), metrics=(GAP,))
    sweep = plan.tasks[-1]
    assert isinstance(sweep, Sweep)

    class Broken(Tiny):
        def forward(self, *args, **kwargs):
            found = super().forward(*args, **kwargs)
            if len(found.logits) == 20:
                found.logits[12] = math.nan
            return found

    placed = replace(sweep, packing=packed(20), place=Place("ioi.interp", 14, 3))
    with pytest.raises(InterpError, match="E641") as caught:
        run(replace(plan, tasks=(*plan.tasks[:-1], placed)), Broken(), tmp_path, d=DATA)
    told = caught.value.diagnostics[0]
    assert "who" in told.message and "gap of L1H0 is nan in example 2" in told.message
    assert "ioi.interp:14" in told.notes
    with pytest.raises(InterpError, match="E641") as caught:
        run(sweep_plan(HEADS, Zero(), metrics=(nan,)), MODEL, tmp_path / "b", d=DATA)
    assert caught.value.diagnostics[0].message.startswith("pairs.clean: ")


@pytest.mark.parametrize("function", ["kl", "js"])
@pytest.mark.parametrize(("n", "rows"), [(3, 40), (40, 3), (5, 5)])
def test_divergences_are_alike_however_many_rows_an_example_has(
    function: str, n: int, rows: int
) -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = CACHED // 4  # four rows a slice
    references = torch.randn(n, outputs, generator=draw)
    found = torch.randn(rows, outputs, generator=draw)
    examples = torch.randint(0, n, (rows,), generator=draw)
    p = found.double().softmax(1)
    q = references.double()[examples].softmax(1)
    middle = (p + q) / 2

    def divergence(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * (a / b).log()).sum(1)

    wanted = divergence(q, p)
    if function == "js":
        wanted = (divergence(p, middle) + divergence(q, middle)) / 2
    measured = FUNCTIONS[function](Rows(found, examples, None, None, References(references)))
    torch.testing.assert_close(measured.double(), wanted, atol=1e-5, rtol=1e-5)


def test_a_small_divergence_of_logits_that_are_far_from_zero() -> None:
    """About 4e-4 of logits near −100: no digits are lost to what both have in common."""
    draw = torch.Generator().manual_seed(0)
    references = 3 * torch.randn(4, 2**15, generator=draw) - 100
    examples = torch.arange(4).repeat(3)
    found = references[examples] + 0.03 * torch.randn(12, 2**15, generator=draw)
    log_p, log_q = found.double().log_softmax(1), references.double()[examples].log_softmax(1)
    wanted = (log_q.exp() * (log_q - log_p)).sum(1)
    measured = FUNCTIONS["kl"](Rows(found, examples, None, None, References(references)))
    assert float(wanted.min()) > 1e-4
    torch.testing.assert_close(measured.double(), wanted, atol=2e-6, rtol=0)
