"""A model with the units of its MLPs put together that were one unit split into several, and units that do nothing left out.

Enters: two canonical models.  Leaves: each of them as it is, or a canonical model of the same function with fewer units, in the order of the first
(or a drawn) unit of each group; it reads the same files.  The numbers: `begat.signals.split_units`; who asks: `align.py`, before anything else.

Each model is looked at by itself, so that no choice depends on the other. Splitting changes how many units an MLP has, so all layers are
looked at where the two differ in that, and else a few.

Order. The tests take the order of units to be uniform in one of the two, given everything else. A group stands where its first unit stood: among groups
of one size that order is uniform as well. Where sizes differ, the first of a larger group comes earlier, so the group then stands where one of its
units stood that was drawn by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from begat.canon.model import Canonical, CanonTensor
from begat.pipeline.mlps import Block, blocks_of
from begat.pipeline.sampling import check_finite, generator
from begat.signals.split_units import Reduction, reduction, twins_of
from begat.types import F32, F64, I64, U8, Reader, Rows, TensorEntry, TensorKey

# Shape suffixes: F units as stored, G units that they come to, D residual width, M sampled units

#: units of a layer that are looked at for twins, and twins among them from which all are
_SAMPLE, _FEWEST = 64, 2
#: layers that are looked at where MLPs are equally wide
_LAYERS = 2
#: values of one matrix beyond which its units are not put together
_MOST = 1 << 28


def merged_units(a: Canonical, b: Canonical, seed: int) -> tuple[tuple[Canonical, str], tuple[Canonical, str]]:
    """Both models with split units put together, each with what was done in words ("" for nothing)."""
    widths = [{(x.kind, x.units) for x in _dense(m)} for m in (a, b)]
    both = widths[0] == widths[1]
    return _merged(a, both, seed), _merged(b, both, seed)


def _dense(model: Canonical) -> list[Block]:
    """MLPs and shared experts; routed ones are many, and are left as they are."""
    return [x for x in blocks_of(model, 0, plain=True) if x.expert < 0]


def _merged(model: Canonical, few: bool, seed: int) -> tuple[Canonical, str]:
    blocks = [x for x in _dense(model) if all(np.prod(model.tensors[x.key(r)].shape) <= _MOST for r in (*x.inner, "down"))]
    some = [blocks[i] for i in sorted({0, len(blocks) // 2})][:_LAYERS] if few and blocks else blocks
    if not any(_has_twins(model, x, seed) for x in some):
        return model, ""
    found = {x: r for x in blocks if (x in some or few) and (r := _reduction(model, x, seed)) is not None}
    if not found:
        return model, ""
    served = {x: _Served.of(x, r, seed) for x, r in found.items()}
    units = sum(x.units for x in found), sum(len(s.order) for s in served.values())
    where = f"{len(found)} MLP{'s' if len(found) > 1 else ''}"
    return _overlaid(model, served), f"{units[0]:,} units of {where} are {units[1]:,} units that were split, or stand beside idle ones, and were put together"


def _has_twins(model: Canonical, block: Block, seed: int) -> bool:
    key = block.key(block.inner[0])
    units = np.sort(generator(seed, "twins", block.layer, block.kind).permutation(block.units)[:_SAMPLE]).astype(np.int64)
    whole_FD = model.read(key)
    check_finite(model, key, whole_FD)
    return twins_of(whole_FD, units, not block.gated) >= _FEWEST


def _reduction(model: Canonical, block: Block, seed: int) -> Reduction | None:
    """What a layer's units come to; None where its sample shows no twins."""
    if not _has_twins(model, block, seed):
        return None
    first = _with_bias(model, block, block.inner[0])
    up_FD = _with_bias(model, block, "up") if block.gated else None
    down_DF = model.read(block.key("down"))
    check_finite(model, block.key("down"), down_DF)
    return reduction(first, up_FD, np.ascontiguousarray(down_DF.T), _is_relu(model))


def _with_bias(model: Canonical, block: Block, role: str) -> F32:
    """Rows of a matrix, with the bias as their last number."""
    key = block.key(role)
    x_FD = model.read(key)
    check_finite(model, key, x_FD)
    bias = replace(key, role=key.role.replace(".weight", ".bias"))
    return x_FD if bias not in model.tensors else np.concatenate([x_FD, model.read(bias)[:, None]], axis=1)


def _is_relu(model: Canonical) -> bool:
    config = model.checkpoint.config
    names = {str(config[k]).lower() for k in ("hidden_act", "activation_function", "hidden_activation") if k in config}
    return names == {"relu"}


class _Row(NamedTuple):
    """A new unit: the index at which it stands, its number there, the old units it is a sum of and their coefficients."""

    at: int
    number: int
    members: I64
    gate: F64
    up: F64
    down: F64


