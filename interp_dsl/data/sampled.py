"""Text that a model writes itself: whether it can, and whether another model can read it."""

from __future__ import annotations

from interp_dsl.data.faults import fault
from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.models.shape import ModelFacts


def check_writes(name: str, context: int, writer: ModelFacts) -> None:
    """Raises InterpError E408 where the model writes no text, E404 where a text is longer than what
    it reads."""
    shape = writer.shape
    if not shape.causal:
        raise fault(
            "E408",
            f"{name} is text of {writer.name}, which looks ahead and writes none",
            help="sample from a causal language model",
        )
    if shape.d_vocab_out != shape.d_vocab:
        raise fault(
            "E408",
            f"{name} is text of {writer.name}, which tells {shape.d_vocab_out:,} classes, not "
            f"which of its {shape.d_vocab:,} tokens follows",
            help="sample from a language model",
        )
    if context > shape.n_ctx:
        raise fault(
            "E404",
            f"a text of {name} has {context:,} tokens, and {writer.name} writes at most "
            f"{shape.n_ctx:,}",
            help=f"write context={shape.n_ctx}",
        )


def check_reads(name: str, writer: ModelFacts, reader: ModelFacts) -> None:
    """Raises InterpError E426 where the numbers of the writer's tokens stand for other text in the
    reader. Of a model without a tokenizer nothing can be said but whether it has the numbers."""
    if None in (writer.tokenizer, reader.tokenizer) or writer.tokenizer == reader.tokenizer:
        return
    one, other = load_tokenizer(writer).core, load_tokenizer(reader).core
    for token in range(min(writer.shape.d_vocab, reader.shape.d_vocab)):
        if one.piece(token) != other.piece(token):
            raise fault(
                "E426",
                f"{reader.name} reads the tokens of {name} as another text than {writer.name} "
                "has written",
                f"token {token} is {one.piece(token)!r} and {other.piece(token)!r}",
                help="sample from the model that reads, or take models of one tokenizer",
            )
