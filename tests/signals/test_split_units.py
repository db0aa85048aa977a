"""Split units: put together the MLP computes the same, whatever they were split by, and ordinary units are left alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from begat.signals.split_units import Reduction, reduction, twins_of

Act = Callable[[np.ndarray], np.ndarray]
WIDTH, UNITS = 24, 40
RNG = np.random.default_rng(8)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _mlp(rng: np.random.Generator, units: int = UNITS) -> tuple[np.ndarray, ...]:
    return tuple(rng.standard_normal((units, WIDTH)).astype(np.float32) for _ in range(3))


def _split(mlp: tuple[np.ndarray, ...], by: str, ways: int, rng: np.random.Generator, of: range) -> tuple[np.ndarray, ...]:
    """Units `of` in `ways` pieces, function kept, in an order drawn anew."""
    out: list[tuple[np.ndarray, ...]] = []
    for i, (g, u, d) in enumerate(zip(*mlp, strict=True)):
        if i not in of:
            out.append((g, u, d))
            continue
        share = rng.dirichlet(np.full(ways, 3.0))
        r = 3 * rng.standard_normal((ways, WIDTH))
        for k in range(ways):
            if by == "down":
                out.append((g, u, share[k] * d + r[k] - r.mean(axis=0)))
            elif by == "up":
                out.append((g, u + r[k] - share @ r, share[k] * d))
            elif by == "scale":
                s = rng.choice([-1, 1]) * np.exp(rng.standard_normal())
                out.append((g, s * u, share[k] * d / s))
            else:  # gate rows scaled, as only ReLU allows
                s = np.exp(rng.standard_normal())
                out.append((s * g, u, share[k] * d / s))
    order = rng.permutation(len(out))
    return tuple(np.stack([out[i][n] for i in order]).astype(np.float32) for n in range(3))


def _together(mlp: tuple[np.ndarray, ...], found: Reduction) -> tuple[np.ndarray, ...]:
    gate, up, down = mlp
    gone = {int(i) for g in found.groups for i in g.members} | set(found.dead.tolist())
    rows = [tuple(x[i] for x in mlp) for i in range(len(gate)) if i not in gone]
    for g in found.groups:
        rows += [(g.gate_K @ gate[g.members], a @ up[g.members], b @ down[g.members]) for a, b in zip(g.up_RK, g.down_RK, strict=True)]
    return tuple(np.stack([r[n] for r in rows]) for n in range(3))


def _computed(mlp: tuple[np.ndarray, ...], x: np.ndarray, act: Act) -> np.ndarray:
    gate, up, down = mlp
    return (act(x @ gate.T) * (x @ up.T)) @ down


@pytest.mark.parametrize("of", [range(UNITS), range(0, UNITS, 3)])
@pytest.mark.parametrize("ways", [2, 3, 4])
@pytest.mark.parametrize("by", ["down", "up", "scale", "gate"])
def test_the_function_is_kept_and_the_units_are_as_many_as_before(by: str, ways: int, of: range) -> None:
    rng = np.random.default_rng(ways)
    mlp, act = _mlp(rng), relu if by == "gate" else silu
    split = _split(mlp, by, ways, rng, of)
    found = reduction(*split, relu=by == "gate")
    assert found is not None and len(found.groups) == len(of) and not found.dead.size
    whole = _together(split, found)
    assert len(whole[0]) == UNITS
    x = rng.standard_normal((50, WIDTH))
    assert _computed(whole, x, act) == pytest.approx(_computed(mlp, x, act), rel=1e-3, abs=2e-2)
    # every old unit stands among the new ones, up to the sign and size of up and down
    for old, new in zip(mlp, whole, strict=True):
        unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (old, new)]
        assert np.abs(unit[0] @ unit[1].T).max(axis=1) == pytest.approx(1, abs=1e-3)


def test_scaled_gates_are_one_under_relu_only() -> None:
    rng = np.random.default_rng(2)
    split = _split(_mlp(rng), "gate", 2, rng, range(UNITS))
    found = reduction(*split, relu=False)
    assert found is None or len(found.groups) < UNITS  # those few whose scales were nearly one


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_without_a_gate_equal_up_rows_are_one(act: str) -> None:
    rng = np.random.default_rng(6)
    _, up, down = _mlp(rng)
    bias = rng.standard_normal((UNITS, 1)).astype(np.float32)
    rows = np.concatenate([up, bias], axis=1)
    r = 2 * rng.standard_normal(down.shape).astype(np.float32)
    split = np.concatenate([rows, rows]), np.concatenate([down / 2 + r, down / 2 - r])
    found = reduction(split[0], None, split[1], relu=act == "relu")
    assert found is not None and len(found.groups) == UNITS
    assert all(sorted(g.members.tolist())[1] == sorted(g.members.tolist())[0] + UNITS for g in found.groups)
    for g in found.groups:
        assert g.down_RK[0] @ split[1][g.members] == pytest.approx(down[g.members.min()], abs=1e-4)


def test_noise_after_the_split_is_seen_through() -> None:
    rng = np.random.default_rng(7)
    mlp = _mlp(rng)
    noisy = tuple(m + 0.1 * m.std() * rng.standard_normal(m.shape).astype(np.float32) for m in _split(mlp, "down", 2, rng, range(UNITS)))
    found = reduction(*noisy, relu=False)
    assert found is not None and len(found.groups) > 0.9 * UNITS


def test_units_that_do_nothing_are_left_out() -> None:
    gate, up, down = _mlp(RNG)
    zeros = np.zeros((5, WIDTH), dtype=np.float32)
    rest = RNG.standard_normal((5, WIDTH)).astype(np.float32)
    padded = np.concatenate([gate, zeros, rest]), np.concatenate([up, rest, rest]), np.concatenate([down, rest, zeros])
    found = reduction(*padded, relu=False)
    assert found is not None and not found.groups and found.dead.tolist() == list(range(UNITS, UNITS + 10))


@pytest.mark.parametrize("width", [16, 24, 96])
def test_ordinary_units_are_left_alone(width: int) -> None:
    """Also those whose rows share a large part: trained gate rows lean to one side."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gate, up, down = (rng.standard_normal((200, width)).astype(np.float32) for _ in range(3))
        gate += 1.5 * rng.standard_normal(width).astype(np.float32)
        found = reduction(gate, up, down, relu=bool(seed % 2))
        at = rng.permutation(200)[:64]
        assert found is None and twins_of(gate, at, plain=False) < 2


def test_twins_are_seen_in_a_sample() -> None:
    rng = np.random.default_rng(9)
    gate = _split(_mlp(rng, 400), "down", 2, rng, range(0, 400, 4))[0]
    at = np.sort(rng.permutation(len(gate))[:64])
    assert twins_of(gate, at, plain=False) >= 2


def test_an_mlp_that_adds_nothing_is_left_as_it_is() -> None:
    zeros = np.zeros((8, 5), np.float32)
    assert reduction(zeros, zeros, zeros, False) is None
    assert reduction(np.ones((8, 5), np.float32), None, zeros, True) is None
