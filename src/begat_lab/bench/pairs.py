"""Which pairs of a family are scored, and what they truly are.

Enters: a grown `Family`, or one that is still growing.  Leaves: `Pair`s, each in one group, with a label.  Truth comes from `begat_lab.kinship`, that
is from the pedigree; no weight is looked at.  Groups:

    hard       strangers that share shape, recipe, text and windows and differ in the lottery of their initial weights only: all pairs
    strangers  independent models of another shape, text or order against models of the hard set
    unrelated  a descendant (disguised or not) against a model of the hard set that it does not come from
    taught     a student distilled from its teacher's outputs: independent weights, the same function
    twins      trained apart from one draw of initial weights
    siblings   descended from a common ancestor
    descended  ancestor and descendant
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from begat import InputError
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, Member, parse_pedigree, read_pedigree
from begat_lab.truth import FAMILY, read_truth

#: groups in the order of reports, and whether the models of a pair are independent
GROUPS = {
    "hard": True, "strangers": True, "unrelated": True, "taught": True, "twins": False, "siblings": False, "descended": False,
}  # fmt: skip
#: label of twins that are not from scratch themselves
OF_TWINS = "descendants of twins"
_TILE = 16  # pairs are ordered in tiles of so many models a side, so that a worker keeps the models it will need again


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many pairs are drawn where not all are scored.

    Attributes:
        strangers: models of the hard set that each other stranger is compared with.
        unrelated: pairs of a descendant and a model that it does not come from; disguised ones come first.
        siblings: pairs of models with a common ancestor. twins: pairs that share initial weights only.
    """

    strangers: int = 10
    unrelated: int = 200
    siblings: int = 120
    twins: int = 160


@dataclass(frozen=True, slots=True)
class Pair:
    """Two members and what they are. Of "descended" pairs `a` is the ancestor.

    Attributes:
        group: one of `GROUPS`.
        label: the row of the pedigree that `b` stems from ("disguised-t1"); of hard strangers "".
        step: of "descended" pairs "parent" or "founder" (an ancestor from scratch that is not also the parent); else "".
    """

    a: str
    b: str
    group: str
    label: str = ""
    step: str = ""


def open_family(folder: Path, pedigree: str | None = None) -> tuple[Family, frozenset[str]]:
    """The family in `folder` and its finished members; one that is still growing needs its `pedigree` named.

    Raises:
        InputError: nothing grown there.
    """
    file = folder / FAMILY
    if file.is_file():
        family = parse_pedigree(json.loads(file.read_text(encoding="utf-8"))["pedigree"], str(file))
    elif pedigree is not None:
        family = read_pedigree(pedigree)
    else:
        raise InputError("no finished family", file=folder, expected=FAMILY, fix="begat-lab grow PEDIGREE first, or name it by --pedigree")
    done = frozenset(m.name for m in family.members if read_truth(folder / m.name) is not None)
    if not done:
        raise InputError("no finished member", file=folder, fix="begat-lab grow PEDIGREE first")
    return family, done


def choose_pairs(family: Family, finished: frozenset[str], sizes: Sizes | None = None, seed: int = 0) -> list[Pair]:
    """All pairs to score among the finished members, in the order of scoring; the same for the same arguments."""
    sizes, rng = sizes or Sizes(), np.random.default_rng(seed)
    chooser = _Chooser(family, finished, sizes)
    found = [
        *_tiled(chooser.hard), *chooser.descended(), *chooser.taught(), *chooser.twins(rng), *chooser.siblings(rng),
        *chooser.strangers(rng), *chooser.unrelated(rng),
    ]  # fmt: skip
    seen: set[frozenset[str]] = set()
    return [p for p in found if frozenset((p.a, p.b)) not in seen and not seen.add(frozenset((p.a, p.b)))]  # type: ignore[func-returns-value]


def hard_strangers(family: Family) -> list[str]:
    """The largest set of members from scratch that differ in the lottery of their initial weights only."""
    groups: dict[str, list[str]] = {}
    for m in family.members:
        if not m.parents:
            seeds = {k: v for k, v in m.seeds.items() if k != "initial_seed"}
            groups.setdefault(repr((m.kind, m.architecture, m.shape, m.training, m.text, m.dtype, m.options, seeds)), []).append(m.name)
    return max(groups.values(), key=len, default=[])


def rows_of(family: Family) -> dict[str, str]:
    """Member → name of the `[[member]]` row it stems from."""
    counts = {row["name"]: row.get("count", 1) for row in tomllib.loads(family.source)["member"]}
    return {m.name: m.name if m.name in counts else m.name.rpartition("-")[0] for m in family.members}


def disguised(family: Family, name: str) -> bool:
    """The member, or one it was made of, went through function-preserving changes."""
    member = family.by_name[name]
    return member.kind == "disguised" or any(disguised(family, p) for p in member.parents)


