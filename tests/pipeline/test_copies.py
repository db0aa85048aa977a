"""Copies inside a model: layers tied or duplicated, experts grown from one MLP. Their lotteries are one lottery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline import exact
from begat.pipeline.exact import run_axes
from begat.signals.kinship import SIGNS, alike, independent, signs, sketch
from begat.source import open_checkpoint
from builders import Tensors, llama, noisy, write

LAYERS, WIDTH, FFN = 12, 48, 64
CONFIG = {
    "hidden_size": WIDTH, "intermediate_size": FFN, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "num_hidden_layers": LAYERS,
    "vocab_size": 64,
}  # fmt: skip


def upscaled(rng: np.random.Generator, universal: np.ndarray) -> Tensors:
    """A model whose layers are near copies of one, whose units show features that every training finds, in an order of its own."""
    out, _ = llama(rng, **CONFIG)
    order = rng.permutation(FFN)
    for i in range(LAYERS):
        for n, name in enumerate(("gate_proj", "up_proj")):
            w = universal[n] + 0.5 * rng.standard_normal((FFN, WIDTH))
            out[f"model.layers.{i}.mlp.{name}.weight"] = w[order].astype(np.float32)
    return out


def log10_es(tmp_path: Path, pairs: int) -> list[float]:
    rng = np.random.default_rng(0)
    universal = rng.standard_normal((2, FFN, WIDTH))
    found = []
    for n in range(pairs):
        a, b = (resolve(open_checkpoint(write(tmp_path / f"{n}{x}", upscaled(rng, universal), CONFIG))) for x in "ab")
        result = run_axes(a, b, n)
        mlp = next(x for x in result.axes if x.axis == "mlp-units")
        assert mlp.log10_e is not None
        found.append(mlp.log10_e)
    return found


def test_strangers_with_copied_layers_are_not_accused(tmp_path: Path) -> None:
    es = log10_es(tmp_path, 40)
    assert max(es) < 3
    assert np.mean(10.0 ** np.array(es)) < 1.6


def test_without_the_guard_they_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "independent", lambda a, b: [True] * len(a))
    assert max(log10_es(tmp_path, 40)) > 6


def test_copies_in_one_model_only_cost_nothing(tmp_path: Path) -> None:
    """An up-scaled child of a model with layers of its own: the parent drew every order apart."""
    rng = np.random.default_rng(1)
    parent, _ = llama(rng, **CONFIG)
    child = noisy(parent, rng, 0.1)
    for name in list(child):
        if ".layers." in name:
            layer = int(name.split(".")[2])
            child[name] = child[name.replace(f".{layer}.", f".{layer // 2 * 2}.")]
    a, b = write(tmp_path / "a", parent, CONFIG), write(tmp_path / "b", child, CONFIG)
    v = begat.compare(a, b)
    assert v.verdict in ("derived-or-shared-initialisation", "partly-derived")
    assert all(t.counted for x in v.axes for t in x.tests)


def test_a_model_of_copies_against_its_child_counts_each_order_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    parent = upscaled(rng, rng.standard_normal((2, FFN, WIDTH)))
    v = begat.compare(write(tmp_path / "a", parent, CONFIG), write(tmp_path / "b", noisy(parent, rng, 0.1), CONFIG))
    assert v.verdict == "derived-or-shared-initialisation"
    mlp = next(x for x in v.axes if x.axis == "mlp-units")
    assert [t.counted for t in mlp.tests].count(True) == 1
    assert mlp.hits == mlp.sampled == FFN
    assert {p.status for p in v.parts if p.layer >= 0} == {"dependent"}


def test_sketches_estimate_the_mean_unit_cosine() -> None:
    rng = np.random.default_rng(3)
    signs_DS = signs(200, np.random.default_rng(4))
    a = rng.standard_normal((64, 200)).astype(np.float32)
    for cosine in (1.0, 0.5, 0.2, 0.0):
        b = (cosine * a + np.sqrt(1 - cosine**2) * rng.standard_normal(a.shape)).astype(np.float32)
        found = float(sketch([a], signs_DS) @ sketch([b], signs_DS))
        assert found == pytest.approx(cosine, abs=5 / np.sqrt(64 * SIGNS))


def test_groups_are_chained_and_need_both_models() -> None:
    rng = np.random.default_rng(5)
    one, two, other = (rng.standard_normal(2048).astype(np.float32) / np.sqrt(2048) for _ in range(3))
    between = (one + two) / np.sqrt(2)
    assert alike([one, two, between]).sum() == 3 + 4
    assert independent([one, two, between, other], [one, two, between, other]) == [True, False, False, True]
    assert independent([one, one, one], [one, two, other]) == [True, True, True]


def test_faint_copies_are_copies_and_strangers_are_not() -> None:
    """Layers that drifted apart to a cosine of a quarter still have one order."""
    rng = np.random.default_rng(6)
    signs_DS = signs(200, rng)
    a = rng.standard_normal((64, 200)).astype(np.float32)
    faint = (0.25 * a + np.sqrt(1 - 0.25**2) * rng.standard_normal(a.shape)).astype(np.float32)
    other = rng.standard_normal(a.shape).astype(np.float32)
    found = alike([sketch([w], signs_DS) for w in (a, faint, other)])
    assert found.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
