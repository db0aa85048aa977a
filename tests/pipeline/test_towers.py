"""Encoders and decoders alone, towers that stand twice: each held against its own counterpart, the others in one model only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.pair import pairings
from begat.canon.resolve import resolve
from begat.pipeline.exact import run_axes
from begat.pipeline.towers import choose
from begat.report.text import render_text
from begat.source import open_checkpoint
from begat.stats.order import log_e_single
from builders import Tensors, llama, noisy, write

D, HEADS, VOCAB = 64, 4, 160
T5: dict[str, Any] = {"model_type": "t5", "d_model": D, "d_kv": D // HEADS, "num_heads": HEADS, "d_ff": 4 * D, "vocab_size": VOCAB}
BART: dict[str, Any] = {"model_type": "bart", "d_model": D, "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "vocab_size": VOCAB}


def w(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (0.05 * rng.standard_normal(shape)).astype(np.float32)


def gain(rng: np.random.Generator) -> np.ndarray:
    return (0.6 + 0.1 * rng.standard_normal(D)).astype(np.float32)


def t5(seed: int, encoder: int = 2, decoder: int = 2, gated: bool = False) -> Tensors:
    rng = np.random.default_rng(seed)
    out = {"shared.weight": w(rng, VOCAB, D)}
    for side, depth in (("encoder", encoder), ("decoder", decoder)):
        for i in range(depth):
            p, last = f"{side}.block.{i}.layer.", 2 if side == "decoder" else 1
            for j, name in ((0, "SelfAttention"), (1, "EncDecAttention"))[:last]:
                out |= {f"{p}{j}.{name}.{q}.weight": w(rng, D, D) for q in "qkvo"} | {f"{p}{j}.layer_norm.weight": gain(rng)}
            if not i:
                out[p + "0.SelfAttention.relative_attention_bias.weight"] = w(rng, 32, HEADS)
            out |= {f"{p}{last}.DenseReluDense.{n}.weight": w(rng, 4 * D, D) for n in (("wi_0", "wi_1") if gated else ("wi",))}
            out |= {f"{p}{last}.DenseReluDense.wo.weight": w(rng, D, 4 * D), f"{p}{last}.layer_norm.weight": gain(rng)}
        out[f"{side}.final_layer_norm.weight"] = gain(rng)
    return out


def bart(seed: int, encoder: int = 2, decoder: int = 2, whisper: bool = False) -> Tensors:
    rng = np.random.default_rng(seed)
    out: Tensors = {}
    for side, depth in (("encoder", encoder), ("decoder", decoder)):
        q = f"model.{side}."
        out |= {q + "embed_positions.weight": w(rng, 66, D), q + "layer_norm.weight": gain(rng), q + "layer_norm.bias": w(rng, D)}
        if side == "decoder" or not whisper:
            out[q + "embed_tokens.weight"] = w(rng, VOCAB, D)
        else:
            out |= {q + "conv1.weight": w(rng, D, 80, 3), q + "conv2.weight": w(rng, D, D, 3)}
        for i in range(depth):
            p = f"{q}layers.{i}."
            for a in ("self_attn", "encoder_attn")[: 2 if side == "decoder" else 1]:
                out |= {f"{p}{a}.{x}_proj.weight": w(rng, D, D) for x in ("q", "k", "v", "out")}
                out |= {f"{p}{a}.{x}_proj.bias": w(rng, D) for x in ("q", "v", "out")}
                out |= {f"{p}{a}_layer_norm.weight": gain(rng), f"{p}{a}_layer_norm.bias": w(rng, D)}
            out |= {p + "fc1.weight": w(rng, 4 * D, D), p + "fc1.bias": w(rng, 4 * D), p + "fc2.weight": w(rng, D, 4 * D), p + "fc2.bias": w(rng, D)}
            out |= {p + "final_layer_norm.weight": gain(rng), p + "final_layer_norm.bias": w(rng, D)}
    return out


def side(tensors: Tensors, prefix: str, new: str) -> Tensors:
    return {new + n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}


def compared(home: Path, a: Tensors, b: Tensors, config: dict[str, Any]) -> begat.Verdict:
    return begat.compare(write(home / "a", a, config), write(home / "b", b, config))


def only_here(v: begat.Verdict, model: str) -> list[str]:
    return [c.subject for c in v.claims if c.value == f"only-in-{model}"]


def told_apart(v: begat.Verdict, only: str, layers: int) -> None:
    """Every layer that both have is dependent, the other tower is in A only."""
    assert v.verdict in ("derived-or-shared-initialisation", "derived")
    assert [p.status for p in v.parts if p.layer >= 0] == ["dependent"] * layers
    assert not [p for p in v.parts if p.status == "no-evidence"]
    assert only_here(v, "a") == [only] and only_here(v, "b") == []
    assert f"only in A     {only}" in render_text(v)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4])
def test_an_encoder_alone_is_its_own(tmp_path: Path, gated: bool, share: float) -> None:
    whole = t5(1, gated=gated)
    alone = {n: x for n, x in whole.items() if not n.startswith("decoder")}
    v = compared(tmp_path, whole, noisy(alone, np.random.default_rng(2), share), T5)
    told_apart(v, "decoder", 2)
    assert next(p for p in v.parts if p.part == "embedding").status == "dependent"
    assert any("“encoder” was compared with B's “text”" in c for c in v.caveats)


@pytest.mark.parametrize("new", ["", "encoder.", "model.", "model.encoder.", "decoder."])
@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_either_side_under_any_prefix(tmp_path: Path, which: str, new: str) -> None:
    whole = bart(3)
    v = compared(tmp_path, whole, noisy(side(whole, f"model.{which}.", new), np.random.default_rng(4), 0.1), BART)
    told_apart(v, "decoder" if which == "encoder" else "encoder", 2)


@pytest.mark.parametrize(("encoder", "decoder"), [(4, 2), (2, 4), (3, 1)])
def test_sides_of_unequal_depth(tmp_path: Path, encoder: int, decoder: int) -> None:
    whole = bart(5, encoder, decoder)
    told_apart(compared(tmp_path, whole, side(whole, "model.encoder.", ""), BART), "decoder", encoder)


def test_an_embedding_under_its_own_name_and_speech(tmp_path: Path) -> None:
    whole = t5(6)
    renamed = {n: x for n, x in whole.items() if n.startswith("encoder")} | {"encoder.embed_tokens.weight": whole["shared.weight"]}
    told_apart(compared(tmp_path / "1", whole, renamed, T5), "decoder", 2)
    speech = bart(7, whisper=True)
    told_apart(compared(tmp_path / "2", speech, side(speech, "model.encoder.", "encoder."), BART | {"model_type": "whisper"}), "decoder", 2)


def test_a_decoder_without_its_cross_attention_is_found_by_what_agrees(tmp_path: Path) -> None:
    """By its shapes it is an encoder."""
    whole = t5(8)
    plain = {n.replace(".layer.2.", ".layer.1."): x for n, x in whole.items() if not n.startswith("encoder") and ".layer.1." not in n}
    x, y = (resolve(open_checkpoint(write(tmp_path / name, t, T5))) for name, t in (("x", whole), ("y", plain)))
    assert [dict(p.towers) for p in pairings(x, y)] == [{"encoder": "text"}, {"text": "text"}]
    told_apart(compared(tmp_path, whole, noisy(plain, np.random.default_rng(9), 0.1), T5), "encoder", 2)


def test_the_other_way_round(tmp_path: Path) -> None:
    whole = t5(10)
    alone = {n: x for n, x in whole.items() if not n.startswith("decoder")}
    v = compared(tmp_path, alone, whole, T5)
    assert [(p.tower, p.status) for p in v.parts if p.layer >= 0] == [("encoder", "dependent")] * 2
    assert only_here(v, "b") == ["text"] and not [p for p in v.parts if p.status == "no-evidence"]


@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_a_strangers_side_is_cleared(tmp_path: Path, which: str) -> None:
    v = compared(tmp_path, bart(11), side(bart(12), f"model.{which}.", ""), BART)
    assert v.verdict == "no-evidence" and v.log10_e is not None and v.log10_e < 2
    v = compared(tmp_path / "whole", t5(13), t5(14), T5)
    assert v.verdict == "no-evidence" and not any("paired in" in c for c in v.caveats)


def test_only_one_of_two_alike_towers_is_shared(tmp_path: Path) -> None:
    """Text and vision towers of one shape: a lone tower is held against the right one."""
    rng = np.random.default_rng(15)
    shape: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "vocab_size": VOCAB}
    text, config = llama(rng, **shape)
    vision, _ = llama(rng, **shape)
    both = text | {f"vision_tower.{n}": x for n, x in vision.items() if ".layers." in n}
    for n, (name, tensors) in enumerate({"vision": text, "text": vision}.items()):
        lone = {k: x for k, x in noisy(tensors, rng, 0.1).items() if ".layers." in k}
        v = begat.compare(write(tmp_path / f"{n}a", both, config), write(tmp_path / f"{n}b", lone, config))
        assert [p.status for p in v.parts if p.layer >= 0] == ["dependent"] * 3
        assert only_here(v, "a") == [name if name == "vision" else "text (A)"]


@pytest.mark.parametrize("prefix", ["ema.", "model_ema.", "ema_model."])
def test_averaged_weights_beside_raw_ones(tmp_path: Path, prefix: str) -> None:
    """The equal copy is compared, whichever it is, and the other is said to be A's as well."""
    rng = np.random.default_rng(16)
    raw, config = llama(rng)
    average = noisy(raw, rng, 0.02)
    both = raw | {prefix + n: x for n, x in average.items()}
    for n, tensors in enumerate((raw, average)):
        v = begat.compare(write(tmp_path / f"{n}a", tensors, config), write(tmp_path / f"{n}b", both, config))
        assert [p.status for p in v.parts if p.layer >= 0] == ["dependent"] * 10
        assert all(c.identical for c in v.cells) and v.cells
        assert only_here(v, "b") == [] and v.kind.startswith("a tower stands twice")
    v = begat.compare(write(tmp_path / "stranger", llama(rng)[0], config), tmp_path / "0b")
    assert v.verdict == "no-evidence"


