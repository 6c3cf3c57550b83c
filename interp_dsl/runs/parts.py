"""Finished shards of a step as part files, until the step ends and they become one table.

A part is `parts/<step>/<shard>-<key>.parquet`, its tensors beside it. The table is written last:
where it stands, the shard is done."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

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
