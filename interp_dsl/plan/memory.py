"""Bytes: of what is kept for later, and of one batch on its way through the model."""

from __future__ import annotations

from collections.abc import Collection

from interp_dsl.plan.places import Site
from interp_dsl.plan.starts import joined
from interp_dsl.plan.tasks import DataSize, ModelSize
from interp_dsl.plan.work import Reads

BYTES = 4
"""Of a number in float32: logits and what metrics make of them, whatever a model's dtype."""
NUMBERS = {"bfloat16": 2, "float16": 2, "float64": 8}
"""Bytes of one where a model's dtype is not float32."""


def tested_at_once(one: int, device: str) -> int:
    """How many candidates a search of edges tests at once, of which a node has `one` numbers each.
    Guesses that fail cost work: on a processor they pay where passes are so small that most of
    their time goes into starting operations, elsewhere until the device is busy."""
    most, numbers = (16, 2**20) if device == "cpu" else (32, 2**26)
    return max(1, min(most, numbers // one))


SLOPED = 4_096
"""Tokens whose slopes are taken at once: a slope keeps what all layers made."""
WRITTEN = 2**25
"""Numbers that all senders of a batch write in a graph of edges."""
SHARE = 4
"""How many times fewer of these are written where slopes are taken."""


def sloped_bytes(model: ModelSize, data: DataSize, senders: int) -> int:
    """What a batch holds whose slopes are taken: of every layer what it made and its gradient; for
    edges also of all `senders` what each writes, in the run and its source, how these differ, and
    about as much again of what the heads read, its gradients and their products."""
    rows = max(1, SLOPED // data.width)
    if senders:
        rows = max(1, WRITTEN // SHARE // (senders * data.width * model.d_model))
    tokens = min(rows, data.n) * data.width
    written = 6 * model.number * senders * model.d_model
    return tokens * (2 * model.n_layers * token_bytes(model) + written)


def site_bytes(site: Site, model: ModelSize, data: DataSize) -> int:
    """One captured site of all examples."""
    width = {
        "q": model.n_heads * model.d_head,
        "z": model.n_heads * model.d_head,
        "k": model.n_kv_heads * model.d_head,
        "v": model.n_kv_heads * model.d_head,
        "head": model.n_heads * model.d_model,
        "q_input": model.n_heads * model.d_model,
        "k_input": model.n_kv_heads * model.d_model,
        "v_input": model.n_kv_heads * model.d_model,
        "pattern": model.n_heads * data.width,
        "neuron": model.d_mlp,
        "logits": model.d_vocab,
    }.get(site.kind, model.d_model)
    return model.number * data.n * data.width * width


def remembered_bytes(parts: Collection[str], model: ModelSize, data: DataSize) -> int:
    """What late passes start from: of every layer the stream before it and behind its attention,
    queries, keys and values, z of all examples."""
    heads, kv = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    widths = {"queries": heads, "keys": 2 * kv, "z": heads}
    width = sum(widths.get(part, model.d_model) for part in parts)
    return model.number * model.n_layers * data.n * data.width * width


def token_bytes(model: ModelSize) -> int:
    """A position's share of a batch where it is largest: room for queries, keys and values, or the
    MLP's activations and a gate's; with it the stream and its norm, or the stream, the queries of
    rows that are taken up late, and z."""
    heads, kv = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    room = max(heads + 2 * kv, (4 if model.is_gated else 1) * model.d_mlp)
    return model.number * (room + model.d_model + max(model.d_model, 2 * heads))


def kept_bytes(model: ModelSize, sites: Collection[Site]) -> int:
    """A position's share of places of the stream that a batch keeps."""
    return model.number * model.d_model * len(sites)


def joined_bytes(model: ModelSize, rows: int, positions: int, data: DataSize) -> int:
    """Keys and values of all positions that some rows of a batch at a time attend to, once more
    those that were before; each row has so many positions of its own."""
    width = model.n_kv_heads * model.d_head
    numbers = joined(rows, positions, data.width, width) * data.width * width
    return 3 * model.number * numbers


def edge_token_bytes(model: ModelSize, travels: bool = False) -> int:
    """What a position of an edge-patched pass holds besides: of every writer what it writes and how
    the source differs, and what each head of a layer reads as queries, keys and values. Where
    effects travel before they enter, what each writes in the run too, how it differs, and their
    sum."""
    written = (5 if travels else 2) * writers(model)
    return model.number * model.d_model * (written + 6 * model.n_heads)


def writers(model: ModelSize) -> int:
    """The nodes that write to the residual stream, at most."""
    return model.n_layers * (model.n_heads + 1) + 2


def read_bytes(model: ModelSize, read: Reads, positions: int) -> int:
    """The streams of a row's read positions, their logits in float32 (of another dtype in that
    too), and the copy that metrics make of these."""
    count = positions if read.count is None else read.count
    own = 0 if model.number == BYTES else model.number
    return model.number * count * model.d_model + (own + 2 * BYTES) * read.logits(model, positions)


def batch_bytes(model: ModelSize, rows: int, positions: int, read: Reads) -> int:
    """The most that a batch of `rows` of so many positions holds: its activations or its logits,
    and with either the places that it keeps."""
    largest = max(positions * token_bytes(model), read_bytes(model, read, positions))
    return rows * (largest + positions * kept_bytes(model, read.kept))
