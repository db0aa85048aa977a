"""A family tree as Newick, one line per family. Enters: a `Tree`.  Leaves: text.

Branch lengths are radians. Models may be inner nodes, so inner nodes have labels. A mixture is written in extended Newick (Cardona, Rosselló &
Valiente, "Extended Newick", BMC Bioinformatics 9:532, 2008): `#H1` stands where its further parents are, once with what hangs below it.

What Newick cannot say: that the tree has no root (the last node of a line is only the one with most neighbours), which edges are directed, which
models are the same, and what is open. Of the last two a comment tells, `[&same]` and `[&open={…}]`, which programs that read Newick pass over.
"""

from __future__ import annotations

from collections import defaultdict

from begat.report.tree_layout import Drawn, Outline, name, outline
from begat.tree.types import Tree

_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"


def render_newick(tree: Tree) -> str:
    """All families, largest first, ending in a newline; models without kin are lines of one name."""
    shape = outline(tree)
    further: dict[int, list[Drawn]] = defaultdict(list)
    hybrid: dict[int, str] = {}
    for e in shape.also:
        if e.mixture:
            hybrid.setdefault(e.b, f"#H{len(hybrid) + 1}")
            further[e.a].append(e)
    return "".join(_subtree(tree, shape, further, hybrid, root) + ";\n" for root in shape.roots)


def _subtree(tree: Tree, shape: Outline, further: dict[int, list[Drawn]], hybrid: dict[int, str], root: int) -> str:
    """Without recursion: a chain of many models must not overflow."""
    done: dict[int, str] = {}
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if not ready:
            stack.append((node, True))
            stack += [(child, False) for _, child in shape.below.get(node, ())]
            continue
        parts = [done.pop(child) + _branch(tree, e) for e, child in shape.below.get(node, ())]
        parts += [f"{_label(name(tree, e.b))}{hybrid[e.b]}{_branch(tree, e)}" for e in further.get(node, ())]
        done[node] = (f"({','.join(parts)})" if parts else "") + _label(name(tree, node)) + hybrid.get(node, "")
    return done[root]


def _branch(tree: Tree, e: Drawn) -> str:
    length = f":{e.distance:.6g}" if e.distance is not None else ""
    if e.among:
        return length + "[&open={" + "|".join(_bare(name(tree, n)) for n in e.among) + "}]"
    return length + ("[&same]" if e.style == "same" else "")


def _label(text: str) -> str:
    """Quoted unless plain; a quote is doubled."""
    return text if text and all(c in _PLAIN for c in text) else "'" + text.replace("'", "''") + "'"


def _bare(text: str) -> str:
    """For comments, which cannot be quoted: brackets and separators become underscores."""
    return "".join("_" if c in "[]{}|" else c for c in text)
