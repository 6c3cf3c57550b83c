"""How many of a network's parameters its function depends on (Bushnaq et al. 2024, "Using
degeneracy in the loss landscape for mechanistic interpretability", arXiv 2405.10927).

Near its parameters theta* the behavioural loss (1/n) sum_x |f_theta(x) - f_theta*(x)|^2 is
(theta - theta*)' H (theta - theta*), H = (1/n) sum_x J_x' J_x with J = df / dtheta. The number of
eigenvalues over a cut is the number of effective parameters, twice the learning coefficient.

Of a layer out = W a with activations a [d1] and Jacobians g = d f / d out [d2], J = g (x) a':
directions of W that no activation spans, or no Jacobian, are free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap
from torch.nn import Module

from interp_dsl.geometry.communities import components


def spectrum(rows: Tensor) -> Tensor:
    """Eigenvalues [d] of E[r r'] of rows [..., d], falling."""
    flat = rows.flatten(0, -2).double()
    return eigenvalues(flat.T @ flat / len(flat))


def rank(spectrum: Tensor, drop: float = 1e-9) -> int:
    """How many eigenvalues, falling, are over the share `drop` of the greatest."""
    return int((spectrum > drop * spectrum[0]).sum())


def free_directions(d1: int, d2: int, r1: int, r2: int) -> int:
    """Directions of a matrix [d2, d1] that change nothing: at least these, of activations of rank
    r1 and Jacobians of rank r2; exactly these where the two span independently."""
    return d1 * d2 - r1 * r2


def effective_parameters(activations: Tensor, jacobians: Tensor, drop: float = 1e-9) -> int:
    """Effective parameters of a matrix, from the spectra of its activations and of its Jacobians
    taken as independent: the products over the share `drop` of the greatest."""
    return rank(torch.outer(jacobians, activations).flatten().sort(descending=True).values, drop)


def synchronised(pre: Tensor, agreement: float = 0.999) -> tuple[tuple[int, ...], ...]:
    """Groups of two neurons and more that are on and off together on the share `agreement` of the
    inputs: they act as one linear map. pre [..., neurons] before the nonlinearity. Neurons that are
    never on are left out: they act as nothing."""
    on = (pre.flatten(0, -2) > 0).double()
    alive = on.any(0).nonzero()[:, 0]
    on = on[:, alive]
    agree = (on.T @ on + (1 - on).T @ (1 - on)) / len(on)
    pairs = (agree >= agreement).triu(1).nonzero().tolist()
    labels = components(len(alive), [(one, other, 1.0) for one, other in pairs])
    groups: dict[int, list[int]] = {}
    for neuron, label in zip(alive.tolist(), labels, strict=True):
        groups.setdefault(label, []).append(neuron)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def hessian_spectrum(
    f: Module, x: Tensor, names: Sequence[str] | None = None, at_once: int = 256
) -> Tensor:
    """Eigenvalues of H, falling, for the named parameters of f (None: all); as many as there are
    parameters, or outputs of all examples where these are fewer (the others are 0). x [n, …]."""
    blocks = list(_parameter_jacobians(f, x, names, at_once))
    rows = torch.cat(blocks).double()
    gram = rows.T @ rows if rows.shape[0] >= rows.shape[1] else rows @ rows.T
    return eigenvalues(gram / len(x))


def matrix_hessian_spectrum(activations: Tensor, jacobians: Tensor) -> Tensor:
    """The same of one matrix W [d2, d1] inside f, out = W a, from its activations [n, p, d1] at p
    positions and d f / d out [n, outputs, p, d2]: J = sum_p g_p (x) a_p. As many as outputs of all
    examples, or as numbers in W where these are fewer. No row of J is ever formed."""
    n, outputs = jacobians.shape[:2]
    gram = jacobians.new_zeros(n, outputs, n, outputs)
    for x in range(n):
        for y in range(x + 1):
            across = torch.einsum("pd,qd,opj->oqj", activations[x], activations[y], jacobians[x])
            block = across.flatten(1) @ jacobians[y].flatten(1).T
            gram[x, :, y], gram[y, :, x] = block, block.T
    most = activations.shape[-1] * jacobians.shape[-1]
    return eigenvalues(gram.view(n * outputs, -1) / n)[:most]


def eigenvalues(symmetric: Tensor) -> Tensor:
    """Falling; rounding may not push one below 0."""
    found: Tensor = torch.linalg.eigvalsh(symmetric)
    return found.flip(0).clamp(min=0)


def _parameter_jacobians(
    f: Module, x: Tensor, names: Sequence[str] | None, at_once: int
) -> Iterator[Tensor]:
    """d f / d parameters of blocks of examples [n · outputs, parameters]."""
    held = {name: p.detach() for name, p in f.named_parameters()}
    moving = {name: held[name] for name in (held if names is None else names)}

    def run(parameters: dict[str, Tensor], one: Tensor) -> Tensor:
        out: Tensor = functional_call(f, {**held, **parameters}, (one[None],))
        return out.flatten()

    per_example: Callable[..., dict[str, Tensor]] = vmap(jacrev(run), in_dims=(None, 0))
    for part in torch.split(x, at_once):
        found = per_example(moving, part)
        yield torch.cat([j.flatten(2) for j in found.values()], 2).flatten(0, 1)
