"""Which tower of A corresponds to which tower of B, when their names do not say so.

Enters: two canonical models.  Leaves: `Pairing`s: the same two with towers of A renamed to their
counterparts in B, best first by shapes and names. A lone CLIP checkpoint has one tower, called
"text" like any lone trunk; inside a multimodal model the same network is the "vision" tower. An
encoder saved alone may be either side of an encoder-decoder by its shapes.

Pairs are chosen by shapes and names alone, never by weights, so the choice costs the statistics
nothing. Where several are possible all are delivered, and whoever chooses among them by weights
pays for their number (`begat.pipeline.towers`). A tower without a counterpart is in one model only:
it is held against another tower only where nothing else could be compared at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

from begat.canon.model import Canonical
from begat.canon.rules import load
from begat.types import TensorKey

#: share of the smaller tower's matrices that must have one of their place and shape in the other
_SHARE = 0.5
#: pairings that are delivered at most, and towers of the smaller model that are paired in every way
_MOST, _TOWERS = 4, 3
#: tables that say nothing of a tower's shape: any of one width fit
_TABLES = ("embed.tokens", "head.weight")


@dataclass(frozen=True, slots=True)
class Pairing:
    """A and B with towers under B's names; `towers`: A's own name → B's, of the pairs."""

    a: Canonical
    b: Canonical
    towers: tuple[tuple[str, str], ...]


def pair_towers(a: Canonical, b: Canonical) -> tuple[Canonical, Canonical]:
    """The likeliest pairing by shapes and names."""
    first = pairings(a, b)[0]
    return first.a, first.b


def pairings(a: Canonical, b: Canonical) -> list[Pairing]:
    """All plausible pairings, the likeliest first, at most `_MOST`; one where names and shapes
    agree.
    """
    mine, theirs = (sorted({k.tower for k in m.tensors}) for m in (a, b))
    share = _shares(a, b)
    if mine == theirs and all(share.get((x, x), (0.0, 0.0))[0] >= _SHARE for x in mine):
        return [Pairing(a, b, tuple((x, x) for x in mine))]
    plausible = {pair: fit for pair, (part, fit) in share.items() if part >= _SHARE}
    if not plausible and share:  # nothing fits well: better one pair than none
        best = max(share, key=lambda p: (share[p], p[0] == p[1], p))
        plausible = {best: share[best][1]}
    words = {
        (i, t): _words(m, t) for i, m in enumerate((a, b)) for t in {k.tower for k in m.tensors}
    }

    def likely(pairs: tuple[tuple[str, str], ...]) -> tuple[float, int, int]:
        fit = sum(plausible[p] for p in pairs)
        named = sum(
            len(words[0, x] & words[1, y]) - len(words[0, x] ^ words[1, y]) for x, y in pairs
        )
        return round(fit, 2), named, sum(x == y for x, y in pairs)

    ways = sorted(_ways(mine, theirs, plausible), key=likely, reverse=True)[:_MOST]
    return [Pairing(*_renamed_both(a, b, dict(pairs)), pairs) for pairs in ways]


