"""A fitted dictionary: what encodes and decodes, whatever it was trained as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp_dsl.dictionaries.codes import top_k

Scale = float | Tensor
"""A factor of activations: one, or one for each element [d]."""


@dataclass(frozen=True)
class Dictionary:
    """tensors: W_enc [d_in, d_sae], W_dec [d_sae, d_out], b_dec [d_out], and by architecture b_enc,
    threshold (jumprelu), b_gate, b_mag, r_mag (gated) [d_sae]; of a transcoder b_in [d_in], and
    with a skip connection W_skip [d_out, d_in]. A crosscoder's activations are those of its places
    side by side. `activation`: relu, topk, jumprelu or gated."""

    activation: str
    tensors: Mapping[str, Tensor]
    k: int | None = None

    @property
    def d_in(self) -> int:
        return self.tensors["W_enc"].shape[0]

    @property
    def d_out(self) -> int:
        return self.tensors["W_dec"].shape[1]

    @property
    def is_transcoder(self) -> bool:
        """Whether it rebuilds other activations than it reads."""
        return "b_in" in self.tensors

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
        shared = self._seen(x) @ t["W_enc"]
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

    def decode(self, f: Tensor, x: Tensor | None = None) -> Tensor:
        """The reconstruction [..., d_out] of feature activations; a skip connection adds its part
        of the activations x [..., d_in]."""
        made = f @ self.tensors["W_dec"] + self.tensors["b_dec"]
        if "W_skip" not in self.tensors:
            return made
        if x is None:
            raise ValueError("a skip connection needs the activations")
        return made + self._seen(x) @ self.tensors["W_skip"].T

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x), x)

    def _seen(self, x: Tensor) -> Tensor:
        return x - self.tensors["b_in" if self.is_transcoder else "b_dec"]

    def to(self, device: torch.device) -> Dictionary:
        return replace(self, tensors={k: v.to(device) for k, v in self.tensors.items()})


def finished(
    name: str,
    params: Mapping[str, Tensor],
    threshold: Tensor | None,
    k: int | None,
    scales: tuple[Scale, Scale],
) -> Dictionary:
    """The dictionary that training leaves, of features that are on above a `threshold` [d_sae]
    where there is one. It read activations times the first of `scales` and rebuilt some times the
    second, and is one of the activations themselves: features are counted in units of what is
    rebuilt (f becomes f / scale), so that with all on one scale only biases and thresholds
    change."""
    own, onto = scales
    unit = float(torch.as_tensor(onto).mean())
    tensors = {
        "W_enc": (params["encoder"] * (own / unit)).T.contiguous(),
        "W_dec": (params["decoder"] * (unit / onto)).contiguous(),
        "b_dec": params["b_dec"] / onto,
        **{n: params[n] / unit for n in ("b_enc", "b_gate", "b_mag") if n in params},
    }
    if "centre" in params:
        tensors["b_in"] = params["centre"] / own
    if "W_skip" in params:
        tensors["W_skip"] = (params["W_skip"] * (own / onto)).contiguous()
    if threshold is not None:
        return Dictionary("jumprelu", {**tensors, "threshold": (threshold / unit).clone()})
    if name == "gated":
        tensors["r_mag"] = params["r_mag"].clone()
    return Dictionary(name, tensors, k if name == "topk" else None)
