"""Equality on a quantisation grid: is one model the other, rounded?

Enters: the same rows of a finer and a coarser model, and how the coarser one is stored.  Leaves: `Agreement`: the share of values that are
the finer value rounded to the grid, and how the errors spread. Sources: the GGUF block types share one scale per run of 16 or 32 values of a row; float
types round to their mantissa; "fake-quantised" checkpoints carry a grid in plain floats, found here from the values.

The spread matters as much as the share. Rounding leaves errors spread evenly over half a step. A model trained a little *from* the
coarse one also stays within half a step, but its errors crowd near zero, and it is no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from begat.types import F32

#: levels a grid may have in one run: up to 8 bits
_MAX_LEVELS = 256
#: runs looked at first; most tensors that carry no grid are dismissed by them
_FIRST = 8
#: how far beyond half a step an error may lie (scales are themselves rounded)
_SLACK = 0.06
#: share of values that must agree; share of errors beyond a quarter step (a half when spread evenly; at most 0.17 for errors that
#: are normal and within half a step as often as `_SHARE` demands)
_SHARE, _SPREAD = 0.995, 0.35


@dataclass(frozen=True, slots=True)
class Agreement:
    """share: fraction of values that are the finer value rounded; spread: fraction of the non-zero errors beyond a quarter step."""

    share: float
    spread: float
    grid: str

    @property
    def rounded(self) -> bool:
        """The coarser values are the finer ones, rounded."""
        return self.share >= _SHARE and self.spread >= _SPREAD


NOTHING = Agreement(0.0, 0.0, "")


def float_agreement(fine: F32, coarse: F32, mantissa: int, tiny: float, words: str) -> Agreement:
    """Is `coarse` `fine` rounded to `mantissa` explicit bits, or to multiples of the smallest subnormal `tiny`?"""
    _, exponent = np.frexp(coarse)
    ulp = np.maximum(np.ldexp(np.float32(1), exponent - 1 - mantissa), np.float32(tiny))
    return _agreement(np.abs(fine - coarse) / ulp, np.zeros(fine.shape, dtype=bool), f"{words} rounding")


def grid_agreement(fine: F32, coarse: F32, runs: tuple[int, ...], mantissa: int = 23) -> Agreement:
    """Is every value of `coarse` the nearest grid point to `fine`?

    Args:
        fine, coarse: [m, n] the same rows.
        runs: lengths of row segments that may share a scale, tried in order (n itself = per row).
        mantissa: explicit bits of the floats that carry the grid (23 for integer storage, decoded exactly). A grid point is only as
            exact as the float it is stored in; demanding more would miss grids, less would take a fine grid for a coarse one.

    Returns:
        the best agreement over run lengths; `NOTHING` when no run length shows a grid in nearly all runs.
    """
    best = NOTHING
    for run in runs:
        if run < 8 or coarse.shape[1] % run:
            continue
        f, c = fine.reshape(-1, run), coarse.reshape(-1, run)
        for method in (partial(_even_steps, mantissa=mantissa), _few_levels):
            if method(f[:_FIRST], c[:_FIRST]).share < 0.9:
                continue
            found = method(f, c)
            if found.share > best.share:
                best = Agreement(found.share, found.spread, f"{found.grid} per {run} values")
        if best.rounded:
            break
    return best


def _agreement(errors: F32, clipped: np.ndarray, words: str) -> Agreement:
    """Errors in steps; values beyond a grid's ends (`clipped`) may be off by more."""
    ok = (errors <= 0.5 + _SLACK) | (clipped & (errors <= 1.5))
    inside = errors[(errors > 1e-3) & ~clipped]
    spread = float((inside > 0.24).mean()) if inside.size else 0.0
    return Agreement(float(ok.mean()), spread, words)


def _even_steps(fine: F32, coarse: F32, mantissa: int) -> Agreement:
    """Runs whose values are integer multiples of a step (after an offset)."""
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
        on = np.abs(where - np.rint(where)).max(axis=1) <= min(0.1, 0.002 + levels * 2.0 ** -(mantissa + 1))
        step[todo[on]] = s[on]
        todo = todo[~on]
    found = step[:, 0] > 0
    if found.sum() < 0.98 * max(live.sum(), 1) or not found.any():
        return NOTHING
    safe = np.where(step > 0, step, 1)
    errors = np.where(step > 0, np.abs(fine - coarse) / safe, np.where(fine == coarse, 0, 9)).astype(np.float32)
    # the outermost levels catch everything beyond them
    clipped = ((np.abs(coarse - low) < 0.5 * step) & (fine < coarse)) | (
        (np.abs(coarse - low - span) < 0.5 * step) & (fine > coarse)
    )
    levels_used = float(np.median(span[found] / step[found])) + 1
    return _agreement(errors, clipped, f"an even grid of about {levels_used:.0f} levels")


def _few_levels(fine: F32, coarse: F32) -> Agreement:
    """Runs with few distinct values, unevenly spaced (NF4 and the like): errors in units of the gap to the next level."""
    levels = 1 + (np.diff(np.sort(coarse, axis=1), axis=1) > 0).sum(axis=1)
    if np.median(levels) > coarse.shape[1] / 3:
        return NOTHING
    errors = np.empty_like(coarse)
    clipped = np.zeros(coarse.shape, dtype=bool)
    for i in range(len(coarse)):
        points = np.unique(coarse[i])
        at = np.searchsorted(points, coarse[i])
        above = fine[i] > coarse[i]
        other = np.clip(np.where(above, at + 1, at - 1), 0, len(points) - 1)
        clipped[i] = other == at
        gap = np.abs(points[other] - coarse[i])
        errors[i] = np.abs(fine[i] - coarse[i]) / np.where(gap > 0, gap, np.inf)
    return _agreement(errors, clipped, f"{np.median(levels):.0f} levels")
