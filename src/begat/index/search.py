"""`search`: where does this model come from? Screening an index, then the exact test on what is left.

Enters: a fingerprint and an open store.  Leaves: a `SearchResult`.  Storage and screening: `begat.index.store`; the exact test:
`begat.pipeline.fingerprints`; how relatives lie to each other: `begat.tree`.

How the search pays. Screening picks candidates by the same bits that are tested afterwards, so it is the whole index that was searched: every
e-value is divided by the number N of models in it (the query itself, should it be there, included). Under the null that the query is independent of
a model, the e-value of that pair reaches N 10^k with probability at most 10^-k / N; so the chance that *any* independent model of the index
does is at most 10^-k. What screening overlooks is a loss of detection, never an alarm.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from begat.errors import InputError
from begat.fingerprint import BITS, PROBE_BITS, Fingerprint, Probe
from begat.fingerprint_file import digest, dumps, loads
from begat.index.store import Entry, Store
from begat.pipeline.fingerprints import FingerprintMatch, Unpacked, comparable, compare_fingerprints
from begat.pipeline.probes import content_probes, order_probes
from begat.stats.content import load_content_bank
from begat.tree import Node, Relation, Tree, infer
from begat.types import U8, Progress
from begat.verdict.policy import POLICY

#: nearest stored probes that every probe of the query asks for
_NEAREST = 64
#: models that are tested exactly at most, and of the relatives found those that are laid out in a tree
SCREENED, IN_TREE = 128, 16
#: models that are asked, where no test ran, whether one could have run; a larger index holds models of many sizes
_ASKED = 256
#: bits by which a probe must lie nearer than half to count in screening, in standard deviations of a stranger's distance
_SIGMA = 3.0


@dataclass(frozen=True, slots=True)
class Relative:
    """A model of the index that is not independent of the query.

    Attributes:
        entry: what the index knows of it.
        log10_e: e-value, divided by the number of candidates.
        relation: "ancestor" or "descendant" (by one-way evidence), "nearest" (nothing found lies between; direction undetermined) or "related".
        via: name of a relative that lies between, "" without one.
        why: the one-way evidence, or why there is none.
        tied: so near in distance to the first that the bits kept cannot tell which of the two is nearer the query (two standard errors).
        match: the test itself, the query as A and the entry's model as B.
        parts: which parts of the query are found in it, in words.
    """

    entry: Entry
    log10_e: float
    relation: str
    via: str
    why: str
    tied: bool
    match: FingerprintMatch
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lead:
    """No exact evidence, but units chosen by content agree as they do between no two strangers of the lab: the weights should be compared.

    slots: agreeing of `begat.fingerprint.SLOTS`; differing: share of bits that differ over all slots; p: conformal; pairs: independent pairs in the bank.
    match: the test, without exact evidence.
    """

    entry: Entry
    slots: int
    differing: float
    p: float
    pairs: int
    match: FingerprintMatch


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, with what it searched.

    Attributes:
        query: name of the model asked about; id: of its fingerprint; layers: of its text tower.
        candidates: models in the index (N). screened: of them those that screening let pass; tested: of them those tested exactly.
        needed_log10_e: what the corrected e-value must reach (10^-needed bounds the chance that any independent model is listed).
        relatives: best first. leads: most alike first.
        tree: the query and its nearest relatives, None when there are none.
        members: id of every model of the tree, in the order of its nodes, the query first.
        same: ids of entries whose fingerprint is the query's own.
        unreadable: (id, why) of entries that could not be tested.
        notes: caveats in words.
        seconds: wall time.
        untestable: why no model of the index could be tested against the query, "" where one could: nothing found then says something.
    """

    query: str
    id: str
    layers: int
    candidates: int
    screened: int
    tested: int
    needed_log10_e: float
    relatives: tuple[Relative, ...]
    leads: tuple[Lead, ...]
    tree: Tree | None
    members: tuple[str, ...]
    same: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seconds: float
    untestable: str = ""


