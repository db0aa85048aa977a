"""Plain feed-forward stacks under any name: `H.0.weight`, `H.2.weight`, … whose shapes chain.

Enters: the stored tensors no rule knows.  Leaves: `CanonTensor`s with role `chain.weight`/`chain.bias`, tower = the group's
prefix, layer = the position in the chain.  Everything with a rule was taken before, in `claims.py`.

Under unknown names a list of matrices whose shapes chain need not be a chain: branches side by side, or blocks that all write to one residual
stream, chain by shape as well, and then the "hidden units" of all of them have one order and must not be multiplied. So a group
only counts when it can hardly be anything else: all its widths differ (a stream would repeat one), or it is a Sequential with a parameterless
module between any two layers (indices 0, 2, 4 and nothing at 1 and 3).
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from begat.canon.model import CanonTensor
from begat.types import TensorEntry, TensorKey

_NAME = re.compile(
    r"(?:(?P<prefix>.+)\.)?(?P<kind>(?:l|lin|linear|fc|dense|hidden|layer)?)[_-]?(?P<at>[0-9]{1,6})(?P<inner>(?:\.[A-Za-z_]\w*)?)\.(?P<leaf>weight|bias)"
)
_ANY_AT = re.compile(r"(?:(?P<prefix>.+?)\.)?(?P<at>[0-9]{1,6})\..+")


def find_chains(names: Iterable[str], entries: Mapping[str, TensorEntry], towers: Set[str]) -> list[CanonTensor]:
    """The chains of at least two matrices among `names`; groups that do not chain are left alone."""
    groups: dict[str, dict[str, dict[int, str]]] = defaultdict(lambda: {"weight": {}, "bias": {}})
    named_at: dict[str, set[int]] = defaultdict(set)
    for name in entries:
        if found := _ANY_AT.fullmatch(name):
            named_at[found["prefix"] or ""].add(int(found["at"]))
    for name in names:
        found = _NAME.fullmatch(name)
        if found and len(entries[name].shape) == (2 if found["leaf"] == "weight" else 1):
            groups["\0".join((found["prefix"] or "", found["kind"], found["inner"]))][found["leaf"]][int(found["at"])] = name
    out: list[CanonTensor] = []
    used = set(towers)
    for group in sorted(groups):
        prefix, kind, inner = group.split("\0")
        tower = prefix + inner if prefix else inner.lstrip(".") or "chain"
        while tower in used:
            tower += "'"
        weights = groups[group]["weight"]
        chain = _chain(tower, weights, groups[group]["bias"], entries)
        if chain and (_widths_differ(chain) or (not kind and not inner and _spaced(sorted(weights), named_at[prefix]))):
            used.add(tower)
            out.extend(chain)
    return out


def _chain(
    tower: str, weights: Mapping[int, str], biases: Mapping[int, str], entries: Mapping[str, TensorEntry]
) -> list[CanonTensor]:
    out: list[CanonTensor] = []
    before = 0
    for position, at in enumerate(sorted(weights)):
        entry = entries[weights[at]]
        turned = entry.transposed
        rows, cols = (entry.shape[1], entry.shape[0]) if turned else (entry.shape[0], entry.shape[1])
        if min(rows, cols) < 1 or (position and cols != before):
            return []
        before = rows
        key = TensorKey(tower, position, "chain.weight")
        out.append(CanonTensor(key, entry.name, (rows, cols), range(entry.shape[0]), None, turned))
        if at in biases and entries[biases[at]].shape == (rows,):
            out.append(CanonTensor(TensorKey(tower, position, "chain.bias"), biases[at], (rows,), range(rows)))
    return out if len(weights) >= 2 else []


def _widths_differ(chain: list[CanonTensor]) -> bool:
    matrices = [t.shape for t in chain if len(t.shape) == 2]
    widths = [matrices[0][1], *(shape[0] for shape in matrices)]
    return len(set(widths)) == len(widths)


def _spaced(indices: list[int], named: Set[int]) -> bool:
    """Between any two layers lies an index, and none of these has tensors."""
    steps = itertools.pairwise(indices)
    return all(b - a >= 2 and not named & set(range(a + 1, b)) for a, b in steps)
