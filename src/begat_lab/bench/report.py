"""The bench in Markdown. Presents a summary and computes nothing new.

Enters: what `summary.py` leaves.  Leaves: text.  Pictures: `plots.py`.
"""

from __future__ import annotations

from typing import Any

from begat_lab.bench.pairs import GROUPS

_GROUP_WORDS = {
    "hard": "hard strangers: same shape, recipe and text, other seeds", "strangers": "other strangers", "unrelated": "descendants against strangers",
    "taught": "student and teacher (distilled)", "twins": "same-seed twins", "siblings": "siblings", "descended": "ancestor and descendant",
}  # fmt: skip


def markdown(s: dict[str, Any]) -> str:
    """The whole report."""
    parts = [_head(s), _table(s), _rows(s), _others(s)]
    if s["begat"]:
        parts += [_alarms(s), _null(s), _drift(s), _twins(s), _verdicts(s)]
    parts += [_disputed(s), _notes()]
    return "\n\n".join(p for p in parts if p) + "\n"


def line(s: dict[str, Any]) -> str:
    """One line for a terminal."""
    b = s["begat"]
    if not b:
        return f"{len(s['methods'])} methods, {sum(s['pairs'].values())} pairs"
    hard = b["alarms"]["hard"]
    parents = [r for r in b["rows"] if r["group"] == "descended" and r["step"] == "parent"]
    found, of = sum(r["detected"]["k"] for r in parents), sum(r["detected"]["n"] for r in parents)
    return (f"{sum(s['pairs'].values())} pairs; begat: {hard['verdicts']['k']} false alarms on {hard['pairs']} hard stranger pairs, "
            f"{found} of {of} children found")  # fmt: skip


def _head(s: dict[str, Any]) -> str:
    f, m = s["family"], s["made with"]
    members = f"{f['finished']} of {f['members']} members" if f["finished"] < f["members"] else f"{f['members']} members"
    rows = [f"| {_GROUP_WORDS[g]} | {n:,} |" for g, n in s["pairs"].items() if n]
    return "\n".join([
        f"# Bench on the family `{f['name']}`", "",
        f"{members}; begat {m['begat']}, Python {m['python']}, numpy {m['numpy']}; {m['machine']}.", "", "| pairs | number |", "|---|---|", *rows,
    ])  # fmt: skip


