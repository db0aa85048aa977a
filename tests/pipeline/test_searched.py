"""Everything disguised, embeddings replaced and the model reshaped: which layer or expert is whose partner has to be searched for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline import partners
from begat.pipeline.invariants import UNITS, side
from begat.pipeline.mlps import blocks_of
from begat.pipeline.partners import searched
from begat.pipeline.routes import Context
from begat.pipeline.views import largest_share, second_way
from begat.signals.quadratic import unit
from begat.stats.views import INVARIANTS, SEARCHED, load_bank
from begat.verdict.policy import POLICY
from builders import Tensors, llama, noisy, reordered_units, upcycled, write
from disguises import MIXTURE, all_disguised, mixture, some_layers

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 6, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
RNG = np.random.default_rng(31)
PARENT, CONFIG = llama(RNG, **SHAPE)
OTHER, _ = llama(RNG, **SHAPE)
UP = [0, 1, 2, 3, 2, 3, 4, 5]
DOWN = [0, 1, 3, 5]
Case = tuple[Tensors, dict[str, Any], Tensors, dict[str, Any]]


def _case(name: str, base: Tensors) -> Case:
    """(a model, its config, a child of it, its config)."""
    rng = np.random.default_rng(6 + (base is OTHER))
    if name in ("pruned depth", "up-scaled"):
        keep = DOWN if name == "pruned depth" else UP
        return base, CONFIG, noisy(some_layers(base, keep), rng, 0.2), CONFIG | {"num_hidden_layers": len(keep)}
    if name == "upcycled":
        return base, CONFIG, upcycled(base, base, rng, 4), CONFIG | MIXTURE
    mixed, config = mixture(rng, SHAPE, 12), CONFIG | MIXTURE | {"num_local_experts": 12}
    return mixed, config, noisy(mixed, rng, 0.2), config


@pytest.mark.parametrize("name", ["pruned depth", "up-scaled", "upcycled", "twelve experts"])
def test_a_reshaped_and_wholly_disguised_child_is_found(tmp_path: Path, name: str) -> None:
    a, a_config, child, config = _case(name, PARENT)
    b = write(tmp_path / "b", all_disguised(child, config, RNG), config)
    found = begat.compare(write(tmp_path / "a", a, a_config), b)
    assert found.verdict == "derived-or-shared-initialisation" and "calibrated" in found.sentence
    assert found.alignment is not None and found.alignment.views is not None
    views = found.alignment.views
    assert views.shown and views.share > 0.8 and "invariant" in views.laid_by
    way = INVARIANTS if name == "upcycled" else SEARCHED
    assert views.null_pairs == len(load_bank(way).shares)
    at = {m.layer_b: m.layer_a for m in found.alignment.layers}
    if name in ("pruned depth", "up-scaled"):
        order = DOWN if name == "pruned depth" else UP
        assert at == dict(enumerate(order))
    else:
        assert at and all(x == y for x, y in at.items())
    a, a_config, _, _ = _case(name, OTHER)
    stranger = begat.compare(write(tmp_path / "c", a, a_config), b)
    assert stranger.verdict == "no-evidence"
    assert stranger.alignment is not None and stranger.alignment.views is not None and not stranger.alignment.views.shown


def _context(folder: Path, a: Tensors, b: Tensors, layers: int) -> Context:
    b_config = CONFIG | {"num_hidden_layers": layers}
    return Context(*(resolve(begat.open_checkpoint(write(folder / n, w, c))) for n, w, c in (("a", a, CONFIG), ("b", b, b_config))), 0)


def test_only_the_fitted_layer_moves_the_frame_and_it_is_not_tested(tmp_path: Path) -> None:
    child = all_disguised(noisy(some_layers(PARENT, DOWN), RNG, 0.2), CONFIG, RNG)
    fold, second = searched(_context(tmp_path / "1", PARENT, child, 4))
    (fitted,) = fold.frame.theirs
    assert fold.tested == frozenset(range(4)) - {fitted}
    assert second.tested == {fitted} and second.frame.theirs < fold.tested
    other = dict(child)
    for name in child:
        if ".mlp" in name and f".layers.{fitted}." not in name:
            other[name] = RNG.standard_normal(child[name].shape).astype(np.float32)
    again = searched(_context(tmp_path / "2", PARENT, other, 4))
    assert np.array_equal(again[0].frame.q_DE, fold.frame.q_DE)
    assert again[1].tested == {fitted} and not np.allclose(again[1].frame.q_DE, second.frame.q_DE, atol=0.1)


def test_a_copy_of_the_fitted_layer_is_not_tested(tmp_path: Path) -> None:
    context = _context(tmp_path / "1", PARENT, reordered_units(some_layers(OTHER, UP), RNG), 8)
    fold, *more = searched(context)
    (fitted,) = fold.frame.theirs
    assert fold.tested == {i for i in range(8) if UP[i] != UP[fitted]}
    assert all(second.tested == {i for i in range(8) if UP[i] == UP[fitted]} for second in more)
    assert "copy" in str(searched(_context(tmp_path / "2", PARENT, reordered_units(some_layers(OTHER, [2] * 4), RNG), 4)))


def test_a_partner_is_judged_by_units_that_were_not_fitted_on(tmp_path: Path) -> None:
    """Where enough are left; of a small MLP all are fitted on, and they judge."""
    wide, config = llama(RNG, **SHAPE | {"intermediate_size": 640, "num_hidden_layers": 2})
    model = resolve(begat.open_checkpoint(write(tmp_path / "wide", wide, config)))
    context = Context(model, model, 0)
    block = blocks_of(model)[0]
    fitted = side(context, model, {0: block}, UNITS).views[0][0]
    judges = partners._judges(context, block)
    assert judges is not None and len(fitted) == UNITS and len(judges[0]) == 640 - UNITS
    assert (unit(judges[0]) @ fitted.T).max() < 0.9
    small = _context(tmp_path / "small", PARENT, OTHER, 6)
    assert partners._judges(small, blocks_of(small.b)[0]) is None


def test_strangers_do_not_agree_after_the_search(tmp_path: Path) -> None:
    shares = []
    for i in range(5):
        context = _context(tmp_path / str(i), llama(RNG, **SHAPE)[0], some_layers(llama(RNG, **SHAPE)[0], DOWN), 4)
        assert second_way(context) == SEARCHED and largest_share(context, INVARIANTS) is None
        shares.append(largest_share(context, SEARCHED))
    assert all(x is not None and x < POLICY.views_share / 3 for x in shares)


def test_a_search_that_would_take_minutes_is_left_out_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partners, "_MOST_WORK", 1e6)
    found = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", some_layers(OTHER, DOWN), CONFIG | {"num_hidden_layers": 4}))
    assert found.verdict == "no-evidence" and found.alignment is not None and found.alignment.views is not None
    assert "not searched" in str(found.alignment.views.not_run or found.alignment.views.laid_by)
