"""What edge attribution costs, in forward and backward passes of the plain compiled forward over the
same prompts, in one process, best of several rounds in which all take turns.

    python benchmarks/circuits/attribution.py --preset gpt2-small --batch 8 --length 20

The model is a seeded random GPT-2; values of weights do not matter to cost. EAP and EAP-IG include
the corrupt run that their differences come from; the plain pass has none."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.edges import eap, eap_ig
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.nodes import attribution_patching
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.compiled.weights import from_tensors
from interp_dsl.models.compiled.description import describe_native
from interp_dsl.models.edits import Edit
from interp_dsl.models.graph import Graph
from interp_dsl.models.native_config import parse
from interp_dsl.models.shape import ModelFacts
from interp_dsl.models.weights import expected
from interp_dsl.plan.places import Site
