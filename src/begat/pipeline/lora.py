"""Is the child one of its parents plus a low-rank difference (a merged LoRA)?

Enters: the child, a parent, their counterparts.  Leaves: `LowRank`, matrix by matrix.  Numbers: `begat.signals.lowrank`.

A merged LoRA leaves what it does not target untouched, to the bit, and changes the rest by one rank. A rank is stated only if the changed matrices agree
on it and nothing else changed but by rounding.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from begat.canon.model import Canonical
from begat.canon.roles import ROLES
from begat.pipeline.counterparts import Counterparts
from begat.pipeline.sampling import check_finite, generator
from begat.pipeline.steps import steps
from begat.recipes import LowRank, MatrixRank
from begat.signals.lowrank import Rank, rank_of
from begat.source.pieces import runs
from begat.types import F32, TensorKey

#: rows of a matrix that a rank is read from; a LoRA's rank shows in any rows that are clearly more
ROWS = 256
#: columns at most: the wide side of an MLP is cut
_COLS = 2048
#: values compared at a time
_PIECE = 1 << 20
#: share of the changed matrices that must show the rank
_AGREE = 0.8
#: full-rank differences after which no others are looked at: one is enough to rule an adapter out
_ENOUGH = 4
_UNKNOWN = "the child is stored in a type whose rounding is not known value by value"


def low_rank(child: Canonical, parent: Canonical, behind: Counterparts, number: int, seed: int) -> LowRank:
    """The differences of all matrices, and what they say together. `number`: of the parent, -1 for the base."""
    found: list[MatrixRank] = []
    beyond: list[str] = []
    for key, source in behind.keys.items():
        if sum(m.state == "full" for m in found) >= _ENOUGH:
            break
        if source is None:
            beyond.append(str(key))
        elif child.tensors[key].is_vector or ROLES[key.role].kind not in ("matrix", "table"):
            if not _equal(child, parent, key, source):
                beyond.append(str(key))
        else:
            found.append(_matrix(child, parent, key, source, seed))
    return _together(found, beyond, number)


def _equal(child: Canonical, parent: Canonical, key: TensorKey, source: TensorKey) -> bool:
    """Equal values, of vectors and tables of other kinds, a piece at a time."""
    t = child.tensors[key]
    if t.shape != parent.tensors[source].shape:
        return False
    step = max(1, _PIECE // max(1, t.shape[-1])) if not t.is_vector else _PIECE
    return all(np.array_equal(child.read(key, at), parent.read(source, at)) for at in runs(t.shape[0], step))


def rows_of(model: Canonical, key: TensorKey, source_rows: int, seed: int) -> np.ndarray:
    """The public rows that a rank is read from."""
    n = min(model.tensors[key].shape[0], source_rows)
    return np.sort(generator(seed, "rank", str(key)).permutation(n)[:ROWS]).astype(np.int64)


def difference(child: Canonical, parent: Canonical, key: TensorKey, source: TensorKey, seed: int) -> tuple[F32, F32, F32 | None]:
    """Sampled rows of parent and child, and the child's rounding steps."""
    at = rows_of(child, key, parent.tensors[source].shape[0], seed)
    base, own = parent.read(source, at)[:, :_COLS], child.read(key, at)
    check_finite(parent, source, base)
    check_finite(child, key, own)
    step = steps(child, key, at, own)
    return base, own[:, :_COLS], None if step is None else step[:, :_COLS]


def _matrix(child: Canonical, parent: Canonical, key: TensorKey, source: TensorKey, seed: int) -> MatrixRank:
    base, own, step = difference(child, parent, key, source, seed)
    if np.array_equal(base, own):
        found: Rank | None = rank_of(base, own, np.zeros_like(own))
    else:
        found = None if step is None else rank_of(base, own, step)
    module = key.role.removesuffix(".weight")
    rows, cols = base.shape
    if found is None:
        return MatrixRank(str(key), key.layer, module, rows, cols, "unknown", 0, 0.0, 1.0, 0.0)
    return MatrixRank(str(key), key.layer, module, rows, cols, found.state, found.rank, found.edge, found.gap, found.left)


def _together(found: list[MatrixRank], beyond: list[str], number: int) -> LowRank:
    changed = [m for m in found if m.state != "equal"]
    beyond = beyond + [m.place for m in changed if m.state == "full"]
    ranks = Counter(m.rank for m in changed if m.state == "low-rank")
    modules = tuple(sorted({m.module for m in changed if m.state in ("low-rank", "rounding")}))
    layers = tuple(sorted({m.layer for m in changed}))
    rank, same = ranks.most_common(1)[0] if ranks else (0, 0)
    state, why = _state(changed, beyond, rank, same)
    return LowRank(
        number, state, rank if state == "low-rank" else None, len(changed), same if state == "low-rank" else 0, modules, layers,
        tuple(beyond), tuple(found), why,
    )  # fmt: skip


def _state(changed: list[MatrixRank], beyond: list[str], rank: int, same: int) -> tuple[str, str]:
    if not changed:
        return ("equal", "no matrix differs") if not beyond else ("not-low-rank", f"{len(beyond)} other tensors differ")
    if any(m.state == "full" for m in changed) or not rank:
        if not rank and all(m.state == "rounding" for m in changed):
            return "undetermined", "the differences are no larger than the rounding of the stored values"
        if not rank and all(m.state in ("rounding", "unknown") for m in changed):
            return "undetermined", _UNKNOWN
        return "not-low-rank", "the differences have full rank, beyond what rounding leaves"
    if any(m.state == "unknown" for m in changed):
        return "undetermined", _UNKNOWN
    if beyond:
        return "undetermined", f"matrices differ by rank {rank}, but {len(beyond)} other tensors differ too"
    if same < _AGREE * len(changed):
        return "undetermined", "the matrices differ by unlike ranks"
    return (
        "low-rank",
        f"{same} of {len(changed)} changed matrices differ by rank {rank} to within the rounding of the stored values",
    )
