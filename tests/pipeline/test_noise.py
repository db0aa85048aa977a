"""White noise on a model's weights is named; training, merges, adapters and the residue of quantisers are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from begat.canon.resolve import resolve
from begat.demo import data_folder
from begat.pipeline.inherit import full_map
from begat.pipeline.kind import describe
from begat.signals.whiteness import whiteness
from begat.source import open_checkpoint
from builders import BF16, Tensors, rounded, write

DEMO = Path(str(data_folder()))
CONFIG = json.loads((DEMO / "parent" / "config.json").read_text())


def demo(name: str) -> Tensors:
    c = open_checkpoint(DEMO / name)
    return {n: np.asarray(c.read(n), np.float32).reshape(e.shape) for n, e in c.entries.items()}


PARENT, TUNED = demo("parent"), demo("fine-tune")
RNG = np.random.default_rng(0)
Noise = Callable[[str, np.ndarray], np.ndarray]


def normal(w: np.ndarray) -> np.ndarray:
    return RNG.standard_normal(w.shape)


def noised(how: Noise, tensors: Tensors = PARENT) -> Tensors:
    return {n: (w + how(n, w)).astype(np.float32) for n, w in tensors.items()}


def kind(home: Path, b: Tensors, dtype: Any = np.float32, a: Tensors = PARENT) -> tuple[str, str]:
    x, y = (resolve(open_checkpoint(write(home / name, t, CONFIG, dtype))) for name, t in (("a", a), ("b", b)))
    cells = full_map(x, y)
    one, other = describe(x, y, cells, 7), describe(y, x, cells, 7)
    assert other.kind == one.kind
    assert other.direction == {"A → B": "B → A", "B → A": "A → B"}.get(one.direction, one.direction)
    return one.kind, one.direction


NOISES: dict[str, Noise] = {
    "of a fine-tune's size": lambda n, w: np.sqrt(np.mean((TUNED[n] - w) ** 2)) * normal(w),
    "1 % of each tensor": lambda n, w: 0.01 * w.std() * normal(w),
    "20 % of each tensor": lambda n, w: 0.2 * w.std() * normal(w),
    "of one size": lambda n, w: 0.003 * normal(w),
    "uniform": lambda n, w: 0.02 * w.std() * RNG.uniform(-1, 1, w.shape),
    "on matrices only": lambda n, w: 0.02 * w.std() * normal(w) * (w.ndim == 2),
    "on attention only": lambda n, w: 0.02 * w.std() * normal(w) * ("self_attn" in n and w.ndim == 2),
}


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_named_without_an_arrow(tmp_path: Path, name: str) -> None:
    found, direction = kind(tmp_path, noised(NOISES[name]))
    assert "white noise" in found and "fine-tune" not in found
    assert direction == "undetermined"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_merges_of_models_that_are_nearly_white_themselves(tmp_path: Path, share: float) -> None:
    """A difference from a source is white then, and in equal shares uncorrelated with the merge."""
    one, two = ({n: (w.std() * normal(w)).astype(np.float32) for n, w in PARENT.items()} for _ in range(2))
    merged = {n: (share * w + (1 - share) * two[n]).astype(np.float32) for n, w in one.items()}
    found, direction = kind(tmp_path, merged, a=one)
    assert "noise" not in found and direction == "undetermined"


@pytest.mark.parametrize("dtype", [BF16, np.float16])
@pytest.mark.parametrize("name", ["of a fine-tune's size", "20 % of each tensor", "uniform"])
def test_noise_then_rounding(tmp_path: Path, name: str, dtype: Any) -> None:
    assert "white noise" in kind(tmp_path, noised(NOISES[name]), dtype)[0]


def test_two_copies_with_noise_of_their_own_have_no_direction(tmp_path: Path) -> None:
    how = NOISES["20 % of each tensor"]
    found, direction = kind(tmp_path, noised(how), a=noised(how))
    assert "white noise" in found and direction == "undetermined"


def dare(share: float) -> Tensors:
    return {n: (w + (TUNED[n] - w) * (RNG.random(w.shape) < share) / share).astype(np.float32) for n, w in PARENT.items()}


def adapter(rank: int) -> Tensors:
    return {n: (w + 0.02 * w.std() * RNG.standard_normal((len(w), rank)) @ RNG.standard_normal((rank, w.shape[1]))).astype(np.float32) if w.ndim == 2 else w
            for n, w in PARENT.items()}  # fmt: skip


def one_scale(tensors: Tensors, bits: int) -> Tensors:
    """One scale for a whole tensor: the residue is uniform and alike everywhere."""
    out = {}
    for n, w in tensors.items():
        step = np.abs(w).max() / (2 ** (bits - 1) - 1)
        out[n] = (np.rint(w / step) * step).astype(np.float32) if w.ndim == 2 else w
    return out


OTHERS: dict[str, Callable[[], Tensors]] = {
    "a fine-tune": lambda: TUNED,
    "half of a fine-tune": lambda: {n: ((w + TUNED[n]) / 2).astype(np.float32) for n, w in PARENT.items()},
    "twice a fine-tune": lambda: {n: (2 * TUNED[n] - w).astype(np.float32) for n, w in PARENT.items()},
    "a twin": lambda: demo("twin"),
    "between twins": lambda: {n: (0.7 * w + 0.3 * demo("twin")[n]).astype(np.float32) for n, w in PARENT.items()},
    "DARE, half dropped": lambda: dare(0.5),
    "DARE, nine of ten dropped": lambda: dare(0.1),
    "an adapter of rank 2": lambda: adapter(2),
    "an adapter of rank 32": lambda: adapter(32),
    "4 bits": lambda: rounded(PARENT, 4, 32),
    "8 bits by row": lambda: {n: x if x.ndim < 2 else rounded({n: x}, 8, x.shape[1])[n] for n, x in PARENT.items()},
    "8 bits, one scale": lambda: one_scale(PARENT, 8),
    "6 bits of a fine-tune": lambda: one_scale(TUNED, 6),
    "fp8": lambda: {n: w.astype(ml_dtypes.float8_e4m3fn).astype(np.float32) for n, w in PARENT.items()},
    "scaled": lambda: {n: (w * np.float32(1.01)).astype(np.float32) for n, w in PARENT.items()},
    "noise by row": lambda: noised(lambda n, w: 0.02 * np.linalg.norm(w, axis=-1, keepdims=True) / w.shape[-1] ** 0.5 * normal(w) if w.ndim == 2 else 0 * w),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((n, np.float32) for n in OTHERS), *((n, BF16) for n in ("a fine-tune", "8 bits, one scale", "DARE, nine of ten dropped", "noise by row"))],
)
def test_what_is_no_white_noise_is_never_called_so(tmp_path: Path, name: str, dtype: Any) -> None:
    x, y = (resolve(open_checkpoint(write(tmp_path / n, t, CONFIG, dtype))) for n, t in (("a", PARENT), ("b", OTHERS[name]())))
    assert "noise" not in describe(x, y, full_map(x, y), 7).kind


def test_the_null_stands_at_one() -> None:
    """Independent values of one variance, of several distributions and shapes: each number about 1, dispersions to within their standard error."""
    rng = np.random.default_rng(1)
    draws: dict[str, Callable[[tuple[int, int]], np.ndarray]] = {
        "normal": rng.standard_normal, "uniform": lambda s: rng.uniform(-1, 1, s), "laplace": lambda s: rng.laplace(size=s),
        "signs": lambda s: rng.choice([-1.0, 1.0], s) * rng.uniform(0.5, 1, s),
    }  # fmt: skip
    for draw in draws.values():
        for shape in ((32, 32), (64, 160), (256, 64)):
            found = [whiteness(draw(shape)) for _ in range(60)]
            for at, side in enumerate(("rows", "columns")):
                values = [getattr(w, side) for w in found]
                assert abs(np.mean(values) - 1) <= 0.03 + 4 * np.sqrt(2 / (shape[at] - 1) / len(values))
            assert 0.85 <= np.mean([w.top for w in found]) <= 1.03
