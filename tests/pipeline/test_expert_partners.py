"""Experts of a mixture under other numbers: each with its counterpart, no layer called "none", an arrow from a strict subset of equal ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline.by_index import ByIndex
from begat.pipeline.expert_layer import Layer
from begat.source import open_checkpoint
from builders import BF16, Tensors, llama, noisy, write

LAYERS, WIDTH, UNITS = 2, 64, 80
SHAPE: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
PARTS = ("gate", "up", "down")
#: family → (model type, router, experts) as names inside a layer
NAMES = {
    "qwen": ("qwen3_moe", "mlp.gate.weight", "mlp.experts.{e}.{gate}_proj.weight"),
    "mixtral": ("mixtral", "block_sparse_moe.gate.weight", "block_sparse_moe.experts.{e}.{w}.weight"),
    "deepseek": ("deepseek_v3", "mlp.gate.weight", "mlp.experts.{e}.{gate}_proj.weight"),
    "fused": ("qwen3_moe", "mlp.gate.weight", ""),
}
Model = tuple[Tensors, dict[str, Any]]


class Mixture:
    """Experts [gate, up, down] of every layer, and all else, to be written under the names of a family."""

    def __init__(self, seed: int, experts: int, family: str = "qwen") -> None:
        rng = np.random.default_rng(seed)
        tensors, config = llama(rng, **SHAPE)
        self.rest = {n: w for n, w in tensors.items() if ".mlp." not in n}
        self.config, self.family = config, family
        shapes = {"gate": (UNITS, WIDTH), "up": (UNITS, WIDTH), "down": (WIDTH, UNITS)}
        self.experts = [[{p: _matrix(rng, *shapes[p]) for p in PARTS} for _ in range(experts)] for _ in range(LAYERS)]
        self.routers = [_matrix(rng, experts, WIDTH) for _ in range(LAYERS)]
        if family == "deepseek":
            for i in range(LAYERS):
                self.rest |= {f"model.layers.{i}.mlp.shared_experts.{p}_proj.weight": _matrix(rng, *shapes[p]) for p in PARTS}

    def put(self, orders: Sequence[Sequence[int]], redrawn: int | None = None) -> Model:
        """With the experts `orders[layer]`; the router's rows moved along, or drawn anew with this seed."""
        chosen = [[self.experts[i][e] for e in order] for i, order in enumerate(orders)]
        routers = [self.routers[i][list(order)] for i, order in enumerate(orders)]
        if redrawn is not None:
            rng = np.random.default_rng(redrawn)
            routers = [_matrix(rng, *r.shape) for r in routers]
        return self.written(chosen, routers)

    def written(self, experts: list[list[Tensors]], routers: list[np.ndarray]) -> Model:
        kind, router, name = NAMES[self.family]
        out = dict(self.rest)
        for i in range(LAYERS):
            p = f"model.layers.{i}."
            out[p + router] = routers[i]
            if not name:
                out[p + "mlp.experts.gate_up_proj"] = np.stack([np.concatenate([x["gate"], x["up"]]) for x in experts[i]])
                out[p + "mlp.experts.down_proj"] = np.stack([x["down"] for x in experts[i]])
                continue
            for e, x in enumerate(experts[i]):
                for part, w in zip(PARTS, ("w1", "w3", "w2"), strict=True):
                    out[p + name.format(e=e, gate=part, w=w)] = x[part]
        n = len(experts[0])
        counts = dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), n)
        return out, self.config | counts | {"model_type": kind, "num_experts_per_tok": 2, "moe_intermediate_size": UNITS}


