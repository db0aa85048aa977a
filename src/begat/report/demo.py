"""The demonstration's table: every member of the family beside the truth, and beside the disputed statistic.

Enters: rows of names, words and verdicts.  Leaves: text.  The comparisons: `begat.demo`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Protocol

from begat.types import Verdict

_WIDTH = 100


class Pair(Protocol):
    """What a row needs: `begat.demo.DemoPair` has it."""

    @property
    def member(self) -> str:
        """Name of the member compared with the parent."""

    @property
    def truth(self) -> str:
        """How it was made, in words."""

    @property
    def verdict(self) -> Verdict:
        """The verdict."""

    @property
    def right(self) -> bool:
        """The verdict is what the truth demands."""

    def beside(self, name: str) -> float | None:
        """A published statistic."""


def render_demo(pairs: Sequence[Pair]) -> str:
    """The table and what it shows, as plain text of at most 100 columns."""
    head = ("parent and …", "begat says", "hits of sampled", "chance", "log10 e", "σ-corr", "γ-cos")
    rows = [head]
    for p in pairs:
        v = p.verdict
        hits, sampled, chance = (sum(getattr(x, n) for x in v.axes) for n in ("hits", "sampled", "expected"))
        e = "–" if v.log10_e is None else f"{v.log10_e:,.1f}"
        mark = "" if p.right else "  WRONG"
        rows.append(
            (
                p.member,
                v.verdict + mark,
                f"{hits:,} of {sampled:,}",
                f"{chance:.0f}",
                e,
                _two(p.beside("std-correlation")),
                _two(p.beside("gain-cosine")),
            )
        )
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))).rstrip()
        for r in rows
    ]
    lines.insert(1, "─" * min(_WIDTH, sum(widths) + 2 * (len(widths) - 1)))
    out = ["A family of tiny trained models, whose making is known:", ""]
    out += [f"  {p.member:<10} {p.truth}" for p in pairs]
    out += ["", *lines, ""]
    stranger = next((p for p in pairs if p.member == "stranger"), None)
    if stranger is not None:
        out += textwrap.wrap(_lesson(stranger), _WIDTH)
    return "\n".join(out)


def _lesson(stranger: Pair) -> str:
    sigma, gamma = stranger.beside("std-correlation"), stranger.beside("gain-cosine")
    return (
        f"σ-corr is the disputed statistic (correlation over layers of the standard deviations of Q, K, V, O: 0.927 between Pangu Pro MoE and "
        f"Qwen2.5-14B), γ-cos the raw cosine of norm gains (0.989 in the Solar accusation). Between the parent and a stranger that never saw "
        f"it they are {_two(sigma)} and {_two(gamma)}: that is what independent models of one recipe share. The exact test counts "
        f"{sum(x.hits for x in stranger.verdict.axes)} hits where chance explains {sum(x.expected for x in stranger.verdict.axes):.0f}."
    )


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def print_demo(pairs: Sequence[Pair]) -> None:
    """Print the table to stdout."""
    import click

    click.echo(render_demo(pairs))
