"""Facts of a model from its specification, without torch: `facts(spec)`.

A specification is {"kind": …} and the arguments of the language's function of that name:
bundled(name, step), weights(folder), checkpoint(folder), pretrained(name, revision),
python(target, folder). All take `dtype` and `device`, checkpoint and pretrained `processing` and
`device_map`. `bos` (an id, or false for none) overrules the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

from interp_dsl.models import files, hf_config, native_config
from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.shape import ModelFacts

KINDS = ("bundled", "weights", "checkpoint", "pretrained", "python")

_may_fetch: ContextVar[bool] = ContextVar("may_fetch", default=False)


@contextmanager
def fetching() -> Iterator[None]:
    """While it lasts, `facts` brings the configuration and the tokenizer of a `pretrained` model
    from the hub where the cache lacks them."""
    token = _may_fetch.set(True)
    try:
        yield
    finally:
        _may_fetch.reset(token)


def facts(spec: Mapping[str, Any]) -> ModelFacts | None:
    """What can be known without the weights; None where nothing is at hand yet: a `python` model,
    a `pretrained` one that is not in the hub's cache, a configuration that does not say enough.
    Uses the network within `fetching()` alone. Raises InterpError E450-E453, E456, E460, E463."""
    if spec.get("device") and spec.get("device_map"):
        raise failure(
            "E463",
            "a model has either a device or a device_map",
            help="leave one of them out: device_map chooses the devices itself",
        )
    match kind_of(spec):
        case "bundled":
            found = native_facts(files.bundled_files(name_of(spec), spec.get("step")))
            known: ModelFacts | None = replace(found, name=name_of(spec))
        case "weights":
            known = native_facts(files.weights_files(path_of(spec)))
        case "checkpoint":
            known = checkpoint_facts(path_of(spec), path_of(spec).name)
        case "pretrained":
            find = files.fetch if _may_fetch.get() else files.cached_snapshot
            snapshot = find(name_of(spec), spec.get("revision") or "main")
            known = checkpoint_facts(snapshot, name_of(spec)) if snapshot else None
        case _:
            known = None
    return with_bos(known, spec) if known else None


def kind_of(spec: Mapping[str, Any]) -> str:
    """The kind of a specification. Raises InterpError E450 for one that does not exist."""
    kind = str(spec.get("kind"))
    if kind not in KINDS:
        close = nearest(kind, KINDS)
        raise failure(
            "E450",
            f"there is no kind of model called {kind}",
            notes=("kinds: " + ", ".join(KINDS),),
            help=f"did you mean {close}?" if close else None,
        )
    return kind


def name_of(spec: Mapping[str, Any]) -> str:
    """The name of a `bundled` or `pretrained` model."""
    return str(spec["name"])


def path_of(spec: Mapping[str, Any]) -> Path:
    """The path of a `weights` or `checkpoint` model."""
    return Path(str(spec["folder"]))


def with_bos(known: ModelFacts, spec: Mapping[str, Any]) -> ModelFacts:
    """The facts under the option `bos` of a specification."""
    bos = spec.get("bos")
    if bos is None or bos is True:
        return known
    return replace(known, bos=None if bos is False else int(bos))


def native_facts(found: files.Files) -> ModelFacts:
    """The facts of a model of plain weights."""
    config = native_config.parse(files.read_json(found.config), found.config)
    is_folder = found.config.name == "config.json"
    name = found.folder.name if is_folder else found.config.stem
    return ModelFacts(
        name, config.shape, found.tokenizer, config.bos, config.pad, found.folder, config.eos
    )


def checkpoint_facts(folder: Path, name: str) -> ModelFacts | None:
    """The facts of a Hugging Face folder, None where config.json does not say enough.
    Raises InterpError E451 where there is no config.json, E452 where it is unreadable."""
    if not (folder / "config.json").is_file():
        raise failure(
            "E451",
            f"{folder} is no checkpoint: it has no config.json",
            help="name the folder that save_pretrained wrote, with config.json and the weights",
            exit_code=3,
        )
    config = files.read_json(folder / "config.json")
    shape = hf_config.shape_of(config)
    if shape is None:
        return None
    beside = folder / "tokenizer_config.json"
    tokenizer = files.read_json(beside) if beside.is_file() else {}
    return ModelFacts(
        name,
        shape,
        files.tokenizer_in(folder),
        hf_config.bos_of(config, tokenizer),
        hf_config.pad_of(config),
        folder,
        hf_config.eos_of(config),
    )
