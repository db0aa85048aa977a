"""A family tree as GraphML, for graph programs. Enters: a `Tree`.  Leaves: the file's text, by networkx's writer.

All edges run from a to b; `directed` says which of them mean it. Control characters, which XML cannot hold, are escaped as in every report.
"""

from __future__ import annotations

from begat.errors import MissingExtraError, printable
from begat.tree.types import Tree

_LIMIT = 4000


def require() -> None:
    """MissingExtraError without networkx: to be asked before long work."""
    try:
        import networkx  # noqa: F401
    except ImportError:
        raise MissingExtraError("GraphML needs networkx", fix="pip install 'begat[tree]'") from None


def render_graphml(tree: Tree) -> str:
    """The file, to be written in UTF-8; MissingExtraError without networkx."""
    require()
    import networkx as nx

    graph = nx.MultiDiGraph()
    for i, node in enumerate(tree.nodes):
        graph.add_node(f"n{i}", name=printable(node.name, _LIMIT), kind=node.kind, among=" ".join(f"n{m}" for m in node.among), why=printable(node.why, _LIMIT))
    for e in tree.edges:
        facts = {"distance": e.distance, "weight": e.weight}
        graph.add_edge(f"n{e.a}", f"n{e.b}", kind=e.kind, directed=e.kind == "arrow", mixture=e.mixture, why=printable(e.why, _LIMIT),
                       **{k: float(v) for k, v in facts.items() if v is not None})  # fmt: skip
    for c in tree.claims:
        graph.add_edge(f"n{c.a}", f"n{c.b}", kind="claim" if c.stands else "contradicted", directed=c.stands, mixture=False, why=printable(c.why, _LIMIT))
    return "\n".join(nx.generate_graphml(graph, named_key_ids=True)) + "\n"
