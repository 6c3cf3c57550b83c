"""Activations in place, on pieces or at once, are the plain ones."""

from __future__ import annotations

import pytest
import torch

from interp_dsl.models.compiled import activations
from interp_dsl.models.compiled.activations import ACTIVATIONS, activated

X = 3 * torch.randn(7, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
BIAS = torch.linspace(-1, 1, 11, dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "PIECE", 22)
    with torch.no_grad():
        found = activated(X.clone(), name, BIAS)
    torch.testing.assert_close(found, ACTIVATIONS[name](X + BIAS))


@pytest.mark.parametrize("name", activations._WHOLE)
def test_at_once(name: str) -> None:
    x = X.clone()
    found = activations._WHOLE[name](x)
    assert found.data_ptr() == x.data_ptr()
    torch.testing.assert_close(found, ACTIVATIONS[name](X))
