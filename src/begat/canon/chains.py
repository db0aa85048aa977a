"""Plain feed-forward stacks under any name: `H.0.weight`, `H.2.weight`, … whose shapes chain.

Enters: the stored tensors no rule knows.  Leaves: `CanonTensor`s with role `chain.weight`/`chain.bias`, tower = the group's
prefix, layer = the position in the chain.  Everything with a rule was taken before, in `claims.py`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from begat.canon.model import CanonTensor
from begat.types import TensorEntry, TensorKey

_NAME = re.compile(r"(?:(?P<prefix>.+)\.)?(?P<at>[0-9]{1,6})(?P<inner>(?:\.[A-Za-z_]\w*)?)\.(?P<leaf>weight|bias)")


def find_chains(names: Iterable[str], entries: Mapping[str, TensorEntry], towers: Set[str]) -> list[CanonTensor]:
    """The chains of at least two matrices among `names`; groups that do not chain are left alone."""
    groups: dict[str, dict[str, dict[int, str]]] = defaultdict(lambda: {"weight": {}, "bias": {}})
    for name in names:
        found = _NAME.fullmatch(name)
        if found and len(entries[name].shape) == (2 if found["leaf"] == "weight" else 1):
            groups[(found["prefix"] or "") + "\0" + found["inner"]][found["leaf"]][int(found["at"])] = name
    out: list[CanonTensor] = []
    used = set(towers)
    for group in sorted(groups):
        prefix, _, inner = group.partition("\0")
        tower = prefix + inner if prefix else inner.lstrip(".") or "chain"
        while tower in used:
            tower += "'"
        chain = _chain(tower, groups[group]["weight"], groups[group]["bias"], entries)
        if chain:
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
