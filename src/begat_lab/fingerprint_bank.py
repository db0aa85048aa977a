"""The bank of independent pairs for fingerprints: units chosen by content, and what the exact test says of the same pairs.

Enters: a grown family.  Leaves: `begat/stats/data/content.json`.  Who reads it: `begat.stats.content`.  The neighbour for three views: `views_bank.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import begat
from begat.fingerprint import Fingerprint
from begat.pipeline.fingerprints import Unpacked, compare_fingerprints
from begat.pipeline.sketch import sketch
from begat_lab.bank import open_family
from begat_lab.pedigree import Family
from begat_lab.truth import read_truth
from begat_lab.views_bank import hard_strangers


@dataclass(frozen=True, slots=True)
class Null:
    """Independent pairs: their log10 e-values, hits of every order test of MLP units, and agreeing slots."""

    log10_e: tuple[float, ...]
    hits: tuple[int, ...]
    slots: tuple[int, ...]


def measure_null(folder: Path, tell: Callable[[int, int], None] = lambda done, of: None, *, family: Family | None = None, jobs: int = 1) -> Null:
    """All pairs of hard strangers of a family, fingerprint against fingerprint, layers searched for in every pair.

    Args and errors as in `views_bank.measure_views`.
    """
    family = family or open_family(folder)
    names = [m.name for m in hard_strangers(family) if (folder / m.name).is_dir() and read_truth(folder / m.name)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(_sketch, [folder / n for n in names]))
    models = [Unpacked(f) for f in made]
    pairs = list(combinations(models, 2))
    log10_e, hits, slots = [], [], []
    for done, (x, y) in enumerate(pairs, 1):
        m = compare_fingerprints(x, y, search=True)
        log10_e.append(float(m.log10_e or 0.0))
        hits += [s.hits for s in m.sites if s.axis == "mlp-units" and s.layer_a == s.layer_b]
        slots.append(m.slots or 0)
        tell(done, len(pairs))
    return Null(tuple(log10_e), tuple(hits), tuple(slots))


def content_bank(null: Null, family: Family) -> dict[str, Any]:
    """The bank as it ships."""
    counts = Counter(null.slots)
    return {
        "about": "independent pairs by agreeing slots of 64: units chosen by content whose other weights agree",
        "made_by": f"begat-lab bank --fingerprints {family.name}",
        "recipe": family.name,
        "digest": hashlib.sha256(family.source.encode()).hexdigest(),
        "versions": {"begat": begat.__version__},
        "counts": [counts[k] for k in range(max(counts) + 1)],
    }


def content_text(bank: dict[str, Any]) -> str:
    """The bank as JSON."""
    return json.dumps(bank, indent=1) + "\n"


def _sketch(path: Path) -> Fingerprint:
    return sketch(path)
