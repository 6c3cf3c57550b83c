"""Every code that the data layer raises is explained, and every explanation is of use."""

from __future__ import annotations

import re
from pathlib import Path

import interp_dsl.data as data
from interp_dsl.data.lists import lists
from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.language.codes import all_codes, lookup
from interp_dsl.models.shape import ModelFacts


def test_codes_raised_and_registered_are_the_same() -> None:
    sources = [path.read_text() for path in Path(data.__path__[0]).glob("*.py")]
    raised = {code for text in sources for code in re.findall(r'"(E4[0-4]\d)"', text)}
    others = {"E436", "E437"}  # of dictionaries that are loaded
    assert raised == {c for c in all_codes() if c < "E450" and c.startswith("E4")} - others


def test_each_shows_a_bad_and_a_good_example() -> None:
    for code in (c for c in all_codes() if re.match("E4[0-4]", c)):
        entry = lookup(code)
        assert entry and "\nBad:\n    " in entry.text and "\nGood:\n    " in entry.text, code


def test_listed_words_are_one_token_of_gpt2(gpt2: ModelFacts) -> None:
    tokenizer = load_tokenizer(gpt2)
    for name, words in lists().items():
        assert len(set(words)) == len(words) >= 20, name
        assert [w for w in words if len(tokenizer.continuation(f" {w}")) > 1] == []
