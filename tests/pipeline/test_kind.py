"""Kind and direction: each sign both ways round, and the case that looks like it but is the other way round or open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.canon.pair import pair_towers
from begat.canon.resolve import resolve
from begat.pipeline.inherit import full_map
from begat.pipeline.kind import describe
from begat.source import open_checkpoint
from begat.verdict.kinds import Description
from builders import BF16, Tensors, llama, noisy, rounded, stitched, write

SWAP = {"A → B": "B → A", "B → A": "A → B", "undetermined": "undetermined"}
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 6, "vocab_size": 160,
         "tie_word_embeddings": True}  # fmt: skip


class Asker:
    """Writes two models and asks both ways round; the answers must be each other's mirror image."""

    def __init__(self, root: Path) -> None:
        self.root, self.n = root, 0

    def __call__(self, a: tuple[Tensors, dict[str, Any]], b: tuple[Tensors, dict[str, Any]], dtype: Any = BF16) -> Description:
        self.n += 1
        homes = [write(self.root / f"{self.n}-{name}", *m, dtype) for name, m in (("a", a), ("b", b))]
        x, y = (resolve(open_checkpoint(h)) for h in homes)
        one, other = (describe(*(p := pair_towers(*q)), full_map(*p), 7) for q in ((x, y), (y, x)))
        assert other.direction == SWAP[one.direction]
        assert other.kind == one.kind
        return one


@pytest.fixture
def ask(tmp_path: Path) -> Asker:
    return Asker(tmp_path)


def model(seed: int, **changes: Any) -> tuple[Tensors, dict[str, Any]]:
    """A model whose layers are of one size, as trained ones are."""
    rng = np.random.default_rng(seed)
    tensors, config = llama(rng, **(SMALL | changes))
    for name, w in tensors.items():
        if ".layers." in name and w.ndim == 2:
            tensors[name] = (w / w.std() * 0.05).astype(np.float32)
        elif "layernorm" in name:
            tensors[name] = (0.6 + 0.1 * rng.standard_normal(w.shape)).astype(np.float32)
    return {n: w.astype(BF16).astype(np.float32) for n, w in tensors.items()}, config


def pruned(tensors: Tensors, share: float) -> Tensors:
    out = dict(tensors)
    for n, w in tensors.items():
        if ".layers." in n and w.ndim == 2:
            out[n] = np.where(np.abs(w) < np.quantile(np.abs(w), share), 0, w).astype(np.float32)
    return out


def with_layers(tensors: Tensors, config: dict[str, Any], layers: list[int]) -> tuple[Tensors, dict[str, Any]]:
    out = {n: w for n, w in tensors.items() if ".layers." not in n}
    for to, layer in enumerate(layers):
        stem = f"model.layers.{layer}."
        out |= {f"model.layers.{to}.{n.removeprefix(stem)}": w for n, w in tensors.items() if n.startswith(stem)}
    return out, config | {"num_hidden_layers": len(layers)}


# --- zeros ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_pruned_by_size(ask: Asker, share: float) -> None:
    tensors, config = model(1)
    d = ask((tensors, config), (pruned(tensors, share), config))
    assert d.direction == "A → B" and d.kind.startswith("pruned")


def test_pruned_by_another_score(ask: Asker) -> None:
    tensors, config = model(2)
    rng = np.random.default_rng(0)
    child = {n: np.where(rng.random(w.shape) < 0.5, 0, w).astype(np.float32) if ".layers." in n and w.ndim == 2 else w for n, w in tensors.items()}
    assert ask((tensors, config), (child, config)).direction == "A → B"


def test_zeros_filled_in_by_training_are_no_arrow(ask: Asker) -> None:
    """Dense-sparse-dense: the sparse model is the parent; its zeros became small numbers, the rest moved a little."""
    tensors, config = model(3)
    sparse = pruned(tensors, 0.5)
    d = ask((sparse, config), (noisy(sparse, np.random.default_rng(1), 0.05), config))
    assert d.direction == "undetermined" and "filled in" in d.kind


