"""Where a model's files lie: bundled, plain weights, checkpoints, the hub's cache. No torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.errors import failure, nearest

DESCRIPTION = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
)
TENSOR_SUFFIXES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True)
class Files:
    """A model of plain weights. `tensors` is None where the folder holds none (or several)."""

    config: Path
    tensors: Path | None
    tokenizer: Path | None

    @property
    def folder(self) -> Path:
        return self.config.parent


def bundled_root() -> Path:
    """The folder of the models that the package carries."""
    return Path(str(package_files("interp_dsl"))) / "bundled"


def bundled_names() -> list[str]:
    """The names that `bundled` takes, sorted."""
    root = bundled_root()
    if not root.is_dir():
        return []
    return sorted(f.name for f in root.iterdir() if (f / "config.json").is_file())


def bundled_steps(name: str) -> list[int]:
    """The training steps kept of a bundled model, ascending."""
    found = (re.fullmatch(r"step-(\d+)\.safetensors", f.name) for f in _steps(name).glob("*"))
    return sorted(int(match[1]) for match in found if match)


def bundled_files(name: str, step: int | None = None) -> Files:
    """Raises InterpError E450 for an unknown name, E460 for a step that was not kept."""
    names = bundled_names()
    if name not in names:
        close = nearest(name, names)
        hub = f'a model of the Hugging Face hub is pretrained("{name}")'
        raise failure(
            "E450",
            f'no bundled model is called "{name}"',
            notes=("bundled models: " + (", ".join(names) or "none"),),
            help=f'did you mean "{close}"?' if close else hub,
        )
    files = weights_files(bundled_root() / name)
    if step is None:
        return files
    steps = bundled_steps(name)
    if step not in steps:
        kept = ", ".join(map(str, steps)) or "none"
        raise failure("E460", f'"{name}" keeps no step {step}', notes=(f"steps kept: {kept}",))
    return Files(files.config, _steps(name) / f"step-{step}.safetensors", files.tokenizer)


def bundled_text(name: str) -> Path | None:
    """The held-out text, as token ids, that a bundled model brings; None where it has none."""
    found = bundled_root() / name / "heldout.safetensors"
    return found if name in bundled_names() and found.is_file() else None


def _steps(name: str) -> Path:
    return bundled_root() / name / "steps"


def weights_files(path: Path) -> Files:
    """The files of `weights("path")`: a folder with config.json; or NAME for NAME.json with
    NAME.safetensors beside it; or the tensor file itself. Raises InterpError E451."""
    if path.is_dir():
        config = path / "config.json"
        if not config.is_file():
            raise failure(
                "E451",
                f"{path} has no config.json",
                help='name one model of the folder, such as weights("folder/name")'
                if list(path.glob("*.safetensors"))
                else "a folder of weights holds config.json and model.safetensors",
                exit_code=3,
            )
        return Files(config, _tensors(path), tokenizer_in(path))
    stems = [path] if path.suffix not in TENSOR_SUFFIXES else _stems(path)
    for stem in stems:
        config = stem.parent / f"{stem.name}.json"
        if config.is_file():
            tensors = path if path.is_file() else _beside(stem)
            return Files(config, tensors, None)
    raise failure(
        "E451",
        f"there are no weights at {path}",
        notes=(f"looked for {path}/config.json and {stems[-1].name}.json",),
        help="a folder of weights holds config.json and model.safetensors",
        exit_code=3,
    )


def _stems(path: Path) -> list[Path]:
    """a.fp16.safetensors -> a.fp16, a"""
    parts = path.name[: -len(path.suffix)].split(".")
    return [path.parent / ".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _beside(stem: Path) -> Path | None:
    names = [f"{stem.name}{suffix}" for suffix in TENSOR_SUFFIXES]
    exact = [stem.parent / name for name in names if (stem.parent / name).is_file()]
    return exact[0] if exact else _only(sorted(stem.parent.glob(f"{stem.name}.*.safetensors")))


def _tensors(folder: Path) -> Path | None:
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    for suffix in TENSOR_SUFFIXES:
        if found := sorted(folder.glob(f"*{suffix}")):
            return _only(found)
    return None


def _only(found: list[Path]) -> Path | None:
    return found[0] if len(found) == 1 else None


def tokenizer_in(folder: Path) -> Path | None:
    """A tokenizer.json, or the folder itself where vocab.json and merges.txt lie in it."""
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    has_both = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return folder if has_both else None


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object. Raises InterpError E451 where there is no file, E452 where it is no object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise failure("E451", f"there is no file {path}", exit_code=3) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise failure(
            "E452", f"{path} is not readable JSON", notes=(str(error),), exit_code=3
        ) from None
    if not isinstance(content, dict):
        raise failure("E452", f"{path} holds no JSON object", exit_code=3)
    return content


def hub_cache() -> Path:
    """Where huggingface_hub keeps its downloads, by its own environment variables."""
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def cached_snapshot(name: str, revision: str = "main") -> Path | None:
    """The folder in the hub's cache that holds `name` at a revision, None when it is not there."""
    repository = hub_cache() / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / revision
    commit = reference.read_text("utf-8").strip() if reference.is_file() else revision
    snapshot = repository / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() else None


def fetch(name: str, revision: str = "main") -> Path:
    """The folder in the hub's cache with the configuration and the tokenizer of `name`, brought
    from the hub where either is not there yet. A model without a tokenizer that can be read is
    asked for again, and a hub that does not answer is then no error. Raises InterpError E456."""
    before = cached_snapshot(name, revision)
    if before is not None and tokenizer_in(before) is not None:
        return before
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            name, revision=revision, cache_dir=hub_cache(), allow_patterns=list(DESCRIPTION)
        )
    except Exception as error:  # the network's, the hub's, the disk's: all mean that it is not here
        if before is None:
            raise not_given(name, error) from error
    found = cached_snapshot(name, revision)
    if found is None:
        raise not_given(name, FileNotFoundError(f"{name} has no config.json"))
    return found


def not_given(name: str, error: Exception) -> InterpError:
    """The hub did not give a model."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return failure(
        "E456",
        f"{name} is not in the hub's cache, and the hub did not give it",
        notes=(first, f"cache: {hub_cache()}"),
        help="fetch it on a machine with a network and copy the cache (HF_HOME says where it "
        'lies), or save it with save_pretrained and load checkpoint("folder")',
        exit_code=3,
    )


def cached_models() -> Iterator[tuple[str, Path]]:
    """(name, snapshot folder) of every model in the hub's cache whose main revision is there."""
    for repository in sorted(hub_cache().glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        snapshot = cached_snapshot(name)
        if snapshot is not None:
            yield name, snapshot


def has_weights(folder: Path) -> bool:
    """Does a checkpoint folder hold weights, in one file or sharded?"""
    return any(
        (folder / f"{stem}{end}").is_file()
        for stem, end in (
            ("model", ".safetensors"),
            ("model", ".safetensors.index.json"),
            ("pytorch_model", ".bin"),
            ("pytorch_model", ".bin.index.json"),
        )
    )
