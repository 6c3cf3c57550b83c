"""Which executor runs a model: the compiled one where it is covered and proven, else the hooked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

import torch

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled import gate, weights
from interp_dsl.models.compiled.description import describe_native
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.families import describe, refused
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.errors import failure
from interp_dsl.models.fingerprint import digest
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.precision import Precision
from interp_dsl.models.shape import ModelFacts
from interp_dsl.models.weights import Source

Choice = Literal["auto", "hooked", "compiled"]


def fallback(hooked: HookedExecutor, why: str, difference: float | None) -> HookedExecutor:
    """The hooked executor of a model that the compiled one does not run, which says so and why."""
    hooked.remark, hooked.difference = f"{hooked.facts.name} runs by hooks: {why}", difference
    return hooked


def compile_native(
    source: Source, facts: ModelFacts, device: torch.device, precision: Precision
) -> CompiledExecutor:
    """A model of plain weights, not compared with anything."""
    description = describe_native(source.config)
    read = weights.from_tensors(source.config, source.tensors, device, precision.dtype)
    run = {"processing": "none", "dtype": precision.name} | asdict(source.config)
    fingerprint = digest(run, source.tensors)
    return CompiledExecutor(Compiled(description, read), facts, fingerprint, precision.tf32)


def compile_bridged(hooked: HookedExecutor) -> CompiledExecutor:
    """A Hugging Face model with the bridge's own weights, not compared with anything. Raises
    InterpError E605 for one that is not covered, or is spread over several devices."""
    if hooked.devices[1:]:
        raise refused(f"it is spread over {', '.join(map(str, hooked.devices))}")
    description = describe(hooked.bridge.original_model.config.to_dict())
    read = weights.from_bridge(hooked.bridge, description)
    fingerprint = hooked.fingerprint()
    return CompiledExecutor(Compiled(description, read), hooked.facts, fingerprint, hooked.tf32)


def native(
    source: Source,
    facts: ModelFacts,
    device: torch.device,
    precision: Precision,
    boot: Callable[[], HookedExecutor],
    choice: Choice,
    verify: bool,
) -> CompiledExecutor | HookedExecutor:
    """A model of plain weights. `boot` makes the hooked executor; with a kept verdict it is not
    called, and TransformerLens not imported. Raises InterpError E608."""
    if choice == "hooked":
        return boot()
    compiled = compile_native(source, facts, device, precision)
    verdict = None if verify else gate.verdict(compiled, None)
    if verdict is not None and verdict.passed:
        compiled.difference = verdict.difference
        return compiled
    return _judged(compiled, boot(), choice, verify)


def bridged(
    hooked: HookedExecutor, choice: Choice, verify: bool
) -> CompiledExecutor | HookedExecutor:
    """A Hugging Face model that the bridge has loaded; a compiled executor does not keep the
    bridge. Raises InterpError E605, E608 where compiled is insisted on."""
    if choice == "hooked":
        return hooked
    try:
        compiled = compile_bridged(hooked)
    except InterpError as error:
        return _uncovered(hooked, choice, error)
    return _judged(compiled, hooked, choice, verify)


def from_python(hooked: HookedExecutor, choice: Choice) -> HookedExecutor:
    """A model that someone's code has built may compute anything: it runs hooked. Raises
    InterpError E605 where compiled is insisted on."""
    if choice == "hooked":
        return hooked
    return _uncovered(hooked, choice, refused("it was built by Python code"))


def _uncovered(hooked: HookedExecutor, choice: Choice, error: InterpError) -> HookedExecutor:
    if choice == "compiled":
        raise error
    found = error.diagnostics[0]
    return fallback(hooked, f"{found.message}: {'; '.join(found.notes)}", None)


def _judged(
    compiled: CompiledExecutor, hooked: HookedExecutor, choice: Choice, verify: bool
) -> CompiledExecutor | HookedExecutor:
    verdict = gate.verdict(compiled, hooked, verify)
    assert verdict is not None
    if verdict.passed:
        compiled.difference = verdict.difference
        return compiled
    why = (
        f"the compiled forward of {compiled.facts.name} differs from TransformerLens's by "
        f"{verdict.difference:.1e} at {verdict.place}, more than {verdict.tolerance:.0e}"
    )
    if choice == "compiled":
        raise failure("E608", why, help="the hooked executor runs it", exit_code=1)
    return fallback(hooked, why, verdict.difference)
