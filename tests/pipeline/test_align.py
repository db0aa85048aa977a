"""What alignment finds in reshaped and disguised children, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline.align import PLAIN, mixed_log10_e, mixed_log10_p
from begat.pipeline.invariants import folds
from begat.pipeline.routes import ROUTES, Context
from begat.pipeline.views import largest_share
from begat.stats.views import INVARIANTS, TOKENS, load_bank
from begat.verdict.policy import POLICY
from builders import Tensors, llama, noisy, reordered_units, upcycled, write
from disguises import MIXTURE as FOUR
from disguises import all_disguised, reordered_experts, reordered_heads, rotation, some_layers, turned
from disguises import mixture as mixture_of_four

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
RNG = np.random.default_rng(21)
PARENT, CONFIG = llama(RNG, **SHAPE)
OTHER, _ = llama(RNG, **SHAPE)


def mixture(dense: Tensors, rng: np.random.Generator, experts: int = 4) -> Tensors:
    """Upcycled, with attention drawn anew so that only experts are left to find."""
    return upcycled(dense, llama(rng, **SHAPE)[0], rng, experts)


MIXTURE = CONFIG | FOUR


def test_experts_are_found_in_the_dense_mlp_they_came_from(tmp_path: Path) -> None:
    child, stranger = mixture(PARENT, RNG), mixture(OTHER, RNG)
    a = write(tmp_path / "a", PARENT, CONFIG)
    found = begat.compare(a, write(tmp_path / "b", child, MIXTURE))
    assert found.verdict in ("derived-or-shared-initialisation", "partly-derived")
    assert found.log10_e is not None and found.log10_e > 20
    assert found.alignment is not None
    assert [(m.layer_b, m.layer_a) for m in found.alignment.layers] == [(i, i) for i in range(4)]
    assert begat.compare(write(tmp_path / "c", child, MIXTURE), a).log10_e == pytest.approx(found.log10_e, rel=0.2)
    apart = begat.compare(a, write(tmp_path / "d", stranger, MIXTURE))
    assert apart.verdict == "no-evidence"


def test_four_experts_of_one_mlp_are_one_lottery(tmp_path: Path) -> None:
    """All experts copy the same MLP: the e-value must not grow with their number."""
    a = write(tmp_path / "a", PARENT, CONFIG)
    few = begat.compare(a, write(tmp_path / "b", mixture(PARENT, RNG, 2), MIXTURE | {"num_local_experts": 2}))
    many = begat.compare(a, write(tmp_path / "c", mixture(PARENT, RNG, 8), MIXTURE | {"num_local_experts": 8}))
    assert few.log10_e is not None and many.log10_e is not None
    assert many.log10_e < few.log10_e + 2


def test_experts_are_found_in_another_order(tmp_path: Path) -> None:
    """Experts (and router rows) reordered and everything else drawn anew: found by experts, each with the one it came from."""
    parent, rest, stranger = (mixture_of_four(RNG, SHAPE) for _ in range(3))
    order = np.array([2, 0, 3, 1])
    child = {n: w for n, w in rest.items() if "block_sparse_moe" not in n}
    for name, w in noisy(parent, RNG, 0.3).items():
        head, _, tail = name.partition(".experts.")
        if tail:
            old, _, part = tail.partition(".")
            child[f"{head}.experts.{int(np.flatnonzero(order == int(old))[0])}.{part}"] = w
        elif "block_sparse_moe" in name:
            child[name] = rest[name]
    a = write(tmp_path / "a", parent, MIXTURE)
    for v, forwards in ((begat.compare(a, write(tmp_path / "b", child, MIXTURE)), True), (begat.compare(tmp_path / "b", a), False)):
        assert v.verdict in ("derived-or-shared-initialisation", "partly-derived")
        assert v.alignment is not None and v.log10_e is not None and v.log10_e > 100
        found = next(r for r in v.alignment.routes if r.route == "expert-orders")
        assert {(t.layer_a, t.layer_b) for t in found.tests} == {(i, i) for i in range(4)}
        assert all(order[t.expert_b if forwards else t.expert_a] == (t.expert_a if forwards else t.expert_b) for t in found.tests)
        assert [(m.layer_b, m.layer_a) for m in v.alignment.layers] == [(i, i) for i in range(4)]
    apart = begat.compare(a, write(tmp_path / "c", stranger, MIXTURE))
    assert apart.verdict == "no-evidence" and apart.log10_e is not None and apart.log10_e < 2


def test_reordered_experts_of_one_mlp_are_one_lottery(tmp_path: Path) -> None:
    """Experts of one layer grown from one MLP count once, in whatever order they are held against their like."""
    grown = mixture(PARENT, RNG)
    child = reordered_experts(noisy(grown, RNG, 0.1), RNG)
    found = ROUTES["expert-orders"].run(Context(*(resolve(begat.open_checkpoint(write(tmp_path / n, w, MIXTURE))) for n, w in (("a", grown), ("b", child))), 0))
    assert len(found.tests) == 16 and sum(t.counted for t in found.tests) == 4  # one a layer
    assert found.log10_e is not None and found.log10_e < 4 * 150  # 96 units in order are worth 10^149


def test_an_up_scaled_child_shows_its_layers(tmp_path: Path) -> None:
    order = [0, 1, 2, 1, 2, 3]
    child = some_layers(noisy(PARENT, RNG, 0.2), order)
    a, b = write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG | {"num_hidden_layers": 6})
    for v, forwards in ((begat.compare(a, b), True), (begat.compare(b, a), False)):
        assert v.verdict == "derived-or-shared-initialisation"
        assert v.alignment is not None
        pairs = [(m.layer_b, m.layer_a) for m in v.alignment.layers]
        if forwards:
            assert pairs == list(enumerate(order))
        else:  # each layer of the shorter model lies in one of its copies
            assert all(order[a_layer] == b_layer for b_layer, a_layer in pairs) and len(pairs) == 4


def test_everything_disguised_is_calibrated_evidence_and_named_so(tmp_path: Path) -> None:
    """T2 + T3 + T4: no order is left; three views say it, and the sentence says what they are worth."""
    w = reordered_heads(reordered_units(noisy(PARENT, RNG, 0.2), RNG), CONFIG, RNG)
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", turned(w, rotation(RNG, 64)), CONFIG))
    assert v.verdict == "derived-or-shared-initialisation"
    assert "calibrated" in v.sentence and v.log10_e is not None and v.log10_e < 3
    assert v.alignment is not None and v.alignment.views is not None
    assert v.alignment.views.shown and v.alignment.views.p == pytest.approx(1 / (v.alignment.views.null_pairs + 1))
    medians = {c.role: c.r2 for c in v.alignment.cells if c.layer_b == 1}
    assert min(medians["mlp.gate"], medians["attn.q"], medians["attn.v"]) > 0.8
    stranger = begat.compare(tmp_path / "a", write(tmp_path / "c", turned(OTHER, rotation(RNG, 64)), CONFIG))
    assert stranger.verdict == "no-evidence"
    assert stranger.alignment is not None and stranger.alignment.views is not None and not stranger.alignment.views.shown


def test_everything_disguised_and_new_embeddings(tmp_path: Path) -> None:
    """Nothing ties the two bases but invariants of units: found as calibrated evidence, with the way named; a stranger is not."""
    child = all_disguised(noisy(PARENT, RNG, 0.2), CONFIG, RNG)
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG))
    assert v.verdict == "derived-or-shared-initialisation" and "calibrated" in v.sentence
    assert v.log10_e is not None and v.log10_e < 3
    assert v.alignment is not None and v.alignment.views is not None
    views = v.alignment.views
    assert views.shown and views.share > 0.8 and "invariant" in views.laid_by
    assert views.null_pairs == len(load_bank(INVARIANTS).shares)
    both = 1 / (views.null_pairs + 1) + 1 / (len(load_bank(TOKENS).shares) + 1)
    assert views.p == pytest.approx(both)  # the tokens' way was looked at first
    assert [(m.layer_b, m.layer_a) for m in v.alignment.layers] == [(i, i) for i in range(4)]
    medians = {c.role: c.r2 for c in v.alignment.cells if c.layer_b == 1}
    assert min(medians["mlp.gate"], medians["attn.q"], medians["attn.v"]) > 0.8
    stranger = begat.compare(tmp_path / "a", write(tmp_path / "c", all_disguised(OTHER, CONFIG, RNG), CONFIG))
    assert stranger.verdict == "no-evidence"
    assert stranger.alignment is not None and stranger.alignment.views is not None and not stranger.alignment.views.shown


def contexts(folder: Path, a: Tensors, b: Tensors) -> Context:
    return Context(*(resolve(begat.open_checkpoint(write(folder / n, w, CONFIG))) for n, w in (("a", a), ("b", b))), 0)


def test_no_layer_is_tested_in_a_frame_that_it_was_fitted_for(tmp_path: Path) -> None:
    """The folds share no layer, every layer is tested once, and a layer's own MLP does not move the frame it is tested in."""
    child = all_disguised(noisy(PARENT, RNG, 0.2), CONFIG, RNG)
    found = folds(contexts(tmp_path / "1", PARENT, child))
    assert not isinstance(found, str)
    assert [sorted(f.frame.layers) for f in found] == [[0, 2], [1, 3]] and [sorted(f.tested) for f in found] == [[1, 3], [0, 2]]
    other = dict(child)
    for name in child:
        if ".layers.1.mlp" in name or ".layers.3.mlp" in name:
            other[name] = RNG.standard_normal(child[name].shape).astype(np.float32)
    again = folds(contexts(tmp_path / "2", PARENT, other))
    assert not isinstance(again, str)
    assert np.array_equal(again[0].frame.q_DE, found[0].frame.q_DE)
    assert not np.allclose(again[1].frame.q_DE, found[1].frame.q_DE, atol=0.1)


