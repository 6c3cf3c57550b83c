"""What a feature is at the tokens around those that it fires on."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.engine.inspect_reader import Reader


def windows(reader: Reader, table: pl.DataFrame, context: int) -> dict[str, NDArray[np.generic]]:
    """Of each row of a table of examples the numbers of the tokens from `context` before it to as
    many after, `tokens` [rows, 2 context + 1], -1 where there are none; and what the feature is at
    each, `values`, 0 at BOS. One more pass over the prompts that stand in the table."""
    prompts = torch.from_numpy(table["prompt"].to_numpy().copy())
    place = {number: i for i, number in enumerate(reader.numbers)}
    feature = torch.tensor([place[number] for number in table["feature"]], dtype=torch.long)
    around = torch.arange(-context, context + 1)
    at = torch.from_numpy(table["position"].to_numpy().copy())[:, None] + around
    lengths = torch.from_numpy(reader.side.lengths)[prompts]
    is_there = (at >= 0) & (at < lengths[:, None])
    at = at.clamp(0, reader.width - 1)
    held = torch.from_numpy(reader.side.tokens)
    tokens = torch.where(is_there, held[prompts[:, None], at], -1)
    values = torch.zeros(at.shape)

    def see(f: Tensor, kept: Tensor, examples: Tensor) -> None:
        """Features [R, features] of the tokens of text of some examples."""
        rows = ((prompts >= examples[0]) & (prompts <= examples[-1])).nonzero()[:, 0]
        number = torch.zeros(kept.shape, dtype=torch.long)
        number[kept] = torch.arange(len(f))
        own = (prompts[rows] - examples[0])[:, None]
        counts = is_there[rows] & kept[own, at[rows]]
        which = number[own, at[rows]]
        found = f[which.to(f.device), feature[rows][:, None].to(f.device)].cpu()
        values[rows] = found.float() * counts

    reader.blocks(see)
    return {"tokens": tokens.int().numpy(), "values": values.numpy()}
