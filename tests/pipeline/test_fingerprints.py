"""Fingerprints: what two of them say without the weights, under the null and of children of every kind."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.errors import InputError
from begat.fingerprint import Fingerprint
from begat.pipeline.fingerprints import FingerprintMatch, Unpacked, compare_fingerprints
from begat.pipeline.public import RUN, anchors, public_units
from begat.pipeline.sketch import sketch
from builders import Tensors, llama, noisy, reordered_units, rounded, upcycled, write
from disguises import folded, permutation, reordered_heads, rotation, some_layers, strangers_twin, turned

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
RNG = np.random.default_rng(31)
PARENT, CONFIG = llama(RNG, **SHAPE)
OTHER, _ = llama(RNG, **SHAPE)
TOKENS = {f"token{i}": i for i in range(SHAPE["vocab_size"])}


def sketched(folder: Path, tensors: Tensors, config: dict[str, Any] = CONFIG, tokens: dict[str, int] | None = TOKENS, **more: Any) -> Fingerprint:
    write(folder, tensors, config, **more)
    if tokens is not None:
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": tokens}}))
    return sketch(folder)


def match(tmp_path: Path, child: Tensors, parent: Tensors = PARENT, config: dict[str, Any] = CONFIG, **more: Any) -> FingerprintMatch:
    return compare_fingerprints(sketched(tmp_path / "a", parent), sketched(tmp_path / "b", child, config, **more))


def axis(found: FingerprintMatch, name: str) -> float:
    return dict(found.axes)[name]


def test_a_child_is_found_at_the_same_place(tmp_path: Path) -> None:
    found = match(tmp_path, noisy(PARENT, RNG, 0.3))
    assert found.log10_e is not None and found.log10_e > 300
    assert found.layers == ((0, 0), (1, 1), (2, 2), (3, 3))
    assert found.angle == pytest.approx(np.arctan(0.3), abs=0.03)
    assert found.share == 1.0 and not found.identical and found.unlike < 0.5


def test_the_angle_is_the_change(tmp_path: Path) -> None:
    """tan θ is the relative change, whatever its size: what the tree adds up."""
    for share in (0.05, 0.2, 0.6):
        found = match(tmp_path / str(share), noisy(PARENT, RNG, share))
        assert found.angle == pytest.approx(np.arctan(share), rel=0.08)
        assert 0 < found.angle_sd < 0.02


def test_a_copy_is_identical(tmp_path: Path) -> None:
    found = match(tmp_path, dict(PARENT))
    assert found.identical and found.angle == 0.0 and found.unlike == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_independent_models_are_strangers(tmp_path: Path, seed: int) -> None:
    found = match(tmp_path, llama(np.random.default_rng(seed), **SHAPE)[0])
    assert found.log10_e is not None and found.log10_e < 2
    assert found.layers == () and found.angle is None and found.slots is not None and found.slots < 3


@pytest.mark.slow
def test_the_e_value_has_mean_at_most_one_when_everything_but_the_orders_is_shared(tmp_path: Path) -> None:
    """The worst case of the null: the same weights with every order drawn anew. Ten thousandfold similarity must not count."""
    small = SHAPE | {"num_hidden_layers": 2}
    parent, config = llama(np.random.default_rng(5), **small)
    here = Unpacked(sketched(tmp_path / "a", parent, config))
    values, hits = [], []
    for seed in range(100):
        child = strangers_twin(parent, config, np.random.default_rng(seed))
        found = compare_fingerprints(here, sketched(tmp_path / "b", child, config), search=True)
        assert found.log10_e is not None
        values.append(10**found.log10_e)
        hits += [s.hits for s in found.sites if s.axis == "mlp-units" and s.layer_a == s.layer_b]
    assert np.mean(values) < 1.3
    assert np.mean(np.array(values) >= 20) <= 0.05 + 0.03
    assert max(values) < 1e4


@pytest.mark.parametrize("disguise", ["T1", "T3", "T5"])
def test_another_basis_of_the_residual_stream_is_seen_through_the_tokens(tmp_path: Path, disguise: str) -> None:
    child = {
        "T1": turned(PARENT, permutation(RNG, 64)),
        "T3": turned(noisy(PARENT, RNG, 0.05), rotation(RNG, 64)),
        "T5": folded(PARENT),
    }[disguise]
    found = match(tmp_path, child)
    assert axis(found, "mlp-units") > 100
    assert {s.frame for s in found.sites if s.axis == "mlp-units" and s.hits > 30} >= {"tokens"}


def test_without_a_tokenizer_a_rotated_child_is_not_found_and_it_says_so(tmp_path: Path) -> None:
    a = sketched(tmp_path / "a", PARENT, tokens=None)
    found = compare_fingerprints(a, sketched(tmp_path / "b", turned(PARENT, rotation(RNG, 64)), tokens=None))
    assert found.log10_e is not None and found.log10_e < 6
    assert any("rotated" in note for note in a.notes)


def test_tokens_are_matched_by_string_when_ids_move(tmp_path: Path) -> None:
    order = RNG.permutation(SHAPE["vocab_size"])
    child = turned(PARENT, rotation(RNG, 64))
    child["model.embed_tokens.weight"] = child["model.embed_tokens.weight"][order]
    moved = {f"token{old}": new for new, old in enumerate(order.tolist())}
    assert axis(match(tmp_path, child, tokens=moved), "mlp-units") > 100


def test_reordered_units_leave_the_residual_stream_and_the_heads(tmp_path: Path) -> None:
    found = match(tmp_path, reordered_units(PARENT, RNG))
    assert axis(found, "residual") > 50 and axis(found, "value-dims") > 20 and axis(found, "mlp-units") < 2


def test_units_chosen_by_content_see_through_every_order(tmp_path: Path) -> None:
    """T2 + T3 + T4: no order is left; the same units are chosen all the same, and a stranger's are others."""
    child = turned(reordered_heads(reordered_units(noisy(PARENT, RNG, 0.02), RNG), CONFIG, RNG), rotation(RNG, 64))
    found = match(tmp_path / "child", child)
    assert found.log10_e is not None and found.log10_e < 6
    assert found.slots is not None and found.slots > 40
    assert (match(tmp_path / "other", OTHER).slots or 0) < 3


