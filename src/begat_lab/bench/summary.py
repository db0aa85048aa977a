"""Every figure of the bench as one JSON-able object.

Enters: family, pairs, raw scores.  Leaves: the summary that `report.py` and `plots.py` present.  begat's verdicts: `verdicts.py`.

For each method: AUC and detection at 0, 0.1 % and 1 % false alarms, thresholds always from the hard strangers; by row of the pedigree, that is by kind of
descent and disguise. Pairs without a score stand apart with their reasons and are left out of both sides.
"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

import begat
from begat.types import F64
from begat_lab.bench.measure import Auc, auc_interval, calibrate, detection, quantiles, share
from begat_lab.bench.pairs import GROUPS, Pair, disguised, hard_strangers
from begat_lab.bench.run import BEGAT, Results, Scores
from begat_lab.bench.verdicts import Found, drift, e_and_p, twins, verdict_tables
from begat_lab.kinship import Kinship
from begat_lab.methods import METHODS
from begat_lab.pedigree import Family

FALSE_ALARMS = (0.0, 0.001, 0.01)
_REPLICATES = 200  # of the bootstrap
#: thresholds that were used, or said, in a dispute
DISPUTED = {"std-correlation": (0.7, 0.9, 0.927), "gain-cosine": (0.9, 0.989), "gain-cosine-centred": (0.1,)}


def summarise(family: Family, pairs: list[Pair], results: Results, finished: int, seed: int = 0) -> dict[str, Any]:
    """All figures; `finished`: how many members of the family were there."""
    names = [BEGAT, *METHODS]
    asked = [n for n in names if any(n in found for found in results.scores.values())]
    said = [Found(p, results.scores[p.a, p.b][BEGAT]) for p in pairs if BEGAT in results.scores.get((p.a, p.b), {})]
    methods = {n: _method(n, family, pairs, results, np.random.default_rng(seed)) for n in asked}
    return {
        "about": "begat and published methods on pairs of known ancestry",
        "family": {"name": family.name, "members": len(family.members), "finished": finished, "pedigree_sha256": pedigree_digest(family)},
        "made with": {
            "begat": begat.__version__, "python": platform.python_version(), "numpy": np.__version__, "machine": machine(),
        },
        "pairs": {g: sum(p.group == g for p in pairs) for g in GROUPS},
        "methods": methods,
        "begat": {**verdict_tables(said), "null": e_and_p(said), "drift": drift(family, said), "twins": twins(family, said)} if said else None,
        "disputed": {n: disputed(n, pairs, results.scores) for n in DISPUTED if n in methods},
    }  # fmt: skip


def pedigree_digest(family: Family) -> str:
    """SHA-256 of the pedigree, which decides what the family is."""
    return hashlib.sha256(family.source.encode()).hexdigest()


def machine() -> str:
    """Processor and system, in words."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            model = next((line.partition(":")[2].strip() for line in stream if line.startswith("model name")), "")
    except OSError:
        model = ""
    return f"{platform.system()} {platform.machine()} {model}".strip()


def relatedness(name: str, scores: Scores, pairs: list[Pair]) -> tuple[F64, list[Pair], Counter[str]]:
    """Scores turned so that higher is more related, the pairs that have one, and the reasons of those that have none."""
    turn = 1.0 if name == BEGAT or METHODS[name].higher_is_more_related else -1.0
    values, scored, reasons = [], [], Counter[str]()
    for p in pairs:
        entry = scores.get((p.a, p.b), {}).get(name)
        if entry is None:
            continue
        if entry.get("value") is None:
            reasons[entry["reason"]] += 1
        else:
            values.append(turn * entry["value"])
            scored.append(p)
    return np.array(values), scored, reasons


