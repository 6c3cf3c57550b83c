"""Token ids, and the characters that every token covers."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.data.pieces import ScoredPieces
from interp_dsl.data.tokenizer import Tokenizer, load_tokenizer
from interp_dsl.models.shape import ModelFacts
from tests.data.conftest import Raises, facts, shared

# ** GPT-2 **


def test_a_leading_space_is_the_tokens_and_not_the_words(gpt2_tokenizer: Tokenizer) -> None:
    text = "When Mary and Persephone went"
    found = gpt2_tokenizer.encode(text)
    pieces = [gpt2_tokenizer.token_text(i) for i in found.ids]
    assert pieces == ["When", " Mary", " and", " Perse", "phone", " went"]
    assert [text[a:b] for a, b in found.spans] == ["When", "Mary", "and", "Perse", "phone", "went"]


def test_characters_of_several_bytes(gpt2_tokenizer: Tokenizer) -> None:
    text = "naïve 日 🙂!"
    found = gpt2_tokenizer.encode(text)
    assert gpt2_tokenizer.decode(found.ids) == text
    assert [text[a:b] for a, b in found.spans if b == 7] == ["日"] * 3
    assert text[slice(*found.spans[-1])] == "!"


@pytest.mark.parametrize("text", ["Hi there", "<|endoftext|>Hi there"])
def test_bos_comes_first_once(gpt2_tokenizer: Tokenizer, text: str) -> None:
    found = gpt2_tokenizer.prompt(text)
    assert found.ids == (50256, 17250, 612)
    assert [text[a:b] for a, b in found.spans[1:]] == ["Hi", "there"]


def test_no_bos_where_the_model_has_none(gpt2: ModelFacts) -> None:
    assert load_tokenizer(replace(gpt2, bos=None)).prompt("Hi there").ids == (17250, 612)


def test_answers_go_on_from_a_prompt(gpt2_tokenizer: Tokenizer) -> None:
    assert gpt2_tokenizer.continuation(" Mary") == (5335,)
    assert gpt2_tokenizer.continuation(" Persephone") == (31544, 4862)


# ** pieces by score **


def test_stories_pieces_known_by_hand(stories: ModelFacts) -> None:
    tokenizer = load_tokenizer(stories)
    text = "Once upon a time, there was a little girl named"
    found = tokenizer.prompt(text)
    assert found.ids[0] == 1
    shown = "|".join(map(tokenizer.token_text, found.ids[1:]))
    assert shown == " Once| upon| a| time|,| there| was| a| little| g|ir|l| named"
    assert [text[a:b] for a, b in found.spans[-5:]] == ["little", "g", "ir", "l", "named"]


def test_stories_answers_take_no_second_space(stories: ModelFacts) -> None:
    tokenizer = load_tokenizer(stories)
    assert [tokenizer.token_text(i) for i in tokenizer.continuation(" Lily")] == [" Lily"]
    assert "".join(map(tokenizer.token_text, tokenizer.continuation("ly."))) == "ly."


@given(st.text(alphabet="Once upon atime,.é日\n '", max_size=40))
def test_stories_round_trip_and_greedy_merging(text: str) -> None:
    vocabulary = json.loads((shared("stories260k") / "vocab.json").read_text())
    core = ScoredPieces(vocabulary)
    ids, spans = core.encode(text)
    assert core.decode(ids) == text
    assert ids == (_greedy(" " + text, vocabulary) if text else [])
    assert all(a <= b <= len(text) for a, b in spans)


def _greedy(text: str, vocabulary: list[tuple[str, float]]) -> list[int]:
    """Greedy merging of the whole text, without cutting it into words."""
    known = {piece.encode("latin-1"): i for i, (piece, _) in reversed([*enumerate(vocabulary)])}
    parts: list[bytes] = []
    for char in text:
        data = char.encode()
        parts += [data] if data in known else [b"<0x%02X>" % byte for byte in data]
    while True:
        unions = [a + b for a, b in pairwise(parts)]
        scores = [(vocabulary[known[u]][1], -at) for at, u in enumerate(unions) if u in known]
        if not scores:
            return [known[part] for part in parts]
        at = -max(scores)[1]
        parts[at : at + 2] = [unions[at]]


# ** a stretch of a text **


def test_a_stretch_keeps_its_leading_space_and_characters_whole(tmp_path: Path) -> None:
    pieces = [" a", "b", *(f"<0x{byte:02X}>" for byte in "é".encode()), " "]
    (tmp_path / "vocab.json").write_text(json.dumps([[piece, 0.0] for piece in pieces]))
    tokenizer = load_tokenizer(facts("bytes", 6, tmp_path, None, 9))
    assert tokenizer.continued([0, 2, 3, 1]) == " aéb" and tokenizer.continued([1, 0]) == "b a"
    assert tokenizer.continued([1, 2]) == "b\ufffd" and tokenizer.continued([]) == ""
    assert tokenizer.continued([4, 0]) == "  a" and tokenizer.continued([4]) == " "
    assert tokenizer.continued([0, 5]) == " a<5>"  # beyond the vocabulary


def test_a_stretch_of_words_has_spaces_between_them(words: ModelFacts) -> None:
    assert load_tokenizer(words).continued([4, 14, 12, 99]) == "cat, and <99>"


def test_a_stretch_of_gpt2s_is_what_the_text_has_there(gpt2_tokenizer: Tokenizer) -> None:
    text = "When Mary 日 went 🙂!"
    found = gpt2_tokenizer.encode(text)
    assert gpt2_tokenizer.continued(found.ids) == text
    assert gpt2_tokenizer.continued(found.ids[1:]) == " Mary 日 went 🙂!"
    within = [b for _, b in found.spans].index(text.index("日") + 1) + 1  # behind a byte of three
    cut = gpt2_tokenizer.continued(found.ids[within:])
    assert cut.startswith("\ufffd") and cut.endswith(" went 🙂!")


# ** tokenizer.json, words, and what can't be read **


def test_words_and_punctuation(words: ModelFacts) -> None:
    tokenizer = load_tokenizer(words)
    found = tokenizer.prompt("the cat, and the dog.")
    assert found.ids == (0, 2, 4, 14, 12, 2, 5, 13)
    assert tokenizer.decode(found.ids[1:]) == "the cat, and the dog."
    assert tokenizer.prompt("<bos> the cat").ids == (0, 2, 4)


def test_an_unknown_word_is_refused(words: ModelFacts, raises: Raises) -> None:
    with raises("E403") as found:
        load_tokenizer(words).encode("the zebra sat")
    assert "'zebra'" in found[0].message


@pytest.mark.parametrize("unknown", ["<unk>", "<none>"])
def test_a_tokenizer_json_refuses_unknown_words(
    tmp_path: Path, words: ModelFacts, raises: Raises, unknown: str
) -> None:
    """Whether the vocabulary has a token for unknown words or none."""
    from tokenizers import Tokenizer as Inner
    from tokenizers import models, pre_tokenizers

    inner = Inner(models.WordLevel({"<unk>": 0, "cat": 1, "sat": 2}, unk_token=unknown))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(replace(words, tokenizer=tmp_path))
    assert tokenizer.prompt("cat sat").ids == (0, 1, 2)
    with raises("E403") as found:
        tokenizer.prompt("cat ran")
    assert found[0].message == "the model's vocabulary has no word for 'ran'"


def test_metaspace_puts_one_space_in_front(tmp_path: Path, words: ModelFacts) -> None:
    from tokenizers import Tokenizer as Inner
    from tokenizers import models, pre_tokenizers

    pieces = {"▁Mary": 0, "Mary": 1, "▁": 2, "\n": 3, "▁\n": 4, "<unk>": 5}
    inner = Inner(models.WordLevel(pieces, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Split("\n", "isolated")]
    )
    path = tmp_path / "tokenizer.json"
    inner.save(str(path))
    tokenizer = load_tokenizer(replace(words, tokenizer=path))
    assert tokenizer.continuation(" Mary") == (0,)
    assert tokenizer.continuation("Mary") == (1,)
    assert tokenizer.token_text(0) == " Mary"


def test_no_tokenizer(words: ModelFacts, raises: Raises) -> None:
    with raises("E401"):
        load_tokenizer(replace(words, tokenizer=None))


@pytest.mark.parametrize(
    ("name", "text"),
    [("vocab.json", "{broken"), ("tokenizer.json", "{}"), ("vocab.json", '{"a": 0}'), ("x", "")],
)
def test_unreadable_tokenizers(
    tmp_path: Path, words: ModelFacts, raises: Raises, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with raises("E402"):
        load_tokenizer(replace(words, tokenizer=tmp_path))
