"""Finished shards of a step as part files, until the step ends and they become one table.

A part is `parts/<step>/<shard>-<key>.parquet`, its tensors beside it. The table is written last:
where it stands, the shard is done."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.generic]]


class Parts:
    """The part files of one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.parquet"))

    def write(self, shard: int, table: pl.DataFrame, tensors: Tensors, key: str) -> None:
        """Keep a finished shard."""
        path = self._path(shard, key)
        write_arrays(path.with_suffix(".safetensors"), tensors)
        write_frame(path, table)

    def finished(self, key: str) -> list[int]:
        """The numbers of the shards that are done under this key, in order."""
        pattern = re.compile(rf"(\d+)-{_short(key)}\.parquet")
        names = (pattern.fullmatch(p.name) for p in self.folder.glob("*.parquet"))
        return sorted(int(m[1]) for m in names if m)

    def read(self, shard: int, key: str) -> tuple[pl.DataFrame, dict[str, NDArray[np.generic]]]:
        path = self._path(shard, key)
        return read_frame(path), read_arrays(path.with_suffix(".safetensors"))

    def so_far(self) -> pl.DataFrame | None:
        """The rows of the finished shards, those of the newest key where there are several; None
        where there are none (any more)."""
        import polars as pl

        paths = sorted(self.folder.glob("*.parquet"))
        try:
            newest = max(paths, key=lambda path: path.stat().st_mtime).stem.partition("-")[2]
            own = [path for path in paths if path.stem.partition("-")[2] == newest]
            return pl.concat([read_frame(path) for path in own])
        except (ValueError, OSError):  # none, or merged while we looked
            return None

    def keep_only(self, shard: int, key: str) -> None:
        """Remove all parts but one, which holds what they held and more."""
        kept = self._path(shard, key)
        for suffix in (".parquet", ".safetensors"):  # the table first: it says that a shard is done
            for path in self.folder.glob(f"*{suffix}"):
                if path != kept.with_suffix(suffix):
                    path.unlink()

    def drop(self) -> None:
        """Remove the parts of every key."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, shard: int, key: str) -> Path:
        return self.folder / f"{shard:06d}-{_short(key)}.parquet"


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def write_frame(path: Path, table: pl.DataFrame) -> None:
    with replacing(path) as temporary:
        table.write_parquet(temporary)


def read_frame(path: Path) -> pl.DataFrame:
    import polars as pl

    return pl.read_parquet(path)


def write_arrays(path: Path, tensors: Tensors) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        save_file({name: np.asarray(a, order="C") for name, a in tensors.items()}, temporary)


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    from safetensors.numpy import load_file

    return dict(load_file(path))


class Stored(Mapping[str, "NDArray[np.generic]"]):
    """The tensors of a file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self._file: Any = safe_open(path, "numpy")
        self._names: list[str] = self._file.keys()  # type: ignore[no-untyped-call]

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        if name not in self._names:
            raise KeyError(name)
        found: NDArray[np.generic] = self._file.get_tensor(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def names_columns(path: Path, *names: str) -> bool:
    """Whether the footer of a Parquet file names columns, told without reading the table: it stands
    before the last eight bytes, which are its length and PAR1."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 8))
            length = int.from_bytes(file.read(4), "little")
            file.seek(max(0, size - 8 - length))
            footer = file.read(length)
    except OSError:
        return False
    return all(name.encode() in footer for name in names)
