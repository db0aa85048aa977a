"""Which pairing of towers is compared, and which towers of B are left over but copies of one of A.

Enters: the plausible pairings (`begat.canon.pair`).  Leaves: `Chosen`, with the order tests run and
paid for, and parts of B's other towers.

Null and assumption. The pairings are fixed by shapes and names, before any weight is read. In each
the e-value of the order tests has mean at most 1 under independence, so the mean over K pairings
has, and the greatest over K is at most K times that mean. So one may choose by weights, and 1/K of
what the chosen pairing shows is an e-value; a p bound is multiplied by K (Bonferroni). What
alignment finds in the chosen pairing is paid for in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from begat.alignment import Alignment
from begat.canon.model import Canonical
from begat.canon.pair import Pairing
from begat.canon.roles import ROLES
from begat.pipeline.exact import ExactResult, run_axes
from begat.pipeline.inherit import common_keys
from begat.pipeline.parts import find_parts
from begat.pipeline.sampling import generator
from begat.types import AxisResult, PartResult, Progress
from begat.verdict import POLICY

#: matrices and rows that a pairing's likeness is read from; by how much it must lead
_MATRICES, _ROWS, _LEAD = 12, 4, 1e-6


@dataclass(frozen=True, slots=True)
class Chosen:
    """The pairing that is compared.

    Attributes:
        a, b: with towers under B's names. exact: their order tests, the choice paid for.
        price: log10 of the number of pairings.
        notes: what was chosen among what, for the report.
    """

    a: Canonical
    b: Canonical
    exact: ExactResult
    price: float = 0.0
    notes: tuple[str, ...] = ()


def choose(found: Sequence[Pairing], seed: int, progress: Progress | None = None) -> Chosen:
    """Run the order tests of every pairing; the one that shows dependence and agrees most, else the
    likeliest by shapes and names.
    """
    if len(found) == 1:
        return Chosen(
            found[0].a,
            found[0].b,
            run_axes(found[0].a, found[0].b, seed, progress),
            0.0,
            _lone(found[0]),
        )
    price = math.log10(len(found))
    tried = [
        (pairing, _paid(run_axes(pairing.a, pairing.b, seed, progress), price)) for pairing in found
    ]
    agree = [_likeness(pairing, seed) for pairing in found]
    shown = [(x.log10_e or 0.0) >= POLICY.dependence_log10_e for _, x in tried]
    best = max(
        range(len(tried)),
        key=lambda i: (shown[i], agree[i] > max(agree) - _LEAD, tried[i][1].log10_e or 0.0, -i),
    )
    if not shown[best] and agree[best] < POLICY.agreeing_cosine:
        best = 0
    pairing, exact = tried[best]
    return Chosen(
        pairing.a,
        pairing.b,
        exact,
        price,
        (
            *_lone(pairing),
            f"Towers could be paired in {len(found)} ways; the evidence is divided by that.",
        ),
    )


def likeliest(found: Sequence[Pairing], seed: int) -> Pairing:
    """The pairing whose matrices agree most, the first among equals: a description, never evidence."""
    if len(found) == 1:
        return found[0]
    agree = [_likeness(pairing, seed) for pairing in found]
    return found[next(i for i, x in enumerate(agree) if x >= max(agree) - _LEAD)]


def paid(alignment: Alignment | None, price: float) -> Alignment | None:
    """Alignment in a pairing that was chosen among several."""
    if alignment is None or alignment.log10_e is None or not price:
        return alignment
    return replace(alignment, log10_e=alignment.log10_e - price)


def _paid(exact: ExactResult, price: float) -> ExactResult:
    if exact.log10_e is None or exact.log10_p is None:
        return exact
    return replace(exact, log10_e=exact.log10_e - price, log10_p=min(0.0, exact.log10_p + price))


def _lone(pairing: Pairing) -> tuple[str, ...]:
    """Pairs whose towers have different names in the two."""
    return tuple(
        f"A's tower “{x}” was compared with B's “{y}”." for x, y in pairing.towers if x != y
    )


def _likeness(pairing: Pairing, seed: int) -> float:
    """Mean absolute cosine of a few rows of some common matrices; 0 where there are none."""
    a, b = pairing.a, pairing.b
    keys = [k for k in common_keys(a, b) if k.layer >= 0 and ROLES[k.role].kind == "matrix"]
    pick = generator(seed, "pairing").permutation(len(keys))[:_MATRICES]
    found = []
    for key in (keys[i] for i in sorted(pick)):
        at = np.sort(
            generator(seed, "pairing", str(key)).permutation(a.tensors[key].shape[0])[:_ROWS]
        ).astype(np.int64)
        x, y = (m.read(key, at).astype(np.float64).ravel() for m in (a, b))
        found.append(abs(float(x @ y)) / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-30))
    return float(np.mean(found)) if found else 0.0


# --- towers of B that are left over
# -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copies:
    """Towers of B beside the pairs that hold layers of a tower of A: their parts, tests, and A with
    its tower under their names too.
    """

    parts: tuple[PartResult, ...]
    axes: tuple[AxisResult, ...]
    a: Canonical


def copies(chosen: Chosen, seed: int) -> Copies:
    """Hold every tower of B that A lacks against the towers of A, as ControlNets and averaged
    weights kept beside raw ones have them.

    These are parts only: what is found here adds nothing to the verdict's e-value. A tower none of
    whose layers is found is in B only.
    """
    parts: list[PartResult] = []
    axes: list[AxisResult] = []
    a = chosen.a
    lacking = sorted({k.tower for k in chosen.b.tensors} - {k.tower for k in chosen.a.tensors})
    for tower in lacking:
        for source in sorted({k.tower for k in chosen.a.tensors}):
            x, y = _only(chosen.a, source, tower), _only(chosen.b, tower, tower)
            if len(common_keys(x, y)) < len(y.tensors) / 2:
                continue
            found = run_axes(x, y, seed)
            layers = [p for p in find_parts(found.axes, (), POLICY) if p.layer >= 0]
            held = [p for p in layers if p.status == "dependent"]
            if held and 2 * len(held) >= len(layers):
                parts += [
                    replace(p, why=f"{p.why} of A's {source} tower, which B holds twice")
                    for p in held
                ]
                axes += found.axes
                a = replace(a, tensors=dict(sorted({**a.tensors, **x.tensors}.items())))
                break
    return Copies(tuple(parts), tuple(axes), a)


def _only(model: Canonical, tower: str, name: str) -> Canonical:
    """One tower of a model, under another name."""
    tensors = {
        replace(k, tower=name): replace(t, key=replace(k, tower=name))
        for k, t in model.tensors.items()
        if k.tower == tower
    }
    geometry = {name: model.geometry[tower]} if tower in model.geometry else {}
    return replace(model, tensors=tensors, geometry=geometry)
