"""A family tree as GraphML, for graph programs. Enters: a `Tree`.  Leaves: the file's text, by
networkx's writer.

GraphML allows a direction for every edge, but its readers know only whole graphs that have one or
none. So the graph is undirected, and an edge of known direction names its ends in `parent` and
`child`; so does contradicted evidence, which is not `directed`. Control characters, which XML
cannot hold, are escaped as in every report.
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

    graph = nx.MultiGraph()
    for i, node in enumerate(tree.nodes):
        graph.add_node(f"n{i}", name=printable(node.name, _LIMIT), kind=node.kind, among=" ".join(f"n{m}" for m in node.among), why=printable(node.why, _LIMIT))
    for i, e in enumerate(tree.edges):
        facts = {"distance": e.distance, "weight": e.weight}
        graph.add_edge(f"n{e.a}", f"n{e.b}", key=f"e{i}", kind=e.kind, mixture=e.mixture, why=printable(e.why, _LIMIT),
                       **_ends(e.a, e.b, e.kind == "arrow"), **{k: float(v) for k, v in facts.items() if v is not None})  # fmt: skip
    for i, c in enumerate(tree.claims, len(tree.edges)):
        graph.add_edge(f"n{c.a}", f"n{c.b}", key=f"e{i}", kind="claim" if c.stands else "contradicted", mixture=False,
                       why=printable(c.why, _LIMIT), **{**_ends(c.a, c.b, True), "directed": c.stands})  # fmt: skip
    return "\n".join(nx.generate_graphml(graph, named_key_ids=True)) + "\n"


def _ends(a: int, b: int, directed: bool) -> dict[str, str | bool]:
    """Which end is the parent, where one-way evidence says so."""
    return {"directed": directed, **({"parent": f"n{a}", "child": f"n{b}"} if directed else {})}
