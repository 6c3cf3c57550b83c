"""The mathematics of an edit, on tensors alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from interp_dsl.models.edits import Edit, apply
from interp_dsl.plan.places import Site

X = torch.randn(3, 5, 2, 4, generator=torch.Generator().manual_seed(0))
ROWS, INDEX = torch.tensor([2, 0]), torch.tensor([1, 0])
POSITIONS = torch.tensor([[0, 4], [3, 3]])
VALID = torch.tensor([[True, False], [True, True]])
ENTRIES = [(2, 0, 1), (0, 3, 0)]  # (row, position, index) that are valid


def edit(value: Tensor | None = None, **fields: object) -> Edit:
    plain = Edit(Site("z", 0), ROWS, INDEX, POSITIONS, VALID, value)
    return replace(plain, **fields)  # type: ignore[arg-type]


def expected(new: Tensor) -> Tensor:
    """X with the valid entries replaced by the rows of `new`."""
    result = X.clone()
    for entry, value in zip(ENTRIES, new, strict=True):
        result[entry] = value
    return result


OLD = torch.stack([X[entry] for entry in ENTRIES])


def test_set_and_add_change_the_valid_entries_out_of_place() -> None:
    before = X.clone()
    value = torch.arange(4.0)
    assert torch.equal(apply(X, [edit(value)]), expected(value.expand(2, 4)))
    assert torch.equal(apply(X, [edit(value, op="add")]), expected(OLD + value))
    assert torch.equal(X, before)


@pytest.mark.parametrize("op", ["set", "add"])
def test_edits_in_place_change_the_tensor_itself_and_no_value(op: Literal["set", "add"]) -> None:
    value = torch.arange(4.0)
    new = value.expand(2, 4) if op == "set" else OLD + value
    x = X.clone()
    assert apply(x, [edit(value, op=op)], in_place=True) is x
    assert torch.equal(x, expected(new))
    whole = torch.arange(5)[None].expand(3, 5)
    held = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2))
    kept, rows = held.clone(), torch.arange(3)
    one = Edit(Site("z", 0), rows, torch.ones(3).long(), whole, whole >= 0, held, op)
    x = apply(X.clone(), [one], in_place=True)
    assert torch.equal(x[:, :, 1], held if op == "set" else X[:, :, 1] + held)
    assert torch.equal(x[:, :, 0], X[:, :, 0])
    x.zero_()
    assert torch.equal(held, kept)


def test_edits_are_made_in_the_order_given() -> None:
    one, two = edit(torch.ones(4)), edit(torch.full((4,), 2.0), op="add")
    assert torch.equal(apply(X, [one, two]), expected(torch.full((2, 4), 3.0)))
    assert torch.equal(apply(X, [two, one]), expected(torch.ones(2, 4)))


def test_a_basis_keeps_the_change_inside_its_span() -> None:
    basis, _ = torch.linalg.qr(torch.randn(4, 2, generator=torch.Generator().manual_seed(1)))
    value = torch.arange(4.0)
    new = OLD + (value - OLD) @ basis @ basis.T
    result = apply(X, [edit(value, basis=basis)])
    torch.testing.assert_close(result, expected(new))
    moved = result[2, 0, 1] - X[2, 0, 1]
    assert moved.norm() > 0.1
    torch.testing.assert_close(moved @ basis @ basis.T, moved)


def test_keys_limit_the_change_to_some_coordinates() -> None:
    keys = torch.tensor([[True, False, False, False], [False, True, True, False]])
    new = torch.where(keys, torch.zeros(2, 4), OLD)
    assert torch.equal(apply(X, [edit(torch.zeros(4), keys=keys)]), expected(new))


def test_blocking_is_taking_keys_out_before_the_softmax() -> None:
    keys = torch.tensor([[True, False, False, False], [False, True, True, False]])
    scores = X.clone()
    for entry, blocked in zip(ENTRIES, keys, strict=True):
        scores[entry] = scores[entry].masked_fill(blocked, -torch.inf)
    result = apply(X.softmax(-1), [edit(keys=keys, op="block")])
    torch.testing.assert_close(result, scores.softmax(-1))


@pytest.mark.parametrize("shape", [(), (4,), (2, 1, 4), (2, 2, 4)])
def test_values_broadcast_over_rows_and_positions(shape: tuple[int, ...]) -> None:
    value = torch.full(shape, 7.0)
    assert torch.equal(apply(X, [edit(value)]), expected(torch.full((2, 4), 7.0)))


@pytest.mark.parametrize("op", ["set", "add"])
@pytest.mark.parametrize(("first", "count"), [(0, 5), (1, 3), (4, 1)])
@pytest.mark.parametrize("width", [1, 2])
def test_one_place_of_all_rows_is_changed_as_its_entries_are(
    op: str, first: int, count: int, width: int
) -> None:
    x, index = X[:, :, :width], width - 1
    value = torch.randn(3, count, 4, generator=torch.Generator().manual_seed(1))
    positions = torch.arange(first, first + count).expand(3, count)
    whole = Edit(
        Site("z", 0),
        torch.arange(3),
        torch.full((3,), index),
        positions,
        torch.ones_like(positions, dtype=torch.bool),
        value,
        op,  # type: ignore[arg-type]
    )
    wanted, before = x.clone(), (x.clone(), value.clone())
    for row in range(3):
        for k in range(count):
            old = 0 if op == "set" else x[row, first + k, index]
            wanted[row, first + k, index] = old + value[row, k]
    found = apply(x, [whole])
    assert torch.equal(found, wanted)
    found.zero_()
    assert torch.equal(x, before[0]) and torch.equal(value, before[1])


def test_a_whole_place_set_to_a_constant_has_a_slope_of_zero() -> None:
    x = X[:, :, :1].clone().requires_grad_()
    positions = torch.arange(5).expand(3, 5)
    valid = torch.ones_like(positions, dtype=torch.bool)
    rows, index = torch.arange(3), torch.zeros(3, dtype=torch.long)
    changed = apply(x, [Edit(Site("z", 0), rows, index, positions, valid, torch.ones(4))])
    (slope,) = torch.autograd.grad(changed.sum(), x)
    assert torch.equal(slope, torch.zeros_like(x))
