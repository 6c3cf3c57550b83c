"""Labels: prompts of different lengths are patched at corresponding places, whatever number of
tokens a name has. The oracle is a plain loop over a Hugging Face model, one prompt at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

import interp_dsl
from tests.models.checkpoints import tiny

SHORT, LONG = ("Mary", "John", "Anna"), ("Zoe", "Bob", "Sue")
TEMPLATE = """
dataset ioi = template(n=24, seed=3) {{
  clean   "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{B@S2}} gave a drink to{{@END}}",
          "When {{D@IO}} and {{E@S1}} went to the {{place}}, {{E@S2}} gave a drink to{{@END}}"
  corrupt "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{C@S2}} gave a drink to{{@END}}",
          "When {{D@IO}} and {{E@S1}} went to the {{place}}, {{F@S2}} gave a drink to{{@END}}"
  answer  " the"
  wrong   " store"
  where   A, B, C in {short}
  where   D, E, F in {long}
  where   place in ["store", "garden"]
}}
"""


class Loop:
    """Patches one prompt at a time with PyTorch's own hooks."""

    def __init__(self, folder: Path) -> None:
        from transformers import GPT2LMHeadModel

        self.model = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager").eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.heads = self.model.config.n_head

    def ids(self, text: str) -> list[int]:
        return [0, *self.tokenizer.encode(text, add_special_tokens=False).ids]

    def span(self, text: str, word: str) -> range:
        """The tokens of the last `word`, counted by tokenising what stands before and with it."""
        start = text.rindex(" " + word)
        return range(len(self.ids(text[:start])), len(self.ids(text[: start + 1 + len(word)])))

    def run(self, text: str, module: nn.Module, edit: Tensor | None, where: range, part: slice):
        """Final logits and the module's input [T, width]; entries `where`, `part` set to `edit`."""
        seen: list[Tensor] = []

        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = inputs[0].clone()
            seen.append(x[0].clone())
            if edit is not None:
                x[0, where.start : where.stop, part] = edit
            return (x, *inputs[1:])

        handle = module.register_forward_pre_hook(hook)
        with torch.no_grad():
            logits = self.model(torch.tensor([self.ids(text)])).logits[0, -1]
        handle.remove()
        return logits, seen[0]

    def gap(self, logits: Tensor) -> float:
        answer, wrong = (self.tokenizer.encode(t).ids[0] for t in (" the", " store"))
        return float(logits[answer] - logits[wrong])

    def patched(self, clean: str, corrupt: str, names: tuple[str, str], layer: int, head: int):
        """The gap of the clean prompt with one head's z at S2 from the corrupt one."""
        module = self.model.transformer.h[layer].attn.c_proj
        width = self.model.config.n_embd // self.heads
        part = slice(head * width, (head + 1) * width)
        here, there = self.span(clean, names[0]), self.span(corrupt, names[1])
        _, source = self.run(corrupt, module, None, there, part)
        edit = source[there.start : there.stop, part]
        return self.gap(self.run(clean, module, edit, here, part)[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> interp_dsl.Run:
    folder = tmp_path_factory.mktemp("labels")
    checkpoint = tiny("gpt2")
    text = f'model m = checkpoint("{checkpoint}")' + TEMPLATE.format(
        short=list(SHORT), long=list(LONG)
    ).replace("'", '"')
    text += "metric gap = logit_diff()\n"
    text += "step who = patch heads at S2 from ioi.corrupt into ioi.clean measure gap\n"
    (folder / "labels.interp").write_text(text)
    return interp_dsl.run(folder / "labels.interp", out=folder / "run", allow=[checkpoint])


def test_patching_at_a_label_equals_a_plain_loop(run: interp_dsl.Run) -> None:
    loop = Loop(tiny("gpt2"))
    pairs = prompts_of(run)
    counts = {len(loop.span(clean, names[0])) for clean, _, names in pairs}
    assert len(counts) > 1, "the names should have different numbers of tokens"
    for row in run.scores("who").to_dicts():
        expected = [
            loop.patched(clean, corrupt, names, row["layer"], row["head"])
            for clean, corrupt, names in pairs
        ]
        assert row["position"] == "S2"
        assert row["value"] == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    assert run.scores("who")["effect"].abs().max() > 1e-3


def prompts_of(run: interp_dsl.Run) -> list[tuple[str, str, tuple[str, str]]]:
    """(clean, corrupt, the names at S2 on both sides) of every pair, from the data layer's text."""
    from interp_dsl.data.build import build
    from interp_dsl.models.facts import facts
    from interp_dsl.plan.tasks import BuildData, LoadModel

    tasks = run.plan.tasks
    model = next(t for t in tasks if isinstance(t, LoadModel))
    data = next(t for t in tasks if isinstance(t, BuildData))
    built = build(data.name, data.spec, facts(model.spec))
    clean, corrupt = built.sides["clean"].texts, built.sides["corrupt"].texts
    assert clean is not None and corrupt is not None
    return [(a, b, (s2(a), s2(b))) for a, b in zip(clean, corrupt, strict=True)]


def s2(text: str) -> str:
    """The name behind the comma."""
    return text.split(", ")[1].split(" ")[0]
