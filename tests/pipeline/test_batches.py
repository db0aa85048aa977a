"""Features mapped together are those mapped one by one, and heads are compared by what they span."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from begat.canon.resolve import resolve
from begat.pipeline import rows
from begat.pipeline.aligned_map import spanned
from begat.pipeline.frames import Frame
from begat.pipeline.pose import Features, Pose
from begat.pipeline.search import search
from begat.signals.axes import View
from begat.source.open import open_checkpoint
from begat.types import TensorKey
from builders import llama, noisy, write
from disguises import rotation, turned

RNG = np.random.default_rng(8)


def _pair(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    parent, config = llama(RNG, num_hidden_layers=3)
    width = parent["model.embed_tokens.weight"].shape[1]
    q_DD = rotation(RNG, width)
    return write(tmp_path / "a", parent, config), write(tmp_path / "b", turned(noisy(parent, RNG, 0.3), q_DD), config), q_DD


def test_many_are_as_one_by_one(tmp_path: Path) -> None:
    a, _, q_DD = _pair(tmp_path)
    model = resolve(open_checkpoint(a))
    views = (
        View(TensorKey("text", 0, "mlp.gate.weight"), "rows"),
        View(TensorKey("text", 0, "mlp.down.weight"), "columns"),
        View(TensorKey("text", 1, "attn.k.weight"), "rows", 0, 8, (0, 4)),
        View(TensorKey("text", 1, "attn.o.weight"), "columns"),
    )
    whole = Pose(model, model, {v.key: v.key for v in views})
    wanted = [(whole, views[:2], np.array([1, 5, 9])), (whole, views[2:3], np.array([0, 1])), (whole, views[3:], np.array([2, 3]))]
    together = Features().many(wanted, q_DD)
    for (posed, some, units), found in zip(wanted, together, strict=True):
        plain = Features().blocks(posed, some, units, None)
        for x, y in zip(found, plain, strict=True):
            folded = y.reshape(len(units), -1, len(q_DD)) @ q_DD
            assert x == pytest.approx(folded.reshape(len(units), -1), abs=1e-4)


@pytest.mark.parametrize("batch", [1, 3000, 10**9])
def test_the_size_of_batches_changes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    a, b, q_DD = _pair(tmp_path)
    ma, mb = (resolve(open_checkpoint(p)) for p in (a, b))
    plain = search(ma, mb, Frame(q_DD, "the truth"), 5, Features())
    monkeypatch.setattr(rows, "_BATCH", batch)
    assert search(ma, mb, Frame(q_DD, "the truth"), 5, Features()) == plain
    assert plain.log_e > 20


def testspanned_is_the_share_in_the_rows_of_the_best_head() -> None:
    a, b = (RNG.standard_normal((3, 4, 20)).astype(np.float32) for _ in range(2))
    b[1] = RNG.standard_normal((4, 4)).astype(np.float32) @ a[2]
    a[0, 3] = a[0, 2]  # its rows span three dims
    bases = [np.linalg.qr(h[:3].T if i == 0 else h.T)[0] for i, h in enumerate(a)]
    shares = [max(float(((h @ q) ** 2).sum()) for q in bases) for h in b]
    assert spanned(a, b) == pytest.approx(sum(shares) / float((b**2).sum()), rel=1e-4)
    assert shares[1] == pytest.approx(float((b[1] ** 2).sum()), rel=1e-4)
