"""Experts of one mixture that are experts of the other: left out, used more than once, averaged, or
in another order.

A mixture whose experts are some of another's, to the bit, was made by leaving the others out:
nobody trains two mixtures into equal experts. Unless the extra ones were added: then they are
fresh, or copies. So the arrow asks that the extra experts resemble no other of their layer and lie
within the range of the others in the size of every matrix. Experts that are means of the other's
point as well: of what a mean was made cannot be got back from it. All of it only where everything
else but the routers is equal (a router is often trained again); else both may come of a third
model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.arrows.base import ARROWS, Mixtures, Pair, Sign
from begat.pipeline.expert_pose import Place, experts_of
from begat.pipeline.sampling import generator
from begat.signals.merge import fit, moments
from begat.types import F64, ExpertMatch, TensorKey

#: cosine of two experts of one layer that are no strangers to each other
_APART = 0.3
#: and by how much it must exceed the greatest among the experts kept
_MORE = 0.05
#: factor by which an extra expert's sizes may leave the range of the others
_RANGE = 1.5
#: rows of a matrix that are read; share of an expert that a mean of others may leave, and least
#: share of one that enters
_ROWS, _LEFT, _ENTERS = 24, 1e-5, 0.05


@ARROWS.add("expert-sets")
def expert_sets(pair: Pair) -> Iterator[Sign]:
    """`child`'s experts are `parent`'s: some of them, more than once, or means of several."""
    mixtures = pair.mixtures
    if mixtures is None or not mixtures.matches:
        return
    found = {(m.tower, m.layer, m.expert_b): m for m in mixtures.matches}
    wanted = [(*p, e) for p in mixtures.places for e in experts_of(mixtures.child, p)]
    lost = [w for w in wanted if w not in found or not found[w].experts_a]
    if lost:
        if any(found[w].experts_a for w in wanted if w in found) and all(
            w not in found for w in lost
        ):
            yield from _in_part(mixtures, found, lost)
        return
    if any(len(m.experts_a) > 1 for m in found.values()):
        yield from _means(mixtures, pair.seed)
        return
    used = {
        p: Counter(found[w].experts_a[0] for w in wanted if w[:2] == p) for p in mixtures.places
    }
    left = {
        p: [e for e in experts_of(mixtures.parent, p) if e not in used[p]] for p in mixtures.places
    }
    if any(n > 1 for counts in used.values() for n in counts.values()):
        yield from _repeated(mixtures, found, used, pair.seed)
    elif any(left.values()):
        yield from _left_out(mixtures, used, left, pair.seed)
    elif any(m.experts_a != (m.expert_b,) for m in found.values()):
        yield Sign(
            "experts-reordered",
            f"the experts of {_layers(mixtures.places)} are the same under other numbers",
        )


def _layers(places: list[Place]) -> str:
    return f"{len(places)} layers" if len(places) > 1 else f"layer {places[0][1]}"


def _count(mixtures: Mixtures, model: Canonical) -> str:
    """How many experts a layer has: "4 experts", or a range."""
    sizes = sorted({len(experts_of(model, p)) for p in mixtures.places})
    return (f"{sizes[0]} expert" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} expert") + (
        "" if sizes == [1] else "s"
    )


def _in_part(
    mixtures: Mixtures,
    found: dict[tuple[str, int, int], ExpertMatch],
    lost: list[tuple[str, int, int]],
) -> Iterator[Sign]:
    """Some of the child's experts are the parent's, others nobody's."""
    if len(experts_of(mixtures.child, mixtures.places[0])) <= len(
        experts_of(mixtures.parent, mixtures.places[0])
    ):
        yield Sign(
            "experts-replaced",
            f"{len(found)} of {len(found) + len(lost)} experts looked at are the other's, {len(lost)} have no counterpart there",
        )


def _repeated(
    mixtures: Mixtures,
    found: dict[tuple[str, int, int], ExpertMatch],
    used: dict[Place, Counter[int]],
    seed: int,
) -> Iterator[Sign]:
    """Experts of the child that are one of the parent's resemble each other, and the parent's do
    not.
    """
    for place, counts in used.items():
        twice = sorted(e for e, n in counts.items() if n > 1)
        if len(twice) > 1 and _within(mixtures.parent, place, twice, seed).max() >= _APART:
            return
        for expert in twice:
            own = [
                m.expert_b
                for m in found.values()
                if (m.tower, m.layer) == place and m.experts_a == (expert,)
            ]
            if (_within(mixtures.child, place, own, seed) + np.eye(len(own))).min() < _APART:
                return
    words = f"a layer has {_count(mixtures, mixtures.child)}, each one of the other's {_count(mixtures, mixtures.parent)}, some of which stand more than once"
    yield Sign("experts-repeated" if mixtures.equal else "experts-repeated-changed", words)


