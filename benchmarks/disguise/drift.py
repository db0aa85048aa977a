"""How much training on top of full disguise three views survive, and what a refit of the map would add.

    python benchmarks/disguise/drift.py FAMILY [PARENT CHILD …]

Enters: a family grown by `begat-lab grow full`, and pairs of its members (default: the parent and its disguised children with 3 and 10 times its training).
Leaves: per way of laying the two over each other the share of units that agree in three views, layer by layer. No way but the first and the last is part
of `begat compare`: the others were tried, and docs/statistics.md says what came of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import begat
from begat.canon.resolve import resolve
from begat.pipeline import invariants
from begat.pipeline.mlps import SIGNED, blocks_of, views_of
from begat.pipeline.routes import Context
from begat.pipeline.sampling import check_finite, seed_of
from begat.signals.procrustes import rotation
from begat.signals.quadratic import mutual, pulls, unit
from begat.signals.views import agreement
from begat.types import TensorKey

PAIRS = [("parent", "disguised-all-continued-3x"), ("parent", "disguised-all-continued-10x"), ("parent", "stranger-03")]
ROUNDS = 4
#: weight of attention's products beside the units
ATTENTION = 0.3


class Pair:
    """Two models, their units by layer, and the products of their attention that no order of heads alters."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        models = [resolve(begat.open_checkpoint(folder / n)) for n in names]
        self.context = Context(models[0], models[1], seed_of(models[0], models[1], ""))
        self.a, self.b = ([[unit(x) for x in views_of(m, block, None, None, self.context.features)] for block in blocks_of(m)] for m in models)
        self.products = [[self._products(m, i) for i in range(len(self.a))] for m in models]

    def _products(self, model, layer: int) -> list[np.ndarray]:
        q, k, v, o = (self._read(model, TensorKey("text", layer, f"attn.{n}.weight")) for n in "qkvo")
        g = model.geometry["text"]
        wide = [np.repeat(x.reshape(g.kv_heads, -1, x.shape[1]), g.heads // g.kv_heads, axis=0).reshape(-1, x.shape[1]) for x in (k, v)]
        found = (q.T @ wide[0], o @ wide[1])
        return [x / np.linalg.norm(x) for x in found]

    def _read(self, model, key: TensorKey) -> np.ndarray:
        x, gain = model.read(key), self.context.features.gain(model, key)
        check_finite(model, key, x)
        return x if gain is None or key.role == "attn.o.weight" else x * gain

    def share(self, layer: int, q: np.ndarray) -> float:
        found = agreement(self.b[layer], [x @ q for x in self.a[layer]], SIGNED)
        return found.agreeing / found.m

    def refitted(self, q: np.ndarray, fitted: Sequence[int], attention: float) -> np.ndarray:
        """The map of shared tokens, fitted again on mutually best units of some layers and, where weighted, on attention's products."""
        for _ in range(ROUNDS):
            cross = np.zeros(q.shape)
            for i in fitted:
                gate, both = (self.a[i][0] @ q) @ self.b[i][0].T, sum((x @ q) @ y.T for x, y in zip(self.a[i][1:], self.b[i][1:], strict=True))
                pairs = mutual(gate + np.abs(both))
                cross += pulls(self.a[i], self.b[i], pairs, np.sign(both[pairs[0], pairs[1]]))
            cross /= np.linalg.norm(cross)
            if attention:
                pull = sum(x @ q @ y.T + x.T @ q @ y for i in range(len(self.a)) for x, y in zip(self.products[0][i], self.products[1][i], strict=True))
                cross += attention * pull / np.linalg.norm(pull)
            q = rotation(cross)
        return q


def ways(pair: Pair) -> dict[str, list[float]]:
    layers = range(len(pair.a))
    tokens = pair.context.token_frame
    out = {}
    if not isinstance(tokens, str) and tokens.q_DE is not None:
        q = tokens.q_DE
        folds = {"two folds": [[i for i in layers if i % 2 == p] for p in (0, 1)], "all other layers": [[i for i in layers if i != j] for j in layers]}
        out["shared tokens"] = [pair.share(i, q) for i in layers]
        for name, sets in folds.items():
            for attention in (0.0, ATTENTION):
                maps = [(fitted, pair.refitted(q, fitted, attention)) for fitted in sets]
                words = f"refitted, {name}" + (", attention's products too" if attention else "")
                out[words] = [next(pair.share(i, m) for fitted, m in maps if i not in fitted) for i in layers]
    for part in (1.0, 0.5, 0.25, 0.125):
        invariants._SPAN_SHARE, invariants._SPAN = part, 1
        pair.context.kept.pop("folds", None)
        found = invariants.folds(pair.context)
        if isinstance(found, str):
            continue
        maps = {i: f.frame.q_DE for f in found for i in f.tested}
        out[f"invariants, span of {part:.3g} of the dims"] = [pair.share(i, maps[i]) for i in layers if i in maps]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", type=Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    pairs = list(zip(args.names[::2], args.names[1::2], strict=True)) or PAIRS
    print("| pair | laid over each other by | units that agree | by layer |\n|---|---|---|---|")
    for names in pairs:
        for words, shares in ways(Pair(args.family, names)).items():
            print(f"| {' / '.join(names)} | {words} | {np.mean(shares):.1%} | {' '.join(f'{100 * x:.0f}' for x in shares)} |", flush=True)


if __name__ == "__main__":
    main()
