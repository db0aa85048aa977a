"""The bench from end to end: which pairs, their scores, the figures, and the files that present them.

Enters: the folder of a family.  Leaves: OUT/raw.jsonl, summary.json, table.md and plots; see the package for the rooms.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from begat_lab.bench.pairs import Pair, Sizes, choose_pairs, open_family
from begat_lab.bench.plots import curves, draw
from begat_lab.bench.report import line, markdown
from begat_lab.bench.run import RAW, Results, Watcher, costs, method_names, plan, score
from begat_lab.bench.ship import ship
from begat_lab.bench.summary import pedigree_digest, relatedness, summarise
from begat_lab.methods import METHODS, open_model

#: what OUT holds afterwards, besides plots
FILES = ("table.md", "summary.json", RAW)
#: methods that solve assignment problems or decompose matrices for each pair
SLOW = ("begat-exact", "mdir", "u-w", "phi-match-weights", "phi-match-activations")
_DISPUTED = "std-correlation"
_COST_PAIRS, _QUICK_COST_PAIRS, _QUICK_STRANGERS, _QUICK_KIND = 12, 4, 300, 8


@dataclass(frozen=True, slots=True)
class Benched:
    """The summary, one line of it, and the pictures drawn."""

    summary: dict[str, Any]
    line: str
    plots: tuple[str, ...]


def bench(
    folder: Path, out: Path, *, methods: list[str] | None = None, again: list[str] | None = None, quick: bool = False, slow_pairs: int = 1000,
    jobs: int | None = None, pedigree: str | None = None, shipped: bool = False, watcher: Watcher | None = None,
) -> Benched:  # fmt: skip
    """Score what is not yet scored, then write everything anew.

    Args:
        folder, out: the family, and where results go; scores that are already there are kept.
        methods: of `method_names()`; None = all. again: those whose scores are dropped first.
        quick: fewer pairs (`Sizes`), fewer repeats of the cost.
        slow_pairs: hard strangers that each of `SLOW` scores.
        jobs: worker processes; None = one a core.
        pedigree: of a family that is still growing.
        shipped: write this family's entry of the published statistics that begat ships.

    Raises:
        InputError: no family, or results of another one.
    """
    family, finished = open_family(folder, pedigree)
    results = Results(out / RAW, {"family": family.name, "pedigree": pedigree_digest(family)})
    results.forget(again or [])
    names = methods or method_names()
    pairs = choose_pairs(family, finished, Sizes(strangers=3, unrelated=40, siblings=20, twins=30) if quick else None)
    if quick:
        pairs = _fewer(pairs)
    most = min(slow_pairs, _QUICK_STRANGERS) if quick else slow_pairs
    tasks = plan(pairs, names, results, dict.fromkeys(SLOW, most))
    score(folder, tasks, results, jobs or _cores(), watcher)
    costs(folder, pairs, names, results, _QUICK_COST_PAIRS if quick else _COST_PAIRS)
    summary = summarise(family, pairs, results, len(finished))
    plots = draw(family, pairs, results.scores, summary, out)
    plots += _curves(folder, pairs, results, out)
    (out / "summary.json").write_text(json.dumps(summary) + "\n", encoding="utf-8", newline="\n")
    (out / "table.md").write_text(markdown(summary), encoding="utf-8", newline="\n")
    if shipped:
        ship(family, pairs, results.scores)
    return Benched(summary, line(summary), plots)


def _curves(folder: Path, pairs: list[Pair], results: Results, out: Path) -> tuple[str, ...]:
    """The two strangers that the disputed statistic thinks most alike, layer by layer."""
    values, scored, _ = relatedness(_DISPUTED, results.scores, [p for p in pairs if p.group == "hard"])
    if not scored:
        return ()
    best = int(values.argmax())
    both = (scored[best].a, scored[best].b)
    sds = {}
    for name in both:
        model = open_model(folder / name)
        sds[name] = dict(model.summaries.layer_sd)
        model.close()
    curves(out / "curves.svg", sds, f"two independent models, correlation {values[best]:.3f}")
    return ("curves.svg",)


def _fewer(pairs: list[Pair]) -> list[Pair]:
    """At most `_QUICK_STRANGERS` hard strangers, and `_QUICK_KIND` pairs of each kind."""
    count: dict[tuple[str, str, str], int] = {}
    kept = []
    for p in pairs:
        key = (p.group, p.label, p.step)
        count[key] = count.get(key, 0) + 1
        if count[key] <= (_QUICK_STRANGERS if p.group == "hard" else _QUICK_KIND):
            kept.append(p)
    return kept


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


assert set(SLOW) <= set(METHODS)
