"""The methods on the trained family that ships with begat: parent, fine-tune, four-bit copy, same-seed twin, stranger of the same data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")

from begat_lab.methods import METHODS, Model, open_model

DATA = Path(__file__).parents[3] / "src" / "begat" / "demo" / "data"
TEXT_NT = np.frombuffer((Path(__file__).read_bytes())[:512], dtype=np.uint8).reshape(32, 16).astype(np.int64)


@pytest.fixture(scope="module")
def family() -> dict[str, Model]:
    return {f.name: open_model(f, TEXT_NT) for f in DATA.iterdir() if f.is_dir()}


def related(name: str, a: Model, b: Model) -> float:
    if METHODS[name].needs == "forward":
        pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
    score = METHODS[name].score(a, b)
    assert score.value is not None, score.reason
    return METHODS[name].relatedness(score) or 0.0


@pytest.mark.parametrize("name", list(METHODS))
def test_children_rank_above_the_stranger(name: str, family: dict[str, Model]) -> None:
    tuned, coarse, stranger = (related(name, family["parent"], family[b]) for b in ("fine-tune", "four-bit", "stranger"))
    assert min(tuned, coarse) > stranger


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].p_value])
def test_p_values_find_the_children_and_clear_the_stranger(name: str, family: dict[str, Model]) -> None:
    assert related(name, family["parent"], family["fine-tune"]) > 50
    assert related(name, family["parent"], family["stranger"]) < 4


@pytest.mark.parametrize(("name", "floor"), [("huref", 0.5), ("awm", 0.3), ("gain-cosine", 0.99), ("reef", 0.7), ("ghostspec-corr", 0.98)])
def test_similarities_of_trained_strangers_are_far_from_zero(name: str, floor: float, family: dict[str, Model]) -> None:
    """Same data, other seed: what a similarity without a null makes of strangers."""
    assert related(name, family["parent"], family["stranger"]) > floor
