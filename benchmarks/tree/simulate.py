"""Is the family tree right on families of known ancestry?

    python benchmarks/tree/simulate.py [--trees 200] [--out benchmarks/tree/results]

Enters: nothing; families are drawn from a fixed seed.  Leaves: a table on stdout and, with --out, `simulate_<date>.{json,md}`.

A family: feature vectors of four layers (16,384 numbers each) that walk at random. Every child turns away from its parent by an angle log-uniform in
0.01 to 0.6 rad, unevenly over layers (log-normal, σ = 0.4). Half of the changes share a direction with other changes of the family: cosine up to 0.3
between two of them, as trainings on like data do. Weights shrink by up to 10 % on the way. There are models mixed from two to four others (with and
without training after it), copies, strangers, twins grown apart from the same initial weights, and models that are then left out: every fourth
parent.

What begat would see: each angle from `bits` sign bits along directions common to all models, as fingerprints keep them, with the standard deviation
of a share; e-values of 10^300 for kin nearer than 1.45 rad, drawn from the null (uniform p, e = p^-1/2 / 2) for all others; one-way evidence for
every fifth pair of parent and child.

How edges are judged. Between two given models: *right*: parent and child (or copies of them); *near*: no given model stands between them in truth,
only models left out; *wrong*: a given model stands between them. An arrow is *right* if its head descends from its tail (copies count as one), *near*
if from a model left out that is next to its tail. An open node is *right* if the truth is among what it leaves open. Needs what begat needs.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from begat.tree import Node, Relation, Tree, infer

LAYERS, WIDE = 4, 16_384
SEED = 20261126


@dataclass
class Family:
    """Vectors and ancestry; `copy_of` maps a copy to what it copies."""

    vectors: list[np.ndarray] = field(default_factory=list)
    parents: list[tuple[int, ...]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)

    def add(self, vector: np.ndarray, parents: tuple[int, ...], kind: str, root: int | None = None) -> int:
        self.vectors.append(vector / np.linalg.norm(vector, axis=1, keepdims=True))
        self.parents.append(parents)
        self.kinds.append(kind)
        self.roots.append(len(self.roots) if root is None else root)
        self.seen.append(True)
        return len(self.vectors) - 1


def drift(rng: np.random.Generator, v_LW: np.ndarray, angle: float, shared_LW: np.ndarray | None, even: bool) -> np.ndarray:
    """V turned by about `angle`; with `shared`, its change has a cosine of up to sqrt(0.3) with it."""
    step = rng.standard_normal(v_LW.shape)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    if shared_LW is not None:
        share = np.sqrt(rng.uniform(0, 0.3))
        step = share * shared_LW + np.sqrt(1 - share**2) * step
    by_layer = np.ones(LAYERS) if even else rng.lognormal(0, 0.4, LAYERS)
    by_layer /= np.sqrt((by_layer**2).mean())
    return rng.uniform(0.9, 1.0) * (v_LW + np.tan(np.minimum(angle * by_layer, 1.4))[:, None] * step)


def grow(rng: np.random.Generator, models: int) -> Family:
    """One family, with models to be left out marked in `seen`."""
    fam = Family()
    start = rng.standard_normal((LAYERS, WIDE))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    shared = rng.standard_normal((LAYERS, WIDE))
    shared /= np.linalg.norm(shared, axis=1, keepdims=True)
    line = [fam.add(drift(rng, start, 0.9, None, True), (), "root")]
    if rng.random() < 0.4:
        fam.add(drift(rng, start, rng.uniform(0.7, 1.0), None, True), (), "twin", root=0)
    for _ in range(rng.integers(0, 3)):
        fam.add(rng.standard_normal((LAYERS, WIDE)), (), "stranger")
    while len(fam.vectors) < models:
        roll = rng.random()
        if roll < 0.15 and len(line) >= 3:
            count = min(int(rng.choice([2, 2, 2, 3, 4])), len(line) - 1)
            parents = tuple(sorted(int(i) for i in rng.choice(line, count, replace=False)))
            weights = 0.15 + (1 - 0.15 * count) * rng.dirichlet(np.ones(count))
            mixed = sum(w * fam.vectors[p] for w, p in zip(weights, parents, strict=True))
            if rng.random() < 0.5:
                mixed = drift(rng, mixed, float(np.exp(rng.uniform(np.log(0.003), np.log(0.05)))), None, False)
            line.append(fam.add(mixed, parents, "mixture", 0))
        elif roll < 0.2:
            of = int(rng.choice(line))
            fam.add(drift(rng, fam.vectors[of], 1e-4, None, True), (of,), "copy", 0)
        else:
            of = int(rng.choice(line))
            angle = float(np.exp(rng.uniform(np.log(0.01), np.log(0.6))))
            line.append(fam.add(drift(rng, fam.vectors[of], angle, shared if rng.random() < 0.5 else None, False), (of,), "child", 0))
    for i in range(len(fam.vectors)):
        if any(i in p for p in fam.parents) and rng.random() < 0.25:
            fam.seen[i] = False
    return fam


def observe(rng: np.random.Generator, fam: Family, bits: int) -> tuple[list[int], list[Relation]]:
    """(which models are given, what comparing them says)."""
    given = [i for i, s in enumerate(fam.seen) if s]
    n = bits // LAYERS
    signs = []
    for layer in range(LAYERS):
        v = np.stack([fam.vectors[i][layer] for i in given])
        root = np.linalg.cholesky(v @ v.T + 1e-12 * np.eye(len(given)))
        signs.append(np.concatenate([root @ rng.standard_normal((len(given), part)) > 0 for part in _parts(n)], axis=1))
    relations = []
    for a, b in itertools.combinations(range(len(given)), 2):
        i, j = given[a], given[b]
        angles = np.arccos(np.clip((fam.vectors[i] * fam.vectors[j]).sum(1), -1, 1))
        measured = np.pi * np.array([(x[a] != x[b]).mean() for x in signs])
        d = float(np.sqrt((measured**2).mean()))
        variance = measured * (np.pi - measured) / n
        sd = float(np.sqrt((measured**2 * variance).sum()) / (LAYERS * d)) if d > 0 else 0.0
        kin = fam.roots[i] == fam.roots[j] and float(np.sqrt((angles**2).mean())) < 1.45
        e = 300.0 if kin else float(-0.5 * np.log10(rng.uniform()) + np.log10(0.5))
        direction, why = "", ""
        if kin and len(fam.parents[j]) == 1 and i in fam.parents[j] and fam.kinds[j] == "child" and rng.random() < 0.2:
            direction, why = "a → b", "low-rank difference"
        flipped = bool(rng.random() < 0.5)
        tie = "shared initialisation" if kin and ("twin" in (fam.kinds[i], fam.kinds[j])) else "related"
        x, y = (b, a) if flipped else (a, b)
        relations.append(Relation(x, y, e, min(d, float(np.pi)), sd, ("b → a" if flipped else "a → b") if direction else "", why, tie))  # type: ignore[arg-type]
    return given, relations


def _parts(n: int) -> list[int]:
    """Chunks of at most 50,000, so that a hundred models fit the memory."""
    return [50_000] * (n // 50_000) + ([n % 50_000] if n % 50_000 else [])


class Truth:
    """What a drawn edge is worth."""

    def __init__(self, fam: Family, given: list[int]) -> None:
        self.fam, self.given = fam, given
        self.same = {i: fam.parents[i][0] if fam.kinds[i] == "copy" else i for i in range(len(fam.vectors))}
        seen = {self.same[i] for i in given}
        self.links: dict[int, set[int]] = {i: set() for i in range(len(fam.vectors))}
        for child, parents in enumerate(fam.parents):
            if fam.kinds[child] != "copy":
                for p in parents:
                    self.links[child].add(p)
                    self.links[p].add(child)
        twins = [i for i, k in enumerate(fam.kinds) if k in ("root", "twin") and fam.roots[i] == 0]
        self.twin_pairs = set(itertools.permutations(twins, 2))
        self.reach = {i: self._reach(i, seen) for i in seen}

    def _reach(self, start: int, seen: set[int]) -> set[int]:
        """Given models (or what they copy) reached through models left out only."""
        out, stack, done = set(), [start], {start}
        while stack:
            for other in self.links[stack.pop()]:
                if other not in done:
                    done.add(other)
                    if other in seen:
                        out.add(other)
                    else:
                        stack.append(other)
        return out

    def own(self, i: int) -> int:
        return self.same[self.given[i]]

    def edge(self, a: int, b: int) -> str:
        x, y = self.own(a), self.own(b)
        if x == y or x in self.fam.parents[y] or y in self.fam.parents[x]:
            return "right"
        return "near" if y in self.reach[x] else "wrong"

    def descends(self, a: int, b: int) -> bool:
        """Does b descend from a?"""
        target, stack, done = self.own(a), [self.own(b)], set[int]()
        while stack:
            i = stack.pop()
            if i == target:
                return True
            if i not in done:
                done.add(i)
                stack += [self.same[p] for p in self.fam.parents[i]]
        return False


def judge(fam: Family, given: list[int], tree: Tree) -> Counter[str]:
    """Counts of right, near and wrong edges, arrows, unnamed and open nodes, and of true edges found."""
    truth, out = Truth(fam, given), Counter[str]()
    n = len(given)
    around: dict[int, list[int]] = {}
    for e in tree.edges:
        around.setdefault(e.a, []).append(e.b)
        around.setdefault(e.b, []).append(e.a)
    for e in tree.edges:
        if e.kind == "open":
            continue
        if max(e.a, e.b) < n:
            verdict = truth.edge(e.a, e.b)
            kind = "same" if e.kind == "same" else "mixture" if e.mixture else "edge"
            out[f"{kind} {verdict}"] += 1
            if e.kind == "arrow":
                out["arrow " + ("right" if truth.descends(e.a, e.b) else "near" if verdict == "near" and not truth.descends(e.b, e.a) else "wrong")] += 1
                out["arrow of mixture"] += e.mixture
    for i, node in enumerate(tree.nodes[n:], n):
        if node.kind == "unnamed":
            near = [x for x in around[i] if x < n]
            out["unnamed " + ("right" if all(truth.edge(a, b) != "wrong" for a, b in itertools.combinations(near, 2)) else "wrong")] += 1
        elif node.kind == "open":
            out["open " + _open(i, tree, truth, n)] += 1
        elif node.kind == "start":
            ends = {truth.own(x) for x in around[i] if x < n}
            out["start " + ("right" if all((a, b) in truth.twin_pairs for a, b in itertools.combinations(ends, 2)) else "near")] += 1
    _recall(fam, given, tree, truth, out)
    return out


def _open(i: int, tree: Tree, truth: Truth, n: int) -> str:
    """Is what an open node leaves open true?"""
    far = [e.b if e.a == i else e.a for e in tree.edges if i in (e.a, e.b) and e.kind != "open"]
    among = [x for x in tree.nodes[i].among if x < n]
    unnamed = any(x >= n for x in tree.nodes[i].among)
    ends = [x for x in far if x < n]
    if not ends or unnamed:
        return "beyond judging"
    return "right" if all(any(truth.edge(x, m) != "wrong" for m in among) for x in ends) else "wrong"


def _recall(fam: Family, given: list[int], tree: Tree, truth: Truth, out: Counter[str]) -> None:
    drawn = {frozenset((truth.own(e.a), truth.own(e.b))) for e in tree.edges if e.kind != "open" and max(e.a, e.b) < len(given)}
    offered = set()
    for i, node in enumerate(tree.nodes):
        if node.kind == "open":
            ends = [x for e in tree.edges if i in (e.a, e.b) and e.kind != "open" for x in (e.a, e.b) if x < len(given)]
            offered |= {frozenset((truth.own(x), truth.own(m))) for x in ends for m in node.among if m < len(given)}
    own = {truth.own(i) for i in range(len(given))}
    for child in own:
        for parent in fam.parents[child]:
            if truth.same[parent] in own and truth.same[parent] != child:
                pair = frozenset((truth.same[parent], child))
                what = "mixture" if len(fam.parents[child]) > 1 else "descent"
                out[f"true {what} " + ("drawn" if pair in drawn else "left open" if pair in offered else "not drawn")] += 1


def run(trees: int, models: int, bits: int, shared: bool = True) -> Counter[str]:
    """`trees` families of `models` models, angles from `bits` bits."""
    out = Counter[str]()
    for k in range(trees):
        rng = np.random.default_rng([SEED, models, bits, k])
        fam = grow(rng, models)
        given, relations = observe(rng, fam, bits)
        out += judge(fam, given, infer([Node(str(i), fam.kinds[i]) for i in given], relations, shared_bits=shared))
    return out


def table(rows: dict[str, Counter[str]]) -> str:
    """Markdown: one row per count, one column per setting."""
    keys = sorted({k for c in rows.values() for k in c})
    lines = ["| | " + " | ".join(rows) + " |", "|---|" + "---:|" * len(rows)]
    lines += [f"| {k} | " + " | ".join(f"{c[k]:,}" for c in rows.values()) + " |" for k in keys]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: dict[str, Counter[str]] = {}
    began = time.monotonic()
    for models, bits, share in ((8, 1_000_000, 1.0), (24, 1_000_000, 0.5), (24, 100_000, 0.5), (100, 1_000_000, 0.05)):
        rows[f"{models} models, {bits:,} bits"] = run(max(1, round(args.trees * share)), models, bits)
    text = table(rows)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        stem = args.out / f"simulate_{datetime.date.today().isoformat()}"
        command = f"`python benchmarks/tree/simulate.py --trees {args.trees} --out benchmarks/tree/results`"
        head = f"# Family trees of known ancestry\n\n{command}, {time.monotonic() - began:.0f} s.\n\n"
        stem.with_suffix(".md").write_text(head + text + "\n", encoding="utf-8")
        stem.with_suffix(".json").write_text(json.dumps({k: dict(sorted(v.items())) for k, v in rows.items()}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
