"""Families of vectors whose relations are known, as `begat.tree` sees them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from begat.tree import Node, Relation, Tree, infer

WIDE = 200_000


class Scene:
    """Named vectors; changes made apart are at right angles up to 1/sqrt(WIDE)."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.vectors: dict[str, np.ndarray] = {}

    def root(self, name: str) -> Scene:
        self.vectors[name] = self._unit()
        return self

    def _unit(self) -> np.ndarray:
        v = self.rng.standard_normal(WIDE)
        return v / np.linalg.norm(v)

    def child(self, name: str, parent: str, angle: float) -> Scene:
        self.vectors[name] = np.cos(angle) * self.vectors[parent] + np.sin(angle) * self._unit()
        return self

    def sum(self, name: str, **weights: float) -> Scene:
        self.vectors[name] = sum(w * self.vectors[k] for k, w in weights.items())  # type: ignore[assignment]
        return self

    def angle(self, a: str, b: str) -> float:
        x, y = self.vectors[a], self.vectors[b]
        return float(np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1)))

    def relations(self, names: list[str], sd: float = 0.002, noise: bool = False, twins: Iterable[tuple[str, str]] = (),
                  arrows: Iterable[tuple[str, str]] = (), e: float = 300.0) -> list[Relation]:  # fmt: skip
        """Of every pair; `sd` is relative; strangers (beyond 1.5 rad) have an e-value of 1."""
        out = []
        apart = {frozenset(t) for t in twins}
        for i, j in itertools.combinations(range(len(names)), 2):
            a, b = names[i], names[j]
            d = self.angle(a, b)
            s = max(d * sd, 1e-6)
            if noise:
                d = abs(d + s * self.rng.standard_normal())
            tie = "shared initialisation" if frozenset((a, b)) in apart else "related"
            direction = "a → b" if (a, b) in arrows else "b → a" if (b, a) in arrows else ""
            out.append(Relation(i, j, e if d < 1.5 else 0.0, d, s, direction, "evidence" if direction else "", tie))  # type: ignore[arg-type]
        return out

    def tree(self, names: str, **how) -> Tree:
        given = names.split()
        return infer([Node(n, n) for n in given], self.relations(given, **how))


def edges(tree: Tree) -> set[str]:
    """Edges as text: "a-b" for lines, "a>b" for arrows, "a=b"; mixtures with "*"; other nodes as "#unnamed", "?{a b}" and "#start"."""
    marks = {"line": "-", "arrow": ">", "same": "=", "open": "~"}
    out = set()
    for e in tree.edges:
        a, b = label(tree, e.a), label(tree, e.b)
        if e.kind != "arrow" and not e.mixture:
            a, b = sorted((a, b))
        out.add(f"{a}{marks[e.kind]}{b}" + ("*" if e.mixture else ""))
    return out


def label(tree: Tree, i: int) -> str:
    node = tree.nodes[i]
    if node.kind == "open":
        return "?{" + " ".join(sorted(label(tree, k) for k in node.among)) + "}"
    return node.name if node.kind == "given" else f"#{node.kind}"
