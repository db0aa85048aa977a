"""The claims of a tree.

Enters: a `Tree`.  Leaves: `Claim`s: descent for every arrow, kinship for every line between given models and for
given models of one component.  Open edges assert nothing.
"""

from __future__ import annotations

from itertools import combinations

from begat.claims import Claim
from begat.tree.types import Tree


def claims_of_tree(tree: Tree) -> tuple[Claim, ...]:
    """Claims by the names of given models; what lies between unnamed nodes is no claim."""
    nodes = tree.nodes
    given = {i for i, n in enumerate(nodes) if n.kind == "given"}
    out = [
        Claim("descends", nodes[e.a].name, nodes[e.b].name) for e in tree.edges if e.kind == "arrow" and {e.a, e.b} <= given
    ]
    out += [Claim("descends", nodes[c.a].name, nodes[c.b].name) for c in tree.claims if c.stands]
    for component in tree.components:
        members = sorted(given.intersection(component))
        out += [Claim("related", nodes[a].name, nodes[b].name) for a, b in combinations(members, 2)]
    return tuple(out)
