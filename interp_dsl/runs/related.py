"""The columns of the tables that `relate` leaves behind its step's name, as `graph.pairs`.

pairs        pairs of features that were kept, with every measure; `support` tokens that both are
             on, `lift` P(above on | below on) / P(above on), `lift_low` its lower bound
gates        upper features that two and more lower ones make up, and how well they do; `child_of`
             the input whose size the output has
verified     what ablating the lower feature takes from the upper one on tokens that it is on:
             `effect` its mean change with `std` over `n` tokens, `lost` that as a share of its mean
communities  features that are in one with others"""

from __future__ import annotations

from interp_dsl.runs.schema import Kind

TABLES: dict[str, dict[str, Kind]] = {
    "pairs": {
        "below": "text",
        "i": "integer",
        "above": "text",
        "j": "integer",
        "pearson": "number",
        "cosine": "number",
        "jaccard": "number",
        "sufficiency": "number",
        "necessity": "number",
        "mutual_information": "number",
        "decoder_cosine": "number",
        "support": "integer",
        "lift": "number",
        "lift_low": "number",
    },
    "gates": {
        "layer": "text",
        "kind": "text",
        "output": "integer",
        "inputs": "text",
        "precision": "number",
        "recall": "number",
        "f1": "number",
        "best_single": "number",
        "support": "integer",
        "child_of": "integer",
    },
    "verified": {
        "below": "text",
        "i": "integer",
        "above": "text",
        "j": "integer",
        "measure": "number",
        "effect": "number",
        "std": "number",
        "lost": "number",
        "n": "integer",
    },
    "communities": {"layer": "text", "feature": "integer", "community": "integer"},
}
