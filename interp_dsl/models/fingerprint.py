"""One number that stands for a model's weights and configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def digest(configuration: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the configuration and, by name, each tensor's dtype, shape and bytes."""
    text = json.dumps(configuration, sort_keys=True, default=str)
    result = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        result.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        result.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return result.hexdigest()
