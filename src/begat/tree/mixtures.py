"""Which models lie between others, and of which parents they were mixed.

Enters: `Geometry`, kinship.  Leaves: `Mixture`s and the group of every model: 0 for those with one parent, k for what descends from the k-th
mixture. The tree of each group is `join.py`'s.

**The sign.** Changes made apart are at right angles, so a model that is the parent of p, a child of p, or a relative of both sees p and q under
a right angle or less. Only a model mixed from p and q (or nearly so) sees them under an obtuse one: for m = αp + (1−α)q the cosine at m
is −1; for k equal parents −1/(k−1); training after the merge turns it towards 0.

**The parents** are found by regression on the sphere, from angles alone: the squared distance of m from the span of parents S is
R = 1 − gᵀG⁻¹g with G the cosines among S and g those between m and S; coefficients G⁻¹g. A parent that another model could replace
without making R larger than measurement allows is left open.

**Why this is one-way.** Three models on one arc could also mean that an outer one was *extrapolated* through the middle one (task negation,
"ExPO"). Then the outer two would meet some third model under a right angle only by coincidence. So a mixture gets arrows where its
parents are separated by another given model, or are unrelated, and plain lines where no given model tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from begat.tree.geometry import Geometry, Matrix
from begat.tree.types import Policy

_SINGULAR = 1e-12


@dataclass(frozen=True, slots=True)
class Mixture:
    """One model between others.

    Attributes:
        child: the model.
        parents: one tuple per parent: the best, then those that could stand in its place.
        weights: coefficient of each best parent.
        residual: squared distance from their span, as a share of that from the nearest parent.
        named: False: too far from any span; `parents` is the nearest pair that it lies between.
        directed: arrows may be drawn.
        corner: upper bound of the cosine at the child between the first two parents.
        why: one clause.
    """

    child: int
    parents: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    residual: float
    named: bool
    directed: bool
    corner: float
    why: str


@dataclass(frozen=True, slots=True)
class _Fit:
    """A regression: parents, coefficients, R, and dR/d(cosine) by pair."""

    parents: tuple[int, ...]
    weights: Matrix
    r: float
    slope: dict[tuple[int, int], float]


class _Search:
    """Finds and places the models between others."""

    def __init__(self, geometry: Geometry, kin_NN: NDArray[np.bool_], policy: Policy) -> None:
        self.g, self.kin, self.policy = geometry, kin_NN, policy
        self.n = len(geometry.d)
        self.cos = np.cos(geometry.d)
        self.cos_sd = np.sin(geometry.d) * geometry.sd
        #: upper bounds of the corners at every model that lies between others; NaN where not measured or not kin
        self.high: dict[int, Matrix] = {}
        for m in range(self.n):
            usable = kin_NN[m] & ~np.isnan(geometry.length[1, m])
            high = np.where(usable[:, None] & usable[None, :], geometry.corners_at(m).high, np.nan)
            np.fill_diagonal(high, np.nan)
            with np.errstate(invalid="ignore"):
                if (high < -policy.opposed_change).any():
                    self.high[m] = high
        self.group = np.zeros(self.n, dtype=np.int64)
        self.found: list[Mixture] = []

    def run(self) -> None:
        """Place every middle model, the best explained first."""
        waiting = set(self.high)
        for m in waiting:
            self.group[m] = -1
        while waiting:
            options = [(self._explain(m), m) for m in sorted(waiting)]
            best, m = min(options, key=lambda o: (not o[0].named, len(o[0].parents), o[0].residual, o[1]))
            waiting.remove(m)
            follows = self._follows(m)
            if follows:
                self.group[m] = follows
                continue
            self.found.append(best)
            self.group[m] = len(self.found)
            if best.named:
                self._gather(m)

    def _follows(self, m: int) -> int:
        """The group of a placed mixture that m descends from, or 0: m sees that mixture's parents only through it."""
        for k, mix in enumerate(self.found, 1):
            if mix.named and self.kin[m, mix.child] and all(self._apart(mix.child, m, p[0]) for p in mix.parents):
                return k
        return 0

    def _apart(self, v: int, p: int, q: int) -> bool:
        """Could v separate p from q?"""
        low, high = self.g.corner(v, p, q)
        return bool(np.isfinite(low)) and low <= self.policy.shared_change and high >= -self.policy.opposed_change

    def _gather(self, m: int) -> None:
        """Give to the group of mixture m the models that descend from it, though training has hidden that they lie between its parents."""
        mix = self.found[-1]
        pairs = [(p[0], q[0]) for i, p in enumerate(mix.parents) for q in mix.parents[i + 1 :]]
        with np.errstate(invalid="ignore"):
            near = np.where(self.kin, self.g.d, np.nan)
        members, grown = {m}, True
        parents = {x for p in mix.parents for x in p}
        while grown:
            grown = False
            for y in range(self.n):
                if self.group[y] != 0 or y in parents or np.isnan(near[y]).all() or int(np.nanargmin(near[y])) not in members:
                    continue
                if all(self._apart(m, y, p[0]) for p in mix.parents) and not any(self._apart(y, p, q) for p, q in pairs):
                    self.group[y] = self.group[m]
                    members.add(y)
                    grown = True

    # --- regression ---

    def _explain(self, m: int) -> Mixture:
        """The best parents of m among models placed so far."""
        allowed = (self.group >= 0) & ~np.isnan(self.g.length[1, m]) & self.kin[m]
        allowed[m] = False
        pair = self._best_pair(m, allowed)
        if pair is None:
            a, b = np.unravel_index(int(np.nanargmin(self.high[m])), self.high[m].shape)
            return Mixture(m, ((int(a),), (int(b),)), (0.0, 0.0), np.inf, False, False, float(self.high[m][a, b]), "it lies between models that are themselves between others")
        fit = self._extend(m, self._fit(m, pair), allowed)
        return self._mixture(m, fit, allowed)

    def _best_pair(self, m: int, allowed_N: NDArray[np.bool_]) -> tuple[int, ...] | None:
        """The obtuse pair with the least R and no small coefficient."""
        c = self.cos[m]
        with np.errstate(invalid="ignore", divide="ignore"):
            det = 1 - self.cos**2
            w = (c[:, None] - c[None, :] * self.cos) / det
            r = 1 - (w * c[:, None] + w.T * c[None, :])
            possible = (self.high[m] < -self.policy.opposed_change) & allowed_N[:, None] & allowed_N[None, :] & (det > _SINGULAR)
            good = possible & (w >= self.policy.least_weight) & (w.T >= self.policy.least_weight)
            if not good.any():
                good = possible & (w > 0) & (w.T > 0)
        if not good.any():
            return None
        best = int(np.argmin(np.where(good, r, np.inf)))
        return tuple(sorted(int(i) for i in np.unravel_index(best, r.shape)))

    def _fit(self, m: int, parents: tuple[int, ...]) -> _Fit | None:
        """Regression of m on parents; None where a distance is missing, the parents are too alike or a coefficient is small."""
        s = list(parents)
        gram, with_m = self.cos[np.ix_(s, s)], self.cos[m, s]
        if np.isnan(gram).any() or np.isnan(with_m).any() or np.linalg.cond(gram) > 1 / _SINGULAR:
            return None
        w = np.linalg.solve(gram, with_m)
        if (w <= 0).any():
            return None
        ids, full = [m, *s], np.concatenate([[1.0], -w])
        slope = {(min(a, b), max(a, b)): 2 * full[i] * full[j] for i, a in enumerate(ids) for j, b in enumerate(ids) if i < j}
        return _Fit(parents, w, float(1 - with_m @ w), slope)

    def _sd(self, new: _Fit, old: _Fit) -> float:
        """Standard deviation of R(new) − R(old)."""
        keys = {*new.slope, *old.slope}
        return float(np.sqrt(sum(((new.slope.get(k, 0.0) - old.slope.get(k, 0.0)) * self.cos_sd[k]) ** 2 for k in keys)))

    def _extend(self, m: int, fit: _Fit | None, allowed_N: NDArray[np.bool_]) -> _Fit:
        """Add parents while each halves R and more than measurement explains."""
        assert fit is not None
        while len(fit.parents) < self.policy.most_parents:
            more = [self._fit(m, (*fit.parents, int(k))) for k in np.flatnonzero(allowed_N) if k not in fit.parents]
            good = [f for f in more if f is not None and f.weights.min() >= self.policy.least_weight]
            if not good:
                break
            best = min(good, key=lambda f: f.r)
            if not (best.r < fit.r / 2 and fit.r - best.r > self.g.z * self._sd(best, fit)):
                break
            fit = best
        return fit

    def _mixture(self, m: int, fit: _Fit, allowed_N: NDArray[np.bool_]) -> Mixture:
        scale = float(min(1 - self.cos[m, p] ** 2 for p in fit.parents))
        slots = tuple(self._slot(m, fit, i, allowed_N, scale) for i in range(len(fit.parents)))
        noise = self.g.z * self._sd(fit, _Fit((), np.zeros(0), 0.0, {}))
        named = bool(fit.weights.min() >= self.policy.least_weight and fit.r + noise <= self.policy.mixture_residual * scale)
        directed, reason = self._one_way(m, fit.parents)
        corner = float(np.nanmax([self.high[m][p, q] for i, p in enumerate(fit.parents) for q in fit.parents[i + 1 :]]))
        what = "it lies between its parents" if named else "it lies between models, but too far off their span to name parents"
        return Mixture(m, slots, tuple(float(w) for w in fit.weights), fit.r / scale, named, named and directed, corner, f"{what}; {reason}" if named else what)

    def _slot(self, m: int, fit: _Fit, i: int, allowed_N: NDArray[np.bool_], scale: float) -> tuple[int, ...]:
        """Parent i, then the models that could stand in its place."""
        others = []
        for k in np.flatnonzero(allowed_N):
            if k in fit.parents:
                continue
            swapped = self._fit(m, (*fit.parents[:i], int(k), *fit.parents[i + 1 :]))
            if swapped is not None and swapped.r - fit.r <= self.g.z * self._sd(swapped, fit) + 0.1 * scale:
                others.append(int(k))
        return (fit.parents[i], *others)

    def _one_way(self, m: int, parents: tuple[int, ...]) -> tuple[bool, str]:
        """Is every parent separated from another one by a given model, or unrelated to it?"""
        separated = set[int]()
        for i, p in enumerate(parents):
            for q in parents[i + 1 :]:
                if self._unrelated(p, q) or any(self._separates(o, p, q) for o in range(self.n) if o not in (m, *parents)):
                    separated |= {p, q}
        if separated == set(parents):
            return True, "apart from it the parents meet at a right angle, as models trained apart do: only mixing leads between them"
        return False, "no given model separates its parents, so one of them may have been extrapolated through it instead"

    def _unrelated(self, p: int, q: int) -> bool:
        return not self.kin[p, q] and bool(self.g.d[p, q] + self.g.z * self.g.sd[p, q] >= np.pi / 2)

    def _separates(self, o: int, p: int, q: int) -> bool:
        """Is o, clearly away from both, where the ways of p and q part?"""
        if self.group[o] != 0:
            return False
        low, high = self.g.corner(o, p, q)
        limit = self.policy.shared_change
        if not (low >= -self.policy.opposed_change and high <= limit):
            return False
        return self.g.corner(p, o, q)[0] > limit and self.g.corner(q, o, p)[0] > limit


def find_mixtures(geometry: Geometry, kin_NN: NDArray[np.bool_], policy: Policy) -> tuple[list[Mixture], NDArray[np.int64]]:
    """The mixtures and the group of every model: 0, or 1 + the index of the mixture that it is or descends from."""
    search = _Search(geometry, kin_NN, policy)
    search.run()
    return search.found, search.group
