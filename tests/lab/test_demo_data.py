"""The family that ships with begat is whole, small and what `truth.json` says. No torch: this runs wherever begat does."""

import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

load_file = pytest.importorskip("safetensors.numpy").load_file

DATA = Path(__file__).parents[2] / "src" / "begat" / "demo" / "data"
TRUTH = json.loads((DATA / "truth.json").read_text(encoding="utf-8"))
MEMBERS = TRUTH["members"]


def weights(name):
    return {key: value.astype(np.float64) for key, value in load_file(DATA / name / "model.safetensors").items()}


@pytest.mark.parametrize("name", MEMBERS)
def test_files_are_those_the_truth_was_written_about(name):
    for file, digest in MEMBERS[name]["sha256"].items():
        assert hashlib.sha256((DATA / name / file).read_bytes()).hexdigest() == digest, file


def test_nothing_else_ships_and_all_of_it_is_small():
    files = {path.relative_to(DATA).as_posix() for path in DATA.rglob("*") if path.is_file()}
    assert files == {"truth.json"} | {f"{name}/{file}" for name in MEMBERS for file in ("config.json", "model.safetensors")}
    assert sum((DATA / file).stat().st_size for file in files) <= 3_000_000


def test_members_are_trained_and_equally_good():
    for member in MEMBERS.values():
        for text, loss in member["validation_loss"].items():
            assert loss < 0.5 * TRUTH["texts"][text]["unigram_entropy"]
    loss = {name: member["validation_loss"] for name, member in MEMBERS.items()}
    assert loss["stranger"]["library"] == pytest.approx(loss["parent"]["library"], abs=0.05)
    assert loss["fine-tune"]["internet"] < loss["parent"]["internet"] - 0.05
    assert loss["four-bit"]["library"] < loss["parent"]["library"] + 0.05


@pytest.mark.parametrize(("name", "low", "high"), [("fine-tune", 0.3, 0.6), ("four-bit", 0.04, 0.15), ("stranger", 1.2, 1.5)])
def test_relative_change_is_what_the_truth_says(name, low, high):
    a, b = weights("parent"), weights(name)
    moved = sum(np.square(b[key] - a[key]).sum() for key in a)
    change = (moved / sum(np.square(a[key]).sum() for key in a)) ** 0.5
    assert change == pytest.approx(MEMBERS[name]["relative_change"]["all"], abs=1e-3)
    assert low < change < high


@pytest.mark.parametrize("name", MEMBERS)
def test_gains_vary(name):
    assert all(gain.std() > 0.02 for key, gain in weights(name).items() if "norm" in key)


def test_four_bit_copy_lies_on_its_grid():
    parent, child = weights("parent"), weights("four-bit")
    for key in parent:
        if not key.endswith("_proj.weight"):
            np.testing.assert_allclose(child[key], parent[key], atol=2.0**-24, err_msg=key)
            continue
        group, source = child[key].reshape(-1, 32), parent[key].reshape(-1, 32)
        scale = np.abs(group).max(1, keepdims=True) / 7
        assert (scale == scale.astype(ml_dtypes.bfloat16).astype(np.float64)).all(), "a scale has 8 significant bits"
        steps = group / scale
        assert (steps == steps.round()).all()
        assert (np.abs(source - group) <= 0.501 * scale).all(), "the nearest point of the grid"