def search(
    query: Fingerprint, store: Store, *, screened: int = SCREENED, in_tree: int = IN_TREE, exact: bool = False, leave_out: Iterable[str] = (),
    progress: Progress | None = None,
) -> SearchResult:  # fmt: skip
    """Look for relatives of a model in an index.

    Args:
        screened: models to test exactly at most.
        in_tree: relatives to lay out in a tree at most (every pair of them is tested); 0 for no tree.
        exact: look at every stored probe instead of an approximate index.
        leave_out: ids that are not asked about; they still count as candidates.

    Raises:
        InputError: the index is damaged.
    """
    start = time.perf_counter()
    own, total = digest(dumps(query)), store.count()
    out = {*leave_out, own}
    ranked = screen(query, store, exact)
    kept = [id for id in ranked if id not in out][:screened]
    if progress:
        progress.start("exact tests", len(kept))
    asked, models, matches, unreadable = Unpacked(query), {}, {}, []
    for id in kept:
        try:
            candidate = loads(store.get(id), id)
            matches[id] = compare_fingerprints(asked, candidate)
            models[id] = candidate  # a tenth of what it takes unpacked
        except InputError as err:
            unreadable.append((id, err.line()))
        if progress:
            progress.step()
    if progress:
        progress.done()
    price = math.log10(max(1, total))
    found = {id: m.log10_e - price for id, m in matches.items() if m.log10_e is not None and m.log10_e - price >= POLICY.dependence_log10_e}
    entries = {id: store.entry(id) for id in matches}
    near = sorted(found, key=lambda id: (matches[id].unlike, -found[id], id))
    between = _between(near[:in_tree], models, progress)
    tree, members = _tree(query, near[:in_tree], matches, between, entries)
    tied = _tied(near[:in_tree], matches, between)
    relatives = _relatives(near, found, matches, entries, tree, members, tied)
    bank = load_content_bank()
    leads = [
        Lead(entries[id], m.slots, m.slots_differing, bank.p(m.slots), bank.pairs, m)
        for id, m in matches.items() if id not in found and m.slots is not None and m.slots >= bank.needed
    ]  # fmt: skip
    return SearchResult(
        query=query.name, id=own, layers=query.layers, candidates=total, screened=len(ranked), tested=len(matches), needed_log10_e=POLICY.dependence_log10_e,
        relatives=relatives, leads=tuple(sorted(leads, key=lambda x: (x.differing, x.entry.id))), tree=tree, members=members,
        same=tuple(id for id in ranked if id == own), unreadable=tuple(unreadable), notes=_notes(query, ranked, screened),
        seconds=time.perf_counter() - start, untestable="" if leads else _untestable(asked, store, matches, total),
    )  # fmt: skip


def _untestable(query: Unpacked, store: Store, matches: Mapping[str, FingerprintMatch], total: int) -> str:
    """Why nothing was tested; "" where a test ran, or could have run had screening let something pass."""
    if not total:
        return "the index holds no models"
    if any(m.log10_e is not None for m in matches.values()) or total > _ASKED:
        return ""
    for entry in store.manifest():
        try:
            if comparable(query, Unpacked(loads(store.get(entry.id), entry.id))):
                return ""
        except InputError:
            continue
    return "no model of this index has anything of the sizes that it has (residual stream, units, heads), so that nothing can be compared"


def screen(query: Fingerprint, store: Store, exact: bool = False) -> list[str]:
    """Ids of models that share something with the query, the likeliest first: for each the sum over kinds of how far its nearest probe lies below chance."""
    best: dict[str, dict[str, float]] = {}
    stored = store.kinds()
    half, sd = PROBE_BITS / 2, math.sqrt(PROBE_BITS) / 2
    for kind, bits_QB in _by_kind(query).items():
        if not stored.get(kind):
            continue
        for hit in store.nearest(kind, bits_QB, _NEAREST, exact=exact):
            z = (half - hit.distance) / sd
            if z >= _SIGMA and z > best.setdefault(hit.id, {}).get(kind, 0.0):
                best[hit.id][kind] = z
    score = {id: math.fsum(z * z for z in kinds.values()) for id, kinds in best.items() if kinds}
    return sorted(score, key=lambda id: (-score[id], id))


