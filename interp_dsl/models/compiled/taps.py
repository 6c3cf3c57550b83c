"""The edits and captures of one pass, by place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import points
from interp_dsl.models.edits import Edit, apply, entries, flat
from interp_dsl.models.errors import failure
from interp_dsl.models.shape import ModelFacts
from interp_dsl.models.sites import missing
from interp_dsl.plan.places import Site, Target

Place = tuple[str, int | None]


@dataclass(frozen=True)
class Window:
    """The positions of the prompts that a stream holds: those from `start` on, or `picked`
    [B, r] (in the processor's memory)."""

    start: int = 0
    picked: Tensor | None = None

    def holds_all(self) -> bool:
        return self.start == 0 and self.picked is None


class Taps:
    """Where a pass changes and keeps activations. At one place the language's own sites come
    first, then raw hooks, as under the hooked executor."""

    def __init__(self, facts: ModelFacts, edits: Sequence[Edit], sites: Sequence[Site]) -> None:
        """Raises InterpError E601 for an edit of the logits, E606 for a place that the compiled
        forward does not have."""
        self.facts = facts
        self.captured: dict[Site, Tensor] = {}
        self.window = Window()
        self._edits: dict[Place, list[Edit]] = defaultdict(list)
        self._raw_edits: dict[Place, list[Edit]] = defaultdict(list)
        self._wanted: dict[Place, list[Site]] = defaultdict(list)
        for edit in edits:
            site = points.as_named(edit.site)
            by_place = self._raw_edits if site.kind == "hook" else self._edits
            by_place[self._place(site)].append(edit)
        for site in sites:
            self._wanted[self._place(site)].append(site)
        if ("logits", None) in self._edits:
            raise failure(
                "E601", "logits are an output: they can be read, not changed", exit_code=1
            )
        self._check_shared_hooks()
        self._touched = frozenset(self.edited() | self.wanted())

    def edited(self) -> set[Place]:
        return set(self._edits) | set(self._raw_edits)

    def wanted(self) -> set[Place]:
        return set(self._wanted)

    def touches(self, kind: str, layer: int | None) -> bool:
        return (kind, layer) in self._touched

    def wants(self, kind: str, layer: int | None) -> bool:
        return (kind, layer) in self._wanted

    def edits_at(self, kind: str, layer: int | None) -> list[Edit]:
        """The edits of a place, their positions counted in the window."""
        return [in_window(edit, self.window) for edit in self._edits.get((kind, layer), ())]

    def at(
        self,
        kind: str,
        layer: int | None,
        raw: Tensor,
        form: points.Form,
        in_place: bool = False,
    ) -> Tensor:
        """A place's own tensor after its edits, kept where it was asked for. `in_place` where
        nothing else reads what it was."""
        place = (kind, layer)
        if place not in self._touched:
            return raw
        if place in self._edits:
            edits = self.edits_at(kind, layer)
            raw = points.native(apply(points.canonical(raw, form), edits, in_place), form)
        if place in self._raw_edits:
            raw_form: points.Form = "flat" if raw.ndim == 3 else "heads"
            edits = [in_window(edit, self.window) for edit in self._raw_edits[place]]
            raw = points.native(apply(points.canonical(raw, raw_form), edits, in_place), raw_form)
        for site in self._wanted.get(place, ()):
            is_hook = site.kind == "hook"
            self.captured[site] = raw if is_hook else points.canonical(raw, form)
        return raw

    def _place(self, site: Site) -> Place:
        kind, layer = (site.kind, site.layer) if site.kind != "hook" else self._hooked(site)
        reason = missing(Target(Site(kind, layer), 0), self.facts.shape)
        if reason:
            raise self._absent(site, reason)
        return kind, layer

    def _hooked(self, site: Site) -> Place:
        """The place that a TransformerLens hook names."""
        place = hooked(site)
        if place is None:
            raise self._absent(site, "it computes the language's own places only")
        return place

    def _check_shared_hooks(self) -> None:
        """`hook_attn_out` also carries the changes of resid_mid: their order would be another."""
        for hook in [s for sites in self._wanted.values() for s in sites if s.kind == "hook"] + [
            edit.site for edits in self._raw_edits.values() for edit in edits
        ]:
            kind, layer = self._hooked(hook)
            if kind == "attn_out" and ("resid_mid", layer) in self._edits:
                raise self._absent(hook, "resid_mid of the same layer is changed too")

    def _absent(self, site: Site, reason: str) -> InterpError:
        name = site.hook or f"{site.kind} of layer {site.layer}"
        return failure(
            "E606",
            f"the compiled forward of {self.facts.name} has no {name}",
            notes=(reason,),
            help="the hooked executor has all of TransformerLens's hooks",
            exit_code=1,
        )


_HOOKED = {
    "blocks.{}.hook_resid_mid": "resid_mid",
    **{
        point.hook: kind
        for kind, point in points.POINTS.items()
        if kind not in ("head", "resid_mid")
    },
}


def hooked(site: Site) -> Place | None:
    """The place that a TransformerLens hook names; None where it is none of ours."""
    assert site.hook is not None
    parts = site.hook.split(".")
    is_layered = len(parts) >= 3 and parts[0] == "blocks" and parts[1].isdigit()
    layer = int(parts[1]) if is_layered else None
    template = ".".join(("blocks", "{}", *parts[2:])) if is_layered else site.hook
    return (_HOOKED[template], layer) if template in _HOOKED else None


def in_window(edit: Edit, window: Window) -> Edit:
    """The edit with its positions counted in a stream's window; entries outside are left out."""
    if window.holds_all():
        return edit
    if window.picked is None:
        if not bool((edit.positions < window.start).any()):
            return replace(edit, positions=edit.positions - window.start)
        edit = flat(replace(edit, valid=edit.valid & (edit.positions >= window.start)))
        return replace(edit, positions=edit.positions - window.start)
    edit = flat(edit)
    entry, slot = (edit.positions == window.picked[edit.rows]).nonzero(as_tuple=True)
    return replace(
        edit,
        rows=edit.rows[entry],
        index=edit.index[entry],
        positions=slot[:, None],
        valid=edit.valid[entry],
        value=None if edit.value is None else entries(edit.value, entry),
        keys=None if edit.keys is None else entries(edit.keys, entry),
    )
