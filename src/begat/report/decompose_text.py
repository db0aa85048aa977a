"""A decomposition as one page of text. Enters: a `Decomposition`, a width.  Leaves: lines; nothing is computed. The browser's page: `decompose_html.py`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from begat.errors import printable
from begat.recipes import Coefficient, Decomposition, LowRank, PartFit
from begat.report.words import size

_MOST_NAMES = 8


def print_text(found: Decomposition) -> None:
    """Print to stdout, as wide as the terminal (72 to 100 columns)."""
    out = sys.stdout
    width = max(72, min(100, shutil.get_terminal_size().columns - 1)) if out.isatty() else 80
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(render_text(found, width).encode(encoding, "replace").decode(encoding))


def render_text(found: Decomposition, width: int = 80) -> str:
    """The page, ending in a newline."""
    d, lines = found, list[str]()

    def wrap(text: str, indent: str = "", hang: str | None = None) -> None:
        lines.extend(textwrap.wrap(printable(text, 8000), width, initial_indent=indent, subsequent_indent=indent if hang is None else hang,
                                   break_on_hyphens=False))  # fmt: skip

    wrap(d.sentence)
    lines += ["", f"method: {d.method}"]
    lines.append("")
    wrap(d.child, "child  ", "       ")
    for i, parent in enumerate(d.parents):
        wrap(parent, f"P{i + 1}     ", "       ")
    if d.base is not None:
        wrap(d.base, "base   ", "       ")
    if d.coefficients:
        lines += ["", "Coefficients" + ("  of differences from the base" if d.form == "task" else "")]
        rows = [[f"P{i + 1}", number(c), f"{c.low:.3f} to {c.high:.3f}", f"{s:.3f}"] for i, (c, s) in enumerate(zip(d.coefficients, d.spread, strict=True))]
        lines += table(["", "coefficient", "95 % interval", "sd over parts"], rows)
        wrap(f"left over {share(d.residual)}, condition number of the parents {d.condition:.3g}", "  ")
    if d.arc is not None and d.method == "slerp":
        wrap(f"arc: t = {d.arc.t:.3f} ({d.arc.low:.3f} to {d.arc.high:.3f}) over {d.arc.tensors} tensors; excess of the coefficients' sum over one, "
             f"against the arc's: {d.arc.slope:.2f} (± {d.arc.slope_se:.2f})", "  ")  # fmt: skip
    if d.parts:
        lines += ["", "Parts"]
        lines += table(_head(d), [_row(p, d) for p in d.parts])
    for rank in d.low_rank:
        wrap(_rank(rank), "  ", "    ")
    if d.adapter:
        lines += ["", "Candidate bases"]
        for m in d.adapter:
            wrap(f"P{m.parent + 1}  {'fits' if m.fits else 'no'}: {m.why}", "  ", "    ")
    lines += ["", f"Read {size(d.bytes_read)} in {d.seconds:.1f} s ({d.mode}); {d.matched} tensors compared."]
    if d.unmatched:
        shown = ", ".join(d.unmatched[:_MOST_NAMES]) + (f" and {len(d.unmatched) - _MOST_NAMES} more" if len(d.unmatched) > _MOST_NAMES else "")
        wrap(f"without a counterpart: {shown}", "  ", "    ")
    for caveat in d.caveats:
        wrap(f"- {caveat}", "", "  ")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def number(c: Coefficient) -> str:
    """A coefficient, or that there is none to name."""
    return f"{c.value:.3f}" if c.identified else "not known"


def share(value: float) -> str:
    """A share in percent."""
    return f"{value:.1%}" if value >= 0.001 or value == 0 else "< 0.1%"


def place(p: PartFit) -> str:
    """Layer and group, with the tower unless it is the text."""
    tower = "" if p.tower == "text" else f"{p.tower} · "
    return tower + (f"layer {p.layer} " if p.layer >= 0 else "") + p.group


def _head(d: Decomposition) -> list[str]:
    return ["", *(f"P{i + 1}" for i in range(len(d.parents))), "sum", "left over", *(["as base"] if d.base is not None else []), "from layers"]


def _row(p: PartFit, d: Decomposition) -> list[str]:
    moved = any(s not in (p.layer, -1) for s in p.sources)
    return [place(p), *(number(c) for c in p.coefficients), f"{p.total:.3f}", share(p.residual),
            *([share(p.dropped or 0.0)] if d.base is not None else []), " ".join(map(str, p.sources)) if moved else ""]  # fmt: skip


def _rank(r: LowRank) -> str:
    name = "base" if r.parent < 0 else f"P{r.parent + 1}"
    return f"difference from {name}: {r.state}" + (f", rank {r.rank}" if r.rank is not None else "") + f" ({r.why})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be, numbers to the right."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    return ["  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in [head, *rows]]
