"""Published statistics beside the verdict: gather their summaries, compute, never judge.

Enters: two canonical models.  Leaves: `SideResult`s.  Formulas: `begat.signals.published`.  What independent models score: `begat.stats.published`.
"""

from __future__ import annotations

import numpy as np

from begat.canon.model import Canonical
from begat.signals.published import PUBLISHED, Summaries
from begat.source.dtypes import DTYPES
from begat.stats.published import remark
from begat.types import SideResult, TensorKey

_SD_ROLES = ("attn.q.weight", "attn.k.weight", "attn.v.weight", "attn.o.weight")
#: attention weights of both models larger than this are not read only to show a published statistic
LIMIT = 64 << 20


def published_statistics(a: Canonical, b: Canonical, always: bool) -> tuple[SideResult, ...]:
    """All published statistics; those that need all attention weights are left out above `LIMIT` bytes unless `always`."""
    cost = sum(_bytes(m, k) for m in (a, b) for k in _attention(m))
    if cost > LIMIT and not always:
        reason = f"reads {cost >> 20} MiB of attention weights; ask for it with --published"
        return tuple(SideResult(n, p.title, None, p.paper, p.remark, reason) for n, p in PUBLISHED.items())
    x, y = _summaries(a), _summaries(b)
    out = []
    for name, one in PUBLISHED.items():
        value = one.compute(x, y)
        why = value if isinstance(value, str) else None
        measured = "" if isinstance(value, str) else remark(name, value)
        out.append(SideResult(name, one.title, None if why else float(value), one.paper, f"{one.remark} {measured}".strip(), why))
    return tuple(out)


def _attention(model: Canonical) -> list[TensorKey]:
    return [k for k in sorted(model.tensors) if k.tower == "text" and k.role in _SD_ROLES]


def _bytes(model: Canonical, key: TensorKey) -> int:
    t = model.tensors[key]
    kind = DTYPES[model.checkpoint.entries[t.name].dtype]
    return int(np.prod(t.shape) * kind.bits) // 8


def _summaries(model: Canonical) -> Summaries:
    sd: dict[str, list[float]] = {}
    for key in _attention(model):
        sd.setdefault(key.role, []).append(_sd(model, key))
    keys = [k for k in sorted(model.tensors) if k.tower == "text" and k.role.endswith("norm.gain")]
    few = sum(_bytes(model, k) for k in keys) <= LIMIT  # no model's gains are as many
    gains = [model.read(k) for k in keys] if few else []
    flat = np.concatenate([g.astype(np.float64) for g in gains]) if gains else np.zeros(0)
    return Summaries({role: np.array(values) for role, values in sd.items()}, flat)


def _sd(model: Canonical, key: TensorKey, step: int = 1 << 20) -> float:
    """Standard deviation of all entries of one tensor, read in runs of rows."""
    n_rows, width = model.tensors[key].shape
    rows = max(1, step // width)
    n = total = squares = 0.0
    for first in range(0, n_rows, rows):
        x = model.read(key, range(first, min(first + rows, n_rows))).astype(np.float64)
        n, total, squares = n + x.size, total + x.sum(), squares + (x * x).sum()
    return float(np.sqrt(max(squares / n - (total / n) ** 2, 0.0)))
