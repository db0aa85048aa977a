"""What counts as a plain feed-forward chain under unknown names, and what must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import begat
from begat.canon.resolve import resolve
from begat.source import open_checkpoint


def chains(tmp_path: Path, shapes: dict[str, tuple[int, ...]]) -> set[str]:
    save_file({n: np.ones(s, np.float32) for n, s in shapes.items()}, tmp_path / "model.safetensors")
    model = resolve(open_checkpoint(tmp_path / "model.safetensors"))
    return {k.tower for k in model.tensors if k.role == "chain.weight"}


CHAINS = [
    {"H.0.weight": (160, 384), "H.2.weight": (128, 160), "H.4.weight": (96, 128), "H.6.weight": (1, 96)},
    {"H.0.weight": (64, 384), "H.2.weight": (64, 64), "H.4.weight": (10, 64)},  # equal widths, but an activation between
    {"H.l1.weight": (160, 384), "H.l2.weight": (128, 160), "H.l3.weight": (1, 128)},
    {"fc1.weight": (32, 80), "fc2.weight": (7, 32)},
    {"net.layer_1.weight": (32, 80), "net.layer_2.weight": (7, 32)},
]
NOT_CHAINS = [
    {f"proj.{i}.weight": (64, 64) for i in range(6)},  # branches side by side
    {f"trunk.{i}.proj.weight": (64, 64) for i in range(6)},  # blocks that write to one stream
    {f"adapters.{i}.weight": (16, 64) if i % 2 == 0 else (64, 16) for i in range(6)},  # down, up, down, up on one stream
    {"H.0.weight": (64, 384), "H.1.weight": (64,), "H.2.weight": (64, 64), "H.4.weight": (10, 64)},  # something between
    {"H.0.weight": (64, 384), "H.2.weight": (32, 63)},
]


@pytest.mark.parametrize("shapes", CHAINS)
def test_chains(shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    assert len(chains(tmp_path, shapes)) == 1


@pytest.mark.parametrize("shapes", NOT_CHAINS)
def test_lookalikes_are_left_alone(shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    assert chains(tmp_path, shapes) == set()


def test_blocks_on_one_stream_under_unknown_names_do_not_accuse(tmp_path: Path) -> None:
    """Strangers whose blocks share one residual stream, with features every training finds: hits repeat in every block, and must
    not be multiplied. Forty pairs, none accused."""
    rng = np.random.default_rng(0)
    universal = rng.standard_normal((64, 64))

    def model(n: int) -> Path:
        order = rng.permutation(64)
        blocks = {
            f"trunk.{i}.proj.weight": (universal + 0.2 * rng.standard_normal((64, 64)))[order].astype(np.float32)
            for i in range(24)
        }
        folder = tmp_path / str(n)
        folder.mkdir()
        save_file(blocks, folder / "model.safetensors")
        return folder

    for n in range(40):
        assert begat.compare(model(2 * n), model(2 * n + 1)).verdict == "cannot-test"
