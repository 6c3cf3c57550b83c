"""Random numbers that depend on counters alone: a seed and where a number stands, never on how many
are drawn at once or in which order.

SplitMix64 (Steele, Lea & Flood 2014, OOPSLA) hashes seed and counters; Box and Muller's transform
makes normal numbers of pairs of uniform ones. All in int64, whose products wrap, so that every
device gives the same bits."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB
_BITS = 24


def hashed(seed: int, label: str, *counters: Tensor) -> Tensor:
    """A hash of a seed, a label and counters (int64, broadcast together), int64."""
    digest = hashlib.sha256(f"{seed}:{label}".encode()).digest()[:8]
    first = torch.tensor(int.from_bytes(digest, "little", signed=True))
    state = first.to(counters[0].device) if counters else first
    for counter in counters:
        state = _mixed(state ^ (counter * _GOLDEN))
    return state


def normals(seed: int, label: str, counters: tuple[Tensor, ...], width: int) -> Tensor:
    """Independent standard normal numbers [*counters, width], float32."""
    key = hashed(seed, label, *counters)
    pairs = torch.arange((width + 1) // 2, device=key.device)
    first, second = (_uniform(_mixed(key[..., None] ^ ((2 * pairs + i) * _GOLDEN))) for i in (1, 2))
    radius, angle = first.log_().mul_(-2).sqrt_(), second.mul_(2 * math.pi)
    return torch.cat([angle.cos().mul_(radius), angle.sin().mul_(radius)], -1)[..., :width]


def below(key: Tensor, n: int | Tensor) -> Tensor:
    """A number from 0 to n − 1 for each hash."""
    return _shifted(key, 1) % n


def _mixed(x: Tensor) -> Tensor:
    x = x + _GOLDEN
    x.bitwise_xor_(_shifted(x, 30)).mul_(_FIRST)
    x.bitwise_xor_(_shifted(x, 27)).mul_(_SECOND)
    return x.bitwise_xor_(_shifted(x, 31))


def _shifted(x: Tensor, bits: int) -> Tensor:
    """x >> bits with zeros from the left."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _uniform(x: Tensor) -> Tensor:
    """Hashes as numbers in (0, 1], float32."""
    return _shifted(x, 64 - _BITS).add_(1).float().div_(1 << _BITS)
