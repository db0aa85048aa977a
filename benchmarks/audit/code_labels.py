"""Labels of known reuse inside transformers, read off its own comments and modular files.

Enters: path → source text of one or more versions.  Leaves: which unit was copied from which (`Edge`), groups of units that are copies of each other, and
families of models that share much. Nothing is imported; comments are read here and nowhere in begat.
"""

from __future__ import annotations

import ast
import collections
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from begat.audit.code.parse import Unit

HEAVY = 10
_COPIED = re.compile(r"#\s*Copied from transformers\.models\.(\w+)\.(modeling_\w+)\.(\w+(?:\.\w+)?)")


@dataclass(frozen=True)
class Edge:
    """`unit` of `file` was copied (or inherited, body and all) from `source_unit` of `source_file`."""

    file: str
    unit: str
    source_file: str
    source_unit: str
    grade: str


def model_of(path: str) -> str:
    """Folder of a model."""
    return path.split("/")[2]


def copied_from(file: str, text: str, units: Iterable[Unit]) -> list[Edge]:
    """The "Copied from" comments of one modeling file: each speaks of the unit that follows it."""
    found = []
    starts = sorted((u.lines[0], u.name) for u in units)
    for number, line in enumerate(text.splitlines(), 1):
        if m := _COPIED.search(line):
            following = next((name for first, name in starts if first > number), None)
            if following is not None and m[1] != model_of(file):
                found.append(Edge(file, following, f"transformers/models/{m[1]}/{m[2]}.py", m[3], "copied from"))
    return found


def inherited(file: str, text: str) -> list[Edge]:
    """Classes of a modular file that take over a class of another model with at most three statements of their own."""
    tree = ast.parse(text)
    origin = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module and ".modeling_" in "." + node.module:
            model, _, module = node.module.partition(".")
            origin.update({a.asname or a.name: (f"transformers/models/{model}/{module}.py", a.name) for a in node.names})
    target = file.replace("/modular_", "/modeling_")
    out = []
    for node in tree.body:
        if (
            isinstance(node, ast.ClassDef)
            and len(node.bases) == 1
            and isinstance(node.bases[0], ast.Name)
            and node.bases[0].id in origin
        ):
            size = sum(1 for n in ast.walk(node) if isinstance(n, ast.stmt) and not isinstance(n, ast.Expr)) - 1
            source_file, source_unit = origin[node.bases[0].id]
            if size <= 3 and model_of(source_file) != model_of(file):
                out.append(Edge(target, node.name, source_file, source_unit, "modular"))
    return out


class Groups:
    """Union-find over hashable items."""

    def __init__(self) -> None:
        self.parent: dict = {}

    def find(self, x):
        self.parent.setdefault(x, x)
        while self.parent[x] != x:
            self.parent[x] = self.parent[self.parent[x]]
            x = self.parent[x]
        return x

    def join(self, a, b) -> None:
        self.parent[self.find(a)] = self.find(b)


def copies(edges: Iterable[Edge]) -> Groups:
    """Units (model, top-level name) that are copies of one another, directly or through others."""
    groups = Groups()
    for e in edges:
        groups.join((model_of(e.file), e.unit.split(".")[0]), (model_of(e.source_file), e.source_unit.split(".")[0]))
    return groups


def families(models: Iterable[str], edges: Iterable[Edge]) -> dict[str, str]:
    """Model → family: a component of the graph of models joined by `HEAVY` copied units or more."""
    count = collections.Counter(tuple(sorted((model_of(e.file), model_of(e.source_file)))) for e in set(edges))
    groups = Groups()
    for (a, b), n in count.items():
        if n >= HEAVY:
            groups.join(a, b)
    members: Mapping = collections.defaultdict(list)
    for m in models:
        members[groups.find(m)].append(m)
    return {m: min(group) for group in members.values() for m in group}


def held_out(family: str) -> bool:
    """Half of the families, by a hash of their name."""
    return hashlib.sha256(family.encode()).digest()[0] % 2 == 1


def far(model: str, models: Iterable[str], edges: Iterable[Edge], distance: int) -> set[str]:
    """Models at that distance or more in the graph of all edges."""
    near = collections.defaultdict(set)
    for e in edges:
        near[model_of(e.file)].add(model_of(e.source_file))
        near[model_of(e.source_file)].add(model_of(e.file))
    seen, front = {model}, {model}
    for _ in range(distance - 1):
        front = {n for m in front for n in near[m]} - seen
        seen |= front
    return set(models) - seen
