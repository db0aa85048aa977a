"""begat's own exact order test, as a method among the others.

Enters: two checkpoints.  Leaves: log10 of the combined e-value; under independence it reaches k with probability at most 10^-k.
Source: begat (`docs/statistics.md`); the order test rests on Zhu et al., arXiv 2502.12292. Unlike the others it reads a sample of
rows, and the models it is given are opened anew, so that its time and bytes are those of `begat compare`.
"""

from __future__ import annotations

import numpy as np

import begat
from begat.errors import InputError
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model


def exact(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """`begat.compare` without a map."""
    try:
        verdict = begat.compare(a.path, b.path, map="none")
    except InputError as error:
        return no_score(str(error))
    if verdict.log10_e is None:
        return no_score("; ".join(sorted({x.not_run for x in verdict.axes if x.not_run})) or verdict.sentence)
    return Score(verdict.log10_e, detail={"bytes read": float(verdict.bytes_read)})


METHODS.add("begat-exact")(
    Method(
        "begat: exact order test (log10 e)",
        "begat, docs/statistics.md; after arXiv 2502.12292 Thm 1",
        "weights",
        exact,
        symmetric=False,
        p_value=True,
    )
)
