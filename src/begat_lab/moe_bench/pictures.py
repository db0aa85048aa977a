"""The bench's pictures: rows of the busiest rank, and losses seed by seed, as SVG on no background, so that light and dark pages show them.

Enters: a `Report`.  Leaves: files.  Colours: Okabe and Ito's, told apart by colour-blind readers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from begat_lab.moe_bench.load import LoadRow
from begat_lab.moe_bench.quality import QualityRow
from begat_lab.moe_bench.report import Report

MOGE, TOP_K, INK = "#0072B2", "#D55E00", "#808080"


def draw(report: Report, folder: Path) -> list[Path]:
    """Write a picture for each part that has one; the files."""
    import matplotlib

    matplotlib.use("svg")
    tables = {table.name: table.rows for table in report.tables}
    made = []
    with matplotlib.rc_context({"svg.hashsalt": "begat", "svg.fonttype": "none", "font.size": 9, "text.color": INK, "axes.edgecolor": INK,
                                "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}):  # fmt: skip
        if tables.get("load"):
            made.append(_load(tables["load"], folder / "rows_per_rank.svg"))
        if tables.get("quality"):
            made.append(_quality(tables["quality"], folder / "quality.svg"))
    return made


def _load(rows: tuple[LoadRow, ...], file: Path) -> Path:
    import matplotlib.pyplot as plt

    tokens, routers = max(row.tokens for row in rows), list(dict.fromkeys(row.router for row in rows))
    figure, panels = plt.subplots(1, len(routers), figsize=(7, 2.4), layout="constrained")
    for panel, router in zip(panels, routers, strict=True):
        shown = [row for row in rows if row.router == router and row.tokens == tokens]
        places = range(len(shown))
        panel.bar([p - 0.2 for p in places], [row.moge_max_over_mean for row in shown], 0.4, color=MOGE, label="MoGE")
        panel.bar(
            [p + 0.2 for p in places], [row.top_k_max_over_mean for row in shown], 0.4, color=TOP_K, hatch="//", label="top-K"
        )
        panel.set(xticks=list(places), xticklabels=[f"{row.ranks}" for row in shown], xlabel="ranks", title=f"{router} router")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("rows of the busiest rank\nover the mean")
    panels[-1].legend(frameon=False, loc="upper left", labelcolor=INK)
    return _save(figure, file)


def _quality(rows: tuple[QualityRow, ...], file: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(4.5, 2.4), layout="constrained")
    for i, row in enumerate(rows):
        panel.plot([i, i], [row.moge_loss, row.top_k_loss], color=INK, linewidth=1)
        panel.plot(i, row.moge_loss, "o", color=MOGE, label="MoGE" if i == 0 else None)
        panel.plot(i, row.top_k_loss, "^", color=TOP_K, label="top-K" if i == 0 else None)
    panel.set(xticks=range(len(rows)), xticklabels=[f"seed {row.seed}" for row in rows], ylabel="validation loss,\nnats per byte")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, labelcolor=INK)
    return _save(figure, file)


def _save(figure: Any, file: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(file, transparent=True, metadata={"Date": None})
    plt.close(figure)
    return file
