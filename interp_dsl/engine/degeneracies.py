"""`factor … by degeneracy(…)`: ranks of what an MLP's matrices read and of the slopes behind them,
and neurons that act as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.engine.chain import Chain
from interp_dsl.engine.factors import Factored, note_few
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.geometry import degeneracy as dg
from interp_dsl.geometry import interaction_basis as ib
from interp_dsl.plan.places import Target
from interp_dsl.plan.tasks import Factor


def degeneracy(task: Factor, state: State, report: Report) -> Factored:
    """The whole method on one run."""
    chain = Chain(task.into, (), state)
    found = Factored("matrix", chain.n)
    options: dict[str, Any] = dict(task.options)
    with torch.no_grad():
        for done, target in enumerate(task.targets, 1):
            note_few(target, _mlp(target, chain, options, found), report)
            report.progress(done, len(task.targets))
    return found


def _mlp(target: Target, chain: Chain, options: dict[str, Any], found: Factored) -> Tensor:
    """What an MLP is told of; its activations."""
    layer = target.site.layer
    assert layer is not None
    begin, end = 2 * layer + 1, 2 * chain.n_layers + 1
    stream, behind = chain.streams([begin, begin + 1])
    block, model = chain.layers[layer].block, chain.model
    assert block.ln2 is not None and block.w_in is not None and block.w_out is not None
    read = model.normed(stream, block.ln2, model.description.norm)
    pre = functional.linear(read, block.w_in, block.b_in)
    hidden = model.hidden(stream, block)
    for matrix, weight, inputs, stage, outputs in (
        ("W_in", block.w_in, read, chain.after_added(layer, stream), torch.zeros_like(pre)),
        ("W_out", block.w_out, hidden, chain.stage(begin + 1, end), behind),
    ):
        spectra = {
            "activations": dg.spectrum(inputs),
            "slopes": dg.eigenvalues(ib.what_is_read(stage, outputs)),
        }
        _ranks(target, matrix, weight, spectra, options["drop"], found)
        rank = _hessian_rank(stage, inputs, outputs, options["hessian"], options["drop"])
        found.score(target, matrix, "hessian_rank", rank)
    gates = pre[..., : hidden.shape[-1]]
    _neurons(target, gates, options["agreement"], found)
    return hidden


def _ranks(
    target: Target,
    matrix: str,
    weight: Tensor,
    spectra: dict[str, Tensor],
    drop: float,
    found: Factored,
) -> None:
    d2, d1 = weight.shape
    r1, r2 = (dg.rank(values, drop) for values in spectra.values())
    effective = dg.effective_parameters(spectra["activations"], spectra["slopes"], drop)
    for metric, value in (
        ("parameters", d1 * d2),
        ("activation_rank", r1),
        ("gradient_rank", r2),
        ("free", dg.free_directions(d1, d2, r1, r2)),
        ("effective", effective),
    ):
        found.score(target, matrix, metric, value)
    found.rows(
        "ranks",
        [
            {"layer": target.place, "matrix": matrix, "of": of, "k": k, "value": value}
            for of, values in spectra.items()
            for k, value in enumerate(values.tolist())
        ],
    )


def _hessian_rank(
    stage: ib.Stage, inputs: Tensor, outputs: Tensor, examples: int, drop: float
) -> int | None:
    """Of a matrix from `inputs` to `outputs` [n, p, d], which the stage reads; on some examples."""
    if not examples:
        return None
    parts: dict[int, list[Tensor]] = {}
    for rows, jacobian in ib.jacobians(stage, outputs[:examples]):
        parts.setdefault(rows.start, []).append(jacobian.flatten(1, 2))
    jacobians = torch.cat([torch.cat(part, 1) for part in parts.values()])
    return dg.rank(dg.matrix_hessian_spectrum(inputs[:examples], jacobians), drop)


def _neurons(target: Target, gates: Tensor, agreement: float, found: Factored) -> None:
    dead = int((gates.flatten(0, -2) <= 0).all(0).sum())
    groups = dg.synchronised(gates, agreement)
    found.score(target, None, "neurons_dead", dead)
    found.score(target, None, "synchronised", sum(map(len, groups)))
    found.score(target, None, "groups", len(groups))
    found.rows(
        "groups",
        [
            {"layer": target.place, "group": number, "neuron": neuron}
            for number, group in enumerate(groups)
            for neuron in group
        ],
    )