def _matrix(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Rows and columns of unlike size."""
    scale = np.exp(0.25 * rng.standard_normal((shape[0], 1))) * np.exp(0.25 * rng.standard_normal(shape[1]))
    return (0.05 * rng.standard_normal(shape) * scale).astype(np.float32)


def compared(home: Path, a: Model, b: Model, dtype: Any = None, **options: Any) -> begat.Verdict:
    """The verdict; the two the other way round must be its mirror image."""
    there = [write(home / name, *m, dtype) for name, m in (("a", a), ("b", b))]
    v, back = begat.compare(*there, **options), begat.compare(*reversed(there), **options)
    assert back.direction == {"A → B": "B → A", "B → A": "A → B"}.get(v.direction, v.direction)
    assert back.kind == v.kind
    assert not [p for p in (*v.parts, *back.parts) if p.status == "no-evidence"] or v.verdict in ("no-evidence", "partly-derived")
    return v


def sources(v: begat.Verdict) -> dict[tuple[int, int], tuple[int, ...]]:
    return {(m.layer, m.expert_b): m.experts_a for m in v.experts}


def wanted(orders: Sequence[Sequence[int]]) -> dict[tuple[int, int], tuple[int, ...]]:
    return {(i, e): (source,) for i, order in enumerate(orders) for e, source in enumerate(order)}


def whole(v: begat.Verdict) -> bool:
    return all(p.status == "dependent" for p in v.parts if p.layer >= 0)


@pytest.mark.parametrize("redrawn", [None, 3])
@pytest.mark.parametrize("family", NAMES)
def test_a_subset_of_equal_experts_is_an_arrow(tmp_path: Path, family: str, redrawn: int | None) -> None:
    a = Mixture(1, 6, family)
    orders = [[1, 2, 5], [0, 3, 4]]
    v = compared(tmp_path, a.put([range(6)] * 2), a.put(orders, redrawn))
    assert (v.direction, v.kind) == ("A → B", "experts left out")
    assert whole(v) and sources(v) == wanted(orders)
    assert all(m.equal for m in v.experts)
    only = v.accounting[0].only_here if v.accounting else ()
    assert {x for x in only if "layer 0" in x} >= {f"layer 0 · expert {e} · expert.up.weight" for e in (0, 3, 4)}
    assert v.accounting and v.accounting[1].only_here == ()


@pytest.mark.parametrize("orders", [[[0, 1, 2, 3, 4]] * 2, [[1, 2, 3, 4, 5]] * 2, [[5]] * 2, [[4, 1], [2, 0]]])
@pytest.mark.parametrize("dtype", [None, BF16])
def test_any_strict_subset(tmp_path: Path, orders: list[list[int]], dtype: Any) -> None:
    a = Mixture(2, 6)
    v = compared(tmp_path, a.put([range(6)] * 2), a.put(orders), dtype)
    assert (v.direction, v.kind) == ("A → B", "experts left out")
    assert whole(v) and sources(v) == wanted(orders)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_changed_experts_carry_no_arrow(tmp_path: Path, share: float) -> None:
    a = Mixture(3, 6)
    tensors, config = a.put([[1, 2, 5], [0, 3, 4]])
    v = compared(tmp_path, a.put([range(6)] * 2), (noisy(tensors, np.random.default_rng(4), share), config))
    assert (v.direction, v.kind) == ("undetermined", "experts left out")
    assert whole(v) and sources(v) == wanted([[1, 2, 5], [0, 3, 4]])


def test_equal_experts_beside_changed_attention_carry_no_arrow(tmp_path: Path) -> None:
    """Both may come of a third model, of which one kept all experts and trained the rest."""
    a = Mixture(4, 6)
    tensors, config = a.put([[0, 2, 4]] * 2)
    moved = {n: w + 0.01 * np.float32(w.std()) * np.random.default_rng(5).standard_normal(w.shape).astype(np.float32) if "self_attn" in n else w
             for n, w in tensors.items()}  # fmt: skip
    v = compared(tmp_path, a.put([range(6)] * 2), (moved, config))
    assert (v.direction, v.kind) == ("undetermined", "experts left out") and whole(v)


@pytest.mark.parametrize("orders", [[[1, 0, 2, 3]] * 2, [[2, 3, 0, 1], [3, 2, 1, 0]], [[1, 2, 3, 0], [0, 1, 2, 3]]])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_the_same_experts_in_another_order(tmp_path: Path, orders: list[list[int]], share: float) -> None:
    a = Mixture(5, 4)
    tensors, config = a.put(orders)
    v = compared(tmp_path, a.put([range(4)] * 2), (noisy(tensors, np.random.default_rng(6), share), config))
    assert v.direction == "undetermined" and v.kind.startswith("the same experts in another order")
    assert whole(v)
    assert sources(v) == {k: s for k, s in wanted(orders).items() if k in sources(v)}
    assert {k for k, s in wanted(orders).items() if s != (k[1],)} <= set(sources(v))


def test_experts_used_twice(tmp_path: Path) -> None:
    a = Mixture(6, 3)
    v = compared(tmp_path, a.put([range(3)] * 2), a.put([[0, 1, 2, 2, 0, 1]] * 2))
    assert (v.direction, v.kind) == ("A → B", "experts used more than once") and whole(v)


@pytest.mark.parametrize(("groups", "weights"), [([[0, 1], [2, 3], [4, 5]], (1, 1, 1)), ([[0, 5], [2], [1, 3, 4]], (3, 2, 4))])
def test_averaged_experts(tmp_path: Path, groups: list[list[int]], weights: tuple[int, ...]) -> None:
    """Means, evenly or by weights, are one-way: their parts cannot be got back."""
    a = Mixture(7, 6)

    def mean(things: list[np.ndarray]) -> np.ndarray:
        w = np.array(weights[: len(things)], dtype=np.float32)
        return np.asarray(sum(x * t for x, t in zip(w / w.sum(), things, strict=True)), dtype=np.float32)

    experts = [[{p: mean([a.experts[i][e][p] for e in g]) for p in PARTS} for g in groups] for i in range(LAYERS)]
    routers = [np.stack([mean([a.routers[i][e] for e in g]) for g in groups]) for i in range(LAYERS)]
    v = compared(tmp_path, a.put([range(6)] * 2), a.written(experts, routers))
    assert (v.direction, v.kind) == ("A → B", "experts merged: means of several") and whole(v)
    assert sources(v) == {(i, e): tuple(sorted(g)) for i in range(LAYERS) for e, g in enumerate(groups)}


def test_fresh_experts_beside_inherited_ones_are_told_apart(tmp_path: Path) -> None:
    """Half of the experts moved, half of other origin."""
    a, other = Mixture(8, 6), Mixture(9, 6)
    experts = [[a.experts[i][5 - e] if e % 2 else other.experts[i][e] for e in range(6)] for i in range(LAYERS)]
    v = compared(tmp_path, a.put([range(6)] * 2), a.written(experts, a.routers))
    assert v.verdict == "partly-derived" and v.kind == "some experts of other origin" and v.direction == "undetermined"
    assert sources(v) == {(i, e): (5 - e,) for i in range(LAYERS) for e in (1, 3, 5)}
    assert {p.why.split(": ")[1] for p in v.parts if p.part.startswith("other experts")} == {"0, 2, 4"}


def test_smaller_fresh_experts_added_are_no_pruning(tmp_path: Path) -> None:
    """The smaller mixture is the parent: what was added has another size, so that nothing points."""
    a, other = Mixture(10, 4), Mixture(11, 4)
    added = [[*a.experts[i], *({p: np.float32(0.3) * w for p, w in x.items()} for x in other.experts[i])] for i in range(LAYERS)]
    v = compared(tmp_path, a.put([range(4)] * 2), a.written(added, [np.concatenate([a.routers[i], other.routers[i]]) for i in range(LAYERS)]))
    assert (v.direction, v.kind) == ("undetermined", "experts left out or added") and whole(v)


def test_grown_siblings_keep_the_arrow_and_copies_lose_it(tmp_path: Path) -> None:
    """Experts grown from one MLP resemble each other; leaving some out still points. A noisy copy added to unlike ones does not."""
    a = Mixture(12, 6)
    for i in range(LAYERS):
        rng = np.random.default_rng(i)
        a.experts[i] = [noisy(a.experts[i][0], rng, 0.7) for _ in range(6)]
    v = compared(tmp_path / "1", a.put([range(6)] * 2), a.put([[0, 2, 3]] * 2))
    assert (v.direction, v.kind) == ("A → B", "experts left out")
    b = Mixture(13, 4)
    grown = [[*b.experts[i], noisy(b.experts[i][0], np.random.default_rng(i), 0.3)] for i in range(LAYERS)]
    v = compared(tmp_path / "2", b.put([range(4)] * 2), b.written(grown, [np.concatenate([r, r[:1]]) for r in b.routers]))
    assert v.direction == "undetermined" and whole(v)


@pytest.mark.parametrize("redrawn", [None, 3])
def test_of_many_experts_only_some_are_read(tmp_path: Path, redrawn: int | None) -> None:
    """Sampled: nothing that was not looked for is called none."""
    a = Mixture(14, 40)
    orders = [np.random.default_rng(i).permutation(40)[:20].tolist() for i in range(LAYERS)]
    v = compared(tmp_path, a.put([range(40)] * 2), a.put(orders, redrawn), map="sampled")
    assert v.verdict not in ("no-evidence", "partly-derived") and v.kind == ""
    assert sources(v).items() <= wanted(orders).items()
    assert len(sources(v)) == 8 or redrawn is not None


def test_strangers_are_cleared(tmp_path: Path) -> None:
    for n, (experts, other) in enumerate(((6, 6), (6, 3), (3, 6), (40, 8))):
        v = compared(tmp_path / str(n), Mixture(20 + n, experts).put([range(experts)] * 2), Mixture(40 + n, other).put([range(other)] * 2))
        assert v.verdict == "no-evidence" and v.experts == () and v.kind == ""


def test_choosing_a_partner_costs_nothing(tmp_path: Path) -> None:
    """B's experts are A's with units in an order drawn anew: the best partner is found by its units, and the e-value has mean at most 1."""
    rng = np.random.default_rng(15)
    a = Mixture(16, 3)
    small = [[{"gate": x["gate"][:6], "up": x["up"][:6], "down": x["down"][:, :6]} for x in layer] for layer in a.experts]
    home = write(tmp_path / "a", *a.written(small, a.routers))
    e, partners = [], []
    for n in range(150):
        experts = []
        for layer in small:
            orders = [rng.permutation(6) for _ in range(3)]
            experts.append([{"gate": layer[(k + 1) % 3]["gate"][o], "up": layer[(k + 1) % 3]["up"][o], "down": layer[(k + 1) % 3]["down"][:, o]}
                            for k, o in enumerate(orders)])  # fmt: skip
        there = write(tmp_path / "b", *a.written(experts, a.routers))
        x, y = resolve(open_checkpoint(home)), resolve(open_checkpoint(there))
        layer = Layer(x, y, ("text", n % LAYERS), n, True, ByIndex(x, y))
        for expert in range(3):
            own = layer._blocks("b", expert)
            likeness = layer._likeness(expert, range(3))
            partner = int(np.argmax(likeness))
            partners.append(partner == (expert + 1) % 3)
            e.append(10 ** layer._test(partner, own).log10_e)
    assert np.mean(partners) > 0.99
    assert np.mean(e) <= 1 + 4 * np.std(e) / len(e) ** 0.5
