"""Makes what a race needs on disk: the activations of a bundled model's neurons, shuffled once."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

CONTEXTS = 7_874
"""Contexts of 127 tokens and BOS that the model's held-out text has; the first are learned from."""
DATA = f"""model   m    = bundled("text-1l-512")
dataset text = task("text-1l-512", n={CONTEXTS})
"""
KEPT = """let     seen = text where index < {contexts}

step kept = fit topk(width=64, k=4, batch=1024, store="store") on neurons layers 0 of seen
            until tokens=1024
"""


def make(folder: Path, contexts: int) -> None:
    """activations.safetensors [rows, 512] of the first contexts' tokens, made once. The activations
    are those that a store of interp's keeps."""
    path = folder / "activations.safetensors"
    if path.is_file():
        return
    import torch
    from safetensors.torch import load_file, save_file

    from interp_dsl import face

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as work:
        program = Path(work) / "kept.interp"
        program.write_text(DATA + KEPT.format(contexts=contexts))
        face.run(program, out=Path(work) / "run")
        files = sorted((Path(work) / "store").glob("*/*.safetensors"))
        rows = torch.cat([load_file(file)["activations"] for file in files])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    save_file({"activations": rows[order]}, path)
