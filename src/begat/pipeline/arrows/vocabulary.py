"""Vocabulary: rows added to the token table, or cut off.

One table begins with the other's rows. That alone is no arrow: rows were added, or cut. Added rows are often drawn about the mean of the old ones (as
libraries do when they resize a table), and no training leaves rows there: rows of tokens never seen drift together, but away from the mean. So the arrow
asks that the mean of the extra rows is the mean of the old ones to within sampling error, that zero would not be, and that they lie much closer to it
than old rows do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from begat.pipeline.arrows.base import ARROWS, EQUAL, Pair, Sign

_TABLES = ("embed.tokens", "head.weight")
_ROWS = 4096
#: cosine of shared rows; spread of the extra rows over that of old ones; squared distance of the means over its sampling error: at most for equal
#: ones, at least for different ones
_SHARED, _SPREAD, _EQUAL, _OTHER = 0.9, 0.35, 2.0, 20.0


@ARROWS.add("vocabulary")
def vocabulary(pair: Pair) -> Iterator[Sign]:
    """`child` is `parent` with more token rows."""
    for key in sorted(k for k in pair.parent.tensors if k.role in _TABLES and k in pair.child.tensors):
        small, large = pair.parent.tensors[key].shape, pair.child.tensors[key].shape
        if small[1] != large[1] or small[0] >= large[0]:
            continue
        at = np.arange(0, small[0], max(1, small[0] // _ROWS), dtype=np.int64)
        x, y = pair.parent.read(key, at).astype(np.float64), pair.child.read(key, at).astype(np.float64)
        cosine = float((x * y).sum() / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-30))
        if cosine < _SHARED:
            continue
        extra = pair.child.read(key, np.arange(small[0], min(large[0], small[0] + _ROWS), dtype=np.int64)).astype(np.float64)
        words = f"{large[0]} token rows that begin with the other's {small[0]} (cosine {cosine:.3f})"
        if len(extra) >= 4 and _about_mean(extra, y):
            fact = "rows-at-mean" if cosine >= EQUAL else "rows-at-mean-changed"
            yield Sign(
                fact,
                f"{words}; the other {large[0] - small[0]} lie about their mean, as rows do that were added and hardly trained",
            )
        else:
            yield Sign("rows-more-or-fewer", words)
        return


def _about_mean(extra: np.ndarray, old: np.ndarray) -> bool:
    mean, own = old.mean(0), extra.mean(0)
    spread = float(np.square(extra - own).sum(1).mean())
    error = max(spread / len(extra), 1e-30) + float(np.square(old - mean).sum(1).mean()) * 1e-6
    near = float(np.square(own - mean).sum()) / error
    zero = float(np.square(mean).sum()) / error
    return near <= _EQUAL and zero >= _OTHER and spread <= _SPREAD**2 * float(np.square(old - mean).sum(1).mean())
