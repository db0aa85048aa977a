"""A family tree in the terminal: an indented list by rich. Enters: a `Tree`.  Leaves: lines. The browser's page: `tree_html.py`.

Indentation says who is joined to whom, not who came first: `→` and `←` do, `–` says undetermined. Names are put into `rich.text.Text`, which reads no
markup in them.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections import defaultdict

from rich.console import Console
from rich.text import Text
from rich.tree import Tree as RichTree

from begat.errors import printable
from begat.report.tree_html import sentence, untested
from begat.report.tree_layout import Drawn, name, names, outline
from begat.tree.types import Tree

_KEY = (
    "→ made from (arrow towards the child, by one-way evidence)   ⇢ descends from, models may stand between   – nearest relatives, direction undetermined",
    "= same weights   ⋯ kin, place not resolved   ⊕ mixed from several   italics: not given",
)


def print_text(tree: Tree) -> None:
    """Print to stdout: as wide as the terminal (at least 72 columns), coloured on a terminal unless NO_COLOR is set."""
    out = sys.stdout
    tty = out.isatty() and os.environ.get("TERM") != "dumb"
    width = max(72, shutil.get_terminal_size().columns - 1) if tty else 120
    text = render_text(tree, width, color=tty and not os.environ.get("NO_COLOR"))
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding))


def render_text(tree: Tree, width: int = 120, color: bool = False) -> str:
    """The page, ending in a newline; without `color` it holds no escape sequence."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None, highlight=False, markup=False, emoji=False,
                      legacy_windows=False)  # fmt: skip
    console.print(Text(sentence(tree), style="bold"))
    console.print(Text(f"kinship: log10 e-value ≥ {tree.threshold:.1f}, for {tree.tested:,} tested pairs together", style="dim"))
    shape = outline(tree)
    further: dict[int, list[Drawn]] = defaultdict(list)
    for e in shape.also:
        further[e.b].append(e)
    for root in shape.roots:
        console.print()
        top = RichTree(_node(tree, root), guide_style="dim")
        stack = [(root, top)]
        while stack:
            node, branch = stack.pop()
            for e in further.get(node, ()):
                branch.add(Text.assemble(("also ", "dim"), _edge(tree, e, node), Text(name(tree, e.a)), style="dim"))
            for e, child in shape.below.get(node, ()):
                stack.append((child, branch.add(_edge(tree, e, child) + _node(tree, child) + _aside(tree, e, child))))
        console.print(top)
    _foot(console, tree)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _node(tree: Tree, node: int) -> Text:
    return Text(name(tree, node), style="" if tree.nodes[node].kind == "given" else "italic dim")


def _edge(tree: Tree, e: Drawn, to: int) -> Text:
    """The sign before `to`: an arrow towards it, or away from it."""
    forth = e.b == to
    sign = {"arrow": "→" if forth else "←", "descent": "⇢" if forth else "⇠", "same": "=", "open": "⋯"}.get(e.style, "–")
    mixed = f"⊕{e.label} " if e.mixture else ""
    return Text(f"{sign} {mixed}", style="bold blue" if e.style in ("arrow", "descent") else "")


def _aside(tree: Tree, e: Drawn, child: int) -> Text:
    above, below = (e.among_a, e.among_b) if e.b == child else (e.among_b, e.among_a)
    parts = [f"{e.distance:.3f} rad" if e.distance is not None and not e.among else ""]
    parts.append(f"joins one of, or between: {names(tree, above, 4)}" if above else "")
    parts.append(f"{'the mixture is' if e.mixture else 'through'} one of, or between: {names(tree, below, 4)}" if below else "")
    return Text("".join(f"  {x}" for x in parts if x), style="dim")


def _foot(console: Console, tree: Tree) -> None:
    lines = [f"{name(tree, c.a)} → {name(tree, c.b)}: {printable(c.why, 400)}" for c in tree.claims]
    if lines:
        console.print()
        console.print(Text("One-way evidence that is no edge", style="bold"))
        for line in lines:
            console.print(Text(f"  {line}"))
    if tree.edges:
        console.print()
        for line in _KEY:
            console.print(Text(line, style="dim"))
    for caveat in (*untested(tree), *tree.caveats):
        console.print(Text(f"- {caveat}", style="dim"))