@dataclass(frozen=True, slots=True)
class _Served:
    """New units of one MLP as sums of old ones: per new unit its members [G, K], padded, and per matrix their coefficients [G, K]."""

    order: I64
    members: I64
    gate: F32
    up: F32
    down: F32

    @staticmethod
    def of(block: Block, found: Reduction, seed: int) -> _Served:
        """In the order in which the groups stand; see the module."""
        taken = {int(i) for g in found.groups for i in g.members} | set(found.dead.tolist())
        sizes = {len(g.members) for g in found.groups} | ({1} if len(taken) < block.units else set())
        rng = generator(seed, "merged", block.layer, block.kind)
        one = np.ones(1)
        rows = [_Row(i, 0, np.array([i]), one, one, one) for i in range(block.units) if i not in taken]
        for g in found.groups:
            at = int(g.members.min()) if len(sizes) == 1 else int(rng.choice(g.members))
            rows += [_Row(at, n, g.members, g.gate_K, up, down) for n, (up, down) in enumerate(zip(g.up_RK, g.down_RK, strict=True))]
        rows.sort(key=lambda r: (r.at, r.number))
        most = max(len(r.members) for r in rows)

        def padded(columns: Sequence[I64] | Sequence[F64], kind: Any) -> Any:
            return np.stack([np.pad(x, (0, most - len(x))) for x in columns]).astype(kind)

        gate, up, down = (padded([getattr(r, n) for r in rows], np.float32) for n in ("gate", "up", "down"))
        return _Served(np.array([r.at for r in rows]), padded([r.members for r in rows], np.int64), gate, up, down)

    def rows(self, x_FD: F32, coefficients: F32, at: Rows) -> F32:
        """New rows, of all old ones."""
        members, c = self.members[np.asarray(at)], coefficients[np.asarray(at)]
        out: F32 = np.zeros((len(members), *x_FD.shape[1:]), dtype=np.float32)
        for k in range(members.shape[1]):
            out += x_FD[members[:, k]] * (c[:, k] if x_FD.ndim == 1 else c[:, k, None])
        return out


class _Overlay:
    """A reader that makes some tensors from others; all else is the model's own reader."""

    def __init__(self, model: Canonical, served: dict[str, tuple[TensorKey, _Served, F32]]) -> None:
        self.model, self.inner, self.served = model, model.checkpoint.reader, served

    @property
    def bytes_read(self) -> int:
        """Bytes asked of files."""
        return self.inner.bytes_read

    @bytes_read.setter
    def bytes_read(self, count: int) -> None:
        self.inner.bytes_read = count

    def rows(self, entry: TensorEntry, rows: Rows | None, cols: slice | I64 | None = None) -> F32:
        """As `begat.types.Reader`."""
        if entry.name not in self.served:
            return self.inner.rows(entry, rows, cols)
        key, made, coefficients = self.served[entry.name]
        at = range(entry.rows) if rows is None else rows
        if key.role.endswith(".bias"):
            out = made.rows(self.model.read(key), coefficients, range(entry.cols))[None, :]
        elif key.role.endswith("down.weight"):
            out = np.ascontiguousarray(made.rows(self.model.read(key, at).T, coefficients, range(entry.cols)).T)
        else:
            members = np.unique(made.members[np.asarray(at)])
            whole = np.zeros((int(members.max()) + 1, entry.cols), dtype=np.float32)
            whole[members] = self.model.read(key, members)
            out = made.rows(whole, coefficients, at)
        return out if cols is None else np.ascontiguousarray(out[:, cols])

    def raw(self, entry: TensorEntry, rows: Rows | None, cols: slice | None = None) -> U8:
        """As `begat.types.Reader`: of made tensors their float32 bytes."""
        if entry.name not in self.served:
            return self.inner.raw(entry, rows, cols)
        return np.ascontiguousarray(self.rows(entry, rows, cols)).view(np.uint8)

    def scales(self, entry: TensorEntry, rows: Rows, cols: Rows) -> F32:
        """As `begat.types.Reader`."""
        return self.inner.scales(entry, rows, cols)

    def close(self) -> None:
        """Close every open file."""
        self.inner.close()


def _overlaid(model: Canonical, served: dict[Block, _Served]) -> Canonical:
    """The model with these MLPs made anew."""
    entries = dict(model.checkpoint.entries)
    tensors = dict(model.tensors)
    makers: dict[str, tuple[TensorKey, _Served, F32]] = {}
    for block, made in served.items():
        for key, coefficients in _made_of(model, block, made):
            t, old = tensors[key], entries[tensors[key].name]
            shape = tuple(len(made.order) if n == block.units and i == (1 if key.role.endswith("down.weight") else 0) else n for i, n in enumerate(t.shape))
            name = f"begat: merged {key}"
            entries[name] = TensorEntry(name, shape, "F32", old.file, old.offset, 0)
            tensors[key] = CanonTensor(key, name, shape, range(shape[0]))
            makers[name] = (key, made, coefficients)
    reader: Reader = _Overlay(model, makers)
    return replace(model, checkpoint=replace(model.checkpoint, entries=entries, reader=reader), tensors=tensors)


def _made_of(model: Canonical, block: Block, made: _Served) -> Iterator[tuple[TensorKey, F32]]:
    """Tensors of an MLP that have units, and the coefficients of each."""
    up = made.up if block.gated else made.gate
    for role, coefficients in (("gate", made.gate), ("up", up), ("down", made.down)):
        key = block.key(role)
        for k in (key, replace(key, role=key.role.replace(".weight", ".bias"))):
            if k in model.tensors and not k.role.endswith("down.bias"):
                yield k, coefficients
