"""The bench in pictures: SVG, readable on light and on dark ground, the same bytes for the same scores.

Enters: a summary, the scores behind it, curves of two strangers.  Leaves: files in OUT.  Colours are near Okabe and Ito's: nobody needs to tell red from
green, and strips are named besides.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from begat.types import F64
from begat_lab.bench.pairs import OF_TWINS, Pair, disguised
from begat_lab.bench.run import BEGAT, Scores
from begat_lab.bench.summary import relatedness
from begat_lab.pedigree import Family

STRANGER, CHILD, HIDDEN, TWIN, INK = "#4C8FC4", "#D9700B", "#009E73", "#B0629E", "#7C848D"
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "begat", "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK, "text.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "savefig.transparent": True, "axes.titlesize": 9, "axes.titlelocation": "left", "legend.frameon": False, "axes.linewidth": 0.7,
}  # fmt: skip


def draw(family: Family, pairs: list[Pair], scores: Scores, summary: dict[str, Any], out: Path) -> tuple[str, ...]:
    """All pictures that the scores allow; returns their names."""
    sets = _sets(family, pairs)
    names = list(summary["methods"])
    found = {n: {word: relatedness(n, scores, some)[0] for word, some in sets.items()} for n in names}
    done = [name for name, make in (
        ("scores.svg", lambda f: _strips(f, found)),
        ("roc.svg", lambda f: _roc(f, found)),
        ("calibration.svg", lambda f: _calibration(f, summary)),
        ("drift.svg", lambda f: _drift(f, summary)),
        ("hits.svg", lambda f: _hits(f, scores, sets)),
        ("dispute.svg", lambda f: _dispute(f, found)),
        ("gains.svg", lambda f: _gains(f, found)),
    ) if _page(out / name, make)]  # fmt: skip
    return tuple(done)


def curves(file: Path, models: dict[str, dict[str, F64]], note: str) -> None:
    """Standard deviations of Q, K, V and O over the layers of a few models, one panel a matrix."""

    def make(fig: Any) -> bool:
        axes = fig.subplots(1, 4)
        fig.set_size_inches(8.4, 2.3)
        for ax, role in zip(axes, ("q", "k", "v", "o"), strict=True):
            for (name, sd), colour, style in zip(models.items(), (STRANGER, CHILD, HIDDEN), ("-", "--", ":"), strict=False):
                x_L = sd[f"attn.{role}.weight"]
                ax.plot(np.arange(1, len(x_L) + 1), x_L, style, color=colour, marker="o", markersize=2.5, linewidth=1.2, label=name)
            ax.set_title(role.upper())
            ax.set_xlabel("layer")
        axes[0].set_ylabel("standard deviation")
        axes[0].legend(fontsize=7)
        fig.suptitle(note, x=0.01, ha="left", fontsize=9)
        return True

    _page(file, make)


def _sets(family: Family, pairs: list[Pair]) -> dict[str, list[Pair]]:
    parents = [p for p in pairs if p.group == "descended" and p.step == "parent"]
    return {
        "strangers": [p for p in pairs if p.group == "hard"], "twins": [p for p in pairs if p.group == "twins" and p.label != OF_TWINS],
        "disguised children": [p for p in parents if disguised(family, p.b)], "children": [p for p in parents if not disguised(family, p.b)],
    }  # fmt: skip


_COLOURS = {"strangers": STRANGER, "twins": TWIN, "disguised children": HIDDEN, "children": CHILD}


def _strips(fig: Any, found: dict[str, dict[str, F64]]) -> bool:
    """One panel a method, one strip a set of pairs: where the scores lie."""
    rows = math.ceil(len(found) / 3)
    fig.set_size_inches(9, 1.35 * rows + 0.3)
    axes = np.atleast_1d(fig.subplots(rows, 3, squeeze=False)).ravel()
    for ax, (name, sets) in zip(axes, found.items(), strict=False):
        _strip(ax, name, sets)
        ax.locator_params(axis="x", nbins=4) if ax.get_xscale() == "linear" else None
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    return True


def _strip(ax: Any, name: str, sets: dict[str, F64]) -> None:
    sets = {word: v for word, v in sets.items() if len(v)}
    for y, (word, values) in enumerate(sets.items()):
        q = np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
        for least, most, width in ((0, 6, 1.0), (1, 5, 3.5), (2, 4, 8.0)):
            ax.plot([q[least], q[most]], [y, y], color=_COLOURS[word], linewidth=width, solid_capstyle="butt", alpha=0.9)
        ax.plot([q[3], q[3]], [y - 0.38, y + 0.38], color=_COLOURS[word], linewidth=2)  # the median, seen also where all scores are alike
    if "strangers" in sets:
        ax.axvline(float(sets["strangers"].max()), color=INK, linewidth=0.7, linestyle=":")
    low, high = (float(f([f(v) for v in sets.values()])) for f in (np.min, np.max)) if sets else (0.0, 1.0)
    if high > 50:
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xlim(min(low, -0.5) * 1.1, high * 1.5)
        ax.set_xticks([0, *(10.0**k for k in range(1, 5) if 10.0**k <= high)])
    ax.set_yticks(range(len(sets)), list(sets))
    ax.set_ylim(-0.6, len(sets) - 0.4)
    ax.set_title(name)


def _roc(fig: Any, found: dict[str, dict[str, F64]]) -> bool:
    """Children found against false alarms, one panel a method; undisguised drawn through, disguised dashed."""
    rows = math.ceil(len(found) / 5)
    fig.set_size_inches(9, 1.9 * rows)
    axes = np.atleast_1d(fig.subplots(rows, 5, squeeze=False, sharex=True, sharey=True)).ravel()
    for ax, (name, sets) in zip(axes, found.items(), strict=False):
        hard = np.sort(sets["strangers"])[::-1]
        if len(hard):
            least = 1 / len(hard)
            for word, style in (("children", "-"), ("disguised children", "--")):
                values = np.sort(sets[word])
                if not len(values):
                    continue
                at = np.unique(np.geomspace(1, len(hard), 40).astype(int)) - 1
                x = np.concatenate([[least / 2], (at + 1) / len(hard)])
                levels = np.concatenate([[hard[0]], np.append(hard, -np.inf)[at + 1]])
                y = 1 - np.searchsorted(values, levels, "right") / len(values)
                ax.plot(x, y, style, color=_COLOURS[word], linewidth=1.3, drawstyle="steps-post")
        ax.set_xscale("log")
        ax.set_ylim(-0.03, 1.03)
        ax.set_title(name)
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    fig.supxlabel("share of strangers accused (left end: none)", fontsize=9, color=INK)
    fig.supylabel("share of children found", fontsize=9, color=INK)
    return True


def _calibration(fig: Any, s: dict[str, Any]) -> bool:
    """Share of strangers with p at most alpha against alpha: an honest p stays on or below the diagonal."""
    lines = {n: m["calibration"] for n, m in s["methods"].items() if m["calibration"]}
    if s["begat"] and s["begat"]["null"]["pairs"]:
        lines = {BEGAT: s["begat"]["null"]["calibration"], **lines}
    if not lines:
        return False
    fig.set_size_inches(5.2, 3.9)
    ax = fig.subplots()
    least = min(0.3 / max(f["n"] for f in c["found"]) if c["found"] else 1e-4 for c in lines.values())
    styles = ("o-", "s--", "^--", "v--", "D--")
    for (name, c), style, colour in zip(lines.items(), styles, (CHILD, STRANGER, HIDDEN, TWIN, INK), strict=False):
        shown = [(a, f) for a, f in zip(c["alphas"], c["found"], strict=True) if a * f["n"] >= 0.05]
        y = [max(f["k"] / f["n"], least) for _, f in shown]
        at = [a for a, _ in shown]
        ax.plot(at, y, style, color=colour, markersize=4, linewidth=1.2, label=name)
        if name == BEGAT:
            low, high = [max(f["low"], least) for _, f in shown], [f["high"] for _, f in shown]
            ax.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.plot([1e-4, 1], [1e-4, 1], color=INK, linewidth=0.8, label="what a p promises at most")
    ax.set(xscale="log", yscale="log", xlabel="α", ylabel="share of strangers with p ≤ α (lowest: none)")
    ax.set(xlim=(max(1e-4, least / 30), 1), ylim=(least * 0.8, 1.2))
    ax.legend(fontsize=8)
    return True


def _drift(fig: Any, s: dict[str, Any]) -> bool:
    """Units still at their index, rung by rung; open markers where begat did not find every pair."""
    ladders = s["begat"]["drift"] if s["begat"] else []
    ladders = [one for one in ladders if sum(r["hits"] is not None for r in one["rungs"]) > 1]
    if not ladders:
        return False
    fig.set_size_inches(2.3 * len(ladders) + 0.4, 2.5)
    for ax, one in zip(np.atleast_1d(fig.subplots(1, len(ladders), sharey=True)), ladders, strict=True):
        rungs = [r for r in one["rungs"] if r["hits"]]
        x = [r["x"] for r in rungs]
        ax.plot(x, [r["hits"]["median"] for r in rungs], "-", color=CHILD, linewidth=1.2)
        ax.plot(x, [r["chance"]["median"] for r in rungs], ":", color=STRANGER, linewidth=1.2)
        for r in rungs:
            whole = r["detected"]["k"] == r["detected"]["n"]
            ax.plot([r["x"]], [r["hits"]["median"]], "o", color=CHILD, markersize=5, markerfacecolor=CHILD if whole else "none")
        if one["ladder"] not in ("pruning", "bits"):
            ax.set_xscale("log")
        if one["ladder"] == "bits":
            ax.invert_xaxis()
        ax.set_title(one["ladder"])
        ax.set_ylim(-0.03, 1.05)
        ax.set_xlabel({"noise": "noise / spread", "pruning": "share pruned", "bits": "bits a weight"}.get(one["ladder"], "× the founder's training"))
    fig.axes[0].set_ylabel("units at their index\n(dotted: by chance)")
    return True


def _hits(fig: Any, scores: Scores, sets: dict[str, list[Pair]]) -> bool:
    """Begat's picture: sampled units that sit at their own index, over what chance explains."""
    fig.set_size_inches(7, 2.4)
    ax, any_there = fig.subplots(), False
    bins = np.geomspace(0.05, 1000, 80)
    for word, say in (("strangers", "independent pairs"), ("children", "pairs of parent and child")):
        some = [scores[p.a, p.b][BEGAT] for p in sets[word] if (scores.get((p.a, p.b), {}).get(BEGAT) or {}).get("expected")]
        if some:
            any_there = True
            ratio = np.clip([e["hits"] / e["expected"] for e in some], bins[0], bins[-1])
            shares = np.full(len(some), 1 / len(some))
            ax.hist(ratio, bins=bins, color=_COLOURS[word], alpha=0.85, weights=shares, label=f"{len(some):,} {say}")
    ax.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="units at their own index ÷ what chance explains (dotted: exactly chance)", ylabel="share of pairs", yticks=[])
    if any_there:
        ax.legend(loc="upper right")
    return any_there


