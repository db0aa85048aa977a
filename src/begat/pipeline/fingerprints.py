"""Two fingerprints against each other: the exact order test without the weights.

Enters: two `Fingerprint`s.  Leaves: a `FingerprintMatch`.  Null and e-values: `begat.stats.order`, of searches over layers `begat.stats.search`; which axes
may be multiplied: `begat.signals.axes`.

Null and assumption: as for checkpoints. What is kept of a unit is a function of that unit and of symmetric functions of the sampled ones, and the sampled
indices depend on the size of the axis alone, so under independence the sampled units' order is still uniform and the test on their bits is exact.
In the token frame it is too: the frame is a function of the embeddings, which do not depend on the order tested.

How alternatives pay. Bits of one site in two frames share one order: per axis the e-values of the two frames are averaged, never multiplied.
Units at the same place against units at any layer (and MLPs against experts): mixed as `SAME` to 1 - `SAME`, the search counting as 0 where it
was not needed. Sites that are copies of each other in both models count once; sites whose units stand by index in both count for nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from begat.fingerprint import BITS, ContentBits, Fingerprint, OrderBits
from begat.signals.axes import AXES
from begat.signals.content import agreeing_slots
from begat.signals.signbits import agreements, angles, order_hits_of, signs_of
from begat.stats.order import LN10, log_e_alternatives, log_e_axis, log_e_combined, log_e_single, log_mean_exp
from begat.stats.search import log_e_search
from begat.types import F32, F64

#: weight of tests at the same place against those at any layer
SAME = 0.8
#: log10 e-value at the same place after which no layer is searched for
ENOUGH = 15.0
#: mean cosine between units at equal index from which two sites of one model are copies, in standard deviations of chance and at least
_COPY_SIGMA, _COPY_COSINE = 5.0, 0.12
#: hits of an order test from which two sites are said to match, in a picture of layers
MATCHING_LOG10_E = 2.0

#: squared radians that a model with nothing but more layers lies farther off
_MORE_LAYERS = 1e-3

# Shape suffixes: S sites (T of the other model), M units, B bytes, K bits


_log_e_one = lru_cache(maxsize=1 << 16)(log_e_single)


@dataclass(frozen=True, slots=True)
class SiteMatch:
    """Sampled units of one site of A at equal index of one site of B.

    angle: mean angle between them in radians, about π/2 for strangers; identical: every sampled value is equal; counted: False for copies and for units that
    stand by index.
    """

    axis: str
    label: str
    frame: str
    tower: str
    layer_a: int
    expert_a: int
    layer_b: int
    expert_b: int
    m: int
    hits: int
    angle: float
    identical: bool
    counted: bool

    @property
    def log10_e(self) -> float:
        """log10 of the e-value of this test alone."""
        return _log_e_one(self.hits, self.m) / LN10


@dataclass(frozen=True, slots=True)
class FingerprintMatch:
    """What two fingerprints say of their models.

    Attributes:
        a, b: their names, echoed.
        log10_e: e-value of dependence; None when nothing could be tested. Whoever looked at N candidates subtracts log10 N.
        same_log10_e, search_log10_e: at the same place, and at any layer (None: not run).
        axes: (axis, log10 e-value) at the same place, of those that ran.
        sites: the tests behind it, of the search those that match.
        layers: (layer of A, layer of B) of the text tower whose units match.
        angle: root mean square angle between corresponding units of sites that match, in radians; None when none do.
        angle_sd: its standard error from the number of bits.
        unlike: root mean square angle over all that A has: per site its best match in B in any frame, π/2 where none matches; what B has more in layers adds
            a little. 0: B holds all of A. For ranking.
        share: of the layers of the text tower that were compared, those that match; None when none were.
        slots: of units chosen by content in the first layers, the most that agree between an MLP of A and one of B; None without any. Calibrated
            evidence (`begat.stats.content`), no part of the e-value. slots_differing: share of differing bits over all their slots, 0.5 by chance.
        identical: every sampled value at the same place is equal.
        direction: "a → b" or "b → a" by one-way evidence, "" without; direction_why: what that is.
        why: why nothing could be tested, "" otherwise.
    """

    a: str
    b: str
    log10_e: float | None
    same_log10_e: float | None
    search_log10_e: float | None
    axes: tuple[tuple[str, float], ...]
    sites: tuple[SiteMatch, ...]
    layers: tuple[tuple[int, int], ...]
    angle: float | None
    angle_sd: float
    unlike: float
    share: float | None
    slots: int | None
    slots_differing: float
    identical: bool
    direction: Literal["a → b", "b → a", ""] = ""
    direction_why: str = ""
    why: str = ""


@dataclass(slots=True)
class Unpacked:
    """A fingerprint with its bits as ±1, made once for many comparisons; per group which sites are copies of which; per tower the sizes
    of its residual stream, as far as they are known.
    """

    fingerprint: Fingerprint
    groups: dict[tuple[str, str, str, str, int], OrderBits] = field(default_factory=dict)
    widths: dict[str, set[int]] = field(default_factory=dict)
    _signs: dict[int, F32] = field(default_factory=dict)
    _alike: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.groups = {g.key: g for g in self.fingerprint.orders}
        for g in self.fingerprint.orders:
            if g.axis == "residual":
                for tower in {_place(self, p)[0] for p in g.place_S3.tolist()}:
                    self.widths.setdefault(tower, set()).add(g.units)

    def signs(self, group: OrderBits) -> F32:
        """Bits as ±1 [S, M, K]."""
        if id(group) not in self._signs:
            self._signs[id(group)] = signs_of(group.bits_SMB)
        return self._signs[id(group)]

    def alike(self, group: OrderBits, m: int) -> np.ndarray:
        """[S, S] booleans: sites of this model whose first `m` units are alike one by one."""
        if (id(group), m) not in self._alike:
            signs = self.signs(group)[:, :m]
            self._alike[id(group), m] = _alike(signs, signs)
        return self._alike[id(group), m]


def compare_fingerprints(a: Fingerprint | Unpacked, b: Fingerprint | Unpacked, search: bool | None = None) -> FingerprintMatch:
    """Test two fingerprints.

    Args:
        search: look for corresponding layers, and for MLPs in experts, too; by default where the tests at the same place found too little.
    """
    x, y = (f if isinstance(f, Unpacked) else Unpacked(f) for f in (a, b))
    sites, axes = _same_place(x, y)
    same = log_e_combined([e for _, e in axes]) / LN10 if axes else None
    wanted = (same is None or same < ENOUGH or not _same_shape(x, y)) if search is None else search
    found: tuple[SiteMatch, ...] = ()
    searched: float | None = None
    if wanted:
        searched, found = _search(x, y)
    log10_e = _mixed(same, searched)
    everything = (*sites, *found)
    layers = _layers(everything)
    angle, sd = _angle(everything, layers)
    counted = [s for s in sites if s.frame == "stored"]
    repeated = _repeated(x, y, everything), _repeated(y, x, [_turn(s) for s in everything])
    direction: Literal["a → b", "b → a", ""] = ""
    if repeated[0] is not repeated[1]:
        direction = "a → b" if repeated[0] else "b → a"
    slots, differing = _slots(x.fingerprint.contents, y.fingerprint.contents)
    return FingerprintMatch(
        a=x.fingerprint.name, b=y.fingerprint.name, log10_e=log10_e, same_log10_e=same, search_log10_e=searched,
        axes=tuple((name, e / LN10) for name, e in axes), sites=everything, layers=layers, angle=angle, angle_sd=sd, unlike=_unlike(x, y, everything),
        share=_share(x, y, layers), slots=slots, slots_differing=differing, identical=bool(counted) and all(s.identical for s in counted),
        direction=direction, direction_why="layers repeat in one model and are single in the other" if direction else "",
        why="" if log10_e is not None else "no axis has the same size in both",
    )  # fmt: skip


def _mixed(same: float | None, searched: float | None) -> float | None:
    if same is None and searched is None:
        return None
    logs = [math.log(SAME) + (same or 0.0) * LN10]
    logs += [] if searched is None else [math.log(1 - SAME) + searched * LN10]
    return (log_mean_exp(logs) + math.log(len(logs))) / LN10


def _same_shape(x: Unpacked, y: Unpacked) -> bool:
    """Equal depth, and both dense or both mixtures: then layers lie where they lie."""
    return x.fingerprint.layers == y.fingerprint.layers and _experts(x) == _experts(y)


def _same_place(x: Unpacked, y: Unpacked) -> tuple[tuple[SiteMatch, ...], list[tuple[str, float]]]:
    """Tests at the same place, and the log e-value of every axis that ran."""
    by_axis: dict[str, dict[tuple[str, str], list[SiteMatch]]] = defaultdict(lambda: defaultdict(list))
    for key, group in x.groups.items():
        if key in y.groups:
            by_axis[group.axis][group.frame, group.label].extend(_tests(x, y, group, y.groups[key]))
    out, axes = [], []
    for axis, kinds in by_axis.items():
        tests = {kind: found for kind, found in kinds.items() if found}
        out += [s for found in tests.values() for s in found]
        logs = [_log_e(axis, [s for s in found if s.counted]) for found in tests.values()]
        if any(s.counted for found in tests.values() for s in found):
            axes.append((axis, log_mean_exp(logs)))
    return tuple(out), axes


def _log_e(axis: str, tests: Sequence[SiteMatch]) -> float:
    hits, units = [s.hits for s in tests], [s.m for s in tests]
    return log_e_alternatives(hits, units) if AXES[axis].combine == "alternatives" else log_e_axis(hits, units)


def _tests(x: Unpacked, y: Unpacked, ga: OrderBits, gb: OrderBits) -> Iterator[SiteMatch]:
    """Tests of two groups at their common places."""
    at_b = {_place(y, p): i for i, p in enumerate(gb.place_S3.tolist())}
    pairs = [(i, at_b[q]) for i, p in enumerate(ga.place_S3.tolist()) if (q := _place(x, p)) in at_b and _one_space(x, y, ga, q[0])]
    if not pairs:
        return
    m = min(ga.bits_SMB.shape[1], gb.bits_SMB.shape[1])
    i_S, j_S = (np.array(z) for z in zip(*pairs, strict=True))
    hits = order_hits_of(agreements(x.signs(ga)[i_S, :m], y.signs(gb)[j_S, :m]))
    theta = angles(ga.bits_SMB[i_S, :m], gb.bits_SMB[j_S, :m])
    copies = x.alike(ga, m)[np.ix_(i_S, i_S)] & y.alike(gb, m)[np.ix_(j_S, j_S)]
    first = [not copies[s, :s].any() for s in range(len(pairs))]
    if ga.axis == "expert-units":  # an expert may be a copy of a shared expert or of another layer's MLP
        first = [f and not twice for f, twice in zip(first, _copies_of_mlps(x, y, ga, gb, i_S, j_S, m), strict=True)]
    for s, (i, j) in enumerate(pairs):
        yield _site(x, ga, i, y, gb, j, m, int(hits[s]), float(theta[s]), first[s])


def comparable(x: Unpacked, y: Unpacked) -> bool:
    """Is there anything that a test of the two could look at? Sizes alone decide."""
    for ga in x.groups.values():
        if ga.key in y.groups and next(_tests(x, y, ga, y.groups[ga.key]), None) is not None:
            return True
        if any(_comparable(ga, gb) and _one_space(x, y, ga, "text") for gb in y.groups.values()):
            return True
    return _slots(x.fingerprint.contents, y.fingerprint.contents)[0] is not None


def _one_space(x: Unpacked, y: Unpacked, group: OrderBits, tower: str) -> bool:
    """Could units of a group be alike? As they are stored, their features lie in residual streams, which must be of one width."""
    a, b = (u.widths.get(tower) for u in (x, y))
    return group.frame != "stored" or a is None or b is None or bool(a & b)


def _copies_of_mlps(x: Unpacked, y: Unpacked, ga: OrderBits, gb: OrderBits, i_S: np.ndarray, j_S: np.ndarray, m: int) -> list[bool]:
    """Which tests of experts repeat one of an MLP in both models."""
    key = ("mlp-units", *ga.key[1:])
    if key not in x.groups or key not in y.groups:
        return [False] * len(i_S)
    mine, theirs = x.groups[key], y.groups[key]
    at_b = {_place(y, p): i for i, p in enumerate(theirs.place_S3.tolist())}
    common = [(i, at_b[q]) for i, p in enumerate(mine.place_S3.tolist()) if (q := _place(x, p)) in at_b]
    m = min(m, mine.bits_SMB.shape[1], theirs.bits_SMB.shape[1])
    if not common:
        return [False] * len(i_S)
    k, other = (np.array(z) for z in zip(*common, strict=True))
    both = _alike(x.signs(ga)[i_S, :m], x.signs(mine)[k, :m]) & _alike(y.signs(gb)[j_S, :m], y.signs(theirs)[other, :m])
    return [bool(b) for b in both.any(axis=1)]


def _alike(a_SMK: F32, b_TMK: F32) -> np.ndarray:
    """[S, T] booleans: units one by one more alike than chance."""
    a, b = (z.reshape(len(z), -1) for z in (a_SMK, b_TMK))
    return np.asarray((a @ b.T) / a.shape[1] > max(_COPY_COSINE * 2 / math.pi, _COPY_SIGMA / math.sqrt(a.shape[1])))


def _place(model: Unpacked, place: Sequence[int]) -> tuple[str, int, int]:
    return model.fingerprint.towers[place[0]], int(place[1]), int(place[2])


def _site(
    x: Unpacked, ga: OrderBits, i: int, y: Unpacked, gb: OrderBits, j: int, m: int, hits: int, theta: float, first: bool
) -> SiteMatch:
    tower, layer_a, expert_a = _place(x, ga.place_S3[i].tolist())
    _, layer_b, expert_b = _place(y, gb.place_S3[j].tolist())
    same = m == ga.bits_SMB.shape[1] == gb.bits_SMB.shape[1] and bool((ga.digest_S8[i] == gb.digest_S8[j]).all())
    by_index = bool(ga.by_index_S[i] and gb.by_index_S[j])
    return SiteMatch(
        ga.axis, ga.label, ga.frame, tower, layer_a, expert_a, layer_b, expert_b, m, hits, theta, same, first and not by_index
    )


# --- any layer ----------------------------------------------------------------------------------------------


def _search(x: Unpacked, y: Unpacked) -> tuple[float | None, tuple[SiteMatch, ...]]:
    """(log10 e-value, tests that match): units of every layer of the one with fewer sites against those of every layer of the other, in both frames.

    The product is over lotteries of the model with fewer layers; copies inside it are left out by looking at it alone.
    """
    turned = (y.fingerprint.layers, _experts(y)) < (x.fingerprint.layers, _experts(x))
    p, q = (y, x) if turned else (x, y)
    logs: dict[str, dict[tuple[str, int, int], list[float]]] = {frame: defaultdict(list) for frame in ("stored", "tokens")}
    matching: list[SiteMatch] = []
    tested = False
    for ga in p.groups.values():
        for gb in q.groups.values():
            if not _comparable(ga, gb) or not _one_space(p, q, ga, "text"):
                continue
            for lottery, log_e, site in _pairs(p, ga, q, gb):
                tested = True
                logs[ga.frame][lottery].append(log_e)
                if site is not None:
                    matching.append(_turn(site) if turned else site)
    if not tested:
        return None, ()
    return log_mean_exp([log_e_search(found) for found in logs.values() if found]) / LN10, tuple(matching)


def _comparable(ga: OrderBits, gb: OrderBits) -> bool:
    def kind(group: OrderBits) -> str:
        return "mlp" if group.axis in ("mlp-units", "expert-units") else group.axis

    return kind(ga) == kind(gb) in ("mlp", "value-dims") and ga.key[1:] == gb.key[1:]


def _experts(model: Unpacked) -> bool:
    return any(g.axis == "expert-units" for g in model.groups.values())


def _pairs(
    p: Unpacked, ga: OrderBits, q: Unpacked, gb: OrderBits
) -> Iterator[tuple[tuple[str, int, int], float, SiteMatch | None]]:
    """(lottery of P, log e-value, the test where it matches) of every pair of text sites."""
    m = min(ga.bits_SMB.shape[1], gb.bits_SMB.shape[1])
    kind = "mlp" if ga.axis != "value-dims" else ga.axis
    a_SMK, b_TMK = p.signs(ga)[:, :m], q.signs(gb)[:, :m]
    alike = p.alike(ga, m)
    text_b = [j for j, place in enumerate(gb.place_S3.tolist()) if _place(q, place)[0] == "text"]
    theirs_KX = b_TMK[text_b].reshape(-1, b_TMK.shape[2]).T
    for i, place in enumerate(ga.place_S3.tolist()):
        tower, layer, expert = _place(p, place)
        if tower != "text" or not text_b:
            continue
        copy = bool(alike[i, :i].any())
        hits_T = order_hits_of((a_SMK[i] @ theirs_KX).reshape(m, len(text_b), m).transpose(1, 0, 2))
        for j, hits in zip(text_b, hits_T.tolist(), strict=True):
            log_e = _log_e_one(hits, m)
            matches = log_e / LN10 >= MATCHING_LOG10_E
            site = _site(p, ga, i, q, gb, j, m, hits, _angle_of(ga, i, gb, j, m), not copy) if matches else None
            left_out = copy or bool(ga.by_index_S[i] and gb.by_index_S[j])
            yield (kind, layer, expert), 0.0 if left_out else log_e, site


def _angle_of(ga: OrderBits, i: int, gb: OrderBits, j: int, m: int) -> float:
    return float(angles(ga.bits_SMB[i : i + 1, :m], gb.bits_SMB[j : j + 1, :m])[0])


def _turn(s: SiteMatch) -> SiteMatch:
    return replace(s, layer_a=s.layer_b, expert_a=s.expert_b, layer_b=s.layer_a, expert_b=s.expert_a)


# --- what the tests say together ----------------------------------------------------------------------------


def _layers(sites: Sequence[SiteMatch]) -> tuple[tuple[int, int], ...]:
    """For every layer of B the layer of A that it matches best, where it matches."""
    best: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for s in sites:
        if s.tower == "text" and s.layer_b >= 0 and s.log10_e > 0:
            best[s.layer_b][s.layer_a] = max(best[s.layer_b][s.layer_a], s.log10_e)
    out = []
    for layer_b, by_a in sorted(best.items()):
        layer_a = max(sorted(by_a), key=lambda i: by_a[i])
        if by_a[layer_a] >= MATCHING_LOG10_E:
            out.append((layer_a, layer_b))
    return tuple(out)


def _angle(sites: Sequence[SiteMatch], layers: tuple[tuple[int, int], ...]) -> tuple[float | None, float]:
    """Root mean square angle over sites of layers that match, in the frame in which it is smaller; and its standard error."""
    found = []
    for frame in ("stored", "tokens"):
        at = {}
        for s in sites:
            units = s.axis in ("mlp-units", "expert-units", "value-dims")
            if s.frame == frame and units and (s.layer_a, s.layer_b) in layers and s.log10_e >= MATCHING_LOG10_E:
                at[s.axis, s.layer_a, s.expert_a, s.layer_b, s.expert_b] = s
        if at:
            found.append(_root_mean_square(list(at.values())))
    return min(found) if found else (None, 0.0)


def _root_mean_square(sites: Sequence[SiteMatch]) -> tuple[float, float]:
    """Over units; a share d of n bits has variance d (1 - d) / n, and θ = π d."""
    theta: F64 = np.array([s.angle for s in sites])
    units: F64 = np.array([s.m for s in sites], dtype=np.float64)
    square = float((theta**2 * units).sum() / units.sum())
    if square == 0:
        return 0.0, 0.0
    variance = theta * (math.pi - theta) / (units * BITS)
    return math.sqrt(square), float(np.sqrt(((theta * units) ** 2 * variance).sum()) / units.sum() / math.sqrt(square))


def _repeated(x: Unpacked, y: Unpacked, sites: Sequence[SiteMatch]) -> bool:
    """Y holds layers of X more than once, which X has once, and all of them value by value: the sign "layers-repeated" of `begat.pipeline.arrows.depth`,
    which asks for unchanged weights because else both may come of a third model.
    """
    mlps = [s for s in sites if s.axis == "mlp-units" and s.frame == "stored" and s.tower == "text" and s.identical]
    here = {s.layer_b: s.layer_a for s in mlps}
    twice = len(set(here.values())) < len(here)
    return twice and len(here) == y.fingerprint.layers and set(here.values()) == set(range(x.fingerprint.layers)) and not _copies_inside(x)


def _copies_inside(model: Unpacked) -> bool:
    groups = [g for g in model.groups.values() if g.axis == "mlp-units" and g.frame == "stored"]
    return any(bool(np.triu(model.alike(g, g.bits_SMB.shape[1]), 1).any()) for g in groups)


def _unlike(x: Unpacked, y: Unpacked, sites: Sequence[SiteMatch]) -> float:
    """See `FingerprintMatch.unlike`; every axis weighs alike, whatever its number of sites."""
    best: dict[tuple[str, str, int, int], float] = {}
    for s in sites:
        at = s.axis, s.tower, s.layer_a, s.expert_a
        if s.log10_e >= MATCHING_LOG10_E or (s.layer_a, s.expert_a) == (s.layer_b, s.expert_b):  # strangers' angles are about π/2 anyway
            best[at] = min(best.get(at, math.inf), s.angle)
    by_axis: dict[str, list[float]] = defaultdict(list)
    seen = set()
    for g in x.groups.values():
        for p in g.place_S3.tolist():
            at = g.axis, *_place(x, p)
            if at not in seen and g.axis in ("mlp-units", "expert-units", "chain-units", "value-dims", "residual"):
                seen.add(at)
                by_axis[g.axis].append(best.get(at, math.pi / 2) ** 2)
    means = [sum(v) / len(v) for v in by_axis.values()]
    more = max(0, y.fingerprint.layers - x.fingerprint.layers) / max(1, y.fingerprint.layers)
    return math.sqrt((sum(means) / len(means) if means else (math.pi / 2) ** 2) + _MORE_LAYERS * more)


def _share(x: Unpacked, y: Unpacked, layers: tuple[tuple[int, int], ...]) -> float | None:
    least = min(x.fingerprint.layers, y.fingerprint.layers)
    return min(1.0, len({b if y.fingerprint.layers <= x.fingerprint.layers else a for a, b in layers}) / least) if least else None


def _slots(a: Sequence[ContentBits], b: Sequence[ContentBits]) -> tuple[int | None, float]:
    found = [(agreeing_slots(p.bits_KB, q.bits_KB), float(np.unpackbits(p.bits_KB ^ q.bits_KB).mean())) for p in a for q in b]
    return max(found, key=lambda x: (x[0], -x[1])) if found else (None, 0.5)
