"""Mean activations over the examples of a run, in the five ways that `mean(…, per=…)` offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.data.types import Side
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import Memo, State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import entries, moved
from interp_dsl.plan.algebra import Mean, Run
from interp_dsl.plan.places import Positions, Site

if TYPE_CHECKING:
    from interp_dsl.engine.sources import Address


class Means:
    """Values of a Mean source for rows of `into`; `read` gives what is averaged of a site [n, T,
    index, width], where that is not what the source's run kept of it."""

    def __init__(
        self,
        state: State,
        source: Mean,
        into: Run,
        read: Callable[[Site], Tensor] | None = None,
    ) -> None:
        self.state, self.source, self.into = state, source, into
        self._read = read or (lambda site: state.captured(source.run, site))
        self.side, self.target = state.side(source.run), state.side(into)
        self._once = Memo()

    def __call__(self, at: Address) -> Tensor:
        own, keys = ends(at.positions)
        where = self.state.slots(self.into, own).index[at.examples]
        index = at.index[:, None]
        match self.source.per:
            case "position":
                table = self._table(at.site, "position", np.zeros(len(self.side.tokens), int))
                return entries(table, torch.zeros_like(where), self._inside(where), index)
            case "template":
                table = self._table(at.site, "template", self._templates(self.source.run))
                mine = torch.from_numpy(self._templates(self.into))[at.examples]
                return entries(table, mine[:, None], self._inside(where), index)
            case "label":
                if keys is not None:
                    raise self._refusal("an attention pattern's entry has two labels")
                table = self._by_label(at.site, own)
                return entries(table, torch.arange(where.shape[1])[None], index)
            case "token":
                table, row_of = self._by_token(at.site)
                tokens = torch.from_numpy(self.target.tokens)[at.examples[:, None], where]
                self._check_seen(row_of[tokens], tokens)
                return entries(table, row_of[tokens], index)
            case "all":
                return entries(self._over_all(at.site), index)
            case per:
                raise ValueError(f"unknown mean per {per!r}")

    # ---- by position

    def _table(self, site: Site, per: str, groups: NDArray[np.int64]) -> Tensor:
        """Means [groups, T, index, width]; prompts of one group must align."""

        def average() -> Tensor:
            for group in np.unique(groups):
                self._check_alike(np.flatnonzero(groups == group), per)
            captured = self._read(site)
            return _group_means(captured, torch.from_numpy(groups), int(groups.max()) + 1)

        return self._once(("means", site), average)

    def _check_alike(self, examples: Sequence[int] | NDArray[np.int64], per: str) -> None:
        lengths = self.side.lengths[examples]
        sizes = {name: np.diff(at[examples]) for name, at in self.side.labels.items()}
        uneven = [name for name, size in sizes.items() if np.ptp(size) > 0]
        if np.ptp(lengths) == 0 and not uneven:
            return
        why = f"prompts have {lengths.min()} to {lengths.max()} tokens"
        if np.ptp(lengths) == 0:
            why = f"{uneven[0]} has more tokens in some prompts than in others"
        others = [p for p in ("template", "label", "token", "all") if p != per]
        raise InterpError(
            Diagnostic(
                "E634",
                f"a mean per {per} needs prompts that align",
                notes=(why,),
                help="say " + ", ".join(f"per={p}" for p in others),
            )
        )

    def _inside(self, where: Tensor) -> Tensor:
        longest = int(self.side.lengths.max())
        if int(where.max()) < longest:
            return where
        # Padding of the changed side is never written, but still asked for.
        real = int(self.target.lengths.max())
        if real > longest:
            raise self._refusal(f"its prompts have {longest} tokens, the changed ones {real}")
        return where.clamp(max=longest - 1)

    def _templates(self, run: Run) -> NDArray[np.int64]:
        template = self.state.data[run.data].template
        if template is None:
            raise self._refusal(f"{self.state.data[run.data].name} has no templates")
        return template

    # ---- by label, token, all

    def _by_label(self, site: Site, positions: Positions) -> Tensor:
        """Means [k, index, width] over the examples' k-th tokens of a label."""
        captured = self._read(site)
        if not _is_named(positions):
            raise self._refusal(f"{positions} is no label")
        theirs = self.state.slots(self.source.run, positions)
        ours = self.state.slots(self.into, positions)
        if theirs.valid.shape[1] != ours.valid.shape[1] or not bool(
            theirs.valid.all() and ours.valid.all()
        ):
            raise self._refusal(f"{positions} differs in its number of tokens")
        rows = torch.arange(len(captured))[:, None]
        return entries(captured, rows, theirs.index).float().mean(0).to(captured.dtype)

    def _by_token(self, site: Site) -> tuple[Tensor, Tensor]:
        """Means [distinct tokens, index, width], and each token id's row (in the processor's
        memory), -1 for one not seen."""

        def average() -> tuple[Tensor, Tensor]:
            captured = self._read(site)
            ids = torch.from_numpy(self.side.tokens)
            kept = real_tokens(self.side, ids.device)
            distinct, row = torch.unique(ids[kept], return_inverse=True)
            real = entries(captured, *kept.nonzero(as_tuple=True))
            table = _group_means(real, row, len(distinct))
            most = max(int(ids.max()), int(self.target.tokens.max())) + 1
            row_of = torch.full((most,), -1)
            row_of[distinct] = torch.arange(len(distinct))
            return table, row_of

        return self._once(("tokens", site), average)

    def _check_seen(self, rows: Tensor, tokens: Tensor) -> None:
        if bool((rows < 0).any()):
            token = int(tokens[rows < 0][0])
            raise self._refusal(f"token {token} does not occur in the prompts averaged over")

    def _over_all(self, site: Site) -> Tensor:
        """Means [index, width] over all real tokens."""

        def average() -> Tensor:
            captured = self._read(site)
            kept = captured[real_tokens(self.side, captured.device)]
            return kept.float().mean(0).to(captured.dtype)

        return self._once(("mean", site), average)

    def _refusal(self, why: str) -> InterpError:
        others = [p for p in ("position", "template", "label", "token") if p != self.source.per]
        return InterpError(
            Diagnostic(
                "E635",
                f"mean(…, per={self.source.per}) has no value here",
                notes=(why,),
                help="say " + ", ".join(f"per={p}" for p in others) + " or per=all",
            )
        )


def real_tokens(side: Side, device: torch.device) -> Tensor:
    """Which tokens are no padding [n, T]."""
    lengths = torch.from_numpy(side.lengths).to(device)
    return torch.arange(side.tokens.shape[1], device=device)[None] < lengths[:, None]


def behind_first(side: Side, device: torch.device) -> Tensor:
    """Which tokens are counted in what is said of all [n, T]: real ones but the first, whose norm
    is an outlier."""
    counted = real_tokens(side, device)
    counted[:, 0] = False
    return counted


def _is_named(positions: Positions) -> bool:
    if positions.kind == "union":
        return all(map(_is_named, positions.parts))
    return positions.kind in ("label", "first", "last")


def _group_means(x: Tensor, groups: Tensor, n: int) -> Tensor:
    """Means of x [m, …] by group, [n, …]; summed in float32."""
    groups = moved(groups, x.device)
    sums = torch.zeros((n, *x.shape[1:]), device=x.device).index_add_(0, groups, x.float())
    counts = torch.zeros(n, device=x.device).index_add_(0, groups, torch.ones_like(groups).float())
    counts = counts.clamp(min=1)
    return (sums / counts.view(-1, *[1] * (x.dim() - 1))).to(x.dtype)
