"""Trained models: the compiled executor gives what the hooked one gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from interp_dsl.models.compiled import gate
from interp_dsl.models.files import bundled_names
from interp_dsl.models.load import load
from tests.devices import from_cpu, here
from tests.models.running import compiled_of, prompts, sites_of
from tests.models.test_compiled import same, scattered

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NAMES = (
    "stories260k",
    *(
        f"algorithmic-models/{name}"
        for name in ("brackets", "cumsum_sign", "digit_sum", "modadd_113_wd", "induction_infinite")
    ),
)
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="needs ../shared/data with the converted models"
)

pytestmark = pytest.mark.usefixtures("device")


def check(spec: dict[str, Any]) -> None:
    """All places on a probe; and edits of all of them at once, seen at the last position."""
    reference = from_cpu(load(spec, here(), executor="hooked"))
    model = compiled_of(reference)
    assert gate.compare(model, reference).difference <= 1e-5
    length = min(reference.facts.shape.n_ctx, 9)
    tokens, other = prompts(model, 3, length), prompts(model, 3, length, seed=1)
    sites = sites_of(reference)
    source = reference.forward(other, None, sites=sites).sites
    edits = [scattered(site, source[site], number) for number, site in enumerate(sites)]
    last = torch.full((3, 1), length - 1)
    for some in (edits, edits[-4:]):
        expected = reference.forward(tokens, last, some).logits
        same(model.forward(tokens, last, some).logits, expected)


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_models_of_others(name: str) -> None:
    check({"kind": "weights", "folder": str(DATA / name)})


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models(name: str) -> None:
    check({"kind": "bundled", "name": name})


@needs_data
def test_brackets_under_their_mask() -> None:
    spec = {"kind": "weights", "folder": str(DATA / "algorithmic-models" / "brackets")}
    reference = from_cpu(load(spec, here(), executor="hooked"))
    model = compiled_of(reference)
    strings = json.loads((DATA / "algorithmic-models" / "brackets_data.json").read_text())[:64]
    ids = [[0, *(3 if c == "(" else 4 for c in text), 2] for text, _ in strings]
    tokens = torch.tensor([row + [1] * (42 - len(row)) for row in ids])
    mask = tokens != 1
    assert not mask.all()
    reads = torch.zeros(len(tokens), 1, dtype=torch.long)
    sites = sites_of(reference)
    theirs = reference.forward(tokens, reads, sites=sites, mask=mask)
    ours = model.forward(tokens, reads, sites=sites, mask=mask)
    for site in sites:
        same(ours.sites[site], theirs.sites[site])
    same(model.forward(tokens, reads, mask=mask).logits, theirs.logits)
    memory = model.remember(tokens, mask)
    rows = torch.tensor([5, 3, 3])
    edit = scattered(sites[-3], 1.1 * theirs.sites[sites[-3]][[1, 2, 4]], 0)
    expected = reference.forward(tokens[rows], reads[rows], [edit], mask=mask[rows]).logits
    same(model.resume(memory, rows, 2, [edit], reads[rows]).logits, expected)