def test_hardly_any_weights_left_is_nothing_to_choose_by(tmp_path: Path) -> None:
    """Units with one or two weights are alike between strangers."""

    def pruned(tensors: Tensors) -> Tensors:
        return {n: np.where(np.abs(w) >= np.quantile(np.abs(w), 0.99), w, 0).astype(np.float32) if ".mlp." in n else w for n, w in tensors.items()}

    assert match(tmp_path, pruned(OTHER), pruned(PARENT)).slots is None
    assert match(tmp_path / "dense", noisy(PARENT, RNG, 0.01)).slots is not None


@pytest.mark.parametrize("keep", [[0, 1, 3], [0, 1, 2, 1, 2, 3]])
def test_layers_that_moved_are_found_and_named(tmp_path: Path, keep: list[int]) -> None:
    found = match(tmp_path, some_layers(PARENT, keep), config=CONFIG | {"num_hidden_layers": len(keep)})
    assert found.search_log10_e is not None and found.search_log10_e > 100
    assert found.layers == tuple((old, new) for new, old in enumerate(keep))
    assert found.direction == ("a → b" if len(keep) > 4 else "")


def test_repeated_layers_that_were_trained_on_have_no_direction(tmp_path: Path) -> None:
    child = noisy(some_layers(PARENT, [0, 1, 2, 1, 2, 3]), RNG, 0.1)
    assert match(tmp_path, child, config=CONFIG | {"num_hidden_layers": 6}).direction == ""


def test_copied_layers_count_once(tmp_path: Path) -> None:
    """Two models whose layers are one layer each hold one lottery each: the e-value must not grow with depth."""
    one, other = some_layers(PARENT, [0]), some_layers(noisy(PARENT, RNG, 0.2), [0])
    deep = {n: CONFIG | {"num_hidden_layers": n} for n in (1, 4)}
    found = {}
    for n, config in deep.items():
        a = sketched(tmp_path / f"a{n}", some_layers(one, [0] * n), config)
        found[n] = compare_fingerprints(a, sketched(tmp_path / f"b{n}", some_layers(other, [0] * n), config))
    assert axis(found[4], "mlp-units") < axis(found[1], "mlp-units") + 2


