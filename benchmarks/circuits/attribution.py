"""What attribution costs, in forward and backward passes of the plain compiled forward over the
same prompts.

    python benchmarks/circuits/attribution.py --layers 12 --heads 12 --width 768 --batch 8

A seeded random model of GPT-2's form, random prompts, the logit difference of two tokens at the
last position; all contestants take turns, the best of several rounds counts. The plain pass goes
forward, and back to the embeddings. The estimates hold the corrupt run that they need."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.edges import eap, eap_ig
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.nodes import attribution_patching, slopes
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models import native_config, weights
from interp_dsl.models.compiled.description import describe_native
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.compiled.weights import from_tensors
from interp_dsl.models.graph import Graph
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.places import Site

STEPS = 5


def model_of(options: argparse.Namespace) -> CompiledExecutor:
    raw = {
        "n_layers": options.layers,
        "n_heads": options.heads,
        "d_model": options.width,
        "d_head": options.width // options.heads,
        "d_mlp": 4 * options.width,
        "n_ctx": max(options.length, 128),
        "d_vocab": options.vocabulary,
        "act_fn": "gelu_new",
        "normalization_type": "LN",
    }
    config = native_config.parse(raw, Path("config.json"))
    noise = torch.Generator().manual_seed(0)
    tensors = {
        name: 0.02 * torch.randn(size, generator=noise) + float(name.endswith(".w"))
        for name, size in weights.expected(config).items()
    }
    device = torch.device(options.device)
    read = from_tensors(config, tensors, device, torch.float32)
    facts = ModelFacts("random", config.shape, None, None, 0)
    return CompiledExecutor(Compiled(describe_native(config), read), facts, "")


def contestants(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    executor = model_of(options)
    size = (2, options.batch, options.length)
    prompts = torch.Generator().manual_seed(0)
    clean, corrupt = torch.randint(0, options.vocabulary, size, generator=prompts).to(
        options.device
    )
    reads = torch.full((options.batch, 1), options.length - 1)

    def metric(logits: Tensor) -> Tensor:
        return logits[..., 0, 1] - logits[..., 0, 2]

    shape = executor.facts.shape
    forward = EdgeForward(executor.model, Graph(shape))
    on_device = Examples(clean, metric, reads.to(options.device))
    examples = Examples(clean, metric, reads)
    nothing = torch.zeros(*clean.shape, 1, shape.d_model, device=options.device)
    heads = [Site("head", layer) for layer in range(shape.n_layers)]

    def outputs() -> Tensor:
        with torch.no_grad():
            return forward.outputs(corrupt)

    def plain() -> object:
        return slopes(executor, examples, {Site("embed"): nothing})

    def atp() -> object:
        with torch.no_grad():
            source = executor.forward(corrupt, reads, (), heads).sites
        return attribution_patching(executor, examples, source).contributions()

    return {
        "plain forward + backward": plain,
        "EAP": lambda: eap(forward, on_device, outputs()),
        f"EAP-IG, {STEPS} steps": lambda: eap_ig(forward, on_device, outputs(), STEPS),
        "AtP of all heads": atp,
    }


def best(run: Callable[[], object], device: str, known: float) -> float:
    synchronise = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    synchronise()
    started = time.perf_counter()
    run()
    synchronise()
    return min(known, time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (
        ("layers", 12),
        ("heads", 12),
        ("width", 768),
        ("vocabulary", 50257),
        ("batch", 8),
        ("length", 16),
        ("rounds", 5),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = contestants(options)
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(options.rounds):
        for name, run in runs.items():
            seconds[name] = best(run, options.device, seconds[name])
    plain = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"{name:26} {value:8.3f} s {value / plain:7.2f}")


if __name__ == "__main__":
    main()