def test_a_copy_of_some_layers_beside_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(17)
    base, config = llama(rng)
    some = {n.replace("model.layers", "control.layers"): x for n, x in noisy(base, rng, 0.1).items() if ".layers." in n and int(n.split(".")[2]) < 3}
    v = begat.compare(write(tmp_path / "a", base, config), write(tmp_path / "b", base | some, config))
    assert [p.status for p in v.parts if p.tower == "control"] == ["dependent"] * 3
    assert v.kind.startswith("a tower stands twice")
    fresh = {n.replace("model.layers", "control.layers"): x for n, x in llama(rng)[0].items() if ".layers." in n}
    v = begat.compare(tmp_path / "a", write(tmp_path / "c", base | fresh, config))
    assert only_here(v, "b") == ["control"] and not [p for p in v.parts if p.tower == "control"]


def test_the_choice_is_paid_for(tmp_path: Path) -> None:
    """The greatest e-value of K pairings, divided by K, has mean at most 1; undivided it has not."""
    rng = np.random.default_rng(18)
    e = np.array([[math.exp(log_e_single(int((rng.permutation(5) == np.arange(5)).sum()), 5)) for _ in range(2)] for _ in range(20000)])
    best = e.max(1)
    assert (best / 2).mean() <= 1 + 4 * best.std() / len(best) ** 0.5 < best.mean()
    whole = t5(19)
    alone = {n: x for n, x in whole.items() if not n.startswith("decoder")}
    x, y = (resolve(open_checkpoint(write(tmp_path / name, t, T5))) for name, t in (("x", whole), ("y", alone)))
    found = pairings(x, y)
    chosen, free = choose(found, 7), run_axes(found[0].a, found[0].b, 7)
    assert len(found) == 2 and chosen.exact.log10_e is not None and free.log10_e is not None and free.log10_p is not None
    assert chosen.exact.log10_e == pytest.approx(free.log10_e - math.log10(2))
    assert chosen.exact.log10_p == pytest.approx(free.log10_p + math.log10(2))
    assert choose(pairings(x, x), 7).price == 0.0
