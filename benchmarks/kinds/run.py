"""Are merge recipes, ranks, bases, kinds and directions right on a family of known ancestry?

    python benchmarks/kinds/run.py FAMILY [--part recipes|kinds] [--out benchmarks/kinds/results]

Enters: a family grown by `begat-lab grow full` (or part of one; `truth.json` of every member says what it is).  Leaves: four tables on stdout and, with
--out, `recipes_<date>.md` (1 to 3) and `kinds_<date>.{json,md}` (4):

1. merges: the truth beside what `begat.decompose` finds, members by members; largest error of a coefficient.
2. low rank: merged adapters, their rank, and whether the right base is named among three candidates.
3. adapters: each adapter alone against up to five candidate bases.
4. kind and direction of every child against each parent and grandparent, and of relatives without a direction (siblings, twins). A direction is
   right, undetermined or wrong; cells are kinds. Rounded copies take theirs from the grid (`begat.pipeline.equality`), as `begat compare` does.

Half of the pairs are asked with the child first. Needs what begat needs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import begat
from begat.canon.pair import pair_towers
from begat.canon.resolve import resolve
from begat.errors import InputError
from begat.pipeline.equality import equality
from begat.pipeline.inherit import sampled_map
from begat.pipeline.kind import describe
from begat.pipeline.sampling import seed_of
from begat.source import open_checkpoint
from begat.verdict.kinds import Description, Evidence

#: kinds whose children carry one-way evidence against their parent, and the facts that describe each kind
ONE_WAY = {
    "prune-unstructured": ("zeros-smallest",), "prune-depth": ("layers-missing",), "prune-width": ("units-missing",), "up-scale": ("layers-repeated",),
    "upcycled": ("experts-copied",), "upcycled-moge": ("experts-copied",), "lora-merged": ("low-rank-rounded",), "vocabulary-extended": ("rows-at-mean",),
    "int8": ("re-encoded",), "fp8": ("re-encoded",), "four-bit": ("re-encoded",), "gguf": ("re-encoded",),
    "copied": ("re-encoded",),
}  # fmt: skip
#: kinds without: a direction would be a guess
OPEN = {
    "upcycled-split": ("units-shared-out",), "vocabulary-pruned": ("rows-more-or-fewer",), "tower": ("tower-more",), "stitched": ("layers-replaced",),
    "vocabulary-replaced": ("changed-throughout", "tokens-changed", "changed-in-part"),
    "fine-tune": ("changed-throughout",), "continued": ("changed-throughout",),
    "merge-linear": ("changed-throughout",), "merge-slerp": ("changed-throughout",), "merge-ties": ("changed-throughout",),
    "merge-dare": ("changed-throughout",), "noised": ("changed-throughout",), "gptq": ("on-grid",), "awq": ("on-grid",),
}  # fmt: skip
Truth = dict[str, Any]
SKIPPED = ("lora", "scratch", "distilled", "disguised")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", type=Path)
    parser.add_argument("--part", choices=("recipes", "kinds"), help="tables 1 to 3, or table 4; default: both")
    parser.add_argument("--only", default="", help="table 4: pairs whose cell this regular expression finds")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    family = {p.parent.name: json.loads(p.read_text()) for p in sorted(args.family.glob("*/truth.json"))}
    if not family:
        raise InputError("holds no members of a family", file=args.family, fix="begat-lab grow full")
    wrong = 0
    if args.part != "kinds":
        publish(recipes(args.family, family), [], args.out, "recipes")
    if args.part != "recipes":
        pairs = list(pair_rows(args.family, family, args.only))
        wrong = sum(p["direction"] == "wrong" for p in pairs)
        publish("\n\n".join([f"# Kind and direction on {len(family)} members", cell_table(pairs), misses(pairs)]), pairs, args.out, "kinds")
    return int(wrong > 0)


def recipes(root: Path, family: dict[str, Truth]) -> str:
    """Tables 1 to 3."""
    merges, worst = merge_table(root, family)
    return "\n\n".join([
        f"# Recipes on {len(family)} members", "## Merges", merges, f"Largest error of a coefficient, t, kept share or factor: {worst:.4f}.",
        "## Merged adapters", rank_table(root, family), "## Adapters alone", adapter_table(root, family),
    ])  # fmt: skip


def publish(text: str, rows: list[dict[str, Any]], out: Path | None, name: str) -> None:
    """Print, and write beside the results of other days."""
    print(text, end="\n\n", flush=True)
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"{name}_{datetime.date.today():%Y-%m-%d}"
    stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    if rows:
        lines = [json.dumps(r, ensure_ascii=False) for r in [{"version": begat.__version__}, *rows]]
        stem.with_suffix(".json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def recipe_of(truth: Truth) -> dict[str, Any]:
    return dict(truth["made_of"]["recipe"]["options"])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- recipes -------------------------------------------------------------------------------------------------


def merge_table(root: Path, family: dict[str, Truth]) -> tuple[str, float]:
    rows, worst = [], 0.0
    for name, truth in family.items():
        kind, options = truth["kind"], recipe_of(truth)
        if not kind.startswith("merge-") and kind != "stitched":
            continue
        say(name)
        parents, base = [root / p for p in truth["parents"]], None
        if kind in ("merge-ties", "merge-dare"):
            base, parents = parents[0], parents[1:]
        d = begat.decompose(root / name, parents, base)
        found = " / ".join(f"{c.value:.3f} ({c.low:.3f} to {c.high:.3f})" for c in d.coefficients)
        if kind == "merge-linear":
            shares = options["shares"] or [1 / len(parents)] * len(parents)
            worst = max(worst, *(abs(c.value - s) for c, s in zip(d.coefficients, shares, strict=True)))
            expected, right = " / ".join(f"{s:g}" for s in shares), d.method == "linear"
        elif kind == "merge-slerp":
            expected, right = f"t = {options['t']}", d.method == "slerp" and d.arc is not None
            if d.arc:
                found, worst = f"t = {d.arc.t:.4f} ({d.arc.low:.4f} to {d.arc.high:.4f})", max(worst, abs(d.arc.t - options["t"]))
        elif kind in ("merge-ties", "merge-dare"):
            kept = options["density"] if kind == "merge-ties" else 1 - options["drop"]
            factor = options["scale"] if kind == "merge-ties" else 1 / kept / len(parents)
            expected, right = f"kept {kept:g}, × {factor:.3f}", d.method == kind.removeprefix("merge-")
            if d.sparse:
                found = f"kept {_slashed(d.sparse.kept)}, × {_slashed(d.sparse.scale)}; {d.sparse.explained:.1%} to within rounding"
                worst = max(worst, *(abs(k - kept) for k in d.sparse.kept), *(abs(s - factor) for s in d.sparse.scale))
        else:
            expected, right, found = f"layers {options['layers']} of the second", d.method == "stitched", _stitches(d)
            right = right and found == str(sorted(options["layers"]))
        rows.append((name, expected, d.method, found, f"{d.residual:.2g}", "yes" if right else "NO"))
    return table(("member", "truth", "method found", "found", "left over", "right"), rows), worst


def _slashed(values: tuple[float, ...]) -> str:
    return " / ".join(f"{v:.3f}" for v in values)


def _stitches(d: begat.Decomposition) -> str:
    return str(sorted({p.layer for p in d.parts if p.layer >= 0 and p.group != "norms and biases" and p.coefficients[1].value > 0.98}))


def rank_table(root: Path, family: dict[str, Truth]) -> str:
    rows = []
    strangers = [n for n, t in family.items() if t["kind"] == "scratch" and n.startswith(("stranger-0", "parent"))]
    for name, truth in family.items():
        if truth["kind"] != "lora-merged":
            continue
        say(name)
        base, adapter = truth["parents"]
        others = [s for s in strangers if s != base][:2]
        d = begat.decompose(root / name, [root / n for n in (others[0], base, *others[1:])])
        hits = [r for r in d.low_rank if r.state == "low-rank"]
        rank = recipe_of(family[adapter])["rank"]
        exact = len(hits) == 1 and hits[0].parent == 1 and hits[0].rank == rank
        said = "; ".join(f"rank {r.rank} on candidate {r.parent + 1}, {r.same_rank} of {r.changed} matrices" for r in hits)
        rows.append((name, f"rank {rank} on {base}", said or "none", "yes" if exact else "NO"))
    tuned = [n for n, t in family.items() if t["kind"] in ("fine-tune", "continued") and not n.startswith("up-scaled")]
    false = [n for n in tuned if any(r.state == "low-rank" for r in begat.decompose(root / n, [root / p for p in family[n]["parents"]]).low_rank)]
    return table(("member", "truth", "found", "right"), rows) + f"\n\nFine-tunes called low-rank: {len(false)} of {len(tuned)}."


def adapter_table(root: Path, family: dict[str, Truth]) -> str:
    rows = []
    for name, truth in family.items():
        if truth["kind"] != "lora":
            continue
        say(name)
        base = truth["parents"][0]
        relatives = [n for n, t in family.items() if t["kind"] == "fine-tune" and t["parents"] == [base]][:1]
        others = [n for n in family if n.startswith("stranger-0") and n != base][:4]
        candidates = [base, *others]
        d = begat.decompose(root / name, [root / n for n in candidates])
        fits = [candidates[m.parent] for m in d.adapter if m.fits]
        kin = begat.decompose(root / name, [root / n for n in relatives]).adapter if relatives else ()
        own, highest = d.adapter[0].log10_e or 0.0, max(m.log10_e or 0.0 for m in d.adapter[1:])
        of_kin = f"{kin[0].log10_e:.1f}" if kin else "–"
        rows.append((name, base, ", ".join(fits) or "none", f"{own:.1f}", f"{highest:.1f}", of_kin, "yes" if fits == [base] else "NO"))
    return table(("adapter", "base", "candidates that fit", "log10 e of the base", "highest of strangers", "of the base's fine-tune", "right"), rows)


# --- kind and direction --------------------------------------------------------------------------------------


def pair_rows(root: Path, family: dict[str, Truth], only: str) -> Iterator[dict[str, Any]]:
    """One row a pair: parents and grandparents with their children, then relatives that have no direction."""
    number = 0
    for child, truth in family.items():
        if truth["kind"] in SKIPPED:
            continue
        for parent, step in _ancestors(child, family):
            number += 1
            kind = truth["kind"] if step == 1 else f"{truth['kind']} of {family[truth['parents'][0]]['kind']}, grandparent"
            if re.search(only, kind):
                yield _row(root, parent, child, kind, number % 2 == 0, truth["kind"] if step == 1 else None, True)
    for x, y, kind in _undirected(family):
        number += 1
        if re.search(only, kind):
            yield _row(root, x, y, kind, number % 2 == 0, None, False)


def _ancestors(child: str, family: dict[str, Truth]) -> Iterator[tuple[str, int]]:
    for parent in family[child]["parents"]:
        if parent not in family or family[parent]["kind"] == "lora":
            continue
        yield parent, 1
        if len(family[child]["parents"]) == 1:
            yield from ((g, 2) for g in family[parent]["parents"] if g in family and family[g]["kind"] != "lora")


def _undirected(family: dict[str, Truth]) -> Iterator[tuple[str, str, str]]:
    for name, truth in family.items():
        if name.startswith("sibling-") and name.replace("sibling", "tuned") in family:
            yield name.replace("sibling", "tuned"), name, "siblings"
        if name.startswith(("twin-order", "twin-text", "twin-rate", "twin-short")) and "parent" in family and truth["kind"] == "scratch":
            yield "parent", name, "twins"
        if name.startswith("pruned-50-") and name.replace("pruned-50", "tuned") in family:
            yield name.replace("pruned-50", "tuned"), name, "siblings, one of them pruned"
        if name.startswith("lora-merged-") and name.replace("lora-merged", "tuned") in family:
            yield name.replace("lora-merged", "tuned"), name, "siblings, one of them a merged adapter"
        for stem in ("pruned-depth", "pruned-width", "up-scaled", "vocabulary-extended", "upcycled", "upcycled-moge"):
            if name.removeprefix(f"{stem}-").isdigit() and name.replace(stem, "tuned") in family:
                yield name.replace(stem, "tuned"), name, f"siblings, one of them {truth['kind']}"
        if name.startswith("up-scaled-") and "tuned" not in name and name.replace("up-scaled", "pruned-depth") in family:
            yield name.replace("up-scaled", "pruned-depth"), name, "siblings, pruned and up-scaled"


def _row(root: Path, parent: str, child: str, kind: str, turned: bool, expected: str | None, directed: bool) -> dict[str, Any]:
    say(f"{parent} {child}")
    first, second = (child, parent) if turned else (parent, child)
    d = ask(root / first, root / second)
    truth = ("B → A" if turned else "A → B") if directed else None
    direction = "undetermined" if d.direction == "undetermined" else "right" if d.direction == truth else "wrong"
    facts = {e.fact for e in d.evidence}
    wanted = None if expected is None else ONE_WAY.get(expected, OPEN.get(expected))
    judged = "" if wanted is None else "right" if facts & set(wanted) else "none" if not facts else "other"
    return {"parent": parent, "child": child, "cell": kind, "one_way": expected in ONE_WAY, "direction": direction, "kind": judged, "said": d.kind,
            "why": d.why, "evidence": [e.words for e in d.evidence]}  # fmt: skip


def ask(first: Path, second: Path) -> Description:
    """As `begat compare` does: the grid first, then the signs."""
    ca, cb = open_checkpoint(first), open_checkpoint(second)
    try:
        a, b = pair_towers(resolve(ca), resolve(cb))
        seed = seed_of(a, b, "")
        cells = sampled_map(a, b, seed)
        same = equality(a, b, cells, seed, False)
        if same is not None and same.relation in ("on-grid", "identical"):
            direction = {"A": "B → A", "B": "A → B", "": "undetermined"}[same.coarser]
            return Description("quantised or converted copy", direction, "grid", (Evidence("re-encoded", "", same.grid),))
        return describe(a, b, cells, seed)
    finally:
        ca.reader.close()
        cb.reader.close()


def cell_table(pairs: list[dict[str, Any]]) -> str:
    cells: dict[tuple[str, bool], list[dict[str, Any]]] = defaultdict(list)
    for p in pairs:
        cells[p["cell"], p["one_way"]].append(p)

    def count(rows: list[dict[str, Any]], what: str, value: str) -> str:
        return str(sum(r[what] == value for r in rows) or "–")

    rows = [(cell, "yes" if one_way else "–", str(len(c)), *(count(c, "direction", v) for v in ("right", "undetermined", "wrong")),
             *(count(c, "kind", v) for v in ("right", "none", "other")))
            for (cell, one_way), c in sorted(cells.items(), key=lambda x: (not x[0][1], x[0][0]))]  # fmt: skip
    one_way = [p for p in pairs if p["one_way"]]
    right, wrong = sum(p["direction"] == "right" for p in one_way), sum(p["direction"] == "wrong" for p in pairs)
    head = ("pair", "one-way evidence", "pairs", "direction right", "undetermined", "wrong", "kind right", "none", "other")
    return table(head, rows) + (
        f"\n\nWith one-way evidence: direction right in {right} of {len(one_way)} pairs ({right / max(len(one_way), 1):.1%}). "
        f"Wrong in {wrong} of all {len(pairs)} pairs."
    )


def misses(pairs: list[dict[str, Any]]) -> str:
    bad = [p for p in pairs if p["direction"] == "wrong" or (p["one_way"] and p["direction"] != "right") or p["kind"] in ("none", "other")]
    if not bad:
        return "No pair missed."
    rows = [(f"{p['parent']} – {p['child']}", p["cell"], p["direction"], p["kind"], p["said"] or "–") for p in bad]
    return "Missed:\n\n" + table(("pair", "cell", "direction", "kind", "said"), rows)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as err:
        sys.exit(err.line())