def _by_kind(query: Fingerprint) -> dict[str, U8]:
    """The query's probes by kind, of every layer it has: layers of a relative may have moved."""
    kinds: dict[str, list[Probe]] = {}
    for probe in (*order_probes(query.orders, query.towers, every_layer=True), *content_probes(query.contents)):
        kinds.setdefault(probe.kind, []).append(probe)
    return {kind: np.unique(np.stack([p.bits for p in probes]), axis=0) for kind, probes in kinds.items()}


def _between(
    ids: Sequence[str], models: dict[str, Fingerprint], progress: Progress | None
) -> dict[tuple[str, str], FingerprintMatch]:  # fmt: skip
    """The tests of every two of the nearest relatives."""
    unpacked = {id: Unpacked(models[id]) for id in ids}
    pairs = list(combinations(ids, 2))
    if progress:
        progress.start("relatives among each other", len(pairs))
    out = {}
    for x, y in pairs:
        out[x, y] = compare_fingerprints(unpacked[x], unpacked[y])
        if progress:
            progress.step()
    if progress:
        progress.done()
    return out


def _tied(near: Sequence[str], matches: dict[str, FingerprintMatch], between: dict[tuple[str, str], FingerprintMatch]) -> frozenset[str]:
    """Of the nearest those whose distance differs from the first's by less than twice its standard error.

    Only bits in which the two candidates differ, a share f of n, can make one nearer than the other, so their difference has variance at most f / n in
    shares of bits. Bits of one unit are not independent: half of them count.
    """
    out = set(near[:1])
    for id in near[1:]:
        apart = between[near[0], id]
        bits = sum(s.m for s in matches[id].sites if s.frame == "stored") * BITS / 2
        share = (apart.unlike if apart.angle is None else apart.angle) / math.pi
        if abs(matches[id].unlike - matches[near[0]].unlike) <= 2 * math.pi * math.sqrt(share / max(1.0, bits)):
            out.add(id)
    return frozenset(out) if len(out) > 1 else frozenset()


def _tree(
    query: Fingerprint, ids: Sequence[str], matches: dict[str, FingerprintMatch], between: dict[tuple[str, str], FingerprintMatch],
    entries: dict[str, Entry],
) -> tuple[Tree | None, tuple[str, ...]]:  # fmt: skip
    if not ids:
        return None, ()
    own = digest(dumps(query))
    nodes = [Node(own, query.name), *(Node(id, entries[id].name) for id in ids)]
    at = {id: 1 + i for i, id in enumerate(ids)}
    relations = [relation(0, at[id], matches[id]) for id in ids]
    relations += [relation(at[x], at[y], match) for (x, y), match in between.items()]
    return infer(nodes, relations, shared_bits=True), (own, *ids)


def relation(a: int, b: int, match: FingerprintMatch) -> Relation:
    """A match as the tree takes it: distances of whole models only."""
    whole = match.share is not None and match.share == 1.0 and match.angle is not None
    return Relation(a, b, match.log10_e, match.angle if whole else None, match.angle_sd, match.direction, match.direction_why)


def _relatives(
    near: Sequence[str], found: dict[str, float], matches: dict[str, FingerprintMatch], entries: dict[str, Entry], tree: Tree | None, members: Sequence[str],
    tied: frozenset[str],
) -> tuple[Relative, ...]:  # fmt: skip
    told = {} if tree is None else _told(tree, members)
    out = []
    for id in near:
        what, via, why = told.get(id, ("related", "", "farther off than the relatives laid out in the tree"))
        if matches[id].identical and what in ("nearest", "related"):
            why = "every sampled value is equal: the same weights, which carry no direction"
        out.append(Relative(entries[id], found[id], what, via, why, id in tied, matches[id], parts(matches[id])))
    last = {"descendant": 1}
    return tuple(sorted(out, key=lambda r: last.get(r.relation, 0)))


