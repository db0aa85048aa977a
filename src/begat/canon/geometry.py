"""Head counts and sizes of a tower: config numbers that fit the shapes, or None.

Enters: placed tensors and `config.Numbers`.  Leaves: `Heads`.  A number that does not fit is not used: then nothing that needs it
is tested, and no fused tensor is cut by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from begat.canon.config import Numbers
from begat.canon.families import Family
from begat.canon.shapes import Placed


@dataclass(frozen=True, slots=True)
class Heads:
    """Attention geometry, each None when unknown."""

    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_dim: int | None = None


@dataclass(frozen=True, slots=True)
class _Rows:
    """Distinct sizes over the layers of a tower; a size that differs between layers is 0."""

    q: int
    k: int
    v: int
    o: int
    qkv: int
    q_norm: int
    mla: bool


def heads_of(placed: Iterable[Placed], numbers: Numbers, family: Family, gguf: bool) -> Heads:
    """The geometry that config and shapes agree on."""
    rows = _rows(placed)
    if rows.mla:
        return _latent(rows, numbers)
    q = rows.q or (rows.o if rows.qkv else 0)
    if not q:
        return Heads()
    k = rows.k or (rows.qkv - q) // 2 if rows.k or rows.qkv > q else 0
    v = rows.v or k
    head_dim = _head_dim(rows, numbers, q)
    if not head_dim or q % head_dim or not k or k % head_dim:
        return Heads()
    heads, kv_heads = q // head_dim, k // head_dim
    contradicted = numbers.kv_heads not in (None, kv_heads) and family.qkv != "grouped"
    if heads % kv_heads or v % kv_heads or contradicted:
        return Heads()
    value_dim = v // kv_heads
    return Heads(heads, kv_heads, head_dim, value_dim if rows.o in (0, heads * value_dim) else None)


def _head_dim(rows: _Rows, numbers: Numbers, q: int) -> int:
    """The head size: q_norm's length where it is one head's, else the config's, where they fit."""
    if rows.q_norm and rows.q_norm < q and q % rows.q_norm == 0:
        return rows.q_norm
    if numbers.heads is None:
        return 0
    size = q // numbers.heads
    return size if numbers.head_dim in (None, size) else 0


def _latent(rows: _Rows, numbers: Numbers) -> Heads:
    """Multi-head latent attention: sizes from the config, checked against q, kv_b and o."""
    heads, value_dim = numbers.heads, numbers.value_dim
    head_dim = numbers.nope_dim + numbers.rope_dim if numbers.nope_dim and numbers.rope_dim else None
    if heads is None or rows.o % heads or rows.q % heads:
        return Heads()
    from_o, from_q = rows.o // heads or None, rows.q // heads or None
    if value_dim not in (None, from_o) or head_dim not in (None, from_q):
        return Heads()
    return Heads(heads, heads, from_q, from_o)


def _rows(placed: Iterable[Placed]) -> _Rows:
    seen: dict[str, set[int]] = {}
    for p in placed:
        role = p.claim.key.role
        if p.claim.key.layer < 0 or not role.startswith("attn."):
            continue
        if role == "attn.q_norm.gain":
            seen.setdefault(role, set()).add(p.entry.cols)
        else:
            seen.setdefault(role, set()).add(p.into if role == "attn.o.weight" else p.out)

    def one(role: str) -> int:
        found = seen.get(role, set())
        return next(iter(found)) if len(found) == 1 else 0

    mla = "attn.kv_b.weight" in seen or "attn.kv_a.weight" in seen
    q = one("attn.q_b.weight") or one("attn.q.weight") if mla else one("attn.q.weight")
    return _Rows(
        q, one("attn.k.weight"), one("attn.v.weight"), one("attn.o.weight"), one("attn.qkv.weight"), one("attn.q_norm.gain"), mla
    )


def expert_groups(family: Family, numbers: Numbers, experts: int | None) -> int | None:
    """Into how many equal groups routing is limited; 1 = none, None = unknown."""
    if experts is None:
        return None
    if numbers.expert_groups is not None:
        return numbers.expert_groups if experts % numbers.expert_groups == 0 else None
    if family.expert_groups == "one":
        return 1
    if family.expert_groups == "pangu" and experts == 64:
        return 8
    return None
