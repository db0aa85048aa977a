"""Is a search over layers of models of equal depth exact? Strangers that share all features and no order, their layers moved.

    PYTHONPATH=src:tests python benchmarks/null/moved.py [--draws 400] [--seed 1] [--out benchmarks/null/results]

Enters: nothing (toy Llamas of `tests/builders.py`).  Leaves: per route and per way of moving layers the mean e-value, the greatest, and how many
passed 10; with --out `moved_<date>.md`. The two models of a pair are one model and itself, with the units, heads, value dims and the dims of the
residual stream in an order drawn anew: the hardest strangers there can be. So every mean must be at most 1 but for chance, and at most a tenth of
the draws may pass 10.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from begat.canon.resolve import resolve
from begat.pipeline.align import align
from begat.source import open_checkpoint
from builders import Tensors, llama, noisy, write
from disguises import some_layers, strangers_twin

#: small, so that a draw takes a moment; units beyond 128, so that a fitted layer is tested too
SHAPES: tuple[dict[str, Any], ...] = (
    {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8, "vocab_size": 80},
    {"hidden_size": 48, "intermediate_size": 136, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "vocab_size": 80},
)
DEPTHS = (2, 3, 5, 8)
MOVES = ("in place", "shifted", "reversed", "doubled", "tied")


def moved(w: Tensors, other: Tensors, depth: int, how: str) -> Tensors:
    """Layers moved; what is new comes from another model."""
    if how == "shifted":
        out = some_layers(w, [0, *range(depth - 1)])
        return out | {n: x for n, x in other.items() if ".layers.0." in n}
    order = {"reversed": list(range(depth))[::-1], "doubled": [0, 0, *range(1, depth - 1)][:depth], "tied": [0] * depth}
    return some_layers(w, order.get(how, list(range(depth))))


def draw(shape: dict[str, Any], how: str, rng: np.random.Generator, folder: Path) -> dict[str, float]:
    """log10 e of every route for one pair of strangers."""
    depth = int(rng.choice(DEPTHS))
    w, c = llama(rng, **shape, num_hidden_layers=depth)
    other = llama(rng, **shape, num_hidden_layers=depth)[0]
    a = noisy(some_layers(w, [0] * depth), rng, 0.02) if how == "tied" else w
    b = strangers_twin(moved(w, other, depth, how), c, rng)
    models = [resolve(open_checkpoint(write(folder / name, x, c))) for name, x in (("a", a), ("b", b))]
    found = align(*models, int(rng.integers(1 << 60)), "", None)
    for m in models:
        m.checkpoint.reader.close()
    out = {r.route: r.log10_e for r in found.routes if r.log10_e is not None}
    return out | ({} if found.log10_e is None else {"all together": found.log10_e})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.draws):
            how = MOVES[number % len(MOVES)]
            for route, log10_e in draw(SHAPES[number // len(MOVES) % len(SHAPES)], how, rng, Path(folder)).items():
                found[route, how].append(log10_e)
    lines = ["| route | layers | draws | mean e | greatest log10 e | share past 10 |", "|---|---|---|---|---|---|"]
    for (route, how), logs in sorted(found.items()):
        e = 10.0 ** np.array(logs)
        lines.append(f"| {route} | {how} | {len(e)} | {e.mean():.2f} | {max(logs):.2f} | {np.mean(e >= 10):.3f} |")
    print("\n".join(lines))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        day = datetime.date.today().isoformat()
        head = f"# Strangers with moved layers, {args.draws} draws, seed {args.seed}, {day}\n\n"
        (args.out / f"moved_{day}.md").write_text(head + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