def _dispute(fig: Any, found: dict[str, dict[str, F64]], mark: float = 0.9) -> bool:
    """What independent models score on the statistic of the Pangu dispute, and what children do."""
    sets = found.get("std-correlation")
    if not sets or not len(sets["strangers"]):
        return False
    fig.set_size_inches(7, 2.6)
    ax = fig.subplots()
    _histogram(ax, sets, min(0.0, float(sets["strangers"].min())), 1.0, 60)
    ax.axvline(mark, color=INK, linewidth=1)
    ax.text(mark, ax.get_ylim()[1], f" {mark:g}", va="top", fontsize=8)
    above = float((sets["strangers"] >= mark).mean())
    ax.set_title(f"{100 * above:.1f} % of {len(sets['strangers']):,} independent pairs reach {mark:g}")
    ax.set_xlabel("correlation of standard deviations over layers (the disputed number)")
    ax.legend(loc="upper left")
    return True


def _gains(fig: Any, found: dict[str, dict[str, F64]]) -> bool:
    """The cosine of norm gains, raw and centred, side by side."""
    if not all(n in found and len(found[n]["strangers"]) for n in ("gain-cosine", "gain-cosine-centred")):
        return False
    fig.set_size_inches(8.4, 2.5)
    left, right = fig.subplots(1, 2)
    raw, centred = found["gain-cosine"], found["gain-cosine-centred"]
    _histogram(left, raw, float(min(v.min() for v in raw.values() if len(v))), 1.0, 60)
    left.axvline(0.989, color=INK, linewidth=1)
    left.set_title(f"raw: {100 * (raw['strangers'] >= 0.989).mean():.0f} % of independent pairs reach 0.989")
    _histogram(right, centred, -0.3, 1.0, 60)
    right.set_title(f"centred: independent pairs stay below {float(centred['strangers'].max()):.2f}")
    for ax in (left, right):
        ax.set_xlabel("cosine of norm gains")
    right.legend(loc="upper center")
    return True


def _histogram(ax: Any, sets: dict[str, F64], low: float, high: float, bins: int) -> None:
    for word, say in (("strangers", "independent pairs"), ("children", "parent and child")):
        v = sets[word]
        if len(v):
            label = f"{len(v):,} {say}" if word == "strangers" else f"{len(v):,} pairs of {say}"
            edges, shares = np.linspace(low, high, bins + 1), np.full(len(v), 1 / len(v))
            ax.hist(np.clip(v, low, high), bins=edges, color=_COLOURS[word], alpha=0.8, weights=shares, label=label)
    ax.set_yticks([])
    ax.set_ylabel("share of pairs")


@contextmanager
def _figure() -> Iterator[Any]:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def _page(file: Path, make: Callable[[Any], bool]) -> bool:
    """Draw into a file; False, and no file, when there is nothing to draw."""
    with _figure() as figure:
        if not make(figure):
            file.unlink(missing_ok=True)
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        for ax in figure.axes:
            ax.minorticks_off()  # half of a file's bytes
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        lines = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text.getvalue(), flags=re.S).splitlines()
        file.write_text("\n".join(line.strip() for line in lines if line.strip()) + "\n", encoding="utf-8", newline="\n")
    return True
