"""Steps that read the same data in several models: crosscoders between them."""

from __future__ import annotations

from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import Call, Model, Side


def check_beside(
    call: Call, checks: Checks, side: Side, models: tuple[Model, ...], word: str
) -> None:
    """The data in the clause `word` are the same tokens for all models, each as it is."""
    if side.under:
        checks.error(
            "E306",
            "an intervention is in one model, and these data are read in several",
            call.spans[word],
            label=f"in {', '.join(model.name for model in models)}",
            help="leave `under` away",
        )
    checks.check_same(call, side, models, word)
