"""Each architecture is its loss and its gradient, written out (a file each); `base.py` says what
they have in common, `dictionary.py` beside this folder how what they leave encodes."""

from interp_dsl.dictionaries.architectures.base import Architecture, Found, Now, Params, Sizes
from interp_dsl.dictionaries.architectures.gated import Gated
from interp_dsl.dictionaries.architectures.jumprelu import JumpRelu
from interp_dsl.dictionaries.architectures.relu import Relu
from interp_dsl.dictionaries.architectures.topk import BatchTopK, Matryoshka, TopK

__all__ = [
    "Architecture",
    "BatchTopK",
    "Found",
    "Gated",
    "JumpRelu",
    "Matryoshka",
    "Now",
    "Params",
    "Relu",
    "Sizes",
    "TopK",
]
