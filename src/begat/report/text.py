"""A verdict as one page of text.

Enters: a `Verdict`, a width, whether colours are wanted.  Leaves: lines for a terminal, a file or an e-mail; the same words with
and without colour.  No `rich`: importing its tables takes longer than a small comparison.  The page for browsers: `html.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from begat.alignment import Alignment
from begat.errors import printable
from begat.report import alignment, words
from begat.report.layout import RoleRow, not_run, part_rows, role_rows, strips
from begat.types import Accounting, TrainedState, Verdict

_BOLD, _DIM, _BLUE, _YELLOW, _CYAN = "1", "2", "1;34", "1;33", "1;36"
_TONE = {"apart": _YELLOW, "open": _CYAN, "part": _BLUE, "shared": _BLUE}
_UNMAPPED = 3
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def print_text(verdict: Verdict) -> None:
    """Print to stdout: as wide as the terminal (72 to 100 columns), coloured on a terminal unless NO_COLOR is set."""
    out = sys.stdout
    tty = out.isatty() and os.environ.get("TERM") != "dumb"
    width = max(72, min(100, shutil.get_terminal_size().columns - 1)) if tty else 80
    text = render_text(verdict, width=width, color=tty and not os.environ.get("NO_COLOR"))
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding))


def render_text(verdict: Verdict, width: int = 80, color: bool = False) -> str:
    """The page, ending in a newline; without `color` it holds no escape sequence."""
    page = _Page(width, color)
    v = verdict
    page.headline(v)
    page.evidence(v)
    if v.alignment is not None:
        page.alignment(v.alignment)
    page.parts(v)
    page.map(v)
    if v.equality is not None and v.equality.relation != "different":
        page.equality(v)
    if v.trained is not None:
        page.trained(v.trained)
    page.beside(v)
    page.power(v)
    page.read(v)
    page.caveats(v)
    return "\n".join(line.rstrip() for line in page.lines) + "\n"


class _Page:
    """Lines under construction. Every word of a verdict passes `printable` in `wrap` or `table`."""

    def __init__(self, width: int, color: bool) -> None:
        self.width, self.color, self.lines = width, color, list[str]()

    # --- the two ways to say something ---

    def wrap(self, text: str, indent: str = "  ", hang: str | None = None, style: str = "") -> None:
        """A paragraph; continued lines start with `hang` (default: `indent`)."""
        clean = printable(text, 8000)
        wrapped = textwrap.wrap(
            clean, self.width, initial_indent=indent, subsequent_indent=indent if hang is None else hang, break_on_hyphens=False
        )
        self.lines += [self.paint(line, style) for line in wrapped]

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,), style: str = _DIM) -> None:
        """Columns as wide as they must be, two spaces apart, numbers to the right."""
        others = sum(2 + max(len(row[i]) for row in [head, *rows]) for i in range(1, len(head)))
        limits = [max(12, self.width - 2 - others), *[44] * (len(head) - 1)]
        cells = [[printable(c, limit) for c, limit in zip(row, limits, strict=True)] for row in rows]
        widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
        for number, row in enumerate([list(head), *cells]):
            line = "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
            self.lines.append(self.paint("  " + line.rstrip(), style if number == 0 else ""))

    def heading(self, text: str, aside: str = "") -> None:
        """A section's first line."""
        beside = bool(aside) and len(text) + 2 + len(aside) <= self.width
        self.lines += ["", self.paint(text, _BOLD) + (self.paint(f"  {aside}", _DIM) if beside else "")]
        if aside and not beside:
            self.wrap(aside, style=_DIM)

    def paint(self, text: str, style: str) -> str:
        """`text` in an ANSI style, where colours are wanted."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.color and style and text else text

    # --- sections ---

    def headline(self, v: Verdict) -> None:
        """The quotable sentence and the verdict in numbers."""
        self.wrap(v.sentence, "", style=_BOLD)
        tone = _TONE[words.TONES.get(v.verdict, "shared")]
        numbers = f"   e-value ≥ {words.e_value(v.log10_e)}   p ≤ {words.p_bound(v.log10_p)}" if v.log10_e is not None else ""
        self.lines += ["", self.paint(printable(v.verdict), tone) + numbers]
        self.wrap(f"direction: {v.direction}" + (f" ({v.direction_why})" if v.direction_why else ""), "", "  ")
        if v.kind:
            self.wrap(f"kind: {v.kind}", "", "  ")
        for sign in v.signs:
            self.wrap(f"sign: {sign}", "", "  ", _DIM)
        self.lines.append("")
        self.wrap(v.a, "A  ", "   ")
        self.wrap(v.b, "B  ", "   ")

    def evidence(self, v: Verdict) -> None:
        """The one table of exact tests, and what did not run."""
        self.heading("Evidence", "units that found their own index")
        rows = [(s.title, f"{s.tests:,}", s.sampled, s.hits, s.expected, s.log10_e, str(s.p)) for s in strips(v.axes)]
        if rows:
            self.table(("axis", "tests", "sampled", "hits", "by chance", "log10 e", "p ≤"), rows)
        for titles, reason in not_run(v.axes):
            self.wrap(f"not run: {titles} ({reason})", "  ", "    ", _DIM)
        if not v.axes:
            self.wrap("no exact test was run")

    def alignment(self, a: Alignment) -> None:
        """The ways around disguises and changes of shape, and what they found."""
        self.heading("Alignment", f"run because {a.why}")
        for line in a.undone:
            self.wrap(f"before: {line}", "  ", "    ")
        rows = [(w.title, w.tests, w.kept, w.log10_e) for w in alignment.ways(a) if not w.reason]
        if rows:
            self.table(("way", "tests", "units in order", "log10 e"), rows)
        for way in alignment.ways(a):
            if way.reason:
                self.wrap(f"not run: {way.title} ({way.reason})", "  ", "    ", _DIM)
        line = alignment.view_line(a)
        if line:
            self.wrap(line, "  ", "    ")
        if alignment.layer_words(a):
            self.wrap(f"layers of A in the layers of B: {alignment.layer_words(a)}", "  ", "    ")
        if a.cells:
            medians = ", ".join(f"{role} {r2}" for role, r2 in alignment.map_medians(a))
            self.wrap(f"R² after alignment, median over layers, chance taken off: {medians}", "  ", "    ")

    def parts(self, v: Verdict) -> None:
        """Ranges of layers by status."""
        alone = [(c.model, c.only_here) for c in v.coverage if c.only_here]
        if not v.parts and not alone:
            return
        self.heading("Parts")
        for row in part_rows(v.parts):
            said = f"{row.hits} units" if row.hits != "–" else "none sampled"
            self.wrap(
                f"{row.words.ljust(12)}  {row.parts}: {said}"
                + (f", cosine {row.cosine}" if row.cosine != "–" else "")
                + (f"; {row.why}" if row.why else ""),
                "  ",
                " " * 16,
            )
        for model, towers in alone:
            self.wrap(f"only in {model}     {', '.join(towers)}: the other has no counterpart", "  ", " " * 16)

    def map(self, v: Verdict) -> None:
        """Medians per role and the lowest cell."""
        if not v.cells:
            return
        how = {"sampled": "a few rows of every tensor", "full": "every value"}.get(v.map_mode, v.map_mode)
        self.heading(
            "Inheritance map",
            f"same index, {how}; medians over layers, R² the share of B's variance that A explains",
        )
        rows = role_rows(v.cells)
        equal = any(r.identical for r in rows)
        head = ("role", "tensors", "cosine", "R²", "lowest", "at") + (("identical",) if equal else ())
        self.table(head, [_map_row(r, equal) for r in rows], left=(0, 5))

    def equality(self, v: Verdict) -> None:
        """Equal numbers, or equal up to rounding."""
        e = v.equality
        assert e is not None
        self.heading("Equality")
        scope = "every stored value" if e.complete else "sampled rows"
        grid = f"; grid: {e.grid}" if e.grid else ""
        self.wrap(f"{e.relation}: {100 * e.share:.2f} % of {e.compared:,} compared values agree ({scope}){grid}")

    def trained(self, t: TrainedState) -> None:
        """Descended, or only grown from the same initial weights."""
        self.heading("Trained state", "is what training added shared, or only the initial weights?")
        for line in words.trained_lines(t):
            self.wrap(line, "  ", "    ")

    def beside(self, v: Verdict) -> None:
        """Published statistics, set apart."""
        if not v.beside:
            return
        self.heading("Beside the verdict: published statistics", "not evidence, they never move the verdict")
        reasons = {s.not_run for s in v.beside}
        if all(s.value is None for s in v.beside) and len(reasons) == 1:
            self.wrap("not run: " + ", ".join(s.name for s in v.beside) + f" ({reasons.pop()})", "  ", "    ", _DIM)
            return
        for s in v.beside:
            value = words.ratio(s.value) if s.value is not None else "not run"
            self.wrap(f"{value.rjust(7)}  {s.title}", "  ", " " * 11)
            self.wrap(s.remark if s.value is not None else s.not_run or "", " " * 11, style=_DIM)

    def power(self, v: Verdict) -> None:
        """What would have been seen."""
        if v.power is not None:
            self.heading("Power")
            self.wrap(v.power.sentence)

    def read(self, v: Verdict) -> None:
        """Bytes, seconds, and what became of every tensor."""
        self.heading("Read")
        total = words.of_total(v.bytes_read, v.bytes_total)
        self.wrap(f"{words.size(v.bytes_read)} {total} in {words.duration(v.seconds)}")
        for name, acc in zip("AB", v.accounting or (), strict=False):
            self.wrap(_accounting(acc), f"  {name}  ", "     ")
            if acc.unmapped:
                more = f" and {len(acc.unmapped) - _UNMAPPED} more" if len(acc.unmapped) > _UNMAPPED else ""
                first = ", ".join(printable(n, 60) for n in acc.unmapped[:_UNMAPPED])
                self.wrap(f"unmapped: {first}{more}", "     ", style=_DIM)

    def caveats(self, v: Verdict) -> None:
        """What to bear in mind, and how to rerun."""
        if v.caveats:
            self.heading("Caveats")
            for caveat in v.caveats:
                self.wrap(caveat, "  - ", "    ")
        if v.replay:
            self.heading("Replay")
            self.wrap(" · ".join(_replay(v)), "  ", "  ", _DIM)


def _map_row(r: RoleRow, equal: bool) -> tuple[str, ...]:
    role = r.role if r.tower == "text" else f"{r.tower}: {r.role}"
    where = r.where if r.tensors > 1 else ""
    row = (role, f"{r.tensors:,}", r.cosine, r.r2, r.lowest, where)
    return (*row, f"{r.identical:,}" if r.identical else "") if equal else row


def _accounting(acc: Accounting) -> str:
    out = f"{acc.format}, {acc.family}, {acc.parameters:,} parameters; {words.plural(acc.stored, 'tensor')}: "
    out += f"{acc.mapped:,} mapped, {len(acc.dropped):,} dropped, {len(acc.unmapped):,} unmapped"
    return out + (f"; {len(acc.only_here):,} only here" if acc.only_here else "")


def _replay(v: Verdict) -> Iterator[str]:
    r = v.replay
    yield f"{r.get('tool', 'begat')} {r.get('version', '')}".strip()
    if r.get("seed"):
        yield f"seed {r['seed']}"
    if r.get("nonce"):
        yield f"nonce {r['nonce']}"


def strip_ansi(text: str) -> str:
    """`text` without colours, for tests and logs."""
    return _ANSI.sub("", text)