def _told(tree: Tree, members: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Id → (relation, via, why), read off the tree."""
    at = dict(enumerate(members))
    arrows: dict[int, list[tuple[int, str]]] = {}
    lines: dict[int, list[int]] = {}
    for e in tree.edges:
        if e.kind == "arrow":
            arrows.setdefault(e.a, []).append((e.b, e.why))
        if e.kind == "arrow" or (e.kind in ("line", "same") and e.distance is not None):  # nobody lies between by a distance that was not measured
            lines.setdefault(e.a, []).append(e.b)
            lines.setdefault(e.b, []).append(e.a)
    up = _reach(0, {b: [(a, why) for a, targets in arrows.items() for c, why in targets if c == b] for b in range(len(tree.nodes))})
    down = _reach(0, arrows)
    before = _paths(0, lines)
    out = {}
    for i, id in at.items():
        if i == 0:
            continue
        path = before.get(i)
        between = [j for j in path or () if j in at and j not in (0, i)]
        via = tree.nodes[between[0]].name if between else ""
        claim = next((c.why for c in tree.claims if {c.a, c.b} == {0, i}), "")
        if i in up:
            out[id] = ("ancestor", via, up[i])
        elif i in down:
            out[id] = ("descendant", via, down[i])
        elif path is not None and not between:
            out[id] = ("nearest", "", claim or "no one-way evidence: direction undetermined")
        else:
            out[id] = ("related", via, claim or ("" if via else "its place in the tree is not resolved"))
    return out


def _reach(start: int, edges: dict[int, list[tuple[int, str]]]) -> dict[int, str]:
    """Nodes that can be reached → why the last step is one."""
    seen: dict[int, str] = {}
    todo = [start]
    while todo:
        for target, why in edges.get(todo.pop(), []):
            if target not in seen and target != start:
                seen[target] = why
                todo.append(target)
    return seen


def _paths(start: int, edges: dict[int, list[int]]) -> dict[int, list[int]]:
    """Nodes on a shortest path from `start` to every other."""
    path = {start: [start]}
    todo = [start]
    for node in todo:
        for target in edges.get(node, []):
            if target not in path:
                path[target] = [*path[node], target]
                todo.append(target)
    return path


def parts(match: FingerprintMatch) -> tuple[str, ...]:
    """Which parts of A are found in B, in words."""
    axes: dict[str, set[int]] = {}
    for s in match.sites:
        if s.log10_e >= 2.0:
            name = {"mlp-units": "MLP", "expert-units": "experts", "value-dims": "attention", "kv-heads": "KV heads"}.get(s.axis, s.axis)
            axes.setdefault(name if s.tower == "text" else f"{s.tower} {name}", set()).add(s.layer_a)
    out = []
    for name, layers in axes.items():
        inside = sorted(x for x in layers if x >= 0)
        out.append(f"{name} of {_runs(inside)}" if inside else name)
    return tuple(sorted(out))


def _runs(layers: Sequence[int]) -> str:
    """Layers 0-3, 7."""
    runs: list[list[int]] = []
    for x in layers:
        if runs and x == runs[-1][1] + 1:
            runs[-1][1] = x
        else:
            runs.append([x, x])
    return ("layers " if len(layers) > 1 else "layer ") + ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in runs)


def _notes(query: Fingerprint, ranked: Sequence[str], screened: int) -> tuple[str, ...]:
    out = list(query.notes)
    if len(ranked) > screened:
        out.append(f"{len(ranked)} models passed the screen, the {screened} likeliest were tested; --screened raises that")
    return tuple(out)
