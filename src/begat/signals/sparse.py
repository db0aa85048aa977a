"""Differences dropped or trimmed before they were added: DARE (arXiv:2311.03099) and TIES (arXiv:2306.01708) recognised value by value.

Enters: task vectors of parents and of a child (differences from one base) and the rounding step of each stored value of the child.  Leaves: a
`Sparse`: which of the two rules gives the values, to within rounding, and with what share kept and what factor.

Both rules give each value one of 2^P forms, by which parents' differences were kept there. DARE: Σ_kept a_i δ_i, a_i = 1/((1 - p) P). TIES: the
mean over the kept ones that agree in sign, times a scale. A form counts as met when it comes within half a rounding step of the child.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from begat.types import F32, F64

_ROUNDS = 4
#: half steps of rounding that a value may be off: the child's own, and that of values computed in a narrow type
_SLACK = 1.1
#: a difference must be this many steps large to vote on the factor
_LARGE = 4.0
_BINS = np.linspace(0.05, 12.0, 1196)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule's account of the values.

    kept_P: share of each parent's differences that entered. scale_P: factor on one that entered alone. explained: share of values it gives to
    within rounding. size_ratio: median size of kept over not kept differences.
    """

    name: str
    kept_P: F64
    scale_P: F64
    explained: float
    size_ratio: float


def rules(child_N: F32, parents_PN: F32, step_N: F32) -> tuple[Rule, Rule]:
    """DARE's and TIES's account of one child's differences.

    Args:
        child_N, parents_PN: differences from the base. step_N: spacing of the child's stored numbers at each value (0: exact).
    """
    scale = np.array([_alone(child_N, parents_PN, step_N, i) for i in range(len(parents_PN))])
    return _account("dare", child_N, parents_PN, step_N, scale), _account("ties", child_N, parents_PN, step_N, scale)


def _alone(child: F32, parents: F32, step: F32, i: int) -> float:
    """The factor on parent i where it entered alone: the commonest ratio of the child's difference to its."""
    large = (np.abs(parents[i]) > _LARGE * step) & (child != 0)
    if large.sum() < 50:
        return 1.0
    ratio = child[large] / parents[i][large]
    blur = 0.5 * step[large] / np.abs(parents[i][large])
    # each ratio votes for the bins that its rounding allows, with one vote in all
    low, high = (np.searchsorted(_BINS, r) for r in (ratio - blur, ratio + blur))
    votes = np.zeros(len(_BINS) + 1)
    weight = 1.0 / np.maximum(high - low, 1)
    np.add.at(votes, np.clip(low, 0, len(_BINS)), weight)
    np.add.at(votes, np.clip(np.maximum(high, low + 1), 0, len(_BINS)), -weight)
    density = np.cumsum(votes)[: len(_BINS)]
    density[0] = 0
    smooth = np.convolve(density, np.ones(3), "same")
    best = float(_BINS[int(smooth.argmax())])
    near = np.abs(ratio - best) < 0.03 + blur
    return float(np.median(ratio[near])) if near.any() else best


def _account(name: str, child: F32, parents: F32, step: F32, scale: F64) -> Rule:
    masks = [np.array(s, dtype=bool) for s in product((False, True), repeat=len(parents))]
    half = 0.5 * _SLACK * step + 1e-7 * np.abs(child)
    form = np.zeros(len(child), dtype=np.int64)
    for _ in range(_ROUNDS):
        forms = np.stack([_form(name, parents, mask, scale) for mask in masks])
        off = np.abs(forms - child)
        form = off.argmin(0)
        scale = _refit(name, child, parents, masks, form, off.min(0) <= half, scale)
    forms = np.stack([_form(name, parents, mask, scale) for mask in masks])
    off = np.abs(forms - child)
    form, met = off.argmin(0), off.min(0) <= half
    kept = np.array([[mask[i] for mask in masks] for i in range(len(parents))])[:, form]
    large = (np.abs(parents) > _LARGE * step).all(0)
    clear = met & large
    share = kept[:, clear].mean(1) if clear.any() else np.zeros(len(parents))
    return Rule(name, share, scale, float(met[large].mean()) if large.any() else 0.0, _sizes(parents, kept, clear))


def _form(name: str, parents: F32, mask: np.ndarray, scale: F64) -> F64:
    """What the rule gives where exactly the parents of `mask` entered; TIES gives nothing where they disagree in sign."""
    total: F64 = (parents[mask] * scale[mask, None]).sum(0, dtype=np.float64)
    if name == "dare" or mask.sum() < 2:
        return total
    signs = np.sign(parents[mask])
    return np.where((signs == signs[0]).all(0), total / mask.sum(), np.inf)


def _refit(name: str, child: F32, parents: F32, masks: Sequence[np.ndarray], form: np.ndarray, met: np.ndarray, scale: F64) -> F64:
    """Factors by least squares over the values that are met by one parent alone."""
    out = scale.copy()
    for i in range(len(parents)):
        lone = next(k for k, mask in enumerate(masks) if mask.sum() == 1 and mask[i])
        at = met & (form == lone)
        size = float(np.square(parents[i][at]).sum())
        if at.sum() > 50 and size > 0:
            out[i] = float((child[at] * parents[i][at]).sum()) / size
    return out


def _sizes(parents: F32, kept: np.ndarray, clear: np.ndarray) -> float:
    ratios = []
    for delta, here in zip(np.abs(parents), kept, strict=True):
        inside, outside = delta[clear & here], delta[clear & ~here]
        if len(inside) > 20 and len(outside) > 20:
            ratios.append(float(np.median(inside) / np.median(outside)))
    return float(np.median(ratios)) if ratios else 1.0