def test_four_bits_are_no_pruning(ask: Asker) -> None:
    tensors, config = model(4)
    d = ask((tensors, config), (rounded(tensors, 4, 32), config), np.float32)
    assert d.direction == "undetermined" and d.kind.startswith("quantised")


# --- depth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_layers_left_out(ask: Asker, drift: float) -> None:
    tensors, config = model(5)
    child, shape = with_layers(tensors, config, [0, 1, 3, 5])
    d = ask((tensors, config), (noisy(child, np.random.default_rng(2), drift), shape))
    told = ("undetermined", "layers left out or inserted") if drift else ("A → B", "depth pruned: layers left out")
    assert (d.direction, d.kind) == told


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_layers_used_twice(ask: Asker, drift: float) -> None:
    tensors, config = model(6)
    child, shape = with_layers(tensors, config, [0, 1, 2, 3, 2, 3, 4, 5])
    d = ask((tensors, config), (noisy(child, np.random.default_rng(3), drift), shape))
    assert (d.direction, d.kind) == ("undetermined" if drift else "A → B", "depth up-scaled: layers used more than once")


def test_fresh_layers_inserted_are_no_pruning(ask: Asker) -> None:
    """The smaller one is the parent; inserted layers are smaller than trained ones, and their gains are one."""
    tensors, config = model(7)
    other, _ = model(8)
    grown, shape = with_layers(tensors, config, [0, 1, 2, 3, 4, 5, 5, 5])
    for to in (6, 7):
        for name in [n for n in grown if n.startswith(f"model.layers.{to}.")]:
            fresh = np.float32(0.3) * other[name.replace(f"layers.{to}.", f"layers.{to - 6}.")]
            grown[name] = fresh if fresh.ndim == 2 else np.ones_like(fresh)
    d = ask((tensors, config), (grown, shape))
    assert (d.direction, d.kind) == ("undetermined", "layers left out or inserted")


# --- width ---------------------------------------------------------------------------------------------------


def with_units(tensors: Tensors, config: dict[str, Any], choose: Any) -> tuple[Tensors, dict[str, Any]]:
    """MLPs of the units that `choose(layer's strengths)` names, in that order."""
    out = dict(tensors)
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}.mlp."
        gate, up, down = (tensors[p + f"{n}_proj.weight"] for n in ("gate", "up", "down"))
        at = choose(np.linalg.norm(gate, axis=1) * np.linalg.norm(up, axis=1) * np.linalg.norm(down, axis=0))
        out |= {p + "gate_proj.weight": gate[at], p + "up_proj.weight": up[at], p + "down_proj.weight": down[:, at]}
    return out, config | {"intermediate_size": len(at)}


def test_weakest_units_left_out(ask: Asker) -> None:
    tensors, config = model(9)
    d = ask((tensors, config), with_units(tensors, config, lambda s: np.sort(np.argsort(-s)[:96])))
    assert (d.direction, d.kind) == ("A → B", "width pruned: MLP units left out")


def test_units_left_out_by_another_score(ask: Asker) -> None:
    tensors, config = model(10)
    d = ask((tensors, config), with_units(tensors, config, lambda s: np.arange(0, 128, 2)))
    assert (d.direction, d.kind) == ("A → B", "width pruned: MLP units left out")


def test_copied_units_point_the_other_way(ask: Asker) -> None:
    tensors, config = model(11)
    d = ask((tensors, config), with_units(tensors, config, lambda s: np.concatenate([np.arange(128), np.arange(32)])))
    assert (d.direction, d.kind) == ("A → B", "widened: MLP units copied")


