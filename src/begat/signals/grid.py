"""Equality on a quantisation grid: is one model the other, rounded?

Enters: the same rows of a finer and a coarser model, and how the coarser one is stored.  Leaves: `Agreement`: the share of values that are
the finer value rounded to the grid, and how the errors spread. Sources: the GGUF block types share one scale per run of 16 or 32 values of a row; float
types round to their mantissa; "fake-quantised" checkpoints carry a grid in plain floats, found here from the values.

The spread matters as much as the share. Rounding leaves errors spread evenly over half a step. A model trained a little *from* the
coarse one also stays within half a step, but its errors crowd near zero, and it is no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from begat.types import F32, F64

#: levels a grid may have in one run: up to 8 bits
_MAX_LEVELS = 256
#: runs looked at first; most tensors that carry no grid are dismissed by them
_FIRST = 8
#: how far beyond half a step an error may lie: nothing but arithmetic for floats; scales that are rounded themselves, and division in
#: bf16, move the grid by some hundredths of a step, by more the more levels there are
_EXACT, _SLACK, _SLACK_LARGE = 1e-3, 0.02, 0.06
#: the same for a rounding whose source can be told from its siblings
_TIGHT = 0.006
#: share of values that must agree; share of errors beyond a quarter step (a half when spread evenly; at most 0.23 for errors that
#: are normal and within half a step as often as `_SHARE` demands)
_SHARE, _SPREAD = 0.999, 0.35
#: values that do not agree, over those that differ and do: where nearly all values are equal, those that are not must be roundings too
_ODD = 0.05


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts over compared values: `ok` are the finer value rounded, `tight` are so within 0.006 of a step; `inside` errors are not
    zero and not clipped, `far` of them lie beyond a quarter step.
    """

    n: int
    ok: int
    tight: int
    inside: int
    far: int
    grid: str

    @property
    def share(self) -> float:
        """Fraction of values that are the finer value rounded."""
        return self.ok / self.n if self.n else 0.0

    @property
    def spread(self) -> float:
        """Fraction of the non-zero errors beyond a quarter step."""
        return self.far / self.inside if self.inside else 0.0

    @property
    def rounded(self) -> bool:
        """The coarser values are the finer ones, rounded, as far as so many values can tell (two standard deviations of the spread)."""
        if not self.inside or self.n - self.ok > _ODD * self.inside + 2:
            return False
        return self.share >= _SHARE - 2 / self.n and self.spread >= _SPREAD - 1 / self.inside**0.5

    @property
    def tightly(self) -> bool:
        """Rounded so exactly that the finer values can be the source: of two roundings of one source, one is not the other's."""
        return self.n > 0 and self.tight / self.n >= _SHARE

    def __add__(self, other: Agreement) -> Agreement:
        """Counts of both; the words of the first."""
        return Agreement(self.n + other.n, self.ok + other.ok, self.tight + other.tight, self.inside + other.inside,
                         self.far + other.far, self.grid or other.grid)  # fmt: skip


#: how the words of a float type's own rounding end
FLOAT = " rounding"
NOTHING = Agreement(0, 0, 0, 0, 0, "")


def float_agreement(
    fine: F32, coarse: F32, mantissa: int, tiny: float, words: str, scale: F32 | None = None, largest: float | None = None
) -> Agreement:
    """Is `coarse` `fine` rounded to `mantissa` explicit bits, or to multiples of the smallest subnormal `tiny`?

    With a `scale` (broadcast against the values) the stored numbers are the values divided by it, and numbers beyond the `largest` of
    the type are cut to it. Scales that are powers of two (OCP Microscaling) leave a block's greatest number anywhere up to the power of
    two above the largest, so those may be off by as much, and by no more.
    """
    clipped = np.zeros(fine.shape, dtype=bool)
    if scale is not None:
        safe = np.where(scale != 0, scale, np.float32(1))
        fine, coarse = (fine / safe).astype(np.float32), (coarse / safe).astype(np.float32)
        if largest is not None:
            above = 2.0 ** np.ceil(np.log2(largest))
            clipped = (np.abs(coarse) >= largest * (1 - _EXACT)) & (np.abs(fine) > np.abs(coarse)) & (np.abs(fine) <= above * (1 + _EXACT))
            clipped &= np.sign(fine) == np.sign(coarse)
    ulp = _ulp(coarse, mantissa, tiny)
    slack = _EXACT if scale is None else 2 * _SLACK  # divided in bf16, rounded twice
    errors = np.where(clipped, 0, np.abs(fine - coarse) / ulp).astype(np.float32)
    found = _agreement(errors, clipped, f"{words}{FLOAT}", slack)
    if scale is not None:
        return found
    # a sibling's ties, already rounded once, break the wrong way half of the time
    step = _ulp(fine, mantissa, tiny)
    return replace(found, tight=int((np.rint(fine / step) * step == coarse).sum()))


