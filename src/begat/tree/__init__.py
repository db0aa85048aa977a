"""LEAF: phylogeny. Pairwise relations → a family tree with directed edges where one-way evidence exists; unresolved stays unresolved.

Enter `types.Node` and `types.Relation`, leaves `types.Tree`. Start at `infer.infer`. Floats only: no weights, no files.
"""

from begat.tree.infer import infer
from begat.tree.types import Claim, Edge, Node, Policy, Relation, Tree, TreeNode

__all__ = ["Claim", "Edge", "Node", "Policy", "Relation", "Tree", "TreeNode", "infer"]
