"""The family tree of trained models of known ancestry, and the corners that its thresholds rest on.

    python benchmarks/tree/lab.py FAMILY [--members REGEX] [--out benchmarks/tree/results]

Enters: a family grown by `begat-lab grow full`; `truth.json` of every member says what it was made from.  Leaves: two tables on stdout and, with --out,
`lab_<date>.md`:

1. corners of MLP units (all of them, from the weights) at a model between its parent and a child, between two children, and at a mixture between its
   parents: least, median and greatest cosine by kinds. Only members of the parent's shape, nearer than 1.3 rad.
2. `begat tree` over fingerprints of the members: edges right, near (only models that were not given stand between in truth), wrong; arrows; open
   nodes that hold the truth.

Twins count as children of initial weights that were not given. Needs what begat needs.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from simulate import Family, Truth, judge

import begat
from begat.index.family import family_tree

MEMBERS = r"parent|continued-.*|hot-.*|twin-.*|(stranger-0|[a-z0-9.-]*-)[01]"
LEFT_OUT = r"disguised.*|lora-\d|distilled.*|stranger-[a-z].*|stranger-[1-9].*|tower.*"
_ROLES = (("gate_proj", False), ("up_proj", False), ("down_proj", True))


def units(folder: Path) -> np.ndarray | None:
    """Unit vectors of all MLP units, gains folded in [layers · units, 3 · width]; None for other names or shapes."""
    source = begat.open_checkpoint(folder)
    layers = sorted({int(m.group(1)) for n in source.entries if (m := re.match(r"model\.layers\.(\d+)\.mlp\.gate_proj\.weight$", n))})
    out = []
    for layer in layers:
        stem = f"model.layers.{layer}"
        try:
            gain = source.read(f"{stem}.post_attention_layernorm.weight").astype(np.float64)
            parts = []
            for role, turned in _ROLES:
                w = source.read(f"{stem}.mlp.{role}.weight").astype(np.float64).reshape(source.entries[f"{stem}.mlp.{role}.weight"].shape)
                w = w.T if turned else w
                if w.shape[1] != gain.size:  # packed the other way round
                    return None
                parts.append(w if turned else w * gain.reshape(1, -1))
        except KeyError:
            return None
        out.append(np.concatenate(parts, axis=1))
    if not out:
        return None
    joined = np.concatenate(out)
    norm = np.linalg.norm(joined, axis=1, keepdims=True)
    return joined / norm if (norm > 0).all() else None


def kind(name: str) -> str:
    return re.sub(r"-\d+$", "", name)


def corners(family: Path, names: list[str], parents: dict[str, tuple[str, ...]]) -> dict[str, list[float]]:
    """Cosines by what meets where."""
    vectors = {n: v for n in names if (v := units(family / n)) is not None}
    shapes = Counter(v.shape for v in vectors.values())
    vectors = {n: v for n, v in vectors.items() if v.shape == shapes.most_common(1)[0][0]}

    def angle(a: str, b: str) -> float:
        cos = np.clip((vectors[a] * vectors[b]).sum(1), -1, 1)
        return float(np.sqrt((np.arccos(cos) ** 2).mean()))

    def corner(v: str, a: str, b: str) -> float:
        d1, d2, d3 = angle(v, a), angle(v, b), angle(a, b)
        return (np.cos(d3) - np.cos(d1) * np.cos(d2)) / (np.sin(d1) * np.sin(d2))

    out: dict[str, list[float]] = defaultdict(list)
    children = defaultdict(list)
    for n in vectors:
        for p in parents[n]:
            if p in vectors and len(parents[n]) == 1 and 0.002 < angle(n, p) < 1.3:
                children[p].append(n)
        if len(parents[n]) > 1 and all(p in vectors for p in parents[n]):
            for a, b in itertools.combinations(parents[n], 2):
                if angle(a, b) < 1.3:
                    out[f"mixture: {kind(n)} between {kind(a)} and {kind(b)}"].append(corner(n, a, b))
    for p, below in children.items():
        for a, b in itertools.combinations(sorted(below), 2):
            out[f"children: {' and '.join(sorted((kind(a), kind(b))))}"].append(corner(p, a, b))
        for g in parents[p]:
            if g in vectors and angle(g, p) > 0.002:
                for a in below:
                    out[f"line: {kind(g)}, {kind(p)}, {kind(a)}"].append(corner(p, g, a))
    return out


def ancestry(names: list[str], given: list[str], truth: dict[str, dict]) -> tuple[Family, list[int]]:
    """The truth in the form that `simulate.judge` reads; twins get a common start."""
    at = {n: i for i, n in enumerate(names)}
    fam = Family()
    for n in names:
        fam.vectors.append(np.zeros(0))
        fam.parents.append(tuple(at[p] for p in truth[n]["parents"] if p in at))
        fam.kinds.append("copy" if truth[n]["kind"] == "copied" else "child")
        fam.roots.append(len(fam.roots))
        fam.seen.append(n in given)
    for n in names:
        if n.startswith("twin"):
            match = re.match(r"twin-of-stranger-(\d+)", n)
            original = at.get(f"stranger-{int(match.group(1)):02}" if match else "parent")
            if original is None:
                continue
            if not fam.parents[original]:
                fam.vectors.append(np.zeros(0))
                fam.parents.append(())
                fam.kinds.append("start")
                fam.roots.append(len(fam.roots))
                fam.seen.append(False)
                fam.parents[original] = (len(fam.vectors) - 1,)
            fam.parents[at[n]] = fam.parents[original]
    return fam, [at[n] for n in given]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", type=Path)
    parser.add_argument("--members", default=MEMBERS, help="regular expression for names of members")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    truth = {p.parent.name: json.loads(p.read_text("utf-8")) for p in sorted(args.family.glob("*/truth.json"))}
    given = [n for n in truth if re.fullmatch(args.members, n) and not re.fullmatch(LEFT_OUT, n)]
    parents = {n: tuple(t["parents"]) for n, t in truth.items()}
    print(f"{len(given)} members", file=sys.stderr)
    lines = ["| corner | n | least | median | greatest |", "|---|---:|---:|---:|---:|"]
    for what, found in sorted(corners(args.family, given, parents).items()):
        lines.append(f"| {what} | {len(found)} | {min(found):.3f} | {np.median(found):.3f} | {max(found):.3f} |")
    fam, at = ancestry(list(truth), given, truth)
    tree = family_tree([args.family / n for n in given])
    counts = judge(fam, at, tree)
    lines += ["", f"`begat tree` over {len(given)} members:", "", "| | |", "|---|---:|"]
    lines += [f"| {k} | {v:,} |" for k, v in sorted(counts.items())]
    judged = Truth(fam, at)
    wrong = [e for e in tree.edges if e.kind != "open" and max(e.a, e.b) < len(given) and judged.edge(e.a, e.b) == "wrong"]
    lines += ["", "Wrong edges: " + ("; ".join(f"{given[e.a]} – {given[e.b]}" for e in wrong) or "none") + "."]
    print("\n".join(lines))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        head = "# Trained families of known ancestry\n\n`python benchmarks/tree/lab.py FAMILY --out benchmarks/tree/results` on the lab's family `full`.\n\n"
        (args.out / f"lab_{datetime.date.today().isoformat()}.md").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