def _ulp(values: F32, mantissa: int, tiny: float) -> F32:
    _, exponent = np.frexp(values)
    ulp: F32 = np.maximum(np.ldexp(np.float32(1), exponent - 1 - mantissa), np.float32(tiny)).astype(np.float32)
    return ulp


def step_agreement(fine: F32, coarse: F32, scale: F32, words: str) -> Agreement:
    """Is `coarse` `fine` rounded to multiples of `scale` (broadcast against the values)?

    Quantisers that divide in bfloat16 (llmcompressor) round the quotient to 8 bits first, so that 8 to 9 % of their integers lie beyond half a
    step, at most 0.75. Such a rounding is told from another by doing it again: the quotient in bfloat16, rounded, must be the stored
    integer, for all but one in a thousand.
    """
    safe = np.where(scale != 0, scale, np.float32(1))
    errors = np.where(scale != 0, np.abs(fine - coarse) / np.abs(safe), np.where(fine == coarse, 0, 9)).astype(np.float32)
    outermost = np.abs(coarse) >= np.abs(coarse).max(axis=1, keepdims=True)
    clipped = outermost & (np.abs(fine) > np.abs(coarse))
    found = _agreement(errors, clipped, words, _SLACK_LARGE)
    if found.share >= _SHARE:
        return found
    q = np.rint(coarse / safe)
    again = np.clip(np.rint(_bf16((_bf16(fine) / safe).astype(np.float32))), q.min(), q.max())
    inside = errors[(errors > 1e-3) & ~clipped]
    ok = int((again == q).sum())
    twice = Agreement(errors.size, ok, ok, inside.size, int((inside > 0.24).sum()), f"{words}, divided in bfloat16")
    return twice if twice.share >= _SHARE else found


def _bf16(values: F32) -> F32:
    """Rounded to bfloat16, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    out: F32 = ((bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)).view(np.float32)
    return out


def level_agreement(fine: F32, coarse: F32, scale: F32, levels: F32, words: str, *, rough: int = 0) -> Agreement:
    """Is every value of `coarse` the nearest to `fine` of the `levels` times `scale` (broadcast against the values)?

    Errors are in units of the gap to the next level on that side.

    Args:
        rough: scales were rounded after the values were (bitsandbytes' double quantisation): values of a row that share one. Values are
            then held against the scale they were rounded with, the greatest size among the finer ones, where that is within a tenth of
            the stored one. 0 = scales are exact.
    """
    points = np.unique(levels)
    safe = np.where(scale != 0, scale, np.float32(1))
    own = safe
    if rough and fine.shape[1] % rough == 0:
        greatest = np.repeat(np.abs(fine.reshape(len(fine), -1, rough)).max(axis=2), rough, axis=1)
        own = np.where(np.abs(greatest - safe) <= 0.1 * np.abs(safe), greatest, safe)
    x, y = fine / own, coarse / safe
    at = np.clip(np.searchsorted(points, y), 1, len(points) - 1)
    at -= (y - points[at - 1]) < (points[at] - y)
    other = np.clip(np.where(x > points[at], at + 1, at - 1), 0, len(points) - 1)
    clipped = (other == at) & (np.abs(x) <= np.abs(points[at]) * 1.5)
    gap = np.where(other == at, np.abs(points[1] - points[0]), np.abs(points[other] - points[at]))
    errors = np.where(scale != 0, np.abs(x - points[at]) / gap, np.where(fine == coarse, 0, 9)).astype(np.float32)
    return _agreement(errors, clipped, words, _SLACK_LARGE if rough else _SLACK)


def has_grid(values: F32, runs: tuple[int, ...]) -> bool:
    """Do plain float values lie on an even grid of their own?"""
    for run in runs:
        if run >= 8 and values.shape[1] % run == 0:
            few = values.reshape(-1, run)[:_FIRST]
            if _even_steps(few, few, 7).n or _few_levels(few, few).n:
                return True
    return False


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
                best = replace(found, grid=f"{found.grid} per {run} values")
        if best.rounded:
            break
    return best


def _agreement(errors: F32, clipped: np.ndarray, words: str, slack: float | F32 | F64) -> Agreement:
    """Errors in steps; values beyond a grid's ends (`clipped`) may be off by more."""
    beyond = clipped & (errors <= 1.5)
    ok, tight = (errors <= 0.5 + slack) | beyond, (errors <= 0.5 + _TIGHT) | beyond
    inside = errors[(errors > 1e-3) & ~clipped]
    return Agreement(errors.size, int(ok.sum()), int(tight.sum()), inside.size, int((inside > 0.24).sum()), words)


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
    used = np.where(step > 0, span / safe, 1.0)
    slack = np.clip(used * 2.0 ** -(min(mantissa, 10) + 1), _SLACK, _SLACK_LARGE)
    return _agreement(errors, clipped, f"an even grid of about {float(np.median(used[found])) + 1:.0f} levels", slack)


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
    return _agreement(errors, clipped, f"{np.median(levels):.0f} levels", _SLACK)
