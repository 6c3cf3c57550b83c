"""Is the compiled forward the same as TransformerLens's? Measured once, and the verdict kept.

A verdict is a JSON file in the user's cache (`interp/verdicts` under XDG_CACHE_HOME or ~/.cache),
named by all that it depends on: weights and configuration, versions, the code of this package,
device, dtype. A cache that cannot be read or written costs time only."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from interp_dsl.models import edits
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.executor import Executor
from interp_dsl.models.precision import Precision
from interp_dsl.models.sites import missing
from interp_dsl.plan.places import HEAD_SITES, RESIDUAL_SITES, Site, Target

# Of the largest absolute value of a place. Rounding of bfloat16 is 2^-8, of float16 2^-11, of
# TF32 products 2^-11; fused attention keeps what eager attention rounds in between.
TOLERANCES = {
    torch.float64: 1e-10,
    torch.float32: 1e-5,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}
TF32_TOLERANCE = 1e-2
ROWS, LENGTH, LONGEST_WINDOW = 2, 16, 256
LAYERS_AT_ONCE = 8
PACKAGES = ("interp-dsl", "torch", "transformer-lens", "transformers")


@dataclass(frozen=True)
class Verdict:
    """`difference` is the largest one over all places of a probe batch, relative to the place's
    largest absolute value; `place` is where it was found."""

    difference: float
    place: str
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance


def verdict(
    compiled: CompiledExecutor, reference: Executor | None, verify: bool = False
) -> Verdict | None:
    """The kept verdict, or (always under `verify`) a fresh one, which is kept. None where a
    comparison is needed and there is no `reference`."""
    circumstances = _circumstances(compiled)
    kept = None if verify else read(circumstances)
    if kept is not None or reference is None:
        return kept
    found = compare(compiled, reference)
    write(circumstances, found)
    return found


def compare(compiled: Executor, reference: Executor) -> Verdict:
    """Both run a probe of random tokens, without a mask and with one, and every place is compared;
    so are the logits of runs that watch nothing."""
    tokens, mask = _probe(compiled)
    worst, place = 0.0, "logits"
    for masked in (None, mask):
        for name, mine, other in _pairs(compiled, reference, tokens, masked):
            difference = relative_difference(mine, other)
            if difference > worst:
                worst, place = difference, name
    return Verdict(worst, place, tolerance(compiled))


def _pairs(
    compiled: Executor, reference: Executor, tokens: Tensor, mask: Tensor | None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """A place's name, and what the two executors have there."""
    last = torch.full((len(tokens), 1), tokens.shape[1] - 1, device=tokens.device)
    plain = reference.forward(tokens, None, mask=mask).logits
    yield "logits", compiled.forward(tokens, None, mask=mask).logits, plain
    yield "logits", compiled.forward(tokens, last, mask=mask).logits, plain[:, -1:]
    for first in range(0, reference.facts.shape.n_layers, LAYERS_AT_ONCE):
        sites = _sites(reference, first)
        theirs = reference.forward(tokens, last, sites=sites, mask=mask).sites
        ours = compiled.forward(tokens, last, sites=sites, mask=mask).sites
        for site in sites:
            layer = "" if site.layer is None else f"L{site.layer}."
            yield f"{layer}{site.kind}", ours[site], theirs[site]


def relative_difference(mine: Tensor, other: Tensor) -> float:
    """The largest difference ÷ the largest absolute value; inf where one is not a number."""
    if mine.shape != other.shape:
        return math.inf
    mine, other = mine.cpu().double(), other.cpu().double()  # mps has no float64
    difference = float((mine - other).abs().max() / other.abs().max().clamp(min=1e-30))
    return math.inf if math.isnan(difference) else difference


def tolerance(executor: Executor) -> float:
    """What rounding may amount to."""
    return TF32_TOLERANCE if executor.tf32 else TOLERANCES[executor.dtype]


def _probe(compiled: Executor) -> tuple[Tensor, Tensor]:
    """Tokens and a mask [ROWS, T]. Long enough to leave a short sliding window; a window of
    thousands of tokens is not probed."""
    shape = compiled.facts.shape
    windows: list[int] = []
    if isinstance(compiled, CompiledExecutor):
        windows = [kind.window or 0 for kind in compiled.model.description.layers]
    longest = max((w for w in windows if w <= LONGEST_WINDOW), default=0)
    length = min(shape.n_ctx, max(LENGTH, longest + 4))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, shape.d_vocab, (ROWS, length), generator=generator)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[-1, length // 2] = False
    return tokens.to(compiled.device), mask.to(compiled.device)


def _sites(executor: Executor, first: int) -> list[Site]:
    """Every place of some layers, and of the model as a whole with the first of them."""
    shape = executor.facts.shape
    layers = range(first, min(first + LAYERS_AT_ONCE, shape.n_layers))
    kinds = (*RESIDUAL_SITES, *HEAD_SITES, "neuron")
    sites = [Site(kind, layer) for layer in layers for kind in kinds]
    sites += [] if first else [Site("embed"), Site("pos_embed")]
    here = [site for site in sites if missing(Target(site, 0), shape) is None]
    return [site for site in here if executor.shows(site)]


def _circumstances(compiled: CompiledExecutor) -> dict[str, str]:
    """All that a verdict depends on."""
    return {
        "fingerprint": compiled.fingerprint(),
        "device": _device_name(compiled.device),
        "dtype": Precision(compiled.dtype, compiled.tf32).name,
        "code": _code(),
        **{name: _version(name) for name in PACKAGES},
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@cache
def _code() -> str:
    """sha256 of the source of the compiled forward: a verdict does not outlive a change of it."""
    files = [Path(edits.__file__), *sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def folder() -> Path:
    """Where verdicts are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(root) / "interp" / "verdicts"


def _file(circumstances: Mapping[str, str]) -> Path:
    text = json.dumps(circumstances, sort_keys=True)
    return folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def read(circumstances: Mapping[str, str]) -> Verdict | None:
    """The verdict kept under these circumstances, None where there is none that can be read."""
    try:
        content = json.loads(_file(circumstances).read_text("utf-8"))
        found = content["verdict"]
        return Verdict(float(found["difference"]), str(found["place"]), float(found["tolerance"]))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def write(circumstances: Mapping[str, str], found: Verdict) -> None:
    """Keep a verdict, whole or not at all."""
    content = {"verdict": asdict(found) | {"passed": found.passed}, **circumstances}
    try:
        target = _file(circumstances)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=target.parent, suffix=".part", delete=False, encoding="utf-8"
        ) as part:
            json.dump(content, part, indent=1)
        os.replace(part.name, target)
    except (OSError, RuntimeError):
        return
