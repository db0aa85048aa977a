"""Head spectra: the same in every basis and order, and near to those of a noisy copy."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.spectra import layer_distances, spectra

RNG = np.random.default_rng(3)
HEADS, DIMS, WIDTH = 4, 8, 48


def _layer(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = (rng.standard_normal((HEADS, DIMS, WIDTH)).astype(np.float32) for _ in range(2))
    return x * np.exp(0.2 * rng.standard_normal((HEADS, 1, 1))).astype(np.float32), y


def _numbers(layers: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    out = [spectra(x, y) for x, y in layers]
    assert all(n is not None for n in out)
    return [n for n in out if n is not None]


def test_no_change_of_basis_and_no_order_alters_them() -> None:
    x, y = _layer(RNG)
    q = np.linalg.qr(RNG.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    inside = (RNG.standard_normal((HEADS, DIMS, DIMS)) + 3 * np.eye(DIMS)).astype(np.float32)
    order = RNG.permutation(HEADS)
    plain = spectra(x, y)
    turned = spectra((inside @ x @ q)[order], (np.linalg.inv(inside).transpose(0, 2, 1) @ y @ q)[order])
    assert plain is not None and turned is not None
    assert turned == pytest.approx(plain[order], abs=2e-3)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 1, 2], [0, 0, 1, 2, 3], [4, 4, 4, 1, 1]])
def test_a_noisy_copy_is_nearest_wherever_it_stands(noise: float, order: list[int]) -> None:
    rng = np.random.default_rng(4)
    ours = [_layer(rng) for _ in range(5)]
    theirs = [tuple(m + noise * m.std() * rng.standard_normal(m.shape).astype(np.float32) for m in ours[i]) for i in order]
    apart = layer_distances(_numbers(ours), _numbers(theirs))  # type: ignore[arg-type]
    assert apart.shape == (5, 5) and apart.argmin(axis=1).tolist() == order


def test_a_matrix_of_zeros_has_none() -> None:
    x, y = _layer(RNG)
    assert spectra(x, np.zeros_like(y)) is None and spectra(np.zeros_like(x), y) is None


def test_fewer_heads_are_enough_to_be_found() -> None:
    rng = np.random.default_rng(5)
    ours = _numbers([_layer(rng) for _ in range(4)])
    apart = layer_distances(ours, [x[:2] for x in ours])
    assert apart.argmin(axis=1).tolist() == [0, 1, 2, 3] and apart.min(axis=1) == pytest.approx(0, abs=1e-6)
