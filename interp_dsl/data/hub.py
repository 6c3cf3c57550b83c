"""Text of Hugging Face datasets, streamed: of the hub, or of a folder that holds one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl.data.faults import closest, fault, listed
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.tokens import pack, text_of
from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import InterpError

if TYPE_CHECKING:
    from datasets import DatasetBuilder, IterableDataset


def build_hub(name: str, spec: Mapping[str, Any], context: int, tokenizer: Tokenizer) -> Data:
    """The first `n` contexts of a dataset's text, packed as `corpus` packs it; every row is a
    document, and rows behind the last that is wanted are not read. `name` of the specification is
    `owner/name` on the hub or an absolute path; `split` (train), `column` (text), `config` and
    `revision` are the library's. The commit that the hub gave stands in `origin`.

    E446 when the dataset can't be had or read, E447 when it has no such config or split, E431 when
    a row has no text in the column, E434 when the text fills fewer than n contexts."""
    source, split = str(spec["name"]), str(spec.get("split") or "train")
    builder = _builder(source, spec.get("config"), spec.get("revision"))
    _require_own(source, builder)
    rows = _rows(source, _stream(source, builder, split), str(spec.get("column") or "text"))
    data = pack(name, rows, context, int(spec["n"]), tokenizer)
    origin = {
        "dataset": source,
        "config": builder.config.name,
        "split": split,
        "revision": None if _is_folder(source) else builder.hash,
    }
    return replace(data, origin=origin)


def _is_folder(source: str) -> bool:
    return Path(source).is_absolute()


def _builder(source: str, config: str | None, revision: str | None) -> DatasetBuilder:
    if Path(source).is_dir() != _is_folder(source):  # the library takes any folder for the dataset
        missing = "there is no such folder"
        raise _unavailable(source, missing if _is_folder(source) else "a folder here has its name")
    try:
        from datasets import load_dataset_builder
    except ImportError as why:
        raise _environment(
            "datasets of the hub need the library `datasets`", str(why), "pip install datasets"
        ) from None
    try:
        return load_dataset_builder(source, config, revision=revision)
    except Exception as why:  # whatever the network and the hub's client raise
        if isinstance(why, ValueError) and _OF_CONFIGS.match(str(why)):
            raise fault(
                "E447",
                f"{source} has no config {config}" if config else f"{source} has several configs",
                " ".join(str(why).split()),
                help='name one that it has: config="…"',
            ) from None
        raise _unavailable(source, _said(why)) from None


_OF_CONFIGS = re.compile(r"BuilderConfig .* not found|Config name is missing")


def _require_own(source: str, builder: DatasetBuilder) -> None:
    """A dataset's README may name files anywhere on this machine: only its own are read."""
    own = (f"{normpath(source)}/",) if _is_folder(source) else ("hf://", "https://")
    for files in (builder.config.data_files or {}).values():
        for file in files:
            if not (normpath(file) if _is_folder(source) else file).startswith(own):
                raise _unavailable(source, f"its README names {file}, which is not of it")


def _stream(source: str, builder: DatasetBuilder, split: str) -> IterableDataset:
    try:
        splits = builder.as_streaming_dataset()
    except Exception as why:
        raise _unavailable(source, _said(why)) from None
    if split not in splits:
        raise fault(
            "E447",
            f"{source} has no split {split}",
            f"it has {listed([*splits])}",
            help=closest(split, splits) or f'write split="{next(iter(splits))}"',
        )
    return splits[split]


def _rows(source: str, stream: IterableDataset, column: str) -> Iterator[str]:
    if column in (stream.column_names or ()):
        stream = stream.select_columns(column)  # others may be large, or images
    rows = iter(stream)
    while True:
        try:
            row = next(rows, None)
        except Exception as why:  # of the network, of a file's format
            raise _unavailable(source, _said(why)) from None
        if row is None:
            return
        yield text_of(row, column, source)


def _said(why: Exception) -> str:
    return str(why).strip() or type(why).__name__


def _unavailable(source: str, why: str) -> InterpError:
    if _is_folder(source):
        way = "a folder holds jsonl, csv, parquet or text files; `corpus` reads them, too"
    else:
        way = (
            f"where there is a network, `hf download {source} --repo-type dataset --local-dir "
            'FOLDER`, then hub("./FOLDER", …) or corpus("FOLDER/…")'
        )
    return _environment(f"{source} can't be read", why, way)


def _environment(message: str, why: str, way: str) -> InterpError:
    found = fault("E446", message, why, help=way)
    found.exit_code = 3
    return found
