"""The shipped folders: cards are recomputed from the weights beside them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import interp_dsl
from interp_dsl.data import tasks
from interp_dsl.training import bundle, cards, fourier, measure, recipes, text

BUNDLED = Path(interp_dsl.__file__).parent / "bundled"
PAIRED = ("induction-2l", "ioi-3l", "docstring-4l", "modadd-113")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read(name: str, file: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((BUNDLED / name / file).read_text())
    return result


def plain_logits(name: str, tokens: np.ndarray) -> np.ndarray:
    """[n, T, d_vocab] from the tensors' names and config.json alone, in float64."""
    config = read(name, "config.json")
    w = {
        k: v.astype(np.float64) for k, v in load_file(BUNDLED / name / "model.safetensors").items()
    }

    def norm(x: np.ndarray, at: str) -> np.ndarray:
        if config["normalization_type"] is None:
            return x
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + config["eps"])
        return x * w[f"{at}.w"] + w[f"{at}.b"]

    def attention(x: np.ndarray, at: str) -> np.ndarray:
        q, k, v = (
            np.einsum("btd,hde->bhte", x, w[f"{at}.W_{part}"]) + w[f"{at}.b_{part}"][:, None, :]
            for part in "QKV"
        )
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(config["d_head"])
        scores[:, :, *np.triu_indices(x.shape[1], 1)] = -np.inf
        pattern = np.exp(scores - scores.max(-1, keepdims=True))
        z = pattern / pattern.sum(-1, keepdims=True) @ v
        return np.einsum("bhte,hed->btd", z, w[f"{at}.W_O"]) + w[f"{at}.b_O"]

    def mlp(x: np.ndarray, at: str) -> np.ndarray:
        hidden = x @ w[f"{at}.W_in"] + w[f"{at}.b_in"]
        erf = np.vectorize(math.erf)
        acts = {"relu": lambda h: h.clip(0), "gelu": lambda h: h * (1 + erf(h / 2**0.5)) / 2}
        return acts[config["act_fn"]](hidden) @ w[f"{at}.W_out"] + w[f"{at}.b_out"]

    x = w["embed.W_E"][tokens] + w["pos_embed.W_pos"][: tokens.shape[1]]
    for layer in range(config["n_layers"]):
        x = x + attention(norm(x, f"blocks.{layer}.ln1"), f"blocks.{layer}.attn")
        if not config["attn_only"]:
            x = x + mlp(norm(x, f"blocks.{layer}.ln2"), f"blocks.{layer}.mlp")
    return norm(x, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"]


@pytest.mark.parametrize("name", PAIRED)
def test_the_plain_forward_solves_the_task_as_the_trained_one_does(name: str) -> None:
    data = tasks.task(name, 256, seed=7)
    logits = plain_logits(name, data.clean)
    model = bundle.read(BUNDLED / name)
    with torch.no_grad():
        ours = model(torch.from_numpy(data.clean)).numpy()
    assert np.abs(logits - ours).max() < 1e-3
    rows = np.arange(256)
    at_end = logits[rows, data.position]
    assert (at_end.argmax(-1) == data.answer).all()
    wrong = np.take_along_axis(at_end, data.wrong.reshape(256, -1), axis=1).max(1)
    gap = (at_end[rows, data.answer] - wrong).mean()
    assert gap == pytest.approx(read(name, "card.json")["measured"]["logit_diff"], rel=0.05)


@pytest.mark.parametrize("name", PAIRED)
def test_cards_tell_what_the_weights_do(name: str) -> None:
    model, card = bundle.read(BUNDLED / name), read(name, "card.json")
    figures = cards.STORIES[name].measure(model, BUNDLED)
    assert figures == pytest.approx(card["measured"], abs=2e-3)
    assert card["measured"]["accuracy"] >= 0.999
    heads = measure.heads(model, tasks.task(name, 1024, seed=2))
    for head, row in heads.items():
        assert row == pytest.approx(card["circuit"]["heads"][head], abs=2e-3), head
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["name"] == name and card["licence"] == "MIT" and card["limits"]


def test_the_sums_are_learned_at_the_frequencies_that_the_card_names() -> None:
    card = read("modadd-113", "card.json")
    assert card["measured"]["accuracy_of_all_pairs"] == 1
    told = card["fourier"]
    found = fourier.frequencies(bundle.read(BUNDLED / "modadd-113"))
    for name, value in told.items():
        assert found[name] == pytest.approx(value, abs=1e-3), name
    assert len(told["frequencies"]) == 3 and told["logits_explained"] > 0.8
    assert sum(told["embedding_shares"]) > 0.8


def test_induction_heads_are_where_the_card_says() -> None:
    card = read("induction-2l", "card.json")
    heads = card["circuit"]["heads"]
    assert card["measured"]["repeat_accuracy"] >= 0.95
    assert heads["L0H0"]["previous_token"] > 0.8 and heads["L0H0"]["patch_effect"] > 0.5
    assert all(heads[f"L1H{head}"]["induction"] > 0.7 for head in range(4))
    assert all(heads[f"L0H{head}"]["induction"] < 0.1 for head in range(4))


def test_the_subject_is_taken_away_by_a_head_that_reads_s2() -> None:
    heads = read("ioi-3l", "card.json")["circuit"]["heads"]
    first = heads["L2H0"]
    assert first["END->S2"] > 0.9 and first["patch_effect"] > 0.8
    assert first["writes_wrong"] < -3 and abs(first["writes_answer"]) < 2
    both = [row for row in heads.values() if row["END->IO"] > 0.3]
    assert len(both) >= 4
    assert all(abs(row["END->IO"] - row["END->S1"]) < 0.05 for row in both)


def test_the_next_argument_is_looked_up_in_two_layers() -> None:
    heads = read("docstring-4l", "card.json")["circuit"]["heads"]
    before = heads["L0H0"]
    assert before["C_def->B_def"] > 0.7 and before["END->B_doc"] > 0.9
    assert before["patch_effect"] > 0.5
    movers = [row for head, row in heads.items() if row["END->C_def"] > 0.8]
    assert len(movers) >= 3 and all(row["writes_answer"] > 1 for row in movers)
    assert all(abs(row["writes_wrong"]) < 0.5 for row in movers)
    upper = [row["patch_effect"] for head, row in heads.items() if head[1] in "23"]
    assert len(upper) == 16 and max(map(abs, upper)) < 0.02


def test_induction_forms_between_its_steps() -> None:
    card = read("induction-2l", "card.json")
    steps = card["steps"]
    folder = BUNDLED / "induction-2l"
    assert steps == sorted(recipes.SNAPSHOTS) and len(steps) == 10
    accuracy = {row["step"]: row["repeat_accuracy"] for row in card["formation"]}
    assert accuracy[300] < 0.1 and 0.1 < accuracy[400] < 0.5 and accuracy[500] > 0.8
    last = load_file(folder / "steps" / "step-3000.safetensors")
    final = load_file(folder / "model.safetensors")
    assert all((last[name] == final[name]).all() for name in final)


@pytest.mark.parametrize("name", PAIRED)
def test_vocabularies_spell_the_task(name: str) -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / name / "tokenizer.json"))
    config = read(name, "config.json")
    assert tokenizer.get_vocab_size() == config["d_vocab"]
    assert tokenizer.token_to_id("<bos>") == config["bos_token_id"]
    data = tasks.task(name, 256, seed=0)
    for row, length, prompt in zip(data.clean, data.lengths, data.texts, strict=True):
        ids = row[:length].tolist()
        assert tokenizer.encode(prompt).ids in (ids, ids[1:])
        assert tokenizer.decode(ids) == prompt.removeprefix("<bos> ")


