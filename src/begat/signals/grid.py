"""Equality on a quantisation grid: is one model the other, rounded?

Enters: the same rows of a finer and a coarser model, and how the coarser one is stored.  Leaves: the share of values that are
the finer value rounded to the grid. Sources: the GGUF block types share one scale per run of 16 or 32 values of a row; float
types round to their mantissa; "fake-quantised" checkpoints carry a grid in plain floats, found here from the values.
"""

from __future__ import annotations

import numpy as np

from begat.types import F32

#: levels a grid may have in one run: up to 8 bits
_MAX_LEVELS = 256
#: runs looked at first; most tensors that carry no grid are dismissed by them
_FIRST = 8
#: how far from a multiple of the step a value may be, in steps
_SLACK = 0.06


def float_agreement(fine: F32, coarse: F32, mantissa: int, tiny: float) -> float:
    """Share of values of `coarse` that are `fine` rounded to `mantissa` explicit bits, or to multiples of the smallest subnormal `tiny`, in [0, 1]."""
    half_ulp = np.abs(coarse) * np.float32(2.0 ** -(mantissa + 1))
    allowed = np.maximum(half_ulp, np.float32(tiny / 2)) * np.float32(1.01)
    return float((np.abs(fine - coarse) <= allowed).mean())


def grid_agreement(fine: F32, coarse: F32, runs: tuple[int, ...]) -> tuple[float, str]:
    """Share of values of `coarse` that are the nearest grid point to `fine`, over the runs whose grid is found.

    Args:
        fine, coarse: [m, n] the same rows.
        runs: lengths of row segments that may share a scale, tried in order (n itself = per row).

    Returns:
        (share over all values, words for the grid); 0.0 when no run length shows a grid in nearly all runs.
    """
    best = (0.0, "")
    for run in runs:
        if run < 8 or coarse.shape[1] % run:
            continue
        f, c = fine.reshape(-1, run), coarse.reshape(-1, run)
        if max(_even_steps(f[:_FIRST], c[:_FIRST])[0], _few_levels(f[:_FIRST], c[:_FIRST])[0]) < 0.9:
            continue
        for share, words in (_even_steps(f, c), _few_levels(f, c)):
            if share > best[0]:
                best = (share, f"{words} per {run} values")
        if best[0] > 0.995:
            break
    return best


def _even_steps(fine: F32, coarse: F32) -> tuple[float, str]:
    """Runs whose values are integer multiples of a step (after an offset): |fine - coarse| <= half a step inside the range."""
    low = coarse.min(axis=1, keepdims=True)
    span = coarse.max(axis=1, keepdims=True) - low
    live = span[:, 0] > 0
    step = np.zeros_like(span)
    todo = np.flatnonzero(live)
    for levels in range(1, _MAX_LEVELS):
        if not len(todo):
            break
        s = span[todo] / levels
        where = (coarse[todo] - low[todo]) / s
        on = np.abs(where - np.rint(where)).max(axis=1) <= _SLACK
        step[todo[on]] = s[on]
        todo = todo[~on]
    found = step[:, 0] > 0
    if found.sum() < 0.98 * max(live.sum(), 1):
        return 0.0, ""
    error = np.abs(fine - coarse) / np.where(step > 0, step, 1)
    # the outermost levels catch everything beyond them (clipping)
    clipped = (np.abs(coarse - low) < 0.5 * step) & (fine < coarse) | (np.abs(coarse - low - span) < 0.5 * step) & (fine > coarse)
    ok = (error <= 0.5 + _SLACK) | (clipped & (error <= 1.5)) | ((step <= 0) & (fine == coarse))
    levels_used = float(np.median((span[found] / step[found]).ravel())) + 1 if found.any() else 0
    return float(ok.mean()), f"an even grid of about {levels_used:.0f} levels"


def _few_levels(fine: F32, coarse: F32) -> tuple[float, str]:
    """Runs with few distinct values, unevenly spaced (NF4 and the like): every value is the nearest of its run's levels."""
    ordered = np.sort(coarse, axis=1)
    levels = 1 + (np.diff(ordered, axis=1) > 0).sum(axis=1)
    if np.median(levels) > coarse.shape[1] / 3:
        return 0.0, ""
    nearest = np.empty_like(coarse)
    for i in range(len(coarse)):
        points = np.unique(coarse[i])
        middle = (points[1:] + points[:-1]) / 2
        nearest[i] = points[np.searchsorted(middle, fine[i])]
    return float((nearest == coarse).mean()), f"{np.median(levels):.0f} levels"