def _table(s: dict[str, Any]) -> str:
    head = ["", "## All methods", "",
            "Thresholds come from the hard strangers. AUC and detection are over parents and children: undisguised, and (after the slash) disguised.", "",
            "| method | hard strangers | AUC | found at 0 false alarms | at 0.1 % | at 1 % | no score | seconds | bytes read | times begat | forward passes |",
            "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    own = (s["methods"].get("begat", {}).get("cost") or {}).get("seconds")
    return "\n".join(head + [_line(name, m, own) for name, m in s["methods"].items()])


def _line(name: str, m: dict[str, Any], own: float | None) -> str:
    plain, hidden, cost = m["plain"], m["disguised"], m["cost"]
    cells = [f"`{name}`", f"{m['strangers']['scored']:,}", _auc(plain["auc"]) + " / " + _auc(hidden["auc"], short=True)]
    cells += [f"{_rate(plain['rates'][i])} / {_rate(hidden['rates'][i])}" for i in range(3)]
    lost = plain["not scored"] + hidden["not scored"]
    cells.append(f"{lost} of {plain['scored'] + hidden['scored'] + lost}" if lost else "0")
    cells += [f"{cost['seconds']:.3f}", _size(cost["bytes"]), f"{cost['seconds'] / own:.2f}" if own else "–"] if cost else ["–"] * 3
    cells.append("yes" if m["needs"] == "forward" else "no")
    return "| " + " | ".join(cells) + " |"


def _rows(s: dict[str, Any]) -> str:
    names = list(s["methods"])
    labels = dict.fromkeys(label for m in s["methods"].values() for label in m["rows"])
    head = ["## By kind of descent and disguise", "",
            "Children found against their parents with no false alarm on the hard strangers, of those with a score; – : no pair of the kind has one.", "",
            "| kind | pairs | " + " | ".join(f"`{n}`" for n in names) + " |", "|---|---|" + "---|" * len(names)]  # fmt: skip
    rows = []
    for label in labels:
        n = max(m["rows"][label]["scored"] + m["rows"][label]["not scored"] for m in s["methods"].values())
        cells = [_k_of_n(s["methods"][name]["rows"][label]["rates"][0], n) for name in names]
        rows.append(f"| {label} | {n} | " + " | ".join(cells) + " |")
    return "\n".join(head + rows) if rows else ""


def _others(s: dict[str, Any]) -> str:
    groups = [g for g in GROUPS if g not in ("hard", "descended") and s["pairs"].get(g)]
    head = ["## Other pairs", "",
            "How many stand above every hard stranger. Of independent pairs that is a false alarm at a threshold set by the hard strangers (begat's own is an",
            "e-value of 10^6; see below); siblings and twins do share weights.", "",
            "| method | " + " | ".join(_GROUP_WORDS[g] for g in groups) + " |", "|---|" + "---|" * len(groups)]  # fmt: skip
    rows = []
    for name, m in s["methods"].items():
        cells = [_plain_share(m["groups"][g]["above, false alarms 0"]) for g in groups]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(head + rows) if groups else ""


def _alarms(s: dict[str, Any]) -> str:
    head = ["## begat's false alarms", "",
            "| independent pairs | number | exact test ran | p ≤ 10^-6 | verdict \"not independent\" | 95 % at most |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    rows = []
    for group, a in s["begat"]["alarms"].items():
        if a["pairs"]:
            cells = [_GROUP_WORDS[group], f"{a['pairs']:,}", f"{a['tested']:,}", f"{a['p <= 1e-6']['k']}", f"{a['verdicts']['k']}"]
            rows.append("| " + " | ".join([*cells, _percent(a["verdicts"]["high"])]) + " |")
    which = [w for a in s["begat"]["alarms"].values() for w in a["which"]]
    return "\n".join(head + rows + (["", "False alarms: " + "; ".join(which) + "."] if which else []))


def _null(s: dict[str, Any]) -> str:
    n = s["begat"]["null"]
    if not n["pairs"]:
        return ""
    cal = n["calibration"]
    rows = [f"| {a:.3g} | {f['k']:,} | {_percent(f['k'] / f['n'])} | {_percent(f['low'])} to {_percent(f['high'])} |"
            for a, f in zip(cal["alphas"], cal["found"], strict=True)]  # fmt: skip
    others = []
    for name, m in s["methods"].items():
        c = m["calibration"]
        if c:
            worst = min(c["exceeded"], default=None)
            said = f"exceeds its α from {max(c['exceeded']):.2g} down to {worst:.2g}" if worst else "keeps within every α"
            others.append(f"`{name}` {said}")
    return "\n".join([
        "## Are begat's p bounds honest?", "",
        f"On {n['pairs']:,} hard strangers: mean hits {n['hits']:.1f} of {n['sampled']:.0f} sampled units, where chance explains at most {n['expected']:.1f}; "
        f"mean e-value {n['mean e']:.2f} (at most 1 under the null), greatest {n['greatest e']:.3g}; least p bound 10^{n['least log10_p']:.2f}.", "",
        "| α | pairs with p ≤ α | share | 95 % interval |", "|---|---|---|---|", *rows,
        *(["", "Methods that print a p: " + "; ".join(others) + "."] if others else []),
    ])  # fmt: skip


def _drift(s: dict[str, Any]) -> str:
    out = ["## Drift until it fails"]
    for ladder in s["begat"]["drift"]:
        first, none = ladder["first miss"], ladder["none found"]
        end = f"fails first at {first:g}" + (f", altogether at {none:g}" if none is not None else "") if first is not None else \
            f"never failed (as far as {ladder['rungs'][-1]['x']:g})"
        out += ["", f"**{ladder['ladder']}**: {end}.", "", "| | found | units at their index | log10 e | verdicts |", "|---|---|---|---|---|"]
        for r in ladder["rungs"]:
            cells = [f"{r['x']:g}", f"{r['detected']['k']} of {r['detected']['n']}", _span(r["hits"], percent=True), _span(r["log10_e"])]
            out.append("| " + " | ".join([*cells, _counts(r["verdicts"])]) + " |")
    return "\n".join(out) if s["begat"]["drift"] else ""


def _twins(s: dict[str, Any]) -> str:
    t = s["begat"]["twins"]
    if not t["pairs"]:
        return ""
    rows = [f"| {word} | {_span(t[word]['share'], digits=2)} | {_span(t[word]['gains'], digits=2)} |" for word in ("twins", "children")]
    return "\n".join([
        "## Twins", "",
        f"{t['pairs']} pairs of twins: {_counts(t['labels'])}; called derived: {t['called derived']['k']}. "
        f"{t['child pairs']} pairs of an ancestor and an undisguised descendant with these numbers; called derived: {t['children called derived']['k']}.", "",
        "| | share of training in common: least, median, most | correlation of norm gains: least, median, most |", "|---|---|---|", *rows, "",
        *[f"- closest {word}: {text}" for word, text in t["closest"].items()],
        *([f"- descendants of twins: {_counts(t['descendants of twins'])}"] if t["descendants of twins"] else []),
    ])  # fmt: skip


def _verdicts(s: dict[str, Any]) -> str:
    head = ["## begat's verdicts", "",
            "| group | kind | against | pairs | not independent | log10 e: least, median, most | verdicts |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    rows = []
    for r in s["begat"]["rows"]:
        cells = [r["group"], r["label"], r["step"], str(r["detected"]["n"]), str(r["detected"]["k"]), _span(r["log10_e"]), _counts(r["verdicts"])]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(head + rows)


def _disputed(s: dict[str, Any]) -> str:
    if not s["disputed"]:
        return ""
    rows = []
    for name, d in s["disputed"].items():
        for t, at in d["at least"].items():
            span = ", ".join(f"{d['quantiles'][q]:.3f}" for q in ("0", "0.5", "1")) if d["strangers"] else "–"
            cells = [f"`{name}`", f"{d['strangers']:,}", span, t, _plain_share(at["strangers"]), _plain_share(at["children"])]
            rows.append("| " + " | ".join(cells) + " |")
    head = ["## The disputed statistics", "",
            "| statistic | independent pairs | their least, median, most | at least | independent pairs | children |", "|---|---|---|---|---|---|"]  # fmt: skip
    return "\n".join(head + rows)


def _notes() -> str:
    return (
        "Intervals of shares are Clopper and Pearson's at 95 % and treat pairs as independent, although they share models; intervals of AUC are from 200\n"
        "bootstrap draws of models and of families of descent. \"n/a\": too few strangers were scored to resolve that rate. Pairs without a score are left\n"
        "out of AUC and detection; the column \"no score\" counts them. Seconds and bytes: median over pairs of freshly opened models, one thread."
    )


def _auc(a: dict[str, Any], short: bool = False) -> str:
    if a["value"] is None:
        return "–"
    return f"{a['value']:.3f}" if short or a["low"] is None else f"{a['value']:.3f} ({a['low']:.3f}–{a['high']:.3f})"


def _rate(r: dict[str, Any]) -> str:
    if r["threshold"] is None:
        return "n/a"
    return _percent(r["found"]["k"] / r["found"]["n"]) if r["found"]["n"] else "–"


def _k_of_n(r: dict[str, Any], n: int) -> str:
    found = r["found"]
    if not found or not found["n"]:
        return "–"
    return f"{found['k']}" if found["n"] == n else f"{found['k']} of {found['n']}"


def _plain_share(f: dict[str, Any] | None) -> str:
    return f"{f['k']:,} of {f['n']:,} ({_percent(f['k'] / f['n'])})" if f and f["n"] else "–"


def _percent(x: float) -> str:
    value = 100 * x
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.3f} %" if value < 0.1 else f"{value:.2f} %" if value < 1 or value > 99 else f"{value:.1f} %"


def _size(n: float) -> str:
    return f"{n / 1e6:.2f} MB"


def _span(v: dict[str, float] | None, percent: bool = False, digits: int = 1) -> str:
    if v is None:
        return "–"
    said = [_percent(v[k]) if percent else f"{v[k]:.{digits}f}" for k in ("min", "median", "max")]
    return said[0] if v["n"] == 1 else ", ".join(said)


def _counts(c: dict[str, int]) -> str:
    return ", ".join(f"{n} {word}" for word, n in c.items())