def test_words_carry_no_spaces() -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "ioi-3l" / "tokenizer.json"))
    prompt = "When Mary and John went to the store, John gave a book to"
    assert len(tokenizer.encode(prompt).ids) == 14
    assert tokenizer.encode(" Mary").ids == tokenizer.encode("Mary").ids


def test_a_method_is_read_however_it_is_laid_out_and_nothing_is_dropped() -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "docstring-4l" / "tokenizer.json"))
    method = "def load(self, size, path):\n    '''oil\n    :param size: unit\n    :param"
    ids = tokenizer.encode(method).ids
    assert len(ids) == 16 and tokenizer.decode(ids) == method
    assert tokenizer.encode(" ".join(method.split())).ids == ids
    for foreign in ("def load(self, size=1):", "def load(self) -> size:", "def load(self, cat):"):
        with pytest.raises(Exception, match="vocabulary"):
            tokenizer.encode(foreign)


@pytest.mark.skipif(not (BUNDLED / "text-1l-512").exists(), reason="text-1l-512 is not shipped")
def test_the_text_model_predicts_its_held_out_tokens() -> None:
    folder, card = BUNDLED / "text-1l-512", read("text-1l-512", "card.json")
    stream = load_file(folder / "heldout.safetensors")["tokens"]
    assert stream.dtype == np.uint16 and len(stream) == 1_000_000 and stream.max() < 2048
    figures = text.heldout_figures(stream, 64)(bundle.read(folder))
    last = card["curve"][-1]
    assert figures["heldout_loss"] == pytest.approx(last["heldout_loss"], abs=5e-3)
    measured = card["measured"]
    assert measured["heldout_loss"] < measured["bigram_loss"] - 0.5
    assert measured["heldout_loss"] < measured["heldout_loss_without_mlp"] - 0.2
    assert measured["neurons_dead"] < 0.05
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    source = tokenizer.decode(stream[:2000].tolist())
    assert tokenizer.decode(tokenizer.encode(source).ids) == source


def test_all_bundles_together_stay_small() -> None:
    assert sum(file.stat().st_size for file in BUNDLED.rglob("*.*")) < 8_000_000
