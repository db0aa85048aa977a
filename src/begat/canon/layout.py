"""Undoing storage layouts as index views: fused qkv and gate_up, stacked experts, Conv1D, the row order of GGUF's q and k.

Enters: a `Placed` tensor and the tower's geometry.  Leaves: `CanonTensor`s (no copies), or the reason why it cannot be cut.
Orientation was settled in `shapes.py`; what a tensor is, in `claims.py`.

The layouts, for a tensor of q, k and v (`h` query heads, `g` key-value heads, `d` head size, r = h/g):
    concat    [q: h·d | k: g·d | v: g·d]                       GPT-2, Phi-3, Baichuan, MPT, Qwen-1, every GGUF file
    grouped   g × [q: r·d | k: d | v: d]                       GPT-NeoX and BLOOM (g = h), Falcon (g = 1, g or h), InternLM2
for gate and up: [gate | up], or alternating rows (GPT-OSS); for rotary pairs (GGUF llama, the original Llama files):
    stored row (head, 2j + half) is canonical row (head, half·d/2 + j).

GGUF files of Gemma store norm gains plus one. That is an offset and left as it is: gains are compared after centring.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from begat.canon.check import MISFIT
from begat.canon.geometry import Heads
from begat.canon.model import CanonTensor
from begat.canon.roles import FUSED
from begat.canon.shapes import Placed
from begat.types import I64, Rows, TensorKey

NO_HEADS = "head counts unknown: fused qkv not split"
NO_PAIRS = "head counts unknown: row order of q and k not undone"
NO_LAYOUT = "unknown family: fused qkv not split"
ODD = "an odd number of rows: fused gate and up not split"
INTEGERS = "stored as integers without a scale"
#: reasons for which weights, not buffers, are left out
UNCUT = frozenset({NO_HEADS, NO_PAIRS, NO_LAYOUT, ODD, INTEGERS, MISFIT})


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the tensors of one tower.

    Attributes:
        qkv: "concat", "grouped" or "" (unknown).
        interleaved: gate and up of stacked experts alternate.
        rope_pairs: rows of q and k lie in neighbouring pairs.
    """

    heads: Heads
    qkv: str
    interleaved: bool
    rope_pairs: bool

    def cut(self, placed: Placed, o_into: int | None, down_into: int | None) -> list[CanonTensor] | str:
        """The canonical tensors inside a stored one, or why they cannot be told.

        Args:
            placed: the stored tensor.
            o_into: columns of attn.o in the same layer, where known: the rows of q.
            down_into: columns of mlp.down in the same layer: tells a fused gate_up that is named like an up.
        """
        role = placed.claim.key.role
        base, _, leaf = role.rpartition(".")
        if base == "attn.qkv":
            return self._qkv(placed, leaf, o_into)
        if base in ("mlp.up", "shared.up") and down_into and placed.out == 2 * down_into:
            base = base.replace("up", "gate_up")
        if base in FUSED:
            return self._gate_up(placed, base, leaf)
        if self.rope_pairs and base in ("attn.q", "attn.k"):
            count = self.heads.heads if base == "attn.q" else self.heads.kv_heads
            if not count or placed.out % (2 * count):
                return NO_PAIRS
            return _parts(placed, [(role, pairs_undone(placed.out, count))])
        return _parts(placed, [(role, range(placed.out))])

    def _qkv(self, placed: Placed, leaf: str, o_into: int | None) -> list[CanonTensor] | str:
        parts = [f"{base}.{leaf}" for base in FUSED["attn.qkv"]]
        if not self.qkv:
            return NO_LAYOUT
        if self.qkv == "concat":
            q = o_into or (self.heads.heads or 0) * (self.heads.head_dim or 0)
            rest = placed.out - q
            if not q or rest <= 0 or rest % 2:
                return NO_HEADS
            k = rest // 2
            return _parts(placed, list(zip(parts, (range(q), range(q, q + k), range(q + k, q + 2 * k)), strict=True)))
        h = self.heads
        if not h.heads or not h.kv_heads or not h.head_dim or placed.out != (h.heads + 2 * h.kv_heads) * h.head_dim:
            return NO_HEADS
        return _parts(placed, list(zip(parts, grouped_rows(h.heads, h.kv_heads, h.head_dim), strict=True)))

    def _gate_up(self, placed: Placed, base: str, leaf: str) -> list[CanonTensor] | str:
        if placed.out % 2:
            return ODD
        half = placed.out // 2
        alternate = self.interleaved and base == "expert.gate_up"
        first, second = (range(0, 2 * half, 2), range(1, 2 * half, 2)) if alternate else (range(half), range(half, 2 * half))
        gate, up = (f"{b}.{leaf}" for b in FUSED[base])
        return _parts(placed, [(gate, first), (up, second)])


def _parts(placed: Placed, parts: list[tuple[str, Rows]]) -> list[CanonTensor]:
    """One canonical tensor per part (and expert), from canonical rows of the whole."""
    out = []
    for role, rows in parts:
        for expert in range(placed.stack or 1):
            key = placed.claim.key
            key = TensorKey(key.tower, key.layer, role, expert if placed.stack else key.expert)
            out.append(_view(placed, key, rows, expert))
    return out


def _view(placed: Placed, key: TensorKey, rows: Rows, expert: int) -> CanonTensor:
    name, n = placed.claim.name, len(rows)
    if not placed.into:
        return CanonTensor(key, name, (n,), _shift(rows, expert * placed.out))
    if not placed.transposed:
        return CanonTensor(key, name, (n, placed.into), _shift(rows, expert * placed.out))
    whole = isinstance(rows, range) and rows == range(placed.out)
    cols: slice | I64 | None = None
    if not whole:
        cols = slice(rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows
    stored = range(expert * placed.into, (expert + 1) * placed.into)
    return CanonTensor(key, name, (n, placed.into), stored, cols, True)


def _shift(rows: Rows, by: int) -> Rows:
    if not by:
        return rows
    return range(rows.start + by, rows.stop + by, rows.step) if isinstance(rows, range) else rows + by


@lru_cache(maxsize=64)
def pairs_undone(rows: int, heads: int) -> I64:
    """Stored row of each canonical row, for q or k stored in rotary pairs."""
    return _frozen(np.arange(rows, dtype=np.int64).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2))


@lru_cache(maxsize=64)
def grouped_rows(heads: int, kv_heads: int, head_dim: int) -> tuple[Rows, Rows, Rows]:
    """Stored rows of q, k and v in the grouped layout."""
    per = heads // kv_heads
    at = np.arange((heads + 2 * kv_heads) * head_dim, dtype=np.int64).reshape(kv_heads, per + 2, head_dim)
    q, k, v = _frozen(at[:, :per]), _frozen(at[:, per]), _frozen(at[:, per + 1])
    return _as_range(q), _as_range(k), _as_range(v)


def _frozen(rows: I64) -> I64:
    flat = np.ascontiguousarray(rows.reshape(-1))
    flat.flags.writeable = False
    return flat


def _as_range(rows: I64) -> Rows:
    run = range(int(rows[0]), int(rows[0]) + len(rows))
    return run if np.array_equal(rows, run) else rows
