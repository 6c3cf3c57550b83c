"""Models known by their facts alone: GPT-2's and stories260k's real vocabularies, where they lie
beside the repository, and a small one of whole words that is always there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from interp_dsl.data.tokenizer import Tokenizer, load_tokenizer
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.shape import ModelFacts, Shape

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEXT = "<bos> <pad> the a cat dog cow red blue sat ran saw and . , Mary John Tom to"
WORDS = TEXT.split()


def shared(folder: str) -> Path:
    """A folder of the real data; skips the test where it is not at hand."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not beside the repository")
    return SHARED / folder


def facts(name: str, vocab: int, tokenizer: Path | None, bos: int | None, ctx: int) -> ModelFacts:
    shape = Shape(2, 2, 2, 8, 4, 0, vocab, vocab, ctx)
    return ModelFacts(name, shape, tokenizer, bos, 0 if bos is None else bos)


@pytest.fixture(scope="session")
def gpt2() -> ModelFacts:
    return facts("gpt2", 50257, shared("gpt2-tokenizer"), 50256, 1024)


@pytest.fixture(scope="session")
def stories() -> ModelFacts:
    return facts("stories260k", 512, shared("stories260k"), 1, 512)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    """Whole words; `<bos>` is 0, and a prompt may have 12 tokens."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "vocab.json").write_text(json.dumps(WORDS))
    return facts("words", len(WORDS), folder, 0, 12)


@pytest.fixture(scope="session")
def gpt2_tokenizer(gpt2: ModelFacts) -> Tokenizer:
    return load_tokenizer(gpt2)


Raises = Callable[[str], AbstractContextManager[list[Diagnostic]]]


@pytest.fixture
def raises() -> Raises:
    """`with raises("E415") as found:` expects one diagnostic of that code and gives it."""

    @contextmanager
    def expect(code: str) -> Iterator[list[Diagnostic]]:
        found: list[Diagnostic] = []
        with pytest.raises(InterpError) as caught:
            yield found
        found += caught.value.diagnostics
        assert [d.code for d in found] == [code]

    return expect
