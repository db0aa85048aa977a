"""Do strangers behave as the null says? Many independent pairs over architectures, weight structures and storages.

    python benchmarks/null/run.py [--pairs 1000] [--seed 1] [--out benchmarks/null/results]

Enters: nothing (tiny models from `zoo.py`, each from its own seed).  Leaves: a table per axis on stdout and, with --out,
`null_<date>.{json,md}`. The two models of a pair share architecture, recipe, training data and structure, never a seed. `reordered` pairs are the
hardest strangers there can be: one model and itself, with the residual stream, units, heads and value dims reordered at random.

What the null promises, axis by axis: at most one hit a test on average; e-values with mean at most 1; P(p bound <= t) <= t.
Needs torch, transformers, ml_dtypes and gguf.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

import begat

sys.path.insert(0, str(Path(__file__).parent))
from zoo import CAUSAL, ZOO, Tensors, build

Rng = np.random.Generator
HARMLESS = ("no-evidence", "cannot-test")


def _matrices(x: Tensors, change: Callable[[np.ndarray], np.ndarray]) -> Tensors:
    return {n: change(w).astype(np.float32) if w.ndim == 2 else w for n, w in x.items()}


def fresh(x: Tensors, rng: Rng) -> Tensors:
    """As initialised: gains are ones and biases zeros in both."""
    return x


def moved(x: Tensors, rng: Rng) -> Tensors:
    """Gains and biases moved, with one trend over layers in all models."""
    trend = np.linspace(0, 0.3, max(1, len(x)))
    return {
        n: (w + t + 0.1 * rng.standard_normal(w.shape)).astype(np.float32) if w.ndim == 1 else w
        for (n, w), t in zip(x.items(), trend, strict=True)
    }


def heavy(x: Tensors, rng: Rng) -> Tensors:
    """Heavy-tailed rows and columns: a few units and dims carry nearly everything."""

    def change(w: np.ndarray) -> np.ndarray:
        rows, cols = (np.exp(rng.standard_cauchy(n).clip(-4, 4)) for n in w.shape)
        return w * rows[:, None] * cols[None, :]

    return _matrices(moved(x, rng), change)


def padded(x: Tensors, rng: Rng) -> Tensors:
    """The last eighth of the rows of every matrix is filled, with zeros or with one constant, as in its partner."""
    at = iter(range(10**6))
    out = {}
    for n, w in moved(x, rng).items():
        filling = 0.02 if w.ndim == 2 and next(at) % 2 else 0.0
        out[n] = np.concatenate([w[: -len(w) // 8], np.full_like(w[-len(w) // 8 :], filling)]) if w.ndim == 2 else w
    return out


def doubled(x: Tensors, rng: Rng) -> Tensors:
    """Every second row repeats the one before."""
    return _matrices(x, lambda w: np.repeat(w[::2], 2, axis=0)[: len(w)])


def pruned(x: Tensors, rng: Rng) -> Tensors:
    """Nine of ten weights are zero."""
    return _matrices(x, lambda w: w * (np.abs(w) >= np.quantile(np.abs(w), 0.9)))


def low_rank(x: Tensors, rng: Rng) -> Tensors:
    """Every matrix has rank two."""

    def change(w: np.ndarray) -> np.ndarray:
        u, s, v = np.linalg.svd(w, full_matrices=False)
        return (u[:, :2] * s[:2]) @ v[:2]

    return _matrices(x, change)


def signs(x: Tensors, rng: Rng) -> Tensors:
    """One bit a weight."""
    return _matrices(x, lambda w: 0.02 * np.sign(w))


STRUCTURES = (fresh, moved, heavy, padded, doubled, pruned, low_rank, signs)


def bf16(x: Tensors) -> Tensors:
    return {n: w.astype(ml_dtypes.bfloat16) for n, w in x.items()}


def fp8(x: Tensors, block: int = 16) -> Tensors:
    """Projections as fp8 with one scale per block of 16 by 16."""
    out: Tensors = {}
    for n, w in x.items():
        if not n.endswith("proj.weight") or w.ndim != 2 or w.shape[0] % block or w.shape[1] % block:
            out[n] = w
            continue
        tiles = w.reshape(w.shape[0] // block, block, w.shape[1] // block, block)
        scale = np.maximum(np.abs(tiles).max(axis=(1, 3)), 1e-12).astype(np.float32) / np.float32(448)
        out[n] = (tiles / scale[:, None, :, None]).reshape(w.shape).astype(ml_dtypes.float8_e4m3fn)
        out[n + "_scale_inv"] = scale
    return out


def int8(x: Tensors) -> Tensors:
    """Projections as int8 with one scale per row."""
    out: Tensors = {}
    for n, w in x.items():
        if n.endswith("proj.weight") and w.ndim == 2:
            scale = np.maximum(np.abs(w).max(axis=1), 1e-12).astype(np.float32)
            out[n], out[n[: -len("weight")] + "SCB"] = np.rint(127 * w / scale[:, None]).astype(np.int8), scale
        else:
            out[n] = w
    return out


STORAGES: dict[str, Callable[[Tensors], Tensors]] = {"f32": lambda x: x, "bf16": bf16, "fp8 16x16": fp8, "int8 rows": int8}
_GGUF = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "model.layers.": "blk.",
}  # fmt: skip


def save_gguf(file: Path, x: Tensors, kind: str) -> Path:
    """A Llama as GGUF, matrices in block type `kind`. Rows of q and k keep their order: both models of a pair do."""
    import gguf

    kind_id = gguf.GGMLQuantizationType[kind]
    out = gguf.GGUFWriter(str(file), "llama")
    out.add_head_count(8)
    out.add_head_count_kv(4)
    for n, w in x.items():
        for long, short in _GGUF.items():
            n = n.replace(long, short)
        if w.ndim == 2:
            out.add_tensor(n, gguf.quants.quantize(w, kind_id), raw_dtype=kind_id)
        else:
            out.add_tensor(n, w)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return file


def reordered(x: Tensors, rng: Rng, heads: int = 8, kv: int = 4, layers: int = 4) -> Tensors:
    """A Llama that computes the same: residual stream, units, KV heads with their query heads, and value dims reordered."""
    width = len(x["model.norm.weight"])
    stream = rng.permutation(width)
    out = {n: w[..., stream] if w.shape[-1] == width else w for n, w in x.items()}
    size = width // heads
    for i in range(layers):
        p = f"model.layers.{i}."
        units = rng.permutation(len(x[p + "mlp.up_proj.weight"]))
        for n in ("gate_proj", "up_proj"):
            out[f"{p}mlp.{n}.weight"] = out[f"{p}mlp.{n}.weight"][units]
        out[p + "mlp.down_proj.weight"] = x[p + "mlp.down_proj.weight"][stream][:, units]
        order, inner = rng.permutation(kv), [rng.permutation(size) for _ in range(kv)]
        key = np.concatenate([np.arange(size) + h * size for h in order])
        value = np.concatenate([inner[h] + h * size for h in order])
        per = heads // kv
        query = np.concatenate([np.arange(size) + (h * per + r) * size for h in order for r in range(per)])
        output = np.concatenate([inner[h] + (h * per + r) * size for h in order for r in range(per)])
        for n, rows in (("q", query), ("k", key), ("v", value)):
            out[f"{p}self_attn.{n}_proj.weight"] = out[f"{p}self_attn.{n}_proj.weight"][rows]
        out[p + "self_attn.o_proj.weight"] = x[p + "self_attn.o_proj.weight"][stream][:, output]
    return out


def pair(n: int, seed: int, folder: Path) -> tuple[str, str, str, Path, Path]:
    """Pair number n: (architecture, structure, storage, A, B)."""
    rng = np.random.default_rng([seed, n])
    name = list(ZOO)[n % len(ZOO)]
    left, right = (int(s) for s in rng.integers(1 << 62, size=2))
    if n % 10 == 9:
        x, config = build("llama", left, 20)
        x = moved(x, rng)
        return "llama", "reordered", "f32", _save(folder / "a", x, config), _save(folder / "b", reordered(x, rng), config)
    steps = int(rng.choice([0, 5, 20])) if name in CAUSAL else 0
    structure = STRUCTURES[int(rng.integers(len(STRUCTURES)))]
    models = []
    for s in (left, right):
        x, config = build(name, s, steps)
        models.append(structure(x, np.random.default_rng(s)))
    if name == "llama" and rng.random() < 0.5:
        kind = str(rng.choice(["Q8_0", "Q4_0", "Q5_1"]))
        files = [save_gguf(folder / f"{s}.gguf", x, kind) for s, x in zip("ab", models, strict=True)]
        return name, structure.__name__, kind, files[0], files[1]
    storage = str(rng.choice(list(STORAGES)))
    a, b = (_save(folder / s, STORAGES[storage](x), config) for s, x in zip("ab", models, strict=True))
    return name, structure.__name__, storage, a, b


def _save(folder: Path, x: Tensors, config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({n: np.ascontiguousarray(w) for n, w in x.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def run(pairs: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    for n in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            name, structure, storage, a, b = pair(n, seed, Path(folder))
            v = begat.compare(a, b, map="sampled")
        axes = {
            x.axis: {"hits": [t.hits for t in x.tests], "log10_e": x.log10_e, "log10_p": x.log10_p} for x in v.axes if x.tests
        }  # fmt: skip
        rows.append({"pair": n, "model": name, "structure": structure, "storage": storage, "verdict": v.verdict, "log10_e": v.log10_e,
                     "log10_p": v.log10_p, "parts": sum(p.status == "dependent" for p in v.parts), "axes": axes})  # fmt: skip
        if sys.stderr.isatty() or (n + 1) % 250 == 0:
            print(f"\r{n + 1} of {pairs}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| axis | pairs | tests | mean hits a test | most hits | mean e | largest e | P(p ≤ 0.1) | P(p ≤ 0.01) | P(p ≤ 0.001) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    by_axis: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        for axis, x in row["axes"].items():
            by_axis[axis].append(x)
        if row["log10_e"] is not None:
            by_axis["all together"].append({"hits": [], "log10_e": row["log10_e"], "log10_p": row["log10_p"]})
    for axis, found in by_axis.items():
        hits = [h for x in found for h in x["hits"]]
        e = 10.0 ** np.array([x["log10_e"] for x in found])
        p = np.array([x["log10_p"] for x in found])
        shares = " | ".join(f"{np.mean(p <= t):.4f}" for t in (-1, -2, -3))
        mean, most = (f"{np.mean(hits):.3f} ± {np.std(hits) / len(hits) ** 0.5:.3f}", max(hits)) if hits else ("–", "–")
        lines.append(f"| {axis} | {len(found):,} | {len(hits):,} | {mean} | {most} | {e.mean():.2f} | {e.max():.1f} | {shares} |")
    return "\n".join(lines)


def false_alarms(rows: list[dict[str, Any]]) -> str:
    wrong = [r for r in rows if r["verdict"] not in HARMLESS]
    n = len(rows)
    bound = 3 / n if not wrong else float("nan")
    upper = (
        f" (95 % upper bound on the rate: {bound:.1e})"
        if not wrong
        else ": " + "; ".join(f"{r['model']} {r['structure']} {r['storage']}" for r in wrong)
    )
    parts = sum(bool(r["parts"]) for r in rows)
    kinds = ", ".join(f"{k} {sum(r['verdict'] == k for r in rows):,}" for k in sorted({r["verdict"] for r in rows}))
    return f"{n:,} pairs of strangers: {kinds}. False alarms: {len(wrong)}{upper}. Pairs with a part called dependent: {parts} ({parts / n:.2%}; allowed 1 %)."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows = run(args.pairs, args.seed)
    print(table(rows), "\n\n" + false_alarms(rows), sep="")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        day = datetime.date.today().isoformat()
        head = {
            "begat": begat.__version__, "python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__,
            "transformers": transformers.__version__, "date": day, "seed": args.seed,
            "command": f"python benchmarks/null/run.py --pairs {args.pairs} --seed {args.seed} --out benchmarks/null/results",
        }  # fmt: skip
        slim = [{k: v for k, v in r.items() if k != "axes"} for r in rows]
        (args.out / f"null_{day}.json").write_text(
            json.dumps({"header": head, "rows": "one a line"}, ensure_ascii=False)[:-1].replace('"rows": "one a line"', '"rows": [\n')
            + ",\n".join(json.dumps(r, ensure_ascii=False) for r in slim) + "\n]}\n"
        )  # fmt: skip
        text = "# Strangers under the null\n\n" + "\n".join(f"- {k}: {v}" for k, v in head.items())
        (args.out / f"null_{day}.md").write_text(f"{text}\n\n{table(rows)}\n\n{false_alarms(rows)}\n")
    return 1 if any(r["verdict"] not in HARMLESS for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
