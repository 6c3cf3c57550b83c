"""Reading a dictionary from another library's folder into a run."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from interp_dsl.dictionaries.formats.config import NotUnderstood, fingerprint
from interp_dsl.dictionaries.formats.reading import read
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.dictionaries import LoadDictionary
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import LOADED_COLUMNS, polars_types


def load_dictionary(task: LoadDictionary, key: str, folder: RunFolder) -> None:
    """Write a folder's dictionary as a fit writes its own. Raises InterpError E436 where the folder
    holds none that is understood, or another than the plan was made for."""
    path, one = Path(task.folder), task.fitted
    try:
        found, config = read(path)
    except (NotUnderstood, OSError) as error:
        raise _wrong(path, str(error)) from None
    options = one.given
    planned = (one.architecture, options["width"], one.d_in, options.get("k"), one.d_out)
    if planned != (found.activation, found.d_sae, found.d_in, found.k, config.d_out):
        raise _wrong(path, "it holds another dictionary than when this run was planned")
    about = {
        "label": one.label,
        "site": one.target.place,
        "architecture": one.architecture,
        "activation": found.activation,
        "k": found.k,
        "options": one.given,
        "format": config.format,
        "named": config.named,
        "folder": task.folder,
        "sha256": fingerprint(path),
    }
    if one.onto is not None:
        about["onto"] = one.onto.place
    row = {**about, "d_in": found.d_in, "d_sae": found.d_sae}
    kept = {name: [row[name]] for name in LOADED_COLUMNS}
    folder.write_tensors(task.step, {k: v.numpy() for k, v in found.saved().items()})
    folder.write_table(task.step, pl.DataFrame(kept, schema=polars_types(LOADED_COLUMNS)))
    folder.finish_step(task.step, key, dictionaries=[about])


def fingerprint_of(folder: str) -> str:
    """What stands for a folder's dictionary in the keys of steps. Raises InterpError E436."""
    try:
        return fingerprint(Path(folder))
    except (NotUnderstood, OSError) as error:
        raise _wrong(Path(folder), str(error)) from None


def _wrong(path: Path, why: str) -> InterpError:
    return InterpError(Diagnostic("E436", f"{path} holds no dictionary to load", notes=(why,)))
