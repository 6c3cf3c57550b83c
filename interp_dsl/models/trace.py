"""The hooks of one forward pass: edits made, sites kept, firings counted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp_dsl.models import points
from interp_dsl.models.edits import Edit, apply
from interp_dsl.models.errors import failure
from interp_dsl.models.sites import missing
from interp_dsl.plan.places import INPUT_SITES, Site, Target

if TYPE_CHECKING:
    from interp_dsl.models.hooked import HookedExecutor

Change = Callable[[Tensor], Tensor]


class Trace:
    """`hooks` is what the bridge takes; `captured` fills as the pass runs.

    Hooks are registered in the order of the forward pass, so that at a point that several sites
    share (a head, attn_out and resid_mid are all changed at the attention's output) each sees what
    the one before it left."""

    def __init__(
        self,
        executor: HookedExecutor,
        size: tuple[int, ...],
        edits: Sequence[Edit],
        sites: Sequence[Site],
    ) -> None:
        """`size` is the shape of the tokens, [B, T]."""
        self.executor = executor
        self._size = size
        self.captured: dict[Site, Tensor] = {}
        self.hooks: list[tuple[str, Callable[..., Tensor]]] = []
        self._fired: list[int] = []
        self._wanted = frozenset(sites)
        self._kept: dict[tuple[str, int | None], Tensor] = {}
        self._edits: dict[Site, list[Edit]] = defaultdict(list)
        for edit in edits:
            self._edits[points.as_named(edit.site)].append(edit)
        used = {*self._edits, *sites} - {Site("logits")}
        if Site("logits") in self._edits:
            raise failure(
                "E601", "logits are an output: they can be read, not changed", exit_code=1
            )
        for site in sorted(used, key=_depth):
            self._add_site(site)

    @property
    def takes_inputs_apart(self) -> bool:
        """Whether a head's own input is changed or kept."""
        return any(site.kind in INPUT_SITES for site in (*self._edits, *self._wanted))

    def check_fired(self) -> None:
        """Raises InterpError E600 unless every hook fired exactly once."""
        for (name, _), count in zip(self.hooks, self._fired, strict=True):
            if count != 1:
                raise failure(
                    "E600",
                    f"the hook {name} of {self.executor.facts.name} fired {count} times in one "
                    "forward pass, not once",
                    notes=("an edit there would be lost, or made more than once",),
                    exit_code=1,
                )

    def _add_site(self, site: Site) -> None:
        if site.kind == "hook":
            assert site.hook is not None
            self._add(site.hook, partial(self._at_hook, site))
            return
        reason = missing(Target(site), self.executor.facts.shape)
        if reason is not None:  # some bridges have a hook there all the same
            raise failure(
                "E603",
                f"{self.executor.facts.name} has no {site.kind}",
                notes=(reason,),
                exit_code=1,
            )
        hook, form = points.point(site.kind, site.layer)
        if site.kind == "head":
            self._add(points.point("z", site.layer).hook, partial(self._keep, ("z", site.layer)))
            self._add(hook, partial(self._at_heads, site))
        elif site.kind == "resid_mid":
            before = points.point("resid_pre", site.layer).hook
            self._add(before, partial(self._keep, ("resid_pre", site.layer)))
            self._add(hook, partial(self._at_resid_mid, site))
        else:
            self._add(hook, partial(self._at_point, site, form))
            if site.kind == "pattern" and site in self._edits:
                self._prove_pattern(site)

    def _prove_pattern(self, site: Site) -> None:
        """On some architectures the pattern that a hook shows is not the one that the model uses:
        then z is not pattern x v after an edit."""
        if self.executor.is_proven(site):
            return
        layer = site.layer
        self._add(points.point("v", layer).hook, partial(self._keep, ("v", layer)))
        self._add(points.point("pattern", layer).hook, partial(self._keep, ("pattern", layer)))
        self._add(points.point("z", layer).hook, partial(self._at_mixed_values, site))

    def _at_mixed_values(self, site: Site, raw: Tensor) -> Tensor:
        if ("pattern", site.layer) not in self._kept:
            raise self.executor.underivable(site, "the pattern is shown after it was used")
        pattern, values = self._kept["pattern", site.layer], self._kept["v", site.layer]
        values = values.repeat_interleave(pattern.shape[1] // values.shape[2], dim=2)
        self.executor.prove(site, torch.einsum("bhqk,bkhe->bqhe", pattern, values), raw)
        return raw

    def _add(self, name: str, change: Change) -> None:
        self.executor.require_hook(name)
        number = len(self._fired)
        self._fired.append(0)

        def fire(tensor: Tensor, hook: Any) -> Tensor:
            self._fired[number] += 1
            return change(tensor)

        self.hooks.append((name, fire))

    def _keep(self, key: tuple[str, int | None], raw: Tensor) -> Tensor:
        self._kept[key] = raw
        return raw

    def _changed(self, site: Site, x: Tensor) -> Tensor:
        """Canonical X after the site's edits, kept where it was asked for."""
        x = self._edited(site, x)
        if site in self._wanted:
            self.captured[site] = x.to(self.executor.device)
        return x

    def _edited(self, site: Site, x: Tensor) -> Tensor:
        """Canonical X after the site's edits. A layer of a spread model may lie on another device
        than the edits."""
        edits = self._edits.get(site)
        return apply(x, [edit.to(x.device) for edit in edits]) if edits else x

    def _at_point(self, site: Site, form: points.Form, raw: Tensor) -> Tensor:
        return points.native(self._changed(site, points.canonical(raw, form)), form)

    def _at_heads(self, site: Site, raw: Tensor) -> Tensor:
        """A head's output is z W_O; a change of it is added to the attention's output."""
        assert site.layer is not None
        z = self._kept["z", site.layer]
        old = torch.einsum("bthe,hed->bthd", z, self.executor.output_weight(site.layer))
        bias = self.executor.output_bias(site.layer)
        total = old.sum(2)
        self.executor.prove(site, total if bias is None else total + bias, raw)
        new = self._changed(site, old)
        return raw if new is old else raw + (new - old).sum(2)

    def _at_resid_mid(self, site: Site, raw: Tensor) -> Tensor:
        """The stream after attention is resid_pre + attn_out; a change of it is a change of the
        attention's output, which reaches both the MLP and the skip connection."""
        old = (self._kept["resid_pre", site.layer].to(raw.device) + raw).unsqueeze(2)
        new = self._changed(site, old)
        return raw if new is old else raw + (new - old).squeeze(2)

    def _at_hook(self, site: Site, raw: Tensor) -> Tensor:
        if site in self._edits:
            raw = self._edited_hook(site, raw)
        if site in self._wanted:
            self.captured[site] = raw.to(self.executor.device)
        return raw

    def _edited_hook(self, site: Site, raw: Tensor) -> Tensor:
        """A raw hook is changed where it can be seen as [B, T, W] or [B, T, index, W]."""
        assert site.hook is not None
        form: points.Form = "flat" if raw.ndim == 3 else "heads"
        where = self.executor.bridge.hook_dict[site.hook].pos_dim
        has_positions = raw.ndim in (3, 4) and tuple(raw.shape[:2]) == self._size
        if not has_positions or where not in (None, 1) or site.hook.endswith("attn_scores"):
            raise failure(
                "E601",
                f"{site.hook} of {self.executor.facts.name} cannot be changed: its tensor "
                f"{list(raw.shape)} is not [batch, position, …]",
                help="change one of the language's own places, such as L0H0.q or L0H0.pattern",
                exit_code=1,
            )
        return points.native(self._edited(site, points.canonical(raw, form)), form)


def _depth(site: Site) -> tuple[float, int]:
    """Raw hooks come last, so that they see what the sites at the same point left."""
    depth = -1.0 if site.layer is None else float(site.layer)
    return (math.inf if site.kind == "hook" else depth), points.ORDER.index(site.kind)
