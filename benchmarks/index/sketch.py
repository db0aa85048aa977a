"""What a fingerprint costs: bytes, bytes read, time and memory, beside `sha256sum` of the same file.

    python benchmarks/index/sketch.py [FOLDER] [--out benchmarks/index/results]

Enters: a folder for the models (random weights, bf16, a made-up vocabulary; 15 GB for the largest; written once).  Leaves: a table. Times are medians of
`--runs` runs (three), each in a process of its own, the file in the page cache as far as it fits.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np

import begat

#: name → hidden, layers, ffn, heads, kv heads, vocabulary, experts (0 = dense)
SHAPES = {
    "254M": (1024, 16, 2816, 16, 8, 32000, 0),
    "7B": (4096, 32, 11008, 32, 32, 32000, 0),
    "7B, 152k tokens": (3584, 28, 18944, 28, 4, 152064, 0),
}


def tensors(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    d, n, f, h, kv, v, _ = shape
    out: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (v, d), "lm_head.weight": (v, d), "model.norm.weight": (d,)}
    for i in range(n):
        p = f"model.layers.{i}."
        out |= {f"{p}{x}_layernorm.weight": (d,) for x in ("input", "post_attention")}
        out |= {f"{p}self_attn.{x}_proj.weight": s for x, s in (("q", (d, d)), ("k", (d // h * kv, d)), ("v", (d // h * kv, d)), ("o", (d, d)))}
        out |= {f"{p}mlp.{x}_proj.weight": s for x, s in (("gate", (f, d)), ("up", (f, d)), ("down", (d, f)))}
    return out


def write(folder: Path, shape: tuple[int, ...]) -> None:
    """Random bits of small numbers: sign and mantissa random, exponents of 2^-8 to 2^-5."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, at, header = np.random.default_rng(0), 0, {}
    listed = tensors(shape)
    for name, s in listed.items():
        size = 2 * int(np.prod(s))
        header[name] = {"dtype": "BF16", "shape": list(s), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for s in listed.values():
            left = int(np.prod(s))
            while left:
                n = min(left, 1 << 24)
                raw = rng.integers(0, 1 << 16, size=n, dtype=np.uint16)
                out.write(((raw & 0x807F) | ((119 + ((raw >> 8) & 3)) << 7).astype(np.uint16)).tobytes())
                left -= n
    d, n, f, h, kv, v, _ = shape
    config = {"model_type": "llama", "hidden_size": d, "num_hidden_layers": n, "intermediate_size": f, "num_attention_heads": h, "num_key_value_heads": kv,
              "vocab_size": v}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": {f"token{i}": i for i in range(v)}}}))


def once(command: list[str]) -> tuple[float, int, str]:
    """Seconds, peak bytes of the process and its children so far, stdout."""
    code = "import resource, subprocess, sys\nr = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True)\n" \
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\nprint(r.stdout)"  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    peak, _, text = done.stdout.partition("\n")
    return time.perf_counter() - start, int(peak), text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent.parent / ".cache" / "sketch")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    label = f", median of {args.runs}" if args.runs > 1 else ", one run"
    lines = [f"| model | parameters | file | fingerprint | bits a parameter | read | sha256sum : sketch{label} | peak memory |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in args.shapes:
        folder = args.folder / name.replace(" ", "-").replace(",", "")
        file = folder / "model.safetensors"
        if not (folder / "tokenizer.json").exists():
            write(folder, SHAPES[name])
        sums, times, peaks, about = [], [], [], {}
        for _ in range(args.runs):
            sums.append(once(["sha256sum", str(file)])[0])
            seconds, peak, text = once([sys.executable, "-m", "begat", "sketch", str(folder), "-o", str(folder / "x.begat"), "--json"])
            about = json.loads(text)
            times.append(seconds)
            peaks.append(peak)
        ratio = statistics.median(sums) / statistics.median(times)
        lines.append(
            f"| {name} | {about['parameters'] / 1e6:,.0f} M | {about['bytes_total'] / 1e9:.2f} GB | {about['bytes'] / 1000:,.0f} kB | "
            f"{8 * about['bytes'] / about['parameters']:.5f} | {about['bytes_read'] / about['bytes_total']:.1%} | {ratio:.1f} | {max(peaks) / 1e6:.0f} MB |"
        )
        print(lines[-1], file=sys.stderr)
    print("\n".join(lines))
    if args.out:
        day = datetime.date.today().isoformat()
        head = {"command": f"python benchmarks/index/sketch.py --runs {args.runs} --out benchmarks/index/results", "date": day, "begat": begat.__version__,
                "python": platform.python_version(), "numpy": np.__version__, "ml_dtypes": ml_dtypes.__version__, "machine": platform.machine(),
                "memory": f"{resource.getpagesize() * __import__('os').sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"}  # fmt: skip
        args.out.mkdir(parents=True, exist_ok=True)
        title = "# What a fingerprint costs\n\n"
        (args.out / f"sketch_{day}.md").write_text(title + "\n".join(f"- {k}: {v}" for k, v in head.items()) + "\n\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
