"""The `tokenizer.json` of each bundled model.

None adds BOS by itself: `config.json` has `bos_token_id` and `default_prepend_bos`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from interp_dsl.data import addition, docstrings, tasks

BOS_TOKEN = "<bos>"


def induction() -> Tokenizer:
    """`<bos>` and `t1` to `t255`, split on spaces."""
    words = [BOS_TOKEN, *(f"t{i}" for i in range(1, 256))]
    tokenizer = _word_level(words, [BOS_TOKEN])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def ioi() -> Tokenizer:
    """Words, commas and full stops are tokens; spaces carry none, so `" Mary"` is `"Mary"`.
    Decoding sets no space before a comma or a full stop."""
    tokenizer = _word_level(tasks.IOI_WORDS, tasks.IOI_WORDS[:2])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return tokenizer


def docstring() -> Tokenizer:
    """Words, brackets, `:param` and the like are tokens; spaces and newlines are none. Decoding
    lays a method out as Python does."""
    words = docstrings.DOCSTRING_WORDS
    tokenizer = _word_level(words, words[:2])
    token = Regex(r":param|'''|\):|<\w+>|\w+|[^\w\s]")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(token, "removed", invert=True)
    laid_out = [decoders.Replace(written, text) for written, text in docstrings.LAYOUT]
    spaced = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.decoder = decoders.Sequence([spaced, decoders.Fuse(), *laid_out])
    return tokenizer


def modular_addition() -> Tokenizer:
    """The numbers `0` to `112` and `=`, split on spaces."""
    tokenizer = _word_level(addition.ADDITION_WORDS, [])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def byte_pairs(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE vocabulary of `size` tokens, `<bos>` the first, learned from texts. Every
    text decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BOS_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _word_level(words: Sequence[str], special: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}))
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    return tokenizer
