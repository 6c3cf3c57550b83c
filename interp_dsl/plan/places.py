"""Where an intervention acts: sites, positions, units. Plain data, no torch.

A site is one activation tensor of the model. In the canonical form every site is
[batch, position, index, width]: a residual stream has one index, queries one a head, MLP neurons
one a neuron with width 1, an attention pattern [query, head, key]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

RESIDUAL_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_in", "mlp_out")
INPUT_SITES = ("q_input", "k_input", "v_input")
_OF_MLP = ("resid_mid", "mlp_in", "neuron", "mlp_out", "resid_post")
"""In the order in which a pass reaches them."""
HEAD_SITES = ("q", "k", "v", "z", "head", "pattern", *INPUT_SITES)


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """`kind` is one of:
    embed, pos_embed, logits (no layer);
    resid_pre, resid_mid, resid_post, attn_out, mlp_in, mlp_out (width d_model; mlp_in is what the
    MLP alone reads of the stream, before its norm);
    q, k, v, z (width d_head; k and v count key/value heads), head (a head's output to the residual
    stream, width d_model), pattern (query x key, after the softmax), q_input, k_input, v_input
    (what a head alone reads of the stream for its queries, a key/value head for its keys and
    values, before the norm, width d_model);
    neuron (MLP activations after the non-linearity, index = neuron, width 1);
    hook (a TransformerLens hook name in `hook`, layer None);
    edge (of the model's graph, as the language writes it in `edge`; no tensor of its own);
    feature (of the dictionary `feature`, as the language writes it, index = feature; it has no
    tensor of its own, but a part of that of the place `of` and its index `part`, which its
    dictionary reads; a transcoder writes to `onto`, a crosscoder reads and writes `others` too,
    places with their index as `part`);
    error (what that dictionary leaves unexplained of what it rebuilds, y - ŷ, of its width)."""

    kind: str
    layer: int | None = None
    hook: str | None = None
    edge: str | None = None
    feature: str | None = None
    of: str | None = None
    part: int | None = None
    onto: Site | None = field(default=None, repr=False)  # noise is drawn by what a site reads as
    others: tuple[Site, ...] = field(default=(), repr=False)

    @property
    def read(self) -> tuple[Site, ...]:
        """The places that its dictionary reads, with their indices; itself of all other sites."""
        return (Site(self.of, self.layer, part=self.part), *self.others) if self.of else (self,)

    @property
    def rebuilt(self) -> tuple[Site, ...]:
        """The places that its dictionary rebuilds, at which it is changed."""
        return self.read if self.onto is None else (self.onto,)

    @property
    def tensor(self) -> Site:
        """A place's site, without its index."""
        return self if self.part is None else replace(self, part=None)

    @property
    def own(self) -> Site:
        """The site whose tensor holds this: of a feature or an error, what its dictionary reads."""
        return Site(self.of, self.layer) if self.of is not None else self

    @property
    def written(self) -> Site:
        """The site at which this is changed, the first of several."""
        return self.own if self.onto is None else self.onto.tensor

    @property
    def ends(self) -> tuple[tuple[Site, ...], tuple[Site, ...]]:
        """The sites of which this is read, and those at which it is changed."""
        read, rebuilt = (tuple(p.tensor for p in ps) for ps in (self.read, self.rebuilt))
        return read, rebuilt

    @property
    def told_by(self) -> tuple[Site, ...]:
        """The sites whose tensors tell what this is."""
        read, rebuilt = self.ends
        return tuple(dict.fromkeys((*read, *(rebuilt if self.kind == "error" else ()))))

    @property
    def can_be_read_live(self) -> bool:
        """Whether a pass that has come to what is rebuilt has just shown what is read: it is the
        same place, or both are of the MLP of one layer."""
        own, written = self.own, self.written
        if self.others:
            return False
        is_of_one_mlp = own.layer == written.layer and {own.kind, written.kind} <= {*_OF_MLP}
        return own == written or (
            is_of_one_mlp and _OF_MLP.index(own.kind) < _OF_MLP.index(written.kind)
        )


def telling(found: Iterable[Site]) -> tuple[Site, ...]:
    """The sites that tell what features and errors are, those among these."""
    return tuple(dict.fromkeys(at for site in found if site.feature for at in site.told_by))


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of a prompt, resolved for each prompt by the data.

    kind      parts / fields used
    all       every real token
    index     `index`, counted from 0
    label     `label`, and `pick` first or last of its tokens, None for all of them
    first     the first token (BOS where there is one)
    last      the last token that is not padding
    union     `parts` at once
    minus     parts[0] without parts[1]
    entry     of a pattern: parts[0] = key positions, parts[1] = query positions
    each      every position a unit of its own; expanded before anything runs
    """

    kind: str
    index: int | None = None
    label: str | None = None
    pick: str | None = None
    parts: tuple[Positions, ...] = ()

    def __str__(self) -> str:
        match self.kind:
            case "index":
                return str(self.index)
            case "label":
                return f"{self.label}.{self.pick}" if self.pick else str(self.label)
            case "union":
                return f"together({', '.join(map(str, self.parts))})"
            case "minus":
                return f"{self.parts[0]} - {self.parts[1]}"
            case "entry":
                return f"{self.parts[0]} -> {self.parts[1]}"
            case _:
                return self.kind


ALL = Positions("all")
EACH = Positions("each")


@dataclass(frozen=True, slots=True)
class Target:
    """One place at its positions: `index` is a head or a neuron, None where a site has one index
    or where every index is meant (`L3.pattern` unheaded does not exist; a hook's whole tensor
    does). `model`: the task of its model, where places of several models go together; None for that
    of the run."""

    site: Site
    index: int | None = None
    positions: Positions = ALL
    model: str | None = None

    @property
    def place(self) -> str:
        """The place as the language writes it: `L9H6.q`, `L3.mlp[512]`, `base.L5.resid_pre`."""
        return self._own if self.model is None else f"{model_name(self.model)}.{self._own}"

    @property
    def _own(self) -> str:
        layer, kind = self.site.layer, self.site.kind
        if kind == "hook":
            return f'"{self.site.hook}"'
        if kind == "edge":
            return str(self.site.edge)
        if kind == "feature":
            step, bracket, label = str(self.site.feature).partition("[")
            inner = f"{label.removesuffix(']')}, " if bracket else ""
            return f"{step}[{inner}{self.index}]"
        if kind == "error":
            return f"errors({self.site.feature})"
        if layer is None:
            return kind
        if kind == "head":
            return f"L{layer}H{self.index}"
        if kind == "neuron":
            return (
                f"neurons layers {layer}" if self.index is None else f"L{layer}.mlp[{self.index}]"
            )
        if kind == "mlp_out":
            return f"L{layer}.mlp"
        if kind in HEAD_SITES:
            return f"L{layer}H{self.index}.{kind}"
        return f"L{layer}.{kind}"

    def __str__(self) -> str:
        return self.place if self.positions == ALL else f"{self.place} at {self.positions}"


def model_name(model: str) -> str:
    """The name that a model's task was declared under."""
    return model.removeprefix("model:")


@dataclass(frozen=True, slots=True)
class Unit:
    """Targets changed at once; one for a plain unit, several for `together(…)`."""

    targets: tuple[Target, ...]

    @property
    def place(self) -> str:
        """The unit as the language writes it, without a position that all targets share."""
        if self.shared_positions is None:
            return f"together({', '.join(map(str, self.targets))})"
        if len(self.targets) == 1:
            return self.targets[0].place
        return f"together({', '.join(t.place for t in self.targets)})"

    @property
    def is_live(self) -> bool:
        """Whether its features are read as a pass goes: where it changes other places too, they
        need not be what they were."""
        return len({t.site.ends for t in self.targets}) > 1

    @property
    def shared_positions(self) -> Positions | None:
        positions = {t.positions for t in self.targets}
        return positions.pop() if len(positions) == 1 else None

    @property
    def position(self) -> str:
        """The position column of a score row; `all` when the unit acts everywhere."""
        return str(self.shared_positions or "mixed")

    def __str__(self) -> str:
        return (
            self.place if self.position in ("all", "mixed") else f"{self.place} at {self.position}"
        )


@dataclass(frozen=True, slots=True)
class Length:
    """How far along a direction: `scale` says in what. l2: of the unit direction; norm: a share of
    the site's median norm; own: of the direction's own length."""

    value: float
    scale: str = "l2"

    def __str__(self) -> str:
        match self.scale:
            case "norm":
                return f"{100 * self.value:g}%"
            case "own":
                return f"{self.value:g}x"
            case _:
                return f"{self.value:g}"


@dataclass(frozen=True, slots=True)
class Point(Unit):
    """A unit moved along a path, by name: along its direction of a number, by a length."""

    path: str = ""
    number: int = 0
    length: Length = Length(0.0)

    def __str__(self) -> str:
        return f"{Unit.__str__(self)} moved by {self.length} along {self.path}"
