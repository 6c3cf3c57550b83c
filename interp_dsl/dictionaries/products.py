"""Products of matrices, and what their factors are rounded to.

With bfloat16 both factors are, and what is multiplied is summed up in float32, as processors' and
NVIDIA's units for such products do. There a product remains float32; elsewhere, and by torch before
2.10, it is given back as bfloat16, so once more rounded before it is float32 again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SUMS = torch.__version__ >= "2.10" and torch.version.cuda is not None
"""Whether torch has products of bfloat16 that are added to float32 (CUDA)."""


@dataclass(frozen=True)
class Products:
    """`dtype` of the factors; None leaves them as they are, and so all to torch."""

    dtype: torch.dtype | None = None

    def factor(self, x: Tensor) -> Tensor:
        """x as products take it: one that several take is rounded once where it is asked for
        first."""
        return x if self.dtype is None else x.to(self.dtype)

    def rounded(self, params: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
        """The parameters, those of these names as products take them."""
        return params | {name: self.factor(params[name]) for name in names}

    def mm(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """a b."""
        if self.dtype is None:
            return torch.mm(a, b, out=out)
        a, b = self.factor(a), self.factor(b)
        if keeps_sums(a):
            return torch.mm(a, b, torch.float32, out=out)
        made = torch.mm(a, b)
        return made.float() if out is None else out.copy_(made)

    def addmm(
        self,
        onto: Tensor,
        a: Tensor,
        b: Tensor,
        *,
        beta: float = 1,
        alpha: float = 1,
        out: Tensor | None = None,
    ) -> Tensor:
        """beta · onto + alpha · a b."""
        if self.dtype is None:
            return torch.addmm(onto, a, b, beta=beta, alpha=alpha, out=out)
        a, b = self.factor(a), self.factor(b)
        if keeps_sums(a):
            return torch.addmm(onto, a, b, torch.float32, beta=beta, alpha=alpha, out=out)
        scaled = onto if beta == 1 else onto * beta
        return torch.add(scaled, torch.mm(a, b), alpha=alpha, out=out)

    def add_to(self, onto: Tensor, a: Tensor, b: Tensor, alpha: float = 1) -> None:
        """alpha · a b more in its place."""
        self.addmm(onto, a, b, alpha=alpha, out=onto)


PLAIN = Products()
BY_NAME = {"float32": PLAIN, "bfloat16": Products(torch.bfloat16)}
"""By the language's words for them."""


def keeps_sums(x: Tensor) -> bool:
    """Whether products of bfloat16 where x is remain float32, and are not rounded once more."""
    return _SUMS and x.device.type == "cuda"
