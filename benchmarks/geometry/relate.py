"""What relating the features of two layers costs, beside the two products that it is made of.

    python benchmarks/geometry/relate.py --width 2048 --tokens 16384

Activations are made up: k features on for a token, of sizes between 0 and 1. Both are timed in turn
in one process, by the processor's time, with one thread; medians of `--rounds`."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from interp_dsl.geometry.similarity import Keep, relate

BLOCK = 4096


def activations(tokens: int, width: int, k: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(tokens, width)
    places = torch.rand(tokens, width, generator=generator).topk(k, dim=1).indices
    return x.scatter_(1, places, torch.rand(tokens, k, generator=generator))


def products(blocks: list[tuple[Tensor, Tensor]]) -> None:
    """Products of activations, and of what is on."""
    for a, b in blocks:
        _ = a.T @ b
        _ = (a > 0).float().T @ (b > 0).float()


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    a, b = (activations(options.tokens, options.width, options.k, seed) for seed in (0, 1))
    blocks = list(zip(a.split(BLOCK), b.split(BLOCK), strict=True))

    def stream() -> Iterable[tuple[Tensor, Tensor]]:
        return iter(blocks)

    sizes = (options.width, options.width)
    keep = Keep({"pearson": 0.1}, 16, 20, {"necessity": 0.999, "sufficiency": 0.999})
    bound, ours = [], []
    for _ in range(options.rounds):
        bound.append(seconds(lambda: products(blocks)))
        ours.append(seconds(lambda: relate(stream, sizes, keep=keep, rows=options.rows)))
    products_time, relate_time = statistics.median(bound), statistics.median(ours)
    print(
        f"{options.width} x {options.width} features, {options.tokens:,} tokens: "
        f"products {products_time:.2f} s, relate {relate_time:.2f} s, "
        f"{relate_time / products_time:.2f} x"
    )


if __name__ == "__main__":
    main()