class _Chooser:
    """One method a group; members that are adapters alone are no models and are left out."""

    def __init__(self, family: Family, finished: frozenset[str], sizes: Sizes) -> None:
        self.family, self.kin, self.sizes, self.rows = family, Kinship(family), sizes, rows_of(family)
        self.members = [m for m in family.members if m.name in finished and m.descent.stores != "adapter"]
        self.names = [m.name for m in self.members]
        self.hard = [n for n in hard_strangers(family) if n in finished]

    def descended(self) -> Iterator[Pair]:
        """Every member with each parent and each founder it has weights of."""
        there = set(self.names)
        for m in self.members:
            if not (m.parents and m.descent.inherits):
                continue
            parents = [p for p in m.parents if p in there]
            founders = [s for s in sorted(self.kin.sources(m.name)) if s in there and not self.family.by_name[s].parents]
            yield from (Pair(p, m.name, "descended", self.rows[m.name], "parent") for p in parents)
            yield from (Pair(f, m.name, "descended", self.rows[m.name], "founder") for f in founders if f not in parents)

    def taught(self) -> Iterator[Pair]:
        for m in self.members:
            if m.parents and not m.descent.inherits:
                yield from (Pair(p, m.name, "taught", self.rows[m.name]) for p in m.parents if p in self.names)

    def twins(self, rng: np.random.Generator) -> Iterator[Pair]:
        """All pairs of twins from scratch, and some of their descendants."""
        found = [(a, b) for a, b in combinations(self.members, 2) if self.kin.relation(a.name, b.name) == "shared-initialisation"]
        plain = [(a.name, b.name) for a, b in found if not a.parents and not b.parents]
        rest = [(a.name, b.name) for a, b in found if a.parents or b.parents]
        yield from (Pair(a, b, "twins", self.rows[b]) for a, b in plain)
        yield from (Pair(a, b, "twins", OF_TWINS) for a, b in _draw(rest, self.sizes.twins - len(plain), rng))

    def siblings(self, rng: np.random.Generator) -> Iterator[Pair]:
        """Undisguised models of one stored kind with a common ancestor."""
        plain = [m.name for m in self.members if m.descent.stores == "model" and not disguised(self.family, m.name)]
        found = [(a, b) for a, b in combinations(plain, 2) if self.kin.relation(a, b) == "common-ancestor"]
        yield from (Pair(a, b, "siblings", self.rows[b]) for a, b in _draw(found, self.sizes.siblings, rng))

    def strangers(self, rng: np.random.Generator) -> Iterator[Pair]:
        """Every other model from scratch against some of the hard set."""
        for m in self.members:
            if m.parents or m.name in self.hard:
                continue
            far = [h for h in self.hard if self.kin.relation(h, m.name) == "independent"]
            yield from (Pair(h, m.name, "strangers", self.rows[m.name]) for h in _draw(far, self.sizes.strangers, rng))

    def unrelated(self, rng: np.random.Generator) -> Iterator[Pair]:
        """Descendants against models they do not come from: half of the pairs with disguised ones, where there are so many."""
        children = [m for m in self.members if m.parents and m.descent.inherits]
        found = [(h, m.name) for m in children for h in self.hard if self.kin.relation(h, m.name) == "independent"]
        hidden, plain = [p for p in found if disguised(self.family, p[1])], [p for p in found if not disguised(self.family, p[1])]
        half = self.sizes.unrelated // 2
        chosen = _draw(hidden, half, rng)
        chosen += _draw(plain, self.sizes.unrelated - len(chosen), rng)
        yield from (Pair(a, b, "unrelated", self.rows[b]) for a, b in chosen)


def _tiled(names: list[str]) -> Iterator[Pair]:
    tiles = [names[i : i + _TILE] for i in range(0, len(names), _TILE)]
    for i, left in enumerate(tiles):
        for j in range(i, len(tiles)):
            both = combinations(left, 2) if i == j else ((a, b) for a in left for b in tiles[j])
            yield from (Pair(a, b, "hard") for a, b in both)


def _draw(found: list[tuple[str, str]] | list[str], n: int, rng: np.random.Generator) -> list[Any]:
    if n >= len(found):
        return list(found)
    return [found[i] for i in sorted(rng.choice(len(found), size=max(0, n), replace=False))]


def ladder_of(family: Family, name: str) -> tuple[str, float] | None:
    """The ladder of growing change that a member is a rung of, and how high: (ladder, x); None when it is none.

    Ladders: "continued training" and "continued at k x the rate" (x: steps since the founder over the founder's), "noise" (share of each tensor's own
    spread), "pruning" (share of weights set to zero), "bits" (of the stored weights).
    """
    m = family.by_name[name]
    options = {f.name: getattr(m.options, f.name) for f in fields(m.options)}
    if m.kind == "continued":
        return _continued(family, m)
    if m.kind in ("noised", "prune-unstructured"):
        founder = not family.by_name[m.parents[0]].parents
        return ("noise" if m.kind == "noised" else "pruning", float(options["share"])) if founder else None
    bits = {"int8": 8, "fp8": 8, "four-bit": 4, "awq": 4, "gptq": options.get("bits", 4)}.get(m.kind)
    if m.kind == "gguf":
        bits = int(str(options["type"])[1])
    return None if bits is None else ("bits", float(bits))


def _continued(family: Family, m: Member) -> tuple[str, float] | None:
    steps, rates = 0, list[float]()
    while m.kind == "continued" and m.training is not None:
        steps, rates = steps + m.training.steps, [*rates, m.training.rate]
        m = family.by_name[m.parents[0]]
    if m.parents or m.training is None or len(set(rates)) != 1:
        return None
    times = rates[0] / m.training.rate
    return "continued training" if times == 1 else f"continued at {times:.2g} x the rate", steps / m.training.steps


def as_rows(pairs: list[Pair]) -> list[dict[str, str]]:
    """For JSON."""
    return [asdict(p) for p in pairs]
