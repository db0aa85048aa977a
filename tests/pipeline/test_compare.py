"""`begat.compare` on toy models of known descent: the verdict, and what the verdict must never be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import begat
from begat.types import Verdict
from builders import BF16, Tensors, llama, noisy, reordered_units, rounded, stitched, write


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rng = np.random.default_rng(11)
    parent, config = llama(rng)
    other, _ = llama(rng)
    return {"root": tmp_path_factory.mktemp("family"), "parent": parent, "other": other, "config": config, "n": 0}


def run(family: dict[str, Any], b: Tensors, a: Tensors | None = None, dtype_a: Any = None, dtype_b: Any = None, **kw: Any) -> Verdict:
    family["n"] += 1
    root = family["root"] / str(family["n"])
    x = write(root / "a", family["parent"] if a is None else a, family["config"], dtype_a)
    y = write(root / "b", b, family["config"], dtype_b)
    return begat.compare(x, y, **kw)


RNG = np.random.default_rng(5)


def test_child(family: dict[str, Any]) -> None:
    v = run(family, noisy(family["parent"], RNG, 0.3))
    assert v.verdict == "derived-or-shared-initialisation"
    assert v.log10_e is not None and v.log10_e > 500
    assert v.log10_p is not None and v.log10_p < -300
    assert {p.status for p in v.parts} == {"dependent"}
    assert v.direction == "undetermined" and "white noise" in v.kind  # this child is its parent with white noise on it


@pytest.mark.parametrize("mode", ["sampled", "full", "none"])
def test_map_modes_do_not_change_the_verdict(family: dict[str, Any], mode: str) -> None:
    v = run(family, noisy(family["parent"], RNG, 0.3), map=mode)
    assert v.verdict == "derived-or-shared-initialisation"
    assert bool(v.cells) == (mode != "none")


def test_stranger(family: dict[str, Any]) -> None:
    v = run(family, family["other"])
    assert v.verdict == "no-evidence"
    assert v.log10_e is not None and v.log10_e < 1
    assert v.power is not None and v.power.cosine is not None and v.power.cosine < 0.5
    assert any("reordered" in c.lower() for c in v.caveats)


def test_identical_needs_every_value(family: dict[str, Any]) -> None:
    assert run(family, dict(family["parent"])).verdict == "identical"
    touched = dict(family["parent"])
    w = touched["model.layers.3.self_attn.o_proj.weight"].copy()
    w[17, 5] += 1e-3
    touched["model.layers.3.self_attn.o_proj.weight"] = w
    for mode in ("sampled", "full"):
        v = run(family, touched, map=mode)
        assert v.verdict == "derived-or-shared-initialisation"


def test_one_unmapped_tensor_that_differs_is_not_identical(family: dict[str, Any]) -> None:
    a = dict(family["parent"]) | {"odd.thing": np.ones((3, 3), np.float32)}
    b = dict(family["parent"]) | {"odd.thing": np.zeros((3, 3), np.float32)}
    v = run(family, b, a)
    assert v.verdict == "derived-or-shared-initialisation"
    assert v.accounting is not None and v.accounting[0].unmapped == ("odd.thing",)


@pytest.mark.parametrize("dtype", [BF16, np.float16])
def test_narrower_float_is_a_re_encoding(family: dict[str, Any], dtype: Any) -> None:
    v = run(family, dict(family["parent"]), dtype_b=dtype)
    assert (v.verdict, v.direction) == ("re-encoded", "A → B")
    v = run(family, dict(family["parent"]), dtype_a=dtype)
    assert (v.verdict, v.direction) == ("re-encoded", "B → A")


def test_fp8_is_a_re_encoding(family: dict[str, Any]) -> None:
    v = run(family, dict(family["parent"]), dtype_b=ml_dtypes.float8_e4m3fn)
    assert (v.verdict, v.direction) == ("re-encoded", "A → B")


@pytest.mark.parametrize(("bits", "group"), [(8, 96), (4, 32), (3, 16), (4, 16)])
def test_grid_is_found_in_plain_floats(family: dict[str, Any], bits: int, group: int) -> None:
    v = run(family, rounded(family["parent"], bits, group))
    assert (v.verdict, v.direction) == ("re-encoded", "A → B")
    assert v.equality is not None and v.equality.coarser == "B"


def test_quantised_fine_tune_is_no_re_encoding(family: dict[str, Any]) -> None:
    v = run(family, rounded(noisy(family["parent"], RNG, 0.1), 4, 32))
    assert v.verdict == "derived-or-shared-initialisation"


def test_light_training_of_a_dequantised_copy_is_no_rounding(family: dict[str, Any]) -> None:
    """Its values stay within half a step of the grid, yet it was trained, and the quantised model is not made from it."""
    coarse = rounded(family["parent"], 4, 32)
    for share in (0.004, 0.02, 0.04):
        child = {n: w if w.ndim == 1 else (w + share * w.std() * RNG.standard_normal(w.shape)).astype(np.float32) for n, w in coarse.items()}
        for pair in ((child, coarse), (coarse, child)):
            assert run(family, *pair).verdict == "derived-or-shared-initialisation"


def test_light_training_below_a_narrow_floats_rounding_is_no_rounding(family: dict[str, Any]) -> None:
    narrow = {n: w.astype(BF16).astype(np.float32) for n, w in family["parent"].items()}
    child = {n: (w * (1 + 2e-4 * RNG.standard_normal(w.shape))).astype(np.float32) for n, w in narrow.items()}
    v = run(family, child, a=narrow, dtype_a=BF16)
    assert v.verdict == "derived-or-shared-initialisation"


def test_exact_upcast_is_a_re_encoding(family: dict[str, Any]) -> None:
    narrow = {n: w.astype(BF16) for n, w in family["parent"].items()}
    v = run(family, {n: w.astype(np.float32) for n, w in narrow.items()}, a=narrow)
    assert v.verdict == "re-encoded"


def test_stitched_layers_are_named(family: dict[str, Any]) -> None:
    child = noisy(family["parent"], RNG, 0.2)
    v = run(family, stitched(child, family["other"], range(2, 4)))
    assert v.verdict == "partly-derived"
    status = {p.part: p.status for p in v.parts}
    assert [status[f"layer {i}"] for i in range(5)] == ["dependent", "dependent", "no-evidence", "no-evidence", "dependent"]
    assert "layers 2–3" in v.sentence


def test_embedding_alone_is_partly(family: dict[str, Any]) -> None:
    v = run(family, dict(family["other"]) | {"model.embed_tokens.weight": family["parent"]["model.embed_tokens.weight"]})
    assert v.verdict == "partly-derived"
    assert "embedding" in v.sentence


def test_reordered_units_are_still_seen_in_the_residual_stream(family: dict[str, Any]) -> None:
    v = run(family, reordered_units(noisy(family["parent"], RNG, 0.05), RNG))
    assert v.verdict == "derived-or-shared-initialisation"
    by_axis = {x.axis: x for x in v.axes}
    assert by_axis["mlp-units"].log10_e is not None and by_axis["mlp-units"].log10_e < 1
    assert by_axis["residual"].hits > 60


def test_too_small_to_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiny = {"hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4,
            "num_hidden_layers": 1, "vocab_size": 8}  # fmt: skip
    (a, c), (b, _) = llama(rng, **tiny), llama(rng, **tiny)
    v = begat.compare(write(tmp_path / "a", a, c), write(tmp_path / "b", b, c))
    assert v.verdict == "cannot-test"


def test_symmetric_in_a_and_b(family: dict[str, Any], tmp_path: Path) -> None:
    a = write(tmp_path / "a", family["parent"], family["config"])
    b = write(tmp_path / "b", noisy(family["parent"], RNG, 0.5), family["config"])
    x, y = begat.compare(a, b), begat.compare(b, a)
    assert x.replay["seed"] == y.replay["seed"]
    assert x.verdict == y.verdict
    assert x.log10_e == pytest.approx(y.log10_e, rel=0.1)


def test_a_nonce_changes_the_rows_only(family: dict[str, Any], tmp_path: Path) -> None:
    a = write(tmp_path / "a", family["parent"], family["config"])
    b = write(tmp_path / "b", family["other"], family["config"])
    x, y = begat.compare(a, b), begat.compare(a, b, nonce="examiner")
    assert x.replay["seed"] != y.replay["seed"]
    assert x.verdict == y.verdict == "no-evidence"


def test_no_false_alarm_whatever_the_config_says(tmp_path: Path) -> None:
    """A config chooses what is compared and never raises a verdict: strangers stay strangers under forged head counts."""
    rng = np.random.default_rng(3)
    (a, c), (b, _) = llama(rng), llama(rng)
    for n, forged in enumerate(
        [{}, {"head_dim": 8, "num_attention_heads": 12, "num_key_value_heads": 4}, {"head_dim": 2, "num_attention_heads": 48, "num_key_value_heads": 16},
         {"head_dim": 32, "num_attention_heads": 3, "num_key_value_heads": 1}, {"model_type": "mixtral"}, {"hidden_size": 7}, {"num_hidden_layers": -1}]
    ):  # fmt: skip
        v = begat.compare(write(tmp_path / f"a{n}", a, c | forged), write(tmp_path / f"b{n}", b, c | forged))
        assert v.verdict == "no-evidence", forged
        assert v.log10_e is not None and v.log10_e < 3


def test_half_heads_with_classes_do_not_accuse(tmp_path: Path) -> None:
    """Rotary dims make the first and second half of every head unlike each other, in all models alike. A config that states half the
    true head size must not turn that likeness into evidence."""
    rng = np.random.default_rng(9)
    c = {"hidden_size": 128, "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 16, "num_hidden_layers": 24}
    halves = [rng.standard_normal((4, 128)) for _ in range(2)]

    def model() -> tuple[Tensors, dict[str, Any]]:
        w, config = llama(rng, **c)
        for name in w:
            if name.endswith("k_proj.weight"):
                k = w[name].reshape(8, 2, 8, 128)
                for h in (0, 1):
                    k[:, h, :4] += 0.3 * halves[h]
                w[name] = k.reshape(128, 128).astype(np.float32)
        return w, config

    forged = {"head_dim": 8, "num_attention_heads": 16, "num_key_value_heads": 16}
    (a, ca), (b, cb) = model(), model()
    v = begat.compare(write(tmp_path / "a", a, ca | forged), write(tmp_path / "b", b, cb | forged))
    kv = next(x for x in v.axes if x.axis == "kv-heads")
    assert kv.log10_e is not None and kv.log10_e < 2
    # the two do share what was added, in one order of the residual stream, and only the test of that order may find it
    assert v.alignment is not None
    assert {r.route for r in v.alignment.routes if (r.log10_e or 0) > 2} <= {"residual-columns"}
