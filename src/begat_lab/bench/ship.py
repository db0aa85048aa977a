"""The measured distribution of published statistics that ships with begat: `begat/stats/data/published.json`.

Enters: family, pairs and raw scores.  Leaves: the file with this family's entry written anew.  Who reads it: `begat.stats.published`.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

import begat
from begat.signals.published import PUBLISHED
from begat_lab.bench.pairs import Pair, hard_strangers
from begat_lab.bench.run import Scores
from begat_lab.bench.summary import DISPUTED, pedigree_digest, relatedness
from begat_lab.pedigree import Family

_ABOUT = "published statistics on independent models of one shape, recipe and text: percentiles 0 to 100, and pairs that reach thresholds of the disputes"


def shipped_file() -> Path:
    """The file in this checkout."""
    return Path(str(resources.files("begat.stats").joinpath("data", "published.json")))


def entry(family: Family, pairs: list[Pair], scores: Scores) -> dict[str, Any]:
    """What this family's hard strangers score."""
    hard, statistics = [p for p in pairs if p.group == "hard"], {}
    for name in PUBLISHED:
        values, _, _ = relatedness(name, scores, hard)
        if len(values):
            statistics[name] = {
                "pairs": len(values),
                "percentiles": [float(f"{v:.5g}") for v in np.quantile(values, np.linspace(0, 1, 101))],
                "at_least": {f"{t:g}": int((values >= t).sum()) for t in DISPUTED[name]},
            }
    shape = family.by_name[hard_strangers(family)[0]].shape
    layers = next(getattr(shape, name) for name in ("num_hidden_layers", "n_layer") if hasattr(shape, name))
    return {"family": family.name, "layers": layers, "pedigree_sha256": pedigree_digest(family), "versions": {"begat": begat.__version__},
            "statistics": statistics}  # fmt: skip


def ship(family: Family, pairs: list[Pair], scores: Scores, file: Path | None = None) -> Path:
    """Write this family's entry; those of other families stay."""
    file = file or shipped_file()
    there = json.loads(file.read_text(encoding="utf-8"))["families"] if file.is_file() else []
    families = sorted([f for f in there if f["family"] != family.name] + [entry(family, pairs, scores)], key=lambda f: str(f["family"]))
    rows = ",\n".join("  " + json.dumps(f) for f in families)
    file.write_text(f'{{\n "about": {json.dumps(_ABOUT)},\n "families": [\n{rows}\n ]\n}}\n', encoding="utf-8", newline="\n")
    return file
