"""Roundings to codebooks, small floats and integers divided in bfloat16 are known as such; training from them, or near them, is not."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from begat.signals.grid import Agreement, float_agreement, level_agreement, step_agreement
from begat.source.bitsandbytes import LEVELS

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def weights(seed: int, rows: int = 16, cols: int = 512) -> np.ndarray:
    r = np.random.default_rng(seed)
    return (0.05 * r.normal(size=(rows, cols)) * np.exp(0.3 * r.normal(size=cols))).astype(np.float32)


def blocks(w: np.ndarray, run: int) -> np.ndarray:
    """The greatest size in each run of a row, for every value."""
    return np.repeat(np.abs(w.reshape(len(w), -1, run)).max(2), run, axis=1)


def nearest(w: np.ndarray, scale: np.ndarray, levels: np.ndarray) -> np.ndarray:
    points = np.unique(levels)
    return points[np.abs((w / scale)[..., None] - points).argmin(-1)] * scale


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("rough", [0, 64])
def test_codebooks(kind: str, rough: int) -> None:
    w, levels = weights(1), LEVELS[kind]
    scale = blocks(w, 64)
    stored = nearest(w, scale, levels)
    if rough:  # maxima cut to 8 bits after the codes were chosen
        cut = np.rint(scale / scale.max() * 60) / 60 * scale.max()
        stored, scale = stored / scale * cut, cut
    assert level_agreement(w, stored.astype(np.float32), scale.astype(np.float32), levels, "x", rough=rough).rounded
    other = weights(2)
    assert not level_agreement(other, stored, scale, levels, "x", rough=rough).rounded


def test_scales_that_are_powers_of_two_cut_the_greatest_numbers() -> None:
    for cast, mantissa, tiny, largest, top in (
        (ml_dtypes.float8_e4m3fn, 3, -9, 448.0, 8), (ml_dtypes.float8_e5m2, 2, -16, 57344.0, 15), (ml_dtypes.float4_e2m1fn, 1, -1, 6.0, 2),
    ):  # fmt: skip
        w = weights(3)
        scale = (2.0 ** (np.floor(np.log2(blocks(w, 32))) - top)).astype(np.float32)
        stored = np.clip(w / scale, -largest, largest).astype(cast).astype(np.float32) * scale
        found = float_agreement(w, stored, mantissa, 2.0**tiny, "x", scale, largest)
        assert found.rounded, (cast, found)
        assert not float_agreement(w * 1.6, stored, mantissa, 2.0**tiny, "x", scale, largest).rounded
        assert not float_agreement(weights(4), stored, mantissa, 2.0**tiny, "x", scale, largest).rounded


def bf16(x: np.ndarray) -> np.ndarray:
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def divided(w: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """llmcompressor's integers: the quotient in bfloat16, then rounded."""
    return np.clip(np.rint(bf16(w / scale)), -128, 127)


@pytest.mark.parametrize("run", [512, 128, 32])
def test_integers_divided_in_bfloat16_are_a_rounding(run: int) -> None:
    """Half of its larger integers lie beyond half a step; done again, the division gives every one of them."""
    w = bf16(weights(5))
    scale = bf16(blocks(w, run) / 127.5)
    q = divided(w, scale)
    beyond = np.abs(w / scale - q) > 0.56
    assert beyond.mean() > 0.01
    found = step_agreement(w, (q * scale).astype(np.float32), scale, "I8 steps")
    assert found.rounded and "bfloat16" in found.grid


@pytest.mark.parametrize("moved", [0.15, 0.4, 1.0])
def test_a_model_tuned_from_integers_is_not_their_source(moved: float) -> None:
    """Within half a step of the integers, or nearly, but not rounded to them: neither way of rounding takes it."""
    w = bf16(weights(6))
    scale = bf16(blocks(w, 128) / 127.5)
    stored = (divided(w, scale) * scale).astype(np.float32)
    r = np.random.default_rng(7)
    for source in (stored, w):
        tuned = bf16(source + moved * scale * r.normal(size=w.shape))
        assert not step_agreement(tuned, stored, scale, "I8 steps").rounded


def test_a_model_tuned_lightly_from_codes_is_not_their_source() -> None:
    w, levels = weights(8), LEVELS["nf4"]
    scale = blocks(w, 64)
    stored = nearest(w, scale, levels).astype(np.float32)
    for size in (0.01, 0.03, 0.1):
        tuned = (stored + size * scale * np.random.default_rng(9).normal(size=w.shape)).astype(np.float32)
        found: Agreement = level_agreement(tuned, stored, scale, levels, "x")
        assert not found.rounded, size


def test_zero_scales_and_one_level_are_no_agreement() -> None:
    w = weights(10)
    none = np.zeros_like(w)
    assert level_agreement(w, none, none, LEVELS["nf4"], "x").ok == 0
    assert not step_agreement(w, none, none, "x").rounded
