"""Two of the bundled models on their tasks, and small random models, for tests of attribution."""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.files import bundled_root
from interp_dsl.models.graph import Graph
from interp_dsl.models.load import load
from tests.circuits.models import double

LENGTH = 6
READS = torch.tensor([[5], [3], [4]])


class Task(NamedTuple):
    executor: CompiledExecutor
    forward: EdgeForward
    examples: Examples
    corrupt: Tensor

    @property
    def ablated(self) -> Tensor:
        return self.forward.outputs(self.corrupt, self.examples.mask)

    def metric(self, tokens: Tensor) -> Tensor:
        """Of a plain run."""
        examples = self.examples
        run = self.forward.run(
            self.forward.embedded(tokens), reads=examples.reads, mask=examples.mask
        )
        return examples.metric(run.logits)


def mixed(logits: Tensor) -> Tensor:
    """A metric that is neither linear nor one token's."""
    return logits[..., 0].sum(-1) - 0.1 * logits[..., 1:4].square().sum((-1, -2))


def small(name: str, masked: bool = True, **options: bool) -> tuple[EdgeForward, Examples, Tensor]:
    """A model of tests.models.checkpoints in float64, clean prompts and corrupt tokens. Of the
    prompts one has a hole, one begins with padding."""
    model = double(name)
    generator = torch.Generator().manual_seed(0)
    size = (2, 3, LENGTH)
    clean, corrupt = torch.randint(0, model.description.shape.d_vocab, size, generator=generator)
    mask = torch.ones(3, LENGTH, dtype=torch.bool)
    mask[1, 2] = mask[2, 0] = False
    examples = Examples(clean, mixed, READS, mask if masked else None)
    return EdgeForward(model, Graph(model.description.shape, **options)), examples, corrupt


def _task(name: str, clean: Tensor, corrupt: Tensor, right: Tensor, wrong: Tensor) -> Task:
    """Logit difference at the last position."""
    executor = load({"kind": "bundled", "name": name}, "cpu", executor="compiled")
    assert isinstance(executor, CompiledExecutor)
    rows = torch.arange(len(clean))

    def gap(logits: Tensor) -> Tensor:
        return logits[rows, 0, right] - logits[rows, 0, wrong]

    reads = torch.full((len(clean), 1), clean.shape[1] - 1)
    forward = EdgeForward(executor.model, Graph(executor.facts.shape))
    return Task(executor, forward, Examples(clean, gap, reads), corrupt)


def induction(n: int = 16, half: int = 10) -> Task:
    """A block of random tokens, and again all but its last; in the corrupt run two tokens of the
    first copy have changed places: the answer and the one before."""
    generator = torch.Generator().manual_seed(0)
    block = torch.stack([1 + torch.randperm(255, generator=generator)[:half] for _ in range(n)])
    bos = torch.zeros(n, 1, dtype=torch.long)
    clean = torch.cat([bos, block, block[:, :5]], 1)
    corrupt = clean.clone()
    corrupt[:, 6], corrupt[:, 9] = clean[:, 9], clean[:, 6]
    return _task("induction-2l", clean, corrupt, clean[:, 6], clean[:, 9])


def ioi(n: int = 16) -> Task:
    """Who gets the book; in the corrupt run a third name stands second."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bundled_root() / "ioi-3l" / "tokenizer.json"))
    names = ["Mary", "John", "Anna", "Paul", "Lucy", "Mark", "Emma", "Jack"]
    chosen = random.Random(0).sample(list(itertools.permutations(names, 3)), n)
    text = "When {} and {} went to the store, {} gave a book to"

    def tokens(order: tuple[int, ...]) -> Tensor:
        rows = [tokenizer.encode(text.format(*(who[i] for i in order))).ids for who in chosen]
        return torch.tensor([[0, *row] for row in rows])

    clean, corrupt = tokens((0, 1, 1)), tokens((0, 1, 2))
    right, wrong = (
        torch.tensor([tokenizer.encode(" " + who[i]).ids[0] for who in chosen]) for i in (0, 1)
    )
    return _task("ioi-3l", clean, corrupt, right, wrong)


def ranks_agree(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation: that of the ranks."""
    ranks = [x.flatten().argsort().argsort().double() for x in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])
