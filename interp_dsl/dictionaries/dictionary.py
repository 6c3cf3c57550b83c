"""A fitted dictionary: what encodes and decodes, whatever it was trained as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp_dsl.dictionaries.codes import top_k

MATRICES = ("W_enc", "W_dec")


@dataclass(frozen=True)
class Dictionary:
    """tensors: W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_dec [d_in], and by architecture b_enc,
    threshold (jumprelu), b_gate, b_mag, r_mag (gated) [d_sae]. `activation`: relu, topk, jumprelu
    or gated."""

    activation: str
    tensors: Mapping[str, Tensor]
    k: int | None = None

    @property
    def d_in(self) -> int:
        return self.tensors["W_enc"].shape[0]

    @property
    def d_sae(self) -> int:
        return self.tensors["W_enc"].shape[1]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Dictionary:
        """The dictionary of tensors as they are saved: what is among them says how it encodes. `k`
        is how many features of topk are on."""
        held = dict(tensors)
        k = held.pop("k", None)
        if k is not None:
            return cls("topk", held, int(k))
        if "r_mag" in held:
            return cls("gated", held)
        return cls("jumprelu" if "threshold" in held else "relu", held)

    def saved(self) -> dict[str, Tensor]:
        """The tensors that say all of it."""
        more = {} if self.k is None else {"k": torch.tensor(self.k)}
        return {**self.tensors, **more}

    def encode(self, x: Tensor) -> Tensor:
        """Feature activations [..., d_sae] of x [..., d_in]."""
        t = self.tensors
        shared = (x - t["b_dec"]) @ t["W_enc"]
        if self.activation == "gated":
            magnitude = shared * t["r_mag"].exp() + t["b_mag"]
            return magnitude.clamp_min(0) * (shared + t["b_gate"] > 0)
        pre = shared + t["b_enc"]
        match self.activation:
            case "relu":
                return pre.clamp_min(0)
            case "jumprelu":
                return pre * (pre > t["threshold"])
            case "topk":
                assert self.k is not None
                codes = top_k(pre.reshape(-1, self.d_sae), self.k, sparse=False)
                return codes.values.reshape(pre.shape)
        raise ValueError(f"no activation {self.activation!r}")

    def decode(self, f: Tensor) -> Tensor:
        """The reconstruction [..., d_in] of feature activations."""
        return f @ self.tensors["W_dec"] + self.tensors["b_dec"]

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def to(self, device: torch.device) -> Dictionary:
        return replace(self, tensors={k: v.to(device) for k, v in self.tensors.items()})


def finished(
    name: str, params: Mapping[str, Tensor], threshold: Tensor | None, k: int | None, scale: float
) -> Dictionary:
    """The dictionary that training leaves, of features that are on above a `threshold` [d_sae]
    where there is one. It was fitted to activations times `scale`, and is one of the activations
    themselves: with all on one scale, only biases and thresholds change (f becomes f / scale)."""
    bias = {n: v / scale for n, v in params.items() if n in ("b_enc", "b_gate", "b_mag", "b_dec")}
    tensors = {
        "W_enc": params["encoder"].T.contiguous(),
        "W_dec": params["decoder"].contiguous(),
        **bias,
    }
    if threshold is not None:
        return Dictionary("jumprelu", {**tensors, "threshold": (threshold / scale).clone()})
    if name == "gated":
        tensors["r_mag"] = params["r_mag"].clone()
    return Dictionary(name, tensors, k if name == "topk" else None)