def test_fresh_units_added_are_no_pruning(ask: Asker) -> None:
    tensors, config = model(12)
    grown, shape = with_units(tensors, config, lambda s: np.concatenate([np.arange(128), np.arange(32)]))
    rng = np.random.default_rng(4)
    for name, w in grown.items():
        if ".mlp." in name:
            fresh = 0.02 * rng.standard_normal(w.shape)
            added = np.arange(w.shape[1] if "down" in name else w.shape[0]) >= 128
            grown[name] = np.where(added[None, :] if "down" in name else added[:, None], fresh, w).astype(np.float32)
    d = ask((tensors, config), (grown, shape))
    assert (d.direction, d.kind) == ("undetermined", "MLP units left out or added")


# --- experts -------------------------------------------------------------------------------------------------


def mixture(tensors: Tensors, config: dict[str, Any], experts: list[Tensors]) -> tuple[Tensors, dict[str, Any]]:
    """A Mixtral whose experts are the MLPs of `experts`."""
    out = {n: w for n, w in tensors.items() if ".mlp." not in n}
    rng = np.random.default_rng(9)
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out[p + "block_sparse_moe.gate.weight"] = (0.05 * rng.standard_normal((len(experts), config["hidden_size"]))).astype(np.float32)
        for e, source in enumerate(experts):
            for short, name in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")):
                out[f"{p}block_sparse_moe.experts.{e}.{short}.weight"] = source[f"{p}mlp.{name}.weight"]
    return out, config | {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": len(experts), "num_experts_per_tok": 2}


@pytest.mark.parametrize("drift", [0.0, 0.1, 0.5])
def test_upcycled(ask: Asker, drift: float) -> None:
    tensors, config = model(13)
    rng = np.random.default_rng(5)
    d = ask((tensors, config), mixture(tensors, config, [noisy(tensors, rng, drift) for _ in range(4)]))
    assert d.direction == "A → B" and d.kind.startswith("upcycled: a dense")


@pytest.mark.parametrize("shares", [(0.25, 0.25, 0.25, 0.25), (0.5, 0.3, 0.1, 0.1), (1.0, 0, 0, 0)])
def test_a_dense_model_made_of_experts_is_no_parent(ask: Asker, shares: tuple[float, ...]) -> None:
    tensors, config = model(14)
    rng = np.random.default_rng(6)
    experts = [{n: w.astype(BF16).astype(np.float32) for n, w in noisy(tensors, rng, 0.5).items()} for _ in range(4)]
    dense = {n: sum(s * e[n] for s, e in zip(shares, experts, strict=True)).astype(np.float32) if ".mlp." in n else w for n, w in tensors.items()}
    d = ask((dense, config), mixture(tensors, config, experts))
    assert d.direction == "undetermined" and d.kind.startswith("upcycled, or")


# --- vocabulary ----------------------------------------------------------------------------------------------


def with_rows(tensors: Tensors, config: dict[str, Any], extra: np.ndarray) -> tuple[Tensors, dict[str, Any]]:
    out = dict(tensors)
    out["model.embed_tokens.weight"] = np.concatenate([tensors["model.embed_tokens.weight"], extra]).astype(np.float32)
    return out, config | {"vocab_size": len(out["model.embed_tokens.weight"])}


def off_centre(seed: int) -> tuple[Tensors, dict[str, Any]]:
    """Token rows with a mean that is not zero, as trained ones have."""
    tensors, config = model(seed)
    mean = 0.03 * np.sign(np.random.default_rng(seed).standard_normal(64))
    tensors["model.embed_tokens.weight"] = (tensors["model.embed_tokens.weight"] + mean).astype(np.float32)
    return tensors, config


def test_rows_added_at_the_mean(ask: Asker) -> None:
    tensors, config = off_centre(15)
    table = tensors["model.embed_tokens.weight"]
    extra = table.mean(0) + 0.1 * table.std(0) * np.random.default_rng(7).standard_normal((32, 64))
    d = ask((tensors, config), with_rows(tensors, config, extra))
    assert (d.direction, d.kind) == ("A → B", "vocabulary extended")


@pytest.mark.parametrize("how", ["trained", "fresh", "unused", "zero"])
def test_other_rows_are_no_arrow(ask: Asker, how: str) -> None:
    """The larger one is the parent: its last rows, used or never used, were cut off."""
    tensors, config = off_centre(16)
    rng = np.random.default_rng(8)
    table = tensors["model.embed_tokens.weight"]
    extra = {"trained": table[:32] + 0.05 * rng.standard_normal((32, 64)), "fresh": 0.02 * rng.standard_normal((32, 64)),
             "unused": 1.6 * table.mean(0) + 0.01 * rng.standard_normal((32, 64)), "zero": np.zeros((32, 64))}[how]  # fmt: skip
    d = ask(with_rows(tensors, config, extra), (tensors, config))
    assert (d.direction, d.kind) == ("undetermined", "vocabulary extended or pruned")


# --- low rank ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rank", [1, 4, 8])
def test_merged_adapter(ask: Asker, rank: int, turned: bool) -> None:
    tensors, config = model(17)
    rng = np.random.default_rng(rank)
    child = {n: (w + 0.05 / rank**0.5 * rng.standard_normal((w.shape[0], rank)) @ rng.standard_normal((rank, w.shape[1]))).astype(np.float32)
             if ".layers." in n and w.ndim == 2 else w for n, w in tensors.items()}  # fmt: skip
    d = ask(*(((child, config), (tensors, config)) if turned else ((tensors, config), (child, config))))
    assert (d.direction, d.kind) == ("B → A" if turned else "A → B", "LoRA adapter merged")


def test_two_adapters_of_one_base_have_no_direction(ask: Asker) -> None:
    tensors, config = model(18)
    rng = np.random.default_rng(9)

    def tuned() -> Tensors:
        return {n: (w + 0.03 * rng.standard_normal((w.shape[0], 2)) @ rng.standard_normal((2, w.shape[1]))).astype(np.float32)
                if "q_proj" in n or "up_proj" in n else w for n, w in tensors.items()}  # fmt: skip

    d = ask((tuned(), config), (tuned(), config))
    assert (d.direction, d.kind) == ("undetermined", "low-rank difference (a LoRA adapter merged)")


# --- siblings ---------------------------------------------------------------------------------------------------


def test_a_tuned_sibling_is_no_parent(ask: Asker) -> None:
    """The base was reshaped; the other model was tuned from it."""
    tensors, config = off_centre(30)
    tensors = {n: w.astype(BF16).astype(np.float32) for n, w in tensors.items()}
    sibling = (noisy(tensors, np.random.default_rng(11), 0.15), config)
    table = tensors["model.embed_tokens.weight"]
    extra = table.mean(0) + 0.1 * table.std(0) * np.random.default_rng(7).standard_normal((32, 64))
    rng = np.random.default_rng(12)
    for child in (
        with_layers(tensors, config, [0, 1, 3, 5]),
        with_layers(tensors, config, [0, 1, 2, 3, 2, 3, 4, 5]),
        with_units(tensors, config, lambda s: np.sort(np.argsort(-s)[:96])),
        with_rows(tensors, config, extra),
        mixture(tensors, config, [noisy(tensors, rng, 0.15) for _ in range(4)]),
        (pruned(tensors, 0.5), config),
    ):
        d = ask(sibling, child)
        assert d.direction == "undetermined" and d.kind, d


# --- no direction --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writes", [("o_proj.weight", "down_proj.weight"), ("o_proj.weight", "down_proj.weight", "embed_tokens.weight")])
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_a_direction_taken_out_is_no_adapter(ask: Asker, writes: tuple[str, ...], dtype: Any) -> None:
    tensors, config = llama(np.random.default_rng(23))
    tensors = {n: w.astype(dtype).astype(np.float32) for n, w in tensors.items()}
    u = np.random.default_rng(7).standard_normal(config["hidden_size"])
    u /= np.linalg.norm(u)

    def without(name: str, w: np.ndarray) -> np.ndarray:
        return w - (np.outer(w @ u, u) if "embed" in name else np.outer(u, u @ w))

    child = {n: without(n, w).astype(dtype).astype(np.float32) if n.endswith(writes) else w for n, w in tensors.items()}
    d = ask((tensors, config), (child, config), dtype)
    assert d.kind == "one direction of the residual stream taken out"


def test_an_adapter_of_rank_one_is_no_direction_taken_out(ask: Asker) -> None:
    tensors, config = llama(np.random.default_rng(24))
    rng = np.random.default_rng(8)
    ends = ("o_proj.weight", "down_proj.weight")
    child = {
        n: (w + 0.02 * np.outer(rng.standard_normal(len(w)), rng.standard_normal(w.shape[1]))).astype(np.float32) if n.endswith(ends) else w
        for n, w in tensors.items()
    }
    assert "LoRA" in ask((tensors, config), (child, config), np.float32).kind


def test_what_is_equal_but_for_tables_is_told_so(ask: Asker) -> None:
    tensors, config = llama(np.random.default_rng(21))
    rng = np.random.default_rng(5)
    head = tensors | {"lm_head.weight": rng.standard_normal(tensors["lm_head.weight"].shape).astype(np.float32)}
    tokens = head | {"model.embed_tokens.weight": rng.standard_normal(tensors["model.embed_tokens.weight"].shape).astype(np.float32)}
    assert ask((tensors, config), (head, config)).kind == "the same but for the output head"
    assert ask((tensors, config), (tokens, config)).kind == "the same but for the tables of tokens"


@pytest.mark.parametrize("order", [[3, 1, 2, 0, 4, 5], [0, 1, 3, 2, 4, 5], [0, 1, 1, 3, 4, 5], [1, 0, 2, 3, 5, 4]])
def test_layers_at_other_places_are_not_of_other_origin(ask: Asker, order: list[int]) -> None:
    tensors, config = model(22)
    child, _ = with_layers(tensors, config, order)
    for drift in (0.0, 0.1):
        d = ask((tensors, config), (noisy(child, np.random.default_rng(6), drift), config))
        assert "other origin" not in d.kind


def trained(tensors: Tensors, rng: np.random.Generator, share: float) -> Tensors:
    """A change that is unlike from row to row, as training's is and white noise is not."""
    rows = {n: np.exp(rng.standard_normal((len(w), *[1] * (w.ndim - 1)))) for n, w in tensors.items()}
    return {n: (w + share * w.std() * rows[n] * rng.standard_normal(w.shape)).astype(np.float32) for n, w in tensors.items()}


def test_tuned_siblings_stitched_and_partly_trained(ask: Asker) -> None:
    tensors, config = model(19)
    rng = np.random.default_rng(10)
    tuned = trained(tensors, rng, 0.2)
    d = ask((tensors, config), (tuned, config))
    assert d.direction == "undetermined" and d.kind.startswith("weights changed throughout")
    assert ask((trained(tensors, rng, 0.2), config), (tuned, config)).direction == "undetermined"
    part = {n: tuned[n] if ".mlp." in n else w for n, w in tensors.items()}
    assert ask((tensors, config), (part, config)).kind == "some tensors equal, others changed"
    mixed = ask((tensors, config), (stitched(tensors, model(20)[0], range(3, 6)), config))
    assert mixed.direction == "undetermined" and mixed.kind.startswith("stitched")


def test_strangers_show_no_sign(ask: Asker) -> None:
    for seed in range(21, 25):
        assert ask(model(seed), model(seed + 50)).evidence == ()
    assert ask(model(1), model(2, num_hidden_layers=4)).direction == "undetermined"
    assert ask(model(1), model(2, intermediate_size=96)).direction == "undetermined"
