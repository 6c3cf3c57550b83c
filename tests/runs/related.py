"""Tables of relations and planes made by hand."""

from __future__ import annotations

from itertools import product

import polars as pl

from interp_dsl.runs.curves import TABLES
from interp_dsl.runs.related import TABLES as RELATED
from interp_dsl.runs.schema import plain_table

PAIRS = [
    ("L0.resid_post", 1, "L1.resid_post", 4, 0.9),
    ("L0.resid_post", 1, "L1.resid_post", 5, 0.4),
    ("L0.resid_post", 2, "L1.resid_post", 5, 0.7),
    ("L1.resid_post", 4, "L2.resid_post", 7, 0.95),
    ("L1.resid_post", 5, "L2.resid_post", 8, 0.3),
]
COMMUNITIES = [
    ("L1.resid_post", 5, 1),
    ("L0.resid_post", 2, 1),
    ("L0.resid_post", 1, 3),
    ("L1.resid_post", 4, 3),
    ("L2.resid_post", 7, 3),
]


def pairs() -> pl.DataFrame:
    """Pearson as above, jaccard the other way round."""
    rows = [
        {
            **dict.fromkeys(RELATED["pairs"], 0.25),
            "below": below,
            "i": i,
            "above": above,
            "j": j,
            "pearson": value,
            "jaccard": 1 - value,
            "decoder_cosine": None,
            "support": 40,
        }
        for below, i, above, j, value in PAIRS
    ]
    return plain_table(rows, RELATED["pairs"])


def communities() -> pl.DataFrame:
    names = RELATED["communities"]
    return plain_table([dict(zip(names, row, strict=True)) for row in COMMUNITIES], names)


def planes() -> pl.DataFrame:
    """Two prompts, four by four points: alike to a on the left, to b on the right, to c above."""
    ticks = (-0.25, 0.25, 0.75, 1.25)
    rows = []
    for prompt, across, along in product((0, 1), ticks, ticks):
        alike = [max(0.0, min(1.0, x)) for x in (1 - along - across, along - across, across)]
        rows.append(
            {
                "unit": "L0.resid_post",
                "position": "last",
                "prompt": prompt,
                "along": along,
                "across": across,
                **dict(zip("abc", alike, strict=True)),
                "nearest": "abc"[alike.index(max(alike))],
                "token": " up" if across > 0.5 else " down",
            }
        )
    return plain_table(rows, TABLES["planes"])
