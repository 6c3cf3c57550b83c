"""Text that a model writes itself, against loops of full forwards and what the model expects."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.data.fingerprint import fingerprint
from interp_dsl.data.sampled import check_reads, check_writes
from interp_dsl.engine.report import Report
from interp_dsl.engine.sampled import build_sampled, written
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.facts import facts
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.tasks import BuildData
from tests.models.running import compiled, executor

from .plans import folder_in
from .tiny import Tiny

SPEC = {"kind": "sampled", "model": "m", "n": 8, "context": 10, "temperature": 1, "top_p": 1}


def texts(model: Any, path: Path, rows: int | None = None, **options: Any) -> Tensor:
    return written(model, {**SPEC, "seed": 0, **options}, Report(folder_in(path), "t"), rows)


def reading(model: Any, **known: Any) -> Any:
    """The same model with other facts."""
    other = copy(model)
    other.facts = replace(model.facts, **known)
    return other


def greedy(model: Any, text: list[int], context: int) -> list[int]:
    """A plain loop: the whole text for every token, the most likely one each time."""
    text = list(text)
    while len(text) < context:
        logits = model.forward(torch.tensor([text], device=model.device), None).logits
        text.append(int(logits[0, -1].argmax()))
    return text


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_cold_texts_are_those_of_full_forwards(family: str, tmp_path: Path) -> None:
    """With keys and values kept, and by hooks; texts that begin with tokens of all kinds."""
    hooked = executor(family)
    for name, model in (("kept", compiled(family)), ("anew", hooked)):
        model = reading(model, bos=None, eos=())
        found = texts(model, tmp_path / name, temperature=0).tolist()
        assert len({text[0] for text in found}) > 4
        assert found == [greedy(hooked, text[:1], 10) for text in found]


def test_a_text_begins_with_bos(tmp_path: Path) -> None:
    found = texts(reading(Tiny(), bos=7), tmp_path, temperature=0).tolist()
    assert found == [greedy(Tiny(), [7], 10)] * 8


@pytest.mark.parametrize("options", [{"temperature": 1.5}, {"top_p": 0.7, "seed": 3}])
def test_texts_do_not_depend_on_the_batch(options: dict[str, Any], tmp_path: Path) -> None:
    for name, model in (("tiny", Tiny()), ("gpt2", compiled("gpt2"))):
        whole = texts(model, tmp_path / name, **options)
        for rows in (1, 3, 7):
            found = texts(model, tmp_path / f"{name}{rows}", rows, **options)
            assert torch.equal(found, whole)
        fewer = texts(model, tmp_path / f"{name} fewer", n=5, **options)
        assert torch.equal(fewer, whole[:5])
        assert len({tuple(text) for text in whole.tolist()}) == 8
        other = texts(model, tmp_path / f"{name} other", **{**options, "seed": 9})
        assert not torch.equal(other, whole)


def chi_square(drawn: Tensor, likely: Tensor) -> float:
    """Of counts against probabilities [V]; about V − 1 where they agree, √(2V − 2) either way."""
    wanted = likely.double() * len(drawn)
    return float(((torch.bincount(drawn, minlength=len(likely)) - wanted) ** 2 / wanted).sum())


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float, tmp_path: Path) -> None:
    """30 is exceeded once in a thousand by chance, with 10 degrees of freedom."""
    model = Tiny()
    model.unembed = model.unembed * 3
    found = texts(model, tmp_path, n=4000, context=3, temperature=temperature)
    first = (model.forward(torch.tensor([[0]]), None).logits[0, -1] / temperature).softmax(-1)
    assert chi_square(found[:, 1], first) < 30 < chi_square(found[:, 1], torch.ones(11) / 11)
    common = int(first.argmax())
    after = found[found[:, 1] == common, 2]
    logits = model.forward(torch.tensor([[0, common]]), None).logits[0, -1]
    second = (logits / temperature).softmax(-1)
    assert chi_square(after, second) < 30 < chi_square(after, first)


def test_without_bos_any_token_is_the_first(tmp_path: Path) -> None:
    found = texts(reading(Tiny(), bos=None), tmp_path, n=4000, context=2)[:, 0]
    assert chi_square(found, torch.ones(11) / 11) < 30


def test_behind_the_end_of_a_text_another_begins(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n": 50, "context": 16}
    found = texts(reading(Tiny(), eos=(5, 6)), tmp_path / "ends", **options)
    ends = torch.isin(found[:, :-1], torch.tensor([5, 6]))
    assert ends.any() and bool((found[:, 1:][ends] == 0).all())
    plain = texts(Tiny(), tmp_path / "plain", **options)
    assert not bool((plain[:, 1:][torch.isin(plain[:, :-1], torch.tensor([5, 6]))] == 0).all())
    same = texts(reading(Tiny(), eos=(0,)), tmp_path / "one token for both", **options)
    assert torch.equal(same, plain)


def test_a_dataset_is_one_side_and_another_model_gives_another(tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        state = State(0, models={"m": Tiny(seed)})
        task = BuildData("data:own", "a.own", {**SPEC, "seed": 0}, "m")
        data = build_sampled(task, state, Report(folder_in(tmp_path / str(seed)), "t"))
        side = data.sides["own"]
        assert data.n == 8 and data.answers is None and side.tokens.shape == (8, 10)
        assert (
            (side.lengths == 10).all() and (side.read == 9).all() and (side.tokens[:, 0] == 0).all()
        )
        found.append(data)
        again = build_sampled(task, state, Report(folder_in(tmp_path / f"{seed} again"), "t"))
        np.testing.assert_array_equal(again.sides["own"].tokens, side.tokens)
    assert fingerprint(found[0]) != fingerprint(found[1])


def test_a_run_that_is_taken_up_again_has_the_texts_that_it_wrote(tmp_path: Path) -> None:
    """From its folder, where the model runs no more; other weights, or other draws, write anew."""
    folder = folder_in(tmp_path)

    class Silent(Tiny):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the texts are there already")

    def build(model: Tiny, **options: Any) -> np.ndarray:
        state = State(0, models={"model:m": reading(model, bos=0)})
        spec = {**SPEC, "model": "model:m", "seed": 0, **options}
        task = BuildData("data:own", "own", spec, "model:m")
        return build_sampled(task, state, Report(folder, "t")).sides["own"].tokens

    first = build(Tiny())
    held = folder.read_tensors("sampled.own")
    np.testing.assert_array_equal(held["own.tokens"], first)
    np.testing.assert_array_equal(build(Silent()), first)
    (said,) = [e["text"] for e in folder.events() if e["event"] == "note"]
    assert said == "own: the texts are those that this run has written before"
    for model, options in ((Silent(), {"seed": 1}), (Silent(), {"temperature": 0.5})):
        with pytest.raises(AssertionError, match="there already"):
            build(model, **options)
    other = Silent()
    other.fingerprint = lambda: "another"  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="there already"):
        build(other)
    assert not (build(Tiny(), seed=1) == first).all()


def refused(writer: ModelFacts, reader: ModelFacts | None = None) -> str:
    with pytest.raises(InterpError) as problem:
        check_writes("own", 10, writer) if reader is None else check_reads("own", writer, reader)
    assert problem.value.diagnostics[0].help
    return problem.value.diagnostics[0].code


def test_what_cannot_write_is_refused() -> None:
    known = Tiny().facts
    check_writes("own", 10, known)
    assert refused(replace(known, shape=replace(known.shape, causal=False))) == "E408"
    assert refused(replace(known, shape=replace(known.shape, d_vocab_out=2))) == "E408"
    assert refused(replace(known, shape=replace(known.shape, n_ctx=9))) == "E404"


def test_who_reads_other_tokens_is_refused() -> None:
    one, other = (facts({"kind": "bundled", "name": n}) for n in ("ioi-3l", "text-1l-512"))
    assert one is not None and other is not None
    check_reads("own", one, replace(one, name="another"))
    check_reads("own", one, replace(one, tokenizer=None))
    assert refused(one, other) == "E426"