def test_experts_that_repeat_a_shared_expert_count_once(tmp_path: Path) -> None:
    """The same lottery under two axes, in both models: its luck must not be counted twice."""
    a, b = sketched(tmp_path / "a", PARENT), sketched(tmp_path / "b", noisy(PARENT, RNG, 0.2))

    def doubled(f: Fingerprint) -> Fingerprint:
        group = next(o for o in f.orders if o.axis == "mlp-units" and o.frame == "stored")
        place = group.place_S3 + np.array([0, 0, 4], dtype=np.int32)  # expert 3 of every layer
        return dataclasses.replace(f, orders=(*f.orders, dataclasses.replace(group, axis="expert-units", place_S3=place)))

    once, twice = compare_fingerprints(a, b, search=False), compare_fingerprints(doubled(a), doubled(b), search=False)
    assert once.log10_e is not None and twice.log10_e is not None
    assert len(twice.sites) == len(once.sites) + 4
    assert twice.log10_e <= once.log10_e + 1


def test_the_dense_parent_of_an_upcycled_mixture(tmp_path: Path) -> None:
    child = upcycled(PARENT, llama(RNG, **SHAPE)[0], RNG)
    config = CONFIG | {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 4}
    found = match(tmp_path, child, config=config)
    assert found.search_log10_e is not None and found.search_log10_e > 20
    assert {(s.layer_a, s.layer_b) for s in found.sites if s.axis == "mlp-units" and s.hits > 20} == {(i, i) for i in range(4)}


def test_quantised_rows(tmp_path: Path) -> None:
    found = match(tmp_path, rounded(PARENT, 4, 32))
    assert found.log10_e is not None and found.log10_e > 200


def test_padding_at_chosen_units_is_no_hit(tmp_path: Path) -> None:
    """Units of zeros sit at the same indices in two strangers."""

    def padded(tensors: Tensors) -> Tensors:
        out = {n: w.copy() for n, w in tensors.items()}
        for i in range(4):
            for name in ("gate", "up"):
                out[f"model.layers.{i}.mlp.{name}_proj.weight"][60:140] = 0
        return out

    found = match(tmp_path, padded(OTHER), padded(PARENT))
    assert found.log10_e is not None and found.log10_e < 2


def test_units_initialised_by_index_are_left_out(tmp_path: Path) -> None:
    def by_index(tensors: Tensors, rng: np.random.Generator) -> Tensors:
        out = dict(tensors)
        eye = np.eye(192, 64, dtype=np.float32) + np.roll(np.eye(192, 64, dtype=np.float32), 64, axis=0)
        for i in range(4):
            for name in ("gate", "up"):
                out[f"model.layers.{i}.mlp.{name}_proj.weight"] = eye + np.roll(eye, 64, axis=0) + (0.02 * rng.standard_normal((192, 64))).astype(np.float32)
        return out

    found = match(tmp_path, by_index(OTHER, RNG), by_index(PARENT, RNG))
    assert found.log10_e is not None and found.log10_e < 4


def test_public_units_are_nested_and_lie_in_one_run() -> None:
    for units in (96, 200, 300, 11008):
        few, many = public_units(units, 32), public_units(units, 64)
        assert (many[:32] == few).all() and len(set(many.tolist())) == 64
        if units >= 2 * RUN:
            assert len(set((many // RUN).tolist())) == 1
        assert many.max() < units


def test_anchors_hardly_change_when_a_vocabulary_grows() -> None:
    tokens = {f"t{i}".encode(): i for i in range(4000)}
    more = tokens | {f"new{i}".encode(): 4000 + i for i in range(40)}
    a, b = (set(anchors(t, 5000)[0]) for t in (tokens, more))
    assert len(a & b) > 0.97 * len(a)


def test_an_adapter_alone_cannot_be_sketched(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "x"}))
    from safetensors.numpy import save_file

    name = "base_model.model.model.layers.0.mlp.up_proj.lora_{}.weight"
    save_file({name.format("A"): np.ones((2, 64), np.float32), name.format("B"): np.ones((192, 2), np.float32)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match="without its base"):
        sketch(tmp_path)


def test_a_sketch_reads_little_of_a_large_model_and_stays_small(tmp_path: Path) -> None:
    from begat.fingerprint_file import dumps

    big, config = llama(RNG, **SHAPE | {"hidden_size": 256, "intermediate_size": 4096, "num_hidden_layers": 8, "vocab_size": 8000})
    made = sketched(tmp_path, big, config, {f"token{i}": i for i in range(8000)})
    assert made.bytes_read < 0.45 * made.bytes_total
    assert len(dumps(made)) < 400_000