def _left_out(
    mixtures: Mixtures, used: dict[Place, Counter[int]], left: dict[Place, list[int]], seed: int
) -> Iterator[Sign]:
    words = f"a layer has {_count(mixtures, mixtures.child)}, each one of the other's {_count(mixtures, mixtures.parent)}"
    words += ", and equal" if mixtures.equal else ""
    alike = any(
        _resemble(mixtures.parent, p, left[p], sorted(used[p]), seed) for p in mixtures.places
    )
    odd = next(
        (
            role
            for p in mixtures.places
            if (role := _odd(mixtures.parent, p, left[p], sorted(used[p])))
        ),
        "",
    )
    if alike or odd:
        why = (
            f"differ from the rest in the size of {odd}"
            if odd
            else "resemble others of their layer more than the rest do"
        )
        yield Sign("experts-more-or-fewer", f"{words}; those that the smaller lacks {why}")
    else:
        fact = "experts-missing" if mixtures.equal else "experts-missing-changed"
        yield Sign(
            fact,
            f"{words}; those missing resemble others no more than the rest do and are as large",
        )


def _means(mixtures: Mixtures, seed: int) -> Iterator[Sign]:
    """Every expert of the child is a weighted mean of its partners, to within rounding."""
    several = [m for m in mixtures.matches if len(m.experts_a) > 1]
    rest = []
    for m in several[:8]:
        key = TensorKey(m.tower, m.layer, "expert.up.weight", m.expert_b)
        at = np.sort(
            generator(seed, "means", str(key)).permutation(mixtures.child.tensors[key].shape[0])[
                :_ROWS
            ]
        ).astype(np.int64)
        own = mixtures.child.read(key, at)
        sources = [
            mixtures.parent.read(TensorKey(m.tower, m.layer, key.role, e), at) for e in m.experts_a
        ]
        found = fit(moments(own, sources))
        rest.append(found.residual if min(found.value_P) >= _ENTERS else 1.0)
    names = sorted({len(m.experts_a) for m in several})
    words = f"{len(several)} experts are weighted means of {' or '.join(map(str, names))} experts of the other"
    exact = max(rest) <= _LEFT and mixtures.rest_equal
    yield Sign(
        "experts-averaged" if exact else "experts-averaged-changed",
        f"{words}, of which they leave {max(rest):.2%} unexplained",
    )


def _rows(model: Canonical, place: Place, experts: list[int], seed: int) -> F64:
    """Some rows of the up matrix of each expert, as unit vectors [E, N]."""
    out = []
    for e in experts:
        key = TensorKey(*place, "expert.up.weight", e)
        at = np.sort(
            generator(seed, "expert rows", *place).permutation(model.tensors[key].shape[0])[:_ROWS]
        ).astype(np.int64)
        values = model.read(key, at).astype(np.float64).ravel()
        out.append(values / max(float(np.linalg.norm(values)), 1e-300))
    return np.array(out)


def _within(model: Canonical, place: Place, experts: list[int], seed: int) -> F64:
    """Cosines of the experts of one layer with each other, zero on the diagonal."""
    rows = _rows(model, place, experts, seed)
    out: F64 = rows @ rows.T
    np.fill_diagonal(out, 0.0)
    return out


def _resemble(model: Canonical, place: Place, extra: list[int], rest: list[int], seed: int) -> bool:
    """Extra experts resemble some other of their layer, and more than the rest resemble each other:
    copies, or grown from them.
    """
    if not extra:
        return False
    cosines = _within(model, place, [*extra, *rest], seed)
    among_rest = float(cosines[len(extra) :, len(extra) :].max(initial=0.0))
    return float(cosines[: len(extra)].max(initial=0.0)) >= max(_APART, among_rest + _MORE)


def _odd(model: Canonical, place: Place, extra: list[int], rest: list[int]) -> str:
    """A role whose root mean square in an extra expert lies outside the range of the others, "" if
    none does.
    """
    for part in ("gate", "up", "down"):
        keys = {e: TensorKey(*place, f"expert.{part}.weight", e) for e in (*extra, *rest)}
        sizes = {e: _size(model, k) for e, k in keys.items() if k in model.tensors}
        others = [sizes[e] for e in rest if e in sizes]
        if others and any(
            not min(others) / _RANGE <= sizes[e] <= max(others) * _RANGE
            for e in extra
            if e in sizes
        ):
            return f"expert.{part}"
    return ""


def _size(model: Canonical, key: TensorKey) -> float:
    rows = model.tensors[key].shape[0]
    values = model.read(key, np.arange(0, rows, max(1, rows // 32), dtype=np.int64))
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))