def _ways(
    mine: list[str], theirs: list[str], plausible: Mapping[tuple[str, str], float]
) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every assignment that pairs as many towers as can be; of models with many towers only the
    greedy one.
    """
    turned = len(mine) > len(theirs)
    few, many = (theirs, mine) if turned else (mine, theirs)
    few = [x for x in few if any((x, y) in plausible or (y, x) in plausible for y in many)]
    if len(few) > _TOWERS or len(many) > 2 * _TOWERS:
        yield _greedy(plausible)
        return
    found = set()
    for chosen in permutations([*many, *[""] * len(few)], len(few)):
        pairs = [(y, x) if turned else (x, y) for x, y in zip(few, chosen, strict=True) if y]
        if all(p in plausible for p in pairs):
            found.add(tuple(sorted(pairs)))
    most = max(map(len, found), default=0)
    yield from sorted(f for f in found if len(f) == most)


def _greedy(plausible: Mapping[tuple[str, str], float]) -> tuple[tuple[str, str], ...]:
    """Best fit first; among equals a pair that already shares its name."""
    pairs: list[tuple[str, str]] = []
    for x, y in sorted(plausible, key=lambda p: (-plausible[p], p[0] != p[1], p)):
        if x not in [p[0] for p in pairs] and y not in [p[1] for p in pairs]:
            pairs.append((x, y))
    return tuple(sorted(pairs))


def _shares(a: Canonical, b: Canonical) -> dict[tuple[str, str], tuple[float, float]]:
    """(tower of A, tower of B) → share of the smaller one's matrices that have one of their layer,
    role, expert and shape, and the share of all.
    """
    by_place: dict[tuple[int, str, int], list[tuple[str, tuple[int, ...]]]] = {}
    for key, t in b.tensors.items():
        by_place.setdefault((key.layer, key.role, key.expert), []).append((key.tower, t.shape))
    found: Counter[tuple[str, str]] = Counter()
    for key, t in a.tensors.items():
        for tower, shape in by_place.get((key.layer, key.role, key.expert), ()):
            if shape == t.shape and _counts(key, shape):
                found[key.tower, tower] += 1
    sizes = [Counter(k.tower for k, t in m.tensors.items() if _counts(k, t.shape)) for m in (a, b)]
    out = {}
    for (x, y), n in found.items():
        out[x, y] = n / min(sizes[0][x], sizes[1][y]), n / (sizes[0][x] + sizes[1][y] - n)
    return out


def _counts(key: TensorKey, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and key.role not in _TABLES


def _words(model: Canonical, tower: str) -> frozenset[str]:
    """Path words before the layer that say which side a tower is."""
    quiet = set(load().wrappers) - {"encoder", "decoder"}
    names = {t.name for k, t in model.tensors.items() if k.tower == tower and k.layer >= 0}
    heads = {name[: _digits(name)] for name in names}
    return frozenset(
        w
        for head in heads
        for w in head.split(".")
        if w and w not in quiet and w not in load().containers
    )


def _digits(name: str) -> int:
    """Where the first path word of digits begins."""
    at = 0
    for word in name.split("."):
        if word.isdigit():
            return at
        at += len(word) + 1
    return 0


def _renamed_both(a: Canonical, b: Canonical, pairs: dict[str, str]) -> tuple[Canonical, Canonical]:
    """A under B's names; a token table that stands in a tower of its own model without a
    counterpart goes with the pair that lacks one.
    """
    taken, names = set(pairs.values()), dict(pairs)
    for x in sorted(
        {k.tower for k in a.tensors} - set(pairs)
    ):  # unpaired towers keep their name unless it is taken
        loud = ".".join(sorted(_words(a, x)))
        names[x] = next(n for n in (x, loud, f"{x} (A)") if n and n not in taken)
        taken.add(names[x])
    a = a if all(x == y for x, y in names.items()) else _renamed(a, names)
    both = sorted(set(pairs.values()))
    return _with_table(a, b, both), _with_table(b, a, both)


def _with_table(model: Canonical, other: Canonical, paired: list[str]) -> Canonical:
    """A shared embedding is stored once: beside an encoder and a decoder it belongs to both."""
    for tower in paired:
        key = TensorKey(tower, -1, "embed.tokens")
        if key in model.tensors or key not in other.tensors:
            continue
        width = other.tensors[key].shape[1]
        owners = [
            k
            for k, t in model.tensors.items()
            if k.role == key.role and k.tower not in paired and t.shape[1] == width
        ]
        if owners:
            tensors = {
                key if k == owners[0] else k: replace(t, key=key) if k == owners[0] else t
                for k, t in model.tensors.items()
            }
            model = replace(model, tensors=dict(sorted(tensors.items())))
    return model


def _renamed(model: Canonical, names: dict[str, str]) -> Canonical:
    def new(key: TensorKey) -> TensorKey:
        return replace(key, tower=names[key.tower])

    tensors = {new(k): replace(t, key=new(k)) for k, t in model.tensors.items()}
    geometry = {names.get(tower, tower): g for tower, g in model.geometry.items()}
    return replace(model, tensors=dict(sorted(tensors.items())), geometry=geometry)
