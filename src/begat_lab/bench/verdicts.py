"""What begat's verdicts amount to: false alarms, detection, drift until it fails, twins told from children, honest p bounds.

Enters: the pairs and what `begat compare` said of each (`Found`).  Leaves: JSON-able tables.  Measures: `measure.py`.  The other methods: `summary.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from begat_lab.bench.measure import calibrate, share
from begat_lab.bench.pairs import GROUPS, OF_TWINS, Pair, disguised, ladder_of
from begat_lab.descent.base import DEPENDENT
from begat_lab.pedigree import Family

#: twins must never be called this
DERIVED = frozenset({"identical", "re-encoded", "derived"})
_ALARM = -6.0  # log10 of the p bound at or below which a stranger counts as a false alarm of the exact test


@dataclass(frozen=True, slots=True)
class Found:
    """A pair with what begat said of it: an entry of the raw results."""

    pair: Pair
    entry: dict[str, Any]

    @property
    def detected(self) -> bool:
        """The verdict says "not made independently"."""
        return self.entry.get("verdict") in DEPENDENT

    @property
    def log10_e(self) -> float | None:
        value: float | None = self.entry.get("value")
        return value


def verdict_tables(found: list[Found]) -> dict[str, Any]:
    """Verdicts by group and label, with how many pairs were detected; and false alarms of the exact test among independent pairs."""
    by: dict[tuple[str, str, str], list[Found]] = {}
    for f in found:
        by.setdefault((f.pair.group, f.pair.label, f.pair.step), []).append(f)
    rows = [
        {
            "group": group, "label": label, "step": step, "verdicts": dict(Counter(_verdict(f) for f in some).most_common()),
            "detected": asdict(share(sum(f.detected for f in some), len(some))), "log10_e": _span([f.log10_e for f in some]),
        }
        for (group, label, step), some in sorted(by.items(), key=lambda kv: (list(GROUPS).index(kv[0][0]), kv[0][1:]))
    ]  # fmt: skip
    alarms = {}
    for group in (g for g, independent in GROUPS.items() if independent):
        some = [f for f in found if f.pair.group == group]
        low = [f for f in some if (f.entry.get("log10_p") or 0.0) <= _ALARM]
        alarms[group] = {
            "pairs": len(some),
            "tested": sum(f.log10_e is not None for f in some),
            "p <= 1e-6": asdict(share(len(low), len(some))),
            "verdicts": asdict(share(sum(f.detected for f in some), len(some))),
            "which": [f"{f.pair.a} / {f.pair.b}: {_verdict(f)}" for f in some if f.detected or f in low],
        }
    return {"rows": rows, "alarms": alarms}


def e_and_p(found: list[Found]) -> dict[str, Any]:
    """Calibration of the p bounds on the hard strangers, and the mean of their e-values, which is at most 1 under the null."""
    hard = [f for f in found if f.pair.group == "hard" and f.log10_e is not None]
    log10_p = np.array([f.entry["log10_p"] for f in hard])
    e = np.array([10.0 ** (f.log10_e or 0.0) for f in hard])
    hits = np.array([[f.entry["hits"], f.entry["expected"], f.entry["sampled"]] for f in hard], dtype=float).reshape(-1, 3)
    return {
        "pairs": len(hard),
        "calibration": asdict(calibrate(log10_p)),
        "least log10_p": float(log10_p.min()) if len(hard) else None,
        "mean e": float(e.mean()) if len(hard) else None,
        "greatest e": float(e.max()) if len(hard) else None,
        "hits": float(hits[:, 0].mean()) if len(hard) else None,
        "expected": float(hits[:, 1].mean()) if len(hard) else None,
        "sampled": float(hits[:, 2].mean()) if len(hard) else None,
    }


def drift(family: Family, found: list[Found]) -> list[dict[str, Any]]:
    """Rung by rung what is left of the evidence as a child moves away from its founder (of bit widths: its parent), until it fails."""
    ladders: dict[str, dict[float, list[Found]]] = {}
    for f in found:
        rung = ladder_of(family, f.pair.b) if f.pair.group == "descended" else None
        if rung is None:
            continue
        first = not family.by_name[f.pair.a].parents
        if first != (rung[0] == "bits"):
            ladders.setdefault(rung[0], {}).setdefault(rung[1], []).append(f)
    out = []
    for name, rungs in sorted(ladders.items()):
        order = sorted(rungs, reverse=name == "bits")
        rows = [_rung(x, rungs[x]) for x in order]
        failed = next((r["x"] for r in rows if r["detected"]["k"] < r["detected"]["n"]), None)
        out.append({"ladder": name, "rungs": rows, "first miss": failed, "none found": next((r["x"] for r in rows if not r["detected"]["k"]), None)})
    return out


def _rung(x: float, some: list[Found]) -> dict[str, Any]:
    hits = [f.entry["hits"] / f.entry["sampled"] for f in some if f.entry.get("sampled")]
    return {
        "x": x, "detected": asdict(share(sum(f.detected for f in some), len(some))), "log10_e": _span([f.log10_e for f in some]),
        "hits": _span(hits), "verdicts": dict(Counter(_verdict(f) for f in some).most_common()),
        "chance": _span([f.entry["expected"] / f.entry["sampled"] for f in some if f.entry.get("sampled")]),
    }  # fmt: skip


def twins(family: Family, found: list[Found]) -> dict[str, Any]:
    """Labels of twins, and the margin between them and children: what each shares of what training added, and its norm gains."""
    plain = [f for f in found if f.pair.group == "twins" and f.pair.label != OF_TWINS]
    children = [
        f for f in found
        if f.pair.group == "descended" and f.entry.get("share") is not None and not disguised(family, f.pair.b)
    ]  # fmt: skip
    return {
        "pairs": len(plain),
        "labels": dict(Counter(_verdict(f) for f in plain).most_common()),
        "called derived": asdict(share(sum(f.entry.get("verdict") in DERIVED for f in plain), len(plain))),
        "twins": {k: _span([f.entry.get(k) for f in plain]) for k in ("share", "gains")},
        "children": {k: _span([f.entry.get(k) for f in children]) for k in ("share", "gains")},
        "child pairs": len(children),
        "children called derived": asdict(share(sum(f.entry.get("verdict") in DERIVED for f in children), len(children))),
        "closest": _closest(plain, children),
        "descendants of twins": dict(Counter(_verdict(f) for f in found if f.pair.label == OF_TWINS).most_common()),
    }


def _closest(plain: list[Found], children: list[Found]) -> dict[str, str]:
    """The twin that looks most like a child, and the child that looks most like a twin."""
    named = {}
    for word, some, pick in (("twin", plain, max), ("child", children, min)):
        with_share = [f for f in some if f.entry.get("share") is not None]
        if with_share:
            f = pick(with_share, key=lambda f: f.entry["share"])
            named[word] = f"{f.pair.a} / {f.pair.b}: share {f.entry['share']:.2f}, gains {_or_none(f.entry.get('gains'))}, {_verdict(f)}"
    return named


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _verdict(f: Found) -> str:
    return str(f.entry.get("verdict") or "error")


def _span(values: list[float | None]) -> dict[str, float] | None:
    there = [v for v in values if v is not None]
    return {"n": len(there), "min": min(there), "median": float(np.median(there)), "max": max(there)} if there else None
