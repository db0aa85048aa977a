"""Which models lie between others, and of which parents they were mixed.

Enters: `Geometry`, kinship.  Leaves: `Mixture`s and the group of every model: 0 for those with one parent, k for what descends from the k-th
mixture. The tree of each group is `join.py`'s.

**The sign.** Changes made apart are at right angles, so a model that is the parent of p, a child of p, or a relative of both sees p and q under
a right angle or less. Only a model mixed from p and q (or nearly so) sees them under an obtuse one: for m = αp + (1−α)q the cosine at m
is −1; for k equal parents −1/(k−1); training after the merge turns it towards 0. Only cosines below −0.35 count (`Policy.shared_change`): two
trainings on like data, one after the other, run in one direction that far.

**The parents** are found by regression on the sphere, from angles alone: the squared distance of m from the span of parents S is
R = 1 − gᵀG⁻¹g with G the cosines among S and g those between m and S; coefficients G⁻¹g. A parent that another model could replace
without making R larger than measurement allows is left open.

**Why this is one-way.** Three models on one arc could also mean that an outer one was *extrapolated* through the middle one (task negation,
"ExPO"), or that training went straight on. Then a right angle between the outer two at a fourth model would be a coincidence. So a mixture gets
arrows where another given model separates its parents, or where they are unrelated, and plain lines where no given model tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        parents: one tuple per parent: the best, then those that could stand in its place; not `named`: all models of the pairs
            that it lies between.
        weights: coefficient of each best parent.
        between: the pair that the child sees under the most obtuse angle.
        like: models that may be the mixture instead, `child` then descending from them or with them from one not given.
        residual: squared distance from their span, as a share of that from the nearest parent.
        named: False: too far from any span.
        directed: arrows may be drawn.
        why: one clause.
    """

    child: int
    parents: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    between: tuple[int, int]
    residual: float
    named: bool
    directed: bool
    why: str
    like: tuple[int, ...] = ()


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
                if (high < -policy.shared_change).any():
                    self.high[m] = high
        self.group = np.zeros(self.n, dtype=np.int64)
        self.found: list[Mixture] = []
        self.known_behind: dict[tuple[int, tuple[int, ...]], list[str]] = {}

    def run(self) -> None:
        """Place every middle model, the best explained first."""
        waiting = set(self.high)
        for m in waiting:
            self.group[m] = -1
        known: dict[int, Mixture] = {}
        while waiting:
            known |= {m: self._explain(m) for m in waiting if m not in known}
            options = [(known[m], m) for m in sorted(waiting)]
            best, m = min(options, key=lambda o: (not o[0].named, len(o[0].parents), o[0].residual, o[1]))
            waiting.remove(m)
            # now that m may be a parent, others may be explained better
            known = {k: mix for k, mix in known.items() if not np.nanmin(self.high[k][m], initial=1.0) < -self.policy.shared_change}
            leader = self._leader(m, best)
            if leader:
                mix = self.found[leader - 1]
                if mix.named and self._as_good(m, mix):
                    self.found[leader - 1] = replace(mix, like=(*mix.like, m))
                if self.behind(m, mix) == "yes":
                    self.group[m] = leader
                    continue
                best = self._unnamed(m)
            self.found.append(best)
            self.group[m] = len(self.found)
            if best.named:
                self._gather(m)
        for k, mix in enumerate(self.found):
            if mix.named:
                self.found[k] = self._settle(mix)

    def _settle(self, mix: Mixture) -> Mixture:
        """The mixture once all others are known: better parents if there are, and every model that could stand in a parent's place."""
        m = mix.child
        allowed = ~np.isnan(self.g.length[1, m]) & self.kin[m]
        allowed[list(self._below(mix))] = False
        fit = self._fit(m, tuple(slot[0] for slot in mix.parents))
        pair = self._best_pair(m, allowed)
        if fit is None or pair is None:
            return self._unnamed(m)
        other = self._extend(m, self._fit(m, pair), allowed)
        if len(other.parents) <= len(fit.parents) and other.r < fit.r - self.g.z * self._sd(other, fit):
            fit = other
        settled = self._mixture(m, fit)
        if not settled.named:
            return settled
        scale = float(min(1 - self.cos[m, p] ** 2 for p in fit.parents))
        if self._elsewhere(m, fit, allowed, scale):
            return self._unnamed(m)
        slots = tuple(self._slot(m, fit, i, allowed, scale) for i in range(len(fit.parents)))
        return replace(settled, parents=slots, like=mix.like)

    def _elsewhere(self, m: int, fit: _Fit, allowed_N: NDArray[np.bool_], scale: float) -> bool:
        """Would a pair that has no parent in common with `fit` explain m as well?"""
        allowed_N = allowed_N.copy()
        allowed_N[list(fit.parents)] = False
        pair = self._best_pair(m, allowed_N)
        other = self._fit(m, pair) if pair else None
        return other is not None and other.r - fit.r <= self.g.z * self._sd(other, fit) + 0.1 * scale

    def _below(self, mix: Mixture) -> set[int]:
        """The mixture's child and what descends from it, as far as placed."""
        below = {mix.child, *mix.like}
        grown = True
        while grown:
            more = {y for y in range(self.n) if y not in below and self.group[y] > 0 and self._under(y, below)}
            grown = bool(more)
            below |= more
        return below

    def _under(self, y: int, above: set[int]) -> bool:
        """Is y of the group of a mixture in `above`, or of one that has a parent there?"""
        mix = self.found[self.group[y] - 1]
        return mix.named and (mix.child in above or (y == mix.child and any(slot[0] in above for slot in mix.parents)))

    def _leader(self, m: int, own: Mixture) -> int:
        """The group of a placed mixture that m may descend from, or 0; a sure one first. One nearer than m's own parents always may be."""
        may = {k: self.behind(m, mix) for k, mix in enumerate(self.found, 1) if mix.named}
        nearest = min(float(self.g.d[m, slot[0]]) for slot in own.parents)
        near = [k for k, mix in enumerate(self.found, 1) if self.kin[m, mix.child] and self.g.d[m, mix.child] < nearest]
        return next((k for want in ("yes", "maybe") for k, how in may.items() if how == want), near[0] if near and own.named else 0)

    def _as_good(self, m: int, leader: Mixture) -> bool:
        """Could m be the mixture instead of its leader: does it lie as near to the span of the parents?"""
        parents = tuple(slot[0] for slot in leader.parents)
        mine, theirs = self._fit(m, parents), self._fit(leader.child, parents)
        if mine is None or theirs is None:
            return False
        scale = float(min(1 - self.cos[leader.child, p] ** 2 for p in parents))
        return mine.r - theirs.r <= self.g.z * self._sd(mine, theirs) + 0.1 * scale

    def _gather(self, m: int) -> None:
        """Give to the group of mixture m the models that surely descend from it, though training has hidden that they lie between its parents."""
        with np.errstate(invalid="ignore"):
            near = np.where(self.kin, self.g.d, np.nan)
        members, grown = {m}, True
        while grown:
            grown = False
            for y in range(self.n):
                if self.group[y] == 0 and not np.isnan(near[y]).all() and int(np.nanargmin(near[y])) in members and self.behind(y, self.found[-1]) == "yes":
                    self.group[y] = self.group[m]
                    members.add(y)
                    grown = True

    def behind(self, y: int, mix: Mixture) -> str:
        """Does y join the tree through the mixture? "yes", "no" or "maybe"."""
        parents = tuple(slot[0] for slot in mix.parents) if mix.named else mix.between
        key = (mix.child, parents)
        if key not in self.known_behind:
            self.known_behind[key] = self._all_behind(mix.child, parents)
        return self.known_behind[key][y]

    def _all_behind(self, m: int, parents: tuple[int, ...]) -> list[str]:
        """`behind` for every model. Not behind m are its parents, what joins the way there at a parent, what separates two of them, and what
        shares a stretch of way from m with any of these.
        """
        p, c = self.policy, self.g.corners_at(m)
        usable = self.kin[m] & ~np.isnan(self.g.length[1, m])
        pairs = [(a, b) for i, a in enumerate(parents) for b in parents[i + 1 :]]
        outside = np.zeros(self.n, dtype=bool)
        outside[list(parents)] = True
        with np.errstate(invalid="ignore"):
            for y in np.flatnonzero(usable & ~outside):
                obtuse = bool((c.high[y, list(parents)] < -p.shared_change).any())
                at_parent = any(self._at_parent(int(y), m, z) for z in parents)
                outside[y] = obtuse or at_parent or any(self._separates(int(y), a, b, p.right_angle) for a, b in pairs)
            while True:
                more = usable & ~outside & (c.low[:, outside & usable] > p.shared_change).any(axis=1)
                if not more.any():
                    break
                outside |= more
        outside[m] = True
        return ["no" if outside[y] or not usable[y] else "yes" if self._surely_behind(y, m, parents, pairs) else "maybe" for y in range(self.n)]

    def _at_parent(self, y: int, m: int, z: int) -> bool:
        """Does y surely join the way from m to z at z?"""
        at_m, at_z = self.g.corner(m, y, z), self.g.corner(z, y, m)
        return at_z[1] <= self.policy.shared_change and at_m[0] > self.policy.shared_change

    def _surely_behind(self, y: int, m: int, parents: tuple[int, ...], pairs: list[tuple[int, int]]) -> bool:
        p = self.policy
        at_m, at_z = [self.g.corner(m, y, z) for z in parents], [self.g.corner(z, y, m) for z in parents]
        sure = all(c[1] <= p.shared_change and e[0] > p.shared_change for c, e in zip(at_m, at_z, strict=True))
        # what may be the common ancestor of the parents sees them under a right angle; what is behind their mixture under less, or, close by, more
        at_y = [self.g.corner(y, a, b) for a, b in pairs]
        return sure and (all(c[0] > p.shared_change for c in at_y) or any(c[1] < -p.shared_change for c in at_y))

    # --- regression ---

    def _explain(self, m: int) -> Mixture:
        """The best parents of m among models placed so far."""
        allowed = (self.group >= 0) & ~np.isnan(self.g.length[1, m]) & self.kin[m]
        allowed[m] = False
        pair = self._best_pair(m, allowed)
        if pair is None:
            return self._unnamed(m)
        fit = self._extend(m, self._fit(m, pair), allowed)
        return self._mixture(m, fit)

    def _between(self, m: int) -> tuple[int, int]:
        a, b = np.unravel_index(int(np.nanargmin(self.high[m])), self.high[m].shape)
        return int(a), int(b)

    def _unnamed(self, m: int) -> Mixture:
        """A model between others, whose parents cannot be told."""
        with np.errstate(invalid="ignore"):
            pairs = self.high[m] < -self.policy.shared_change
            nearest = int(np.nanargmin(np.where(self.kin[m] & (np.arange(self.n) != m), self.g.d[m], np.nan)))
        among = sorted({int(i) for i in np.flatnonzero(pairs.any(axis=1))} | {nearest})
        why = "it lies between models, but too far off their span to name parents"
        return Mixture(m, tuple((i,) for i in among), (0.0,) * len(among), self._between(m), np.inf, False, False, why)

    def _best_pair(self, m: int, allowed_N: NDArray[np.bool_]) -> tuple[int, ...] | None:
        """The obtuse pair with the least R and no small coefficient."""
        c = self.cos[m]
        with np.errstate(invalid="ignore", divide="ignore"):
            det = 1 - self.cos**2
            w = (c[:, None] - c[None, :] * self.cos) / det
            r = 1 - (w * c[:, None] + w.T * c[None, :])
            possible = (self.high[m] < -self.policy.shared_change) & allowed_N[:, None] & allowed_N[None, :] & (det > _SINGULAR)
            good = possible & (w >= self.policy.least_weight) & (self.policy.least_weight <= w.T)
            if not good.any():
                good = possible & (w > 0) & (w.T > 0)
        if not good.any():
            return None
        best = int(np.argmin(np.where(good, r, np.inf)))
        return tuple(sorted(int(i) for i in np.unravel_index(best, r.shape)))

    def _fit(self, m: int, parents: tuple[int, ...], drop: bool = False) -> _Fit | None:
        """Regression of m on parents; None where a distance is missing, the parents are too alike or a coefficient is not positive (with
        `drop`: the most negative leaves).
        """
        s = list(parents)
        gram, with_m = self.cos[np.ix_(s, s)], self.cos[m, s]
        if np.isnan(gram).any() or np.isnan(with_m).any() or np.linalg.cond(gram) > 1 / _SINGULAR:
            return None
        w = np.linalg.solve(gram, with_m)
        if (w <= 0).any():
            worst = int(np.argmin(w))
            return self._fit(m, (*parents[:worst], *parents[worst + 1 :]), drop) if drop and len(parents) > 1 else None
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
            k = self._next(m, fit, allowed_N)
            best = None if k is None else self._fit(m, (*fit.parents, k))
            if best is None or not (best.r < fit.r / 2 and fit.r - best.r > self.g.z * self._sd(best, fit)):
                break
            fit = best
        return fit

    def _next(self, m: int, fit: _Fit, allowed_N: NDArray[np.bool_]) -> int | None:
        """The model that lowers R most and leaves no small coefficient, by the update of a regression when one regressor joins."""
        s = list(fit.parents)
        between_SN = self.cos[s]
        u_SN = np.linalg.solve(self.cos[np.ix_(s, s)], between_SN)
        with np.errstate(invalid="ignore", divide="ignore"):
            rest_N = 1 - (between_SN * u_SN).sum(0)
            w_N = (self.cos[m] - fit.weights @ between_SN) / rest_N
            lowest_N = np.minimum(w_N, (fit.weights[:, None] - w_N * u_SN).min(0))
            good = allowed_N & (rest_N > _SINGULAR) & (lowest_N >= self.policy.least_weight)
            good[s] = False
            return int(np.argmax(np.where(good, w_N**2 * rest_N, -1.0))) if good.any() else None

    def _mixture(self, m: int, fit: _Fit) -> Mixture:
        scale = float(min(1 - self.cos[m, p] ** 2 for p in fit.parents))
        slots = tuple((p,) for p in fit.parents)
        noise = self.g.z * self._sd(fit, _Fit((), np.zeros(0), 0.0, {}))
        named = bool(fit.weights.min() >= self.policy.least_weight and fit.r + noise <= self.policy.mixture_residual * scale)
        if not named:
            return self._unnamed(m)
        directed, reason = self._one_way(m, fit.parents)
        if directed and fit.r + noise > self.policy.arrow_residual * scale:
            directed, reason = False, "changes after the mixing, or parents not given, leave it too far off their span for an arrow"
        why = f"it lies between its parents; {reason}"
        return Mixture(m, slots, tuple(float(w) for w in fit.weights), self._between(m), fit.r / scale, True, directed, why)

    def _slot(self, m: int, fit: _Fit, i: int, allowed_N: NDArray[np.bool_], scale: float) -> tuple[int, ...]:
        """Parent i, then the models that could stand in its place."""
        others = []
        for k in np.flatnonzero(allowed_N):
            if k in fit.parents:
                continue
            swapped = self._fit(m, (*fit.parents[:i], int(k), *fit.parents[i + 1 :]), drop=True)
            if swapped is not None and swapped.r - fit.r <= self.g.z * self._sd(swapped, fit) + 0.1 * scale:
                others.append(int(k))
        return (fit.parents[i], *others)

    def _one_way(self, m: int, parents: tuple[int, ...]) -> tuple[bool, str]:
        """Is every parent separated from another one by a given model, or unrelated to it?"""
        separated = set[int]()
        for i, p in enumerate(parents):
            for q in parents[i + 1 :]:
                if self._unrelated(p, q) or any(
                    self._separates(o, p, q, self.policy.right_angle) for o in range(self.n) if o not in (m, *parents) and self.group[o] == 0
                ):
                    separated |= {p, q}
        if separated == set(parents):
            return True, "apart from it the parents meet at a right angle, as models trained apart do: only mixing leads between them"
        return False, "no given model separates its parents, so one of them may have been extrapolated through it instead"

    def _unrelated(self, p: int, q: int) -> bool:
        return not self.kin[p, q] and bool(self.g.d[p, q] + self.g.z * self.g.sd[p, q] >= np.pi / 2)

    def _separates(self, o: int, p: int, q: int, within: float) -> bool:
        """Is o, clearly away from both, where the ways of p and q part, at an angle whose cosine is at most `within`?"""
        low, high = self.g.corner(o, p, q)
        limit = self.policy.shared_change
        if not (low >= -self.policy.right_angle and high <= within):
            return False
        return self.g.corner(p, o, q)[0] > limit and self.g.corner(q, o, p)[0] > limit


@dataclass(frozen=True, slots=True)
class Mixtures:
    """What `find_mixtures` found.

    Attributes:
        found: the mixtures.
        group: of every model: 0, or 1 + the index of the mixture that it is or descends from.
        doubt: for every model, the mixtures (as models) through which it may join the tree.
    """

    found: tuple[Mixture, ...]
    group: NDArray[np.int64]
    doubt: dict[int, tuple[int, ...]]


def find_mixtures(geometry: Geometry, kin_NN: NDArray[np.bool_], policy: Policy) -> Mixtures:
    """All models between others, and who belongs to whom."""
    search = _Search(geometry, kin_NN, policy)
    search.run()
    doubt = {y: tuple(mix.child for k, mix in enumerate(search.found, 1) if search.group[y] != k and search.behind(y, mix) != "no") for y in range(search.n)}
    return Mixtures(tuple(search.found), search.group, doubt)
