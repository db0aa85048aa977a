"""Matrices of exactly low rank: a product of two thin factors written out (a LoRA difference stored alone, a factorised layer).

Enters: a few rows of every matrix.  Leaves: the rank of those rows, where it is at most half of what it could be.

A row sample of a matrix of rank r has rank at most r, and rank min(r, m) unless the choice of rows is unlucky. Singular values
are counted above what rounding to the stored
type makes of nothing: errors uniform within half a spacing u have a largest singular value of about sqrt(mean(u²)/12) (sqrt(m)
+ sqrt(n)) (Bai-Yin); three
times that is the bar. A merged low-rank *difference* leaves no such trace in one model: the base has full rank. Singular values
that merely stand out are
not reported: trained matrices have them of their own.
"""

from __future__ import annotations

import numpy as np

from begat.inspection import Found, Item, Value
from begat.signals.inspect.base import FINDINGS, Inspector, Look, is_float, matrices
from begat.signals.inspect.lattice import spacing
from begat.source.dtypes import DTYPES
from begat.types import F32

#: rows (more when everything is asked for) and columns looked at, and below how many nothing is said
_ROWS, _FULL_ROWS, _COLUMNS, _LEAST = 64, 512, 1024, 16
#: share of the possible rank from which on a matrix is no longer low
_LOW, _BAR = 0.5, 3.0


def _run(look: Look) -> Found:
    items, seen = [], 0
    for key in matrices(look):
        if key.role.startswith(("embed.", "mtp.embed", "moe.router")) or (key.expert > 0 and not look.full):
            continue
        if not is_float(
            look.entry(key)
        ):  # rounding to a scale can empty columns, and how far it went is not known value by value
            continue
        rows = look.rows(key, _FULL_ROWS if look.full else _ROWS)
        look.step()
        kind = DTYPES[look.entry(key).dtype]
        rank, most = rank_of(rows, kind.mantissa or 0, 2.0**kind.tiny, look.rng("rank columns", rows.shape[1]))
        seen += most >= _LEAST
        if most >= _LEAST and rank <= _LOW * most:
            numbers: dict[str, Value] = {
                "rank": rank,
                "possible": most,
                "shape": " × ".join(map(str, look.model.tensors[key].shape)),
            }
            items.append(Item(str(key), f"the rows read span {rank} dimensions of {most}", numbers))
    looked = f"{_FULL_ROWS if look.full else _ROWS} rows of {seen:,} matrices"
    if not seen:
        return Found("not-run", f"no matrix stored in floats has {_LEAST} rows and columns")
    if not items:
        return Found("nothing", "no matrix has a low rank", looked_at=looked)
    return Found("found", f"{len(items)} of {seen} matrices have a low rank", tuple(items), looked_at=looked)


def rank_of(rows_MN: F32, mantissa: int, tiny: float, rng: np.random.Generator) -> tuple[int, int]:
    """(rank above rounding, largest possible rank) of rows stored in floats of `mantissa` bits; empty and repeated rows and
    empty columns are
    left out first.
    """
    if rows_MN.shape[1] > _COLUMNS:
        rows_MN = rows_MN[:, np.sort(rng.permutation(rows_MN.shape[1])[:_COLUMNS])]
    rows_MN = np.unique(rows_MN, axis=0)
    rows_MN = rows_MN[(rows_MN != 0).any(axis=1)][:, (rows_MN != 0).any(axis=0)]
    most = min(rows_MN.shape)
    if most < 2:
        return most, most
    x_MN, u_MN = rows_MN.astype(np.float64), spacing(rows_MN, min(mantissa, 23), tiny)
    for axis in (1, 0, 1):  # rows and columns of one size: the rank stays, and one loud row's rounding drowns no other
        size = np.sqrt((x_MN * x_MN).mean(axis=axis, keepdims=True))
        x_MN, u_MN = x_MN / size, u_MN / size
    gram = x_MN @ x_MN.T if x_MN.shape[0] <= x_MN.shape[1] else x_MN.T @ x_MN
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0))
    error = float(np.sqrt((u_MN * u_MN).mean() / 12))
    bar = _BAR * error * float(sum(np.sqrt(rows_MN.shape))) + 1e-7 * float(values[0])
    return int((values > bar).sum()), most


FINDINGS.add("rank")(
    Inspector(
        "Matrices of low rank",
        "counted",
        "Singular values of the rows read, counted above three times what rounding to the stored type can make of nothing; a "
        "matrix is low where at most half of the possible rank is there. Independent random rows have full rank.",
        "That an adapter was merged: base plus low-rank difference has full rank, and only the base shows the difference. "
        "Singular values that merely stand out are no trace of one, trained matrices have them too; they are not reported.",
        _run,
    )
)