def test_a_copy_of_a_fitted_layer_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer 1 copies layer 0 in one model, its units in another order: what was fitted on the one is no surprise in the other."""
    monkeypatch.setattr(Context, "partner", lambda _, layer: layer)
    copied = reordered_units(some_layers(PARENT, [0, 0, 2, 3]), RNG)
    found = folds(contexts(tmp_path / "1", copied, OTHER))
    assert not isinstance(found, str) and [sorted(f.tested) for f in found] == [[3], [2]]
    assert "copy" in str(folds(contexts(tmp_path / "2", reordered_units(some_layers(PARENT, [0] * 4), RNG), OTHER)))


def test_strangers_after_invariants(tmp_path: Path) -> None:
    """Independent models, however laid over each other, do not agree on layers that had no part in it."""
    shares = []
    for i in range(6):
        pair = [llama(RNG, **SHAPE)[0] for _ in "ab"]
        shares.append(largest_share(contexts(tmp_path / str(i), *pair), INVARIANTS))
    assert all(x is not None and x < POLICY.views_share / 3 for x in shares)


def test_an_ordinary_pair_is_not_aligned(tmp_path: Path) -> None:
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", noisy(PARENT, RNG, 0.2), CONFIG))
    assert v.alignment is None


def test_the_mixture_of_e_values() -> None:
    assert mixed_log10_e(None, None) is None
    assert mixed_log10_e(100.0, None) == pytest.approx(100 + np.log10(PLAIN))
    assert mixed_log10_e(-1.0, 100.0) == pytest.approx(99.0)
    assert mixed_log10_e(0.0, 0.0) == pytest.approx(0.0)
    assert mixed_log10_p(-50.0, None) == pytest.approx(-50 - np.log10(PLAIN))
    assert mixed_log10_p(0.0, 30.0) == pytest.approx(-29.0)
    assert mixed_log10_p(None, 0.0) == 0.0


def test_alignment_can_be_left_out(tmp_path: Path) -> None:
    child = turned(noisy(PARENT, RNG, 0.2), rotation(RNG, 64))
    a, b = write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG)
    v = begat.compare(a, b, align=False)
    assert v.alignment is None and v.verdict == "no-evidence" and v.replay["align"] is False


@pytest.mark.parametrize("width", [48, 64, 80])
def test_a_stranger_of_another_width_is_not_told_what_chance_gives(tmp_path: Path, width: int) -> None:
    """Units are matched in every order there: the best of many orders is no hit at an index."""
    rng = np.random.default_rng(width)
    w, c = llama(rng, **SHAPE | {"hidden_size": width, "intermediate_size": 120})
    folders = write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", w, c)
    for folder in folders:
        vocabulary = {"model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(SHAPE["vocab_size"])}}}
        (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    v = begat.compare(*folders)
    assert v.verdict == "no-evidence" and "keep their order" not in v.sentence
    assert ("chance" in v.sentence) == any(x.tests for x in v.axes)
