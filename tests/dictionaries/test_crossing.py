"""How much features write at each of several places."""

from __future__ import annotations

import pytest
import torch

from interp_dsl.dictionaries.crossing import cosines, lengths, relative


def test_norms_shares_and_cosines_by_hand() -> None:
    first = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]])
    other = torch.tensor([[6.0, 8.0], [0.0, 3.0], [0.0, 0.0]])
    wider = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    norms = lengths([first, other, wider])
    assert norms.tolist() == [[5.0, 10.0, 5.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]
    shares = relative(norms)
    assert shares[:2].tolist() == [[0.25, 0.5, 0.25], [0.25, 0.75, 0.0]]
    assert shares[2].tolist() == pytest.approx([1 / 3] * 3)
    own, theirs, none = cosines([first, other, wider])
    assert own is not None and theirs is not None and none is None
    assert own[:2].tolist() == pytest.approx([1, 1])
    assert theirs[:2].tolist() == pytest.approx([1, 0])
