"""auto-circuit's ACDC, on HookedTransformer. Its order inside a layer is that of a set of objects;
here it is given the edges in interp's own order, which its stable sort by layer leaves alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from case import Job
from random_model import config
from safetensors.torch import load_file
from searcher import Answer, serve


class AutoCircuit:
    def __init__(self, job: Job) -> None:
        from auto_circuit.data import (  # type: ignore[import-not-found]
            PromptDataLoader,
            PromptDataset,
        )
        from auto_circuit.prune_algos.ACDC import (  # type: ignore[import-not-found]
            acdc_prune_scores,
        )
        from auto_circuit.utils.graph_utils import (  # type: ignore[import-not-found]
            patchable_model,
        )

        self.find, self.threshold = acdc_prune_scores, job.case.threshold
        pairs = load_file(Path(job.folder) / "pairs.safetensors")
        sides = (list(pairs["clean"]), list(pairs["corrupt"]))
        answers = (list(pairs["answer"][:, None]), list(pairs["wrong"][:, None]))
        data = PromptDataset(*sides, *answers)
        self.loader = PromptDataLoader(
            data, seq_len=None, diverge_idx=0, batch_size=job.case.batch, shuffle=False
        )
        model = _hooked(job)
        self.model = patchable_model(
            model, factorized=True, slice_output="last_seq", separate_qkv=True
        )
        self.model.edges = sorted(self.model.edges, key=_place)
        with torch.inference_mode():
            self.model(pairs["clean"])  # as a warm-up: whole searches of it can take minutes

    def search(self) -> Answer:
        started = time.perf_counter()
        scores = self.find(self.model, self.loader, None, tao_exps=[0], tao_bases=[self.threshold])
        seconds = time.perf_counter() - started
        kept = [_named(e) for e in self.model.edges if e.prune_score(scores) == torch.inf]
        return Answer(seconds, kept, {"edges": len(self.model.edges)})


def _hooked(job: Job) -> Any:
    from transformer_lens import (
        HookedTransformer,
        HookedTransformerConfig,
    )

    shown = {"use_attn_result": True, "use_split_qkv_input": True, "use_hook_mlp_in": True}
    model = HookedTransformer(HookedTransformerConfig(**config(job.case), **shown, device="cpu"))
    tensors = load_file(Path(job.folder) / "model" / "model.safetensors")
    missing, unknown = model.load_state_dict(tensors, strict=False)
    assert not unknown and all(name.endswith(("mask", "IGNORE")) for name in missing), missing
    return model.eval().requires_grad_(False)


def _place(edge: Any) -> tuple[int, int, int, int]:
    """Where interp's order inside a layer has an edge: by channel, head, source."""
    target = edge.dest
    channel = "qkv".find(target.name[-1].lower())
    return -target.layer, channel, target.head_idx or 0, edge.src.src_idx


def _named(edge: Any) -> str:
    """As the language writes it."""
    return f"{_node(edge.src.name)} -> {_node(edge.dest.name)}"


def _node(name: str) -> str:
    match name.split():
        case ["Resid", "Start"]:
            return "embed"
        case ["Resid", "End"]:
            return "logits"
        case ["MLP", layer]:
            return f"L{layer}.mlp"
    layer, head, *channel = name[1:].split(".")
    return ".".join([f"L{layer}H{head}", *(c.lower() for c in channel)])


if __name__ == "__main__":
    serve(AutoCircuit, ("auto-circuit", "transformer-lens", "transformers", "torch"))
