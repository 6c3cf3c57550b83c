"""Which token follows, of what a model expects."""

from __future__ import annotations

from torch import Tensor, searchsorted


def chosen(logits: Tensor, temperature: float, top_p: float, draws: Tensor) -> Tensor:
    """A token [B] for each row of logits [B, V], by its draw [B] from [0, 1): the first whose
    cumulated probability exceeds it. Of p = softmax(logits ÷ temperature) those are left that are
    likely enough to have `top_p` together (Holtzman et al. 2020, arXiv 1904.09751); at temperature
    0 it is the most likely token, without a draw."""
    if not temperature:
        return logits.argmax(-1)
    if logits.device.type == "mps":  # has no float64
        logits = logits.cpu()
    likely, order = (logits.double() / temperature).softmax(-1), None
    if top_p < 1:
        likely, order = likely.sort(dim=-1, descending=True, stable=True)
        before = likely.cumsum(-1) - likely
        likely = likely.masked_fill(before >= top_p, 0.0)  # the first is always in
    total = likely.cumsum(-1)
    reached = draws.to(total.device)[:, None] * total[:, -1:]
    place = searchsorted(total, reached, right=True).clamp(max=total.shape[1] - 1)
    return (place if order is None else order.gather(1, place))[:, 0]
