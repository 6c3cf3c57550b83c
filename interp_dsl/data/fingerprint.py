"""A dataset's fingerprint: equal for equal examples, whatever the dataset is called."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from interp_dsl.data.types import Answer, Data, Side


def fingerprint(data: Data) -> str:
    """sha256 (hex) over the sides' tokens, lengths, read positions, labels and masks, the answers,
    templates and columns. Padding, the prompts' text and the names of the data and of a single
    side do not count."""
    digest = hashlib.sha256()
    for name, side in sorted(data.sides.items()):
        _add(digest, "side", name if data.is_paired else "")
        _add_side(digest, side)
    for key, answers in (("answer", data.answers), ("wrong", data.wrongs)):
        _add(digest, key, _written(answers or ()))
    if data.template is not None:
        _add(digest, "template", data.template.astype("<i8").tobytes())
    _add(digest, "columns", repr(sorted(data.columns.items())))
    return digest.hexdigest()


def _add_side(digest: hashlib._Hash, side: Side) -> None:
    real = np.arange(side.tokens.shape[1]) < side.lengths[:, None]
    arrays = {"tokens": side.tokens[real], "lengths": side.lengths, "read": side.read}
    arrays |= {f"label {name}": places for name, places in sorted(side.labels.items())}
    if side.mask is not None:
        arrays["mask"] = side.mask.astype(np.int64)
    for key, values in arrays.items():
        shape = "x".join(map(str, values.shape))
        _add(digest, f"{key} {shape}", values.astype("<i8").tobytes())


def _add(digest: hashlib._Hash, key: str, value: str | bytes) -> None:
    data = value.encode() if isinstance(value, str) else value
    digest.update(f"{key}:{len(data)}\n".encode())
    digest.update(data)


def _written(answers: Sequence[Answer]) -> str:
    digests = {id(answer): _digest(answer) for answer in {id(a): a for a in answers}.values()}
    return " ".join(digests[id(answer)] for answer in answers)


def _digest(answer: Answer) -> str:
    text = ",".join(" ".join(map(str, ids)) for ids in answer.alternatives)
    return hashlib.sha256(text.encode()).hexdigest()
