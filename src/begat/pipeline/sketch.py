"""`sketch`: a fingerprint of one model, from a few per cent of its bytes.

Enters: a path or an opened checkpoint.  Leaves: a `Fingerprint`.  Two of them are tested against each other in `fingerprints.py`; what is public
about them is in `public.py`.

Of every site of `begat.signals.axes` some units are read at public indices, and of every unit `BITS` sign bits are kept. In the text tower
units are kept twice: as they are stored, and in coordinates that the embeddings of public tokens span (`begat.signals.token_frame`), in
which a rotated or permuted residual stream looks the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

import begat
from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.canon.roles import ROLES
from begat.errors import InputError, UntestableError, printable
from begat.fingerprint import SLOT_BITS, SLOTS, ContentBits, Fingerprint, OrderBits
from begat.pipeline.own import SKETCH, fixed_by_index, one_draw
from begat.pipeline.pose import Features, Pose
from begat.pipeline.probes import content_probes, order_probes
from begat.pipeline.public import (
    CONTENT_LAYERS,
    RESIDUAL_TOKENS,
    RUN,
    anchor_rows,
    anchors,
    public_experts,
    public_head,
    public_units,
    token_directions,
    view_directions,
)
from begat.pipeline.sampling import Plan, block_along, check_finite, generator, read_regular, read_view
from begat.signals.axes import AXES, Site, View
from begat.signals.content import choose, slot_bits
from begat.signals.indexed import INDEXED, index_scores
from begat.signals.order import varies
from begat.signals.signbits import sign_bits
from begat.signals.token_frame import token_frame
from begat.source import open_checkpoint, read_vocabulary
from begat.types import F32, I64, U8, Checkpoint, Progress, TensorKey

#: axes that are kept → units sampled per site
_UNITS = {
    "residual": 256,
    "latent-dims": 64,
    "kv-heads": 128,
    "value-dims": 32,
    "experts": 128,
    "mlp-units": 64,
    "expert-units": 32,
    "chain-units": 64,
}
#: routed experts sampled per layer
_EXPERTS = 2
#: axes that are read in the token frame too
_FRAMED = ("value-dims", "mlp-units", "expert-units")
#: the residual stream is sampled twice where token tables are read: 256 dims, and 32 for tables whose quantiser takes 32 at a time
_RUNS = ((256, 256), (32, 32))
_EMPTY = np.empty(0, dtype=np.int64)


#: weights that are not zero, of the median unit chosen by content: of units with a handful, strangers hold alike ones
_DENSE = 16
_UPS = ("mlp.up.weight", "expert.up.weight", "shared.up.weight")
#: axis, label, frame, layout, units, sampled
Key = tuple[str, str, str, str, int, int]


@dataclass(frozen=True, slots=True)
class _Anchors:
    ranks: list[bytes]
    rows: I64


@dataclass(frozen=True, slots=True)
class _Kept:
    bits_MB: U8
    by_index: bool
    digest: bytes


def sketch(
    model: str | Path | Checkpoint, *, base: str | Path | None = None, name: str = "", progress: Progress | None = None
) -> Fingerprint:
    """Make the fingerprint of a model.

    Args:
        model: weight file or folder, or an opened checkpoint.
        base: the base model, where `model` is a PEFT adapter folder.
        name: what to call it; by default the last part of its path.

    Raises:
        InputError: unreadable or damaged input.
        UntestableError: no tensor that any axis knows, an adapter without its base.
    """
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model, base)
    try:
        return _sketch(checkpoint, name or Path(checkpoint.path).resolve().name, progress)
    finally:
        checkpoint.reader.close()


def _sketch(checkpoint: Checkpoint, name: str, progress: Progress | None) -> Fingerprint:
    if any("without its base" in note for note in checkpoint.notes):
        raise UntestableError("is an adapter without its base model", file=checkpoint.path, fix="name the base with --base")
    model = resolve(checkpoint)
    towers = tuple(sorted({k.tower for k in model.tensors}))
    maker = _Maker(model, progress)
    groups: dict[Key, list[tuple[tuple[int, int, int], _Kept]]] = defaultdict(list)
    for site, key, kept in maker.run():
        groups[key].append(((towers.index(site.tower), site.layer, site.expert), kept))
    orders = tuple(_stack(key, sites) for key, sites in sorted(groups.items()))
    contents = tuple(maker.contents())
    if not orders:
        raise UntestableError("holds nothing that has an order to test", file=checkpoint.path,
                         expected="tensors of a supported architecture", found=f"{len(model.mapped)} known names of {len(checkpoint.entries)}",
                         fix="see docs/formats.md for the supported names")  # fmt: skip
    return Fingerprint(
        name=printable(name, 200),
        format=checkpoint.format,
        family=model.family,
        parameters=sum(checkpoint.entries[n].size for n in model.mapped),
        layers=1 + max((k.layer for k in model.tensors if k.tower == "text"), default=-1),
        header_digest=checkpoint.header_digest,
        towers=towers,
        tool=begat.__version__,
        stored=len(model.mapped) + len(model.dropped) + len(checkpoint.skipped) + len(model.unmapped),
        unmapped=len(model.unmapped),
        bytes_read=checkpoint.reader.bytes_read,
        bytes_total=checkpoint.nbytes,
        anchors=0 if maker.strings is None else len(maker.strings.rows),
        orders=orders,
        contents=contents,
        probes=(*order_probes(orders, towers), *content_probes(contents)),
        notes=tuple(maker.notes),
    )


def _stack(key: Key, sites: list[tuple[tuple[int, int, int], _Kept]]) -> OrderBits:
    sites = sorted(sites, key=lambda s: s[0])
    return OrderBits(
        *key[:5],
        place_S3=np.array([place for place, _ in sites], dtype=np.int32),
        bits_SMB=np.stack([k.bits_MB for _, k in sites]),
        by_index_S=np.array([k.by_index for _, k in sites], dtype=bool),
        digest_S8=np.array([list(k.digest) for _, k in sites], dtype=np.uint8),
    )


class _Maker:
    """Reads the sites of one model."""

    def __init__(self, model: Canonical, progress: Progress | None) -> None:
        self.model, self.progress = model, progress
        self.features, self.posed = Features(), Pose(model, model, {k: k for k in model.tensors})
        self.notes: list[str] = []
        self.fixed: set[tuple[str, str]] = set()  # axes and towers whose units stand by index
        self.embed = next(
            (k for role in ("embed.tokens", "head.weight") if (k := TensorKey("text", -1, role)) in model.tensors), None
        )
        rows = 0 if self.embed is None else model.tensors[self.embed].shape[0]
        self.by_row = _Anchors(*anchor_rows(rows))
        self.strings = self._strings(rows)
        self.frame_DN: F32 | None = None
        if self.embed is not None and self.strings is not None:
            e_ND = model.read(self.embed, self.strings.rows)
            check_finite(model, self.embed, e_ND)
            self.frame_DN = token_frame(e_ND)
        # units that follow the tokens they are read by: bits in that frame stand by index
        self.tied = self.frame_DN is not None and one_draw(model) is not None

    def _strings(self, rows: int) -> _Anchors | None:
        try:
            found = read_vocabulary(self.model.checkpoint.path) if rows else None
        except InputError as err:
            self.notes.append(f"the tokenizer cannot be used: {err}")
            return None
        if found is None:
            self.notes.append("no tokenizer lies beside the weights: a rotated relative cannot be found")
            return None
        made = _Anchors(*anchors(found.tokens, rows))
        return made if len(made.rows) > 1 else None

    def run(self) -> Iterator[tuple[Site, Key, _Kept]]:
        """(site, key of its group, what is kept of it)."""
        sites = [
            (axis, site)
            for axis, units in _UNITS.items()
            for site in AXES[axis].sites(self.model, self.model)
            if self._wanted(axis, site)
        ]
        if self.progress:
            self.progress.start("sketch", len(sites))
        for at in {(axis, site.tower) for axis, site in sites}:
            found = [site for axis, site in sites if (axis, site.tower) == at]
            if fixed_by_index(self.model, found, SKETCH) is not None:
                self.fixed.add(at)
        for axis, site in sites:
            if axis == "residual":
                yield from self._residual(site)
            else:
                yield from self._units(axis, site)
            if self.progress:
                self.progress.step()
        if self.progress:
            self.progress.done()

    def _wanted(self, axis: str, site: Site) -> bool:
        geometry = self.model.geometry[site.tower]
        if axis == "value-dims":
            return site.expert == public_head(geometry.kv_heads or 1)
        if axis == "expert-units":
            known = {k.expert for k in self.model.tensors if k.tower == site.tower and k.layer == site.layer and k.expert >= 0}
            return site.expert in public_experts(len(known), _EXPERTS)
        return site.label != "all"

    def _units(self, axis: str, site: Site) -> Iterator[tuple[Site, Key, _Kept]]:
        units = public_units(site.units, _UNITS[axis])
        views = self._exact_views(site.views, RUN if len(units) < site.units else site.units)
        if not any(v.take in ("rows", "columns") for v in views) or len(units) < 2:
            return
        blocks = self.features.stored(self.posed, views, units)
        if 2 * int(varies(blocks).sum()) < len(units):
            return
        layout = self._layout(axis, site, views)
        by_index = (axis, site.tower) in self.fixed or _stands_by_index(blocks, units)
        own = np.concatenate([view_directions(_name(v, False), b.shape[1]) for v, b in zip(views, blocks, strict=True)])
        yield site, (axis, "", "stored", layout, site.units, len(units)), _keep(blocks, blocks, own, by_index)
        if axis in _FRAMED and site.tower == "text" and self.frame_DN is not None and self.strings is not None:
            framed = self.features.blocks(self.posed, views, units, self.frame_DN)
            directions = [
                token_directions(self.strings.ranks) if _mapped(v) else view_directions(_name(v, False), b.shape[1])
                for v, b in zip(views, framed, strict=True)
            ]
            kept = _keep(blocks, framed, np.concatenate(directions), by_index or self.tied)
            yield site, (axis, "", "tokens", layout, site.units, len(units)), kept

    def _residual(self, site: Site) -> Iterator[tuple[Site, Key, _Kept]]:
        tables = [v for v in site.views if v.take == "tokens"]
        if not tables:
            yield from self._residual_of(site, site.label, site.views, 256, 256, None)
            return
        kinds = [("rows", self.by_row)] + ([("strings", self.strings)] if self.strings is not None else [])
        for label, found in kinds if site.tower == "text" else kinds[:1]:
            for m, run in _RUNS:
                yield from self._residual_of(
                    site, label if m == _RUNS[0][0] else f"{label}, {m} dims", tuple(tables), m, run, found
                )

    def _residual_of(
        self, site: Site, label: str, views: tuple[View, ...], m: int, run: int, found: _Anchors | None
    ) -> Iterator[tuple[Site, Key, _Kept]]:
        units = public_units(site.units, m, run)
        views = self._exact_views(views, run if len(units) < site.units else site.units)
        if not views or len(units) < 2:
            return
        ranks, rows = ([], _EMPTY) if found is None else (found.ranks[:RESIDUAL_TOKENS], found.rows[:RESIDUAL_TOKENS])
        if found is not None and (len(rows) < 2 or any(rows.max() >= self.model.tensors[v.key].shape[0] for v in views)):
            return
        blocks = [read_view(self.model, v, units, rows) for v in views]
        if found is None:
            directions = np.concatenate([view_directions(_name(v, True), b.shape[1]) for v, b in zip(views, blocks, strict=True)])
        else:  # the head's row of a token is another feature than its embedding
            directions = np.concatenate([token_directions([v.key.role.encode() + r for r in ranks]) for v in views])
        order = np.argsort(rows)
        by_index = ("residual", site.tower) in self.fixed
        by_index = by_index or _stands_by_index([b[:, order] if len(rows) else b for b in blocks], units, rows[order])
        if found is not None and not by_index:  # what an index fixes is lost at sampled rows
            plan = Plan(replace(site, views=views), units, rows, 0)
            regular, at = read_regular(self.model, plan, min(self.model.tensors[v.key].shape[0] for v in views))
            by_index = _stands_by_index(regular, units, at)
        kept = _keep(blocks, blocks, directions, by_index)
        yield replace(site, label=label), ("residual", label, "stored", "", site.units, len(units)), kept

    def contents(self) -> Iterator[ContentBits]:
        """Units chosen by content in the first layers of the text tower, read in the token frame."""
        if self.frame_DN is None or self.strings is None:
            return
        if self.tied or {("mlp-units", "text"), ("expert-units", "text")} & self.fixed:
            self.notes.append("its units follow its tokens or stand in an order that their index fixes, so none were chosen by content")
            return
        directions = token_directions(self.strings.ranks)
        for layer in CONTENT_LAYERS:
            keys = [k for k in self.model.tensors if k.tower == "text" and k.layer == layer and k.role in _UPS]
            routed = public_experts(sum(k.expert >= 0 for k in keys), 1)
            for key in keys:
                if key.expert < 0 or key.expert in routed:
                    yield from self._content(key, directions)

    def _content(self, up: TensorKey, directions_NK: F32) -> Iterator[ContentBits]:
        gate, down = (replace(up, role=up.role.replace(".up.", f".{r}.")) for r in ("gate", "down"))
        gated = gate in self.model.tensors
        views = (View(gate, "rows"), View(up, "rows")) if gated else (View(up, "rows"), View(down, "columns"))
        n = self.model.tensors[up].shape[0]
        if n < SLOTS or any(v.key not in self.model.tensors or not _mapped(v) for v in views):
            return
        some = np.arange(min(n, RUN), dtype=np.int64)
        if _stands_by_index([read_view(self.model, v, some, _EMPTY) for v in views if v.take == "rows"], some):
            self.notes.append(f"layer {up.layer}: its units stand in an order that their index fixes, so none were chosen by content")
            return
        first = Features().blocks(self.posed, views[:1], np.arange(n), self.frame_DN)[0]
        chosen = choose(first, directions_NK[:, :SLOTS])
        stored = read_view(self.model, views[1], chosen, _EMPTY)
        if float(np.median(np.count_nonzero(stored, axis=1))) < _DENSE:
            self.notes.append(f"layer {up.layer}: its units have too few weights that are not zero to be chosen by content")
            return
        second = Features().blocks(self.posed, views[1:], chosen, self.frame_DN)[0]
        yield ContentBits(up.layer, up.expert, slot_bits(second, directions_NK[:, -SLOT_BITS:]))

    def _exact_views(self, views: tuple[View, ...], run: int) -> tuple[View, ...]:
        """The views in which no quantiser treats units of one run unlike each other."""
        along = {v: block_along(self.model, v) for v in views}
        return tuple(v for v in views if along[v] == 1 or (along[v] >= run and along[v] % run == 0))

    def _layout(self, axis: str, site: Site, views: tuple[View, ...]) -> str:
        first = next(v for v in views if v.take in ("rows", "columns"))
        g = self.model.geometry[site.tower]
        parts = [f"stride {first.stride}", "offsets " + ",".join(map(str, first.offsets))]
        if axis in ("value-dims", "kv-heads"):
            parts += [f"{g.kv_heads} heads of {g.value_dim if axis == 'value-dims' else g.head_dim}"]
        if axis == "experts":
            parts += [f"{g.expert_groups} groups"]
        return ", ".join(parts)


def _mapped(view: View) -> bool:
    """The features of this view lie in the residual stream, and are read through the frame."""
    axes = ROLES[view.key.role].axes
    return (view.take == "rows" and axes[-1] == "residual") or (view.take == "columns" and axes[0] == "residual")


def _name(view: View, by_layer: bool) -> str:
    """What a view's features are, alike in MLPs and experts; those of the residual stream differ from layer to layer."""
    role = view.key.role.removeprefix("mlp.").removeprefix("expert.").removeprefix("shared.")
    return f"{view.key.layer} {role} {view.take}" if by_layer else f"{role} {view.take}"


def _keep(stored: list[F32], shown: list[F32], directions_DK: F32, by_index: bool) -> _Kept:
    """Bits of the units as they are shown. A constant unit (padding, at chosen indices) gets bits drawn from what was read, so that it finds none but
    its copy.
    """
    digest, live = _digest(stored), varies(stored)
    bits = np.empty((len(live), directions_DK.shape[1] // 8), dtype=np.uint8)
    bits[live] = sign_bits([b[live] for b in shown], directions_DK)
    bits[~live] = generator(int.from_bytes(digest, "big"), "constant").integers(0, 256, size=bits[~live].shape, dtype=np.uint8)
    return _Kept(bits, by_index, digest)


def _digest(blocks: list[F32]) -> bytes:
    seen = sha256()
    for b in blocks:
        seen.update(np.ascontiguousarray(b).data)
    return seen.digest()[:8]


def _stands_by_index(blocks: list[F32], units: I64, tokens: I64 = _EMPTY) -> bool:
    """Looked at in this model alone; that two do, by whatever pattern, is enough to leave a test out."""
    scores = index_scores(blocks, units, tokens)
    return bool(scores.size and float(scores.max()) >= INDEXED)