def _method(name: str, family: Family, pairs: list[Pair], results: Results, rng: np.random.Generator) -> dict[str, Any]:
    scores = results.scores
    hard_N, hard_pairs, hard_reasons = relatedness(name, scores, [p for p in pairs if p.group == "hard"])
    place = {m: i for i, m in enumerate(hard_strangers(family))}
    models_N2 = np.array([[place[p.a], place[p.b]] for p in hard_pairs], dtype=np.int64).reshape(-1, 2)
    kin = Kinship(family)
    founders = {m.name: i for i, m in enumerate(family.members)}

    def against_hard(some: list[Pair], replicates: int = 0) -> dict[str, Any]:
        values_P, scored, reasons = relatedness(name, scores, some)
        families_P = np.array([min(founders[s] for s in kin.sources(p.b)) for p in scored], dtype=np.int64)
        area = auc_interval(hard_N, models_N2, values_P, families_P, rng, replicates) if some else Auc(None, None, None)
        return {
            "scored": len(scored), "without": dict(reasons.most_common(4)), "not scored": sum(reasons.values()), "auc": asdict(area),
            "rates": [asdict(detection(hard_N, values_P, f)) for f in FALSE_ALARMS],
        }  # fmt: skip

    descended = [p for p in pairs if p.group == "descended" and p.step == "parent"]
    plain, hidden = [p for p in descended if not disguised(family, p.b)], [p for p in descended if disguised(family, p.b)]
    others = {g: [p for p in pairs if p.group == g] for g in GROUPS if g not in ("hard", "descended")}
    about = {"title": "begat compare: verdict and log10 e", "paper": "begat", "needs": "weights", "p_value": True}
    if name != BEGAT:
        m = METHODS[name]
        about = {"title": m.title, "paper": m.paper, "needs": m.needs, "p_value": m.p_value}
    return {
        **about,
        "strangers": {"scored": len(hard_N), "not scored": sum(hard_reasons.values()), "without": dict(hard_reasons.most_common(4)),
                      "quantiles": quantiles(hard_N)},
        "plain": against_hard(plain, _REPLICATES),
        "disguised": against_hard(hidden, _REPLICATES),
        "rows": {label: against_hard([p for p in descended if p.label == label]) for label in dict.fromkeys(p.label for p in descended)},
        "groups": {g: _other(hard_N, relatedness(name, scores, some)[0]) for g, some in others.items()},
        "calibration": _calibration(name, hard_N),
        "cost": _cost(results, name),
    }  # fmt: skip


def _other(hard_N: F64, values: F64) -> dict[str, Any]:
    """Pairs of another group: how many stand above all hard strangers, and above all but 1 % of them."""
    out: dict[str, Any] = {"scored": len(values), "quantiles": quantiles(values)}
    for f in (0.0, 0.01):
        found = detection(hard_N, values, f).found
        out[f"above, false alarms {f:g}"] = asdict(found) if found else None
    return out


def _calibration(name: str, hard_N: F64) -> dict[str, Any] | None:
    """Of methods whose value is -log10 p; begat's own p bounds are in `verdicts.e_and_p`."""
    if name in (BEGAT, "begat-exact") or not METHODS[name].p_value or not len(hard_N):
        return None
    return asdict(calibrate(-hard_N))


def _cost(results: Results, name: str) -> dict[str, Any] | None:
    lines = results.costs.get(name)
    if not lines:
        return None
    return {
        "pairs": len(lines),
        "seconds": float(np.median([line["seconds"] for line in lines])),
        "bytes": float(np.median([line["bytes"] for line in lines])),
    }


def disputed(name: str, pairs: list[Pair], scores: Scores) -> dict[str, Any]:
    """The distribution of a disputed statistic among independent pairs of one shape, and how often it reaches what was called proof."""
    hard, _, _ = relatedness(name, scores, [p for p in pairs if p.group == "hard"])
    children, _, _ = relatedness(name, scores, [p for p in pairs if p.group == "descended" and p.step == "parent"])
    return {
        "strangers": len(hard),
        "quantiles": quantiles(hard),
        "children": len(children),
        "children quantiles": quantiles(children),
        "at least": {
            f"{t:g}": {"strangers": asdict(share(int((hard >= t).sum()), len(hard))), "children": asdict(share(int((children >= t).sum()), len(children)))}
            for t in DISPUTED[name]
        },
    }  # fmt: skip
