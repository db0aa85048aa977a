"""The formulas against independent ones: scipy, direct sums, exact integrals; and what each method is said to fail."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")

from scipy import linalg, special, stats

from begat.source import read_vocabulary
from begat_lab.methods import METHODS
from begat_lab.methods.awm import match_columns
from begat_lab.methods.ghostspec import align
from begat_lab.methods.model import Model, shared_tokens
from begat_lab.methods.numbers import (
    linear_cka,
    log_fisher,
    log_p_spearman,
    polar,
    spearman,
    unbiased_cka,
)  # fmt: skip
from begat_lab.tokenizer import write_tokenizer
from builders import noisy, reordered_units
from lab.methods.toys import opened, permuted, rotated, weights

RNG = np.random.default_rng(7)


# --- p-values -----------------------------------------------------------------------------------------------


def test_spearman_and_its_p_are_scipys() -> None:
    for h in (5, 30, 400):
        x, y = RNG.permutation(h), RNG.permutation(h)
        y[: h // 2] = x[: h // 2] if h == 400 else y[: h // 2]
        found = stats.spearmanr(x, y, alternative="greater")
        if len(set(y)) == h:
            assert spearman(x, y) == pytest.approx(found.statistic)
            assert log_p_spearman(spearman(x, y), h) == pytest.approx(math.log(found.pvalue), rel=1e-6, abs=1e-9)


def test_p_of_spearman_does_not_underflow_and_is_smooth_there() -> None:
    """Against mpmath-free quadrature of the density in logarithms, far below the smallest float."""
    h, r = 2000, 0.9
    a = (h - 2) / 2
    x = np.linspace(r, 1 - 1e-12, 2_000_001)
    log_density = (a - 1) * np.log1p(-x * x) - special.betaln(a, 0.5)  # of r under the t approximation
    quadrature = float(special.logsumexp(log_density) + math.log(x[1] - x[0]))
    assert log_p_spearman(r, h) == pytest.approx(quadrature, rel=1e-4)
    assert log_p_spearman(r, h) < -745
    falling = [log_p_spearman(r, h) for r in np.linspace(-0.99, 0.99, 500)]
    assert (np.diff(falling) <= 0).all()
    assert log_p_spearman(1.0, h) == -math.lgamma(h + 1)


def test_fisher_is_scipys_and_does_not_underflow() -> None:
    p = RNG.uniform(size=12)
    assert log_fisher(np.log(p).tolist()) == pytest.approx(math.log(stats.combine_pvalues(p).pvalue))
    assert log_fisher([-1e5, -2e5]) == pytest.approx(-3e5 + math.log(3e5 + 1), rel=1e-12)
    assert log_fisher([0.0, 0.0]) == 0.0


# --- CKA ----------------------------------------------------------------------------------------------------


def test_linear_cka_is_the_feature_formula() -> None:
    x, y = RNG.standard_normal((40, 7)), RNG.standard_normal((40, 11))
    x, y = x - x.mean(0), y - y.mean(0)
    direct = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert linear_cka(x + 3, y - 1) == pytest.approx(direct)
    turn = np.linalg.qr(RNG.standard_normal((7, 7)))[0]
    assert linear_cka(x @ turn * 5, x) == pytest.approx(1)


def test_unbiased_cka_is_song_et_al() -> None:
    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        return float((k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k @ m).sum() / (n - 2))

    x, y = RNG.standard_normal((30, 9)), RNG.standard_normal((30, 50))
    k, m = x @ x.T, y @ y.T
    assert unbiased_cka(x, y) == pytest.approx(hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m)))
    many = [unbiased_cka(RNG.standard_normal((30, 200)), RNG.standard_normal((30, 200))) for _ in range(200)]
    assert abs(np.mean(many)) < 0.01
    assert linear_cka(RNG.standard_normal((30, 200)), RNG.standard_normal((30, 200))) > 0.5  # what "biased" costs


def test_polar_is_scipys() -> None:
    m = RNG.standard_normal((12, 12))
    found = polar(m)
    assert found is not None
    assert np.allclose(found, linalg.polar(m)[0])
    assert polar(m[:, :1] @ m[:1]) is None


# --- what papers claim, and what is known to fail -----------------------------------------------------------


def scores(tmp_path: Path, child: dict[str, np.ndarray], *names: str) -> list[float]:
    a, b = opened(tmp_path / "a", weights(0)), opened(tmp_path / "b", child)
    return [METHODS[n].score(a, b).value or 0.0 for n in names]


def test_reordered_units_defeat_u_w_but_not_phi_match(tmp_path: Path) -> None:
    child = reordered_units(noisy(weights(0), RNG, 0.2), RNG)
    u_w, phi, exact = scores(tmp_path, child, "u-w", "phi-match-weights", "begat-exact")
    assert u_w < 4
    assert phi > 100
    assert exact > 20  # begat has other axes


def test_awm_undoes_signed_permutations_but_not_rotations(tmp_path: Path) -> None:
    child = permuted(noisy(weights(0), RNG, 0.2), RNG)
    sign = RNG.choice([-1.0, 1.0], len(child["model.norm.weight"]))
    signed = {n: w * sign[:, None] if n.endswith(("o_proj.weight", "down_proj.weight")) else w * (sign if w.ndim > 1 else 1)
              for n, w in child.items()}  # fmt: skip
    assert scores(tmp_path / "signed", signed, "awm")[0] > 0.8
    assert scores(tmp_path / "turned", rotated(child, RNG), "awm")[0] < 0.2


def test_mdir_finds_the_rotated_child_in_its_matrices(tmp_path: Path) -> None:
    a, b = opened(tmp_path / "a", weights(0)), opened(tmp_path / "b", rotated(noisy(weights(0), RNG, 0.2), RNG))
    score = METHODS["mdir"].score(a, b)
    assert score.value is not None
    assert score.value > 100
    assert score.detail["embedding"] == 0.0


def test_hurefs_attention_terms_survive_rotation_but_not_its_gated_term_nor_moved_gains(tmp_path: Path) -> None:
    ones = {n: np.ones_like(w) if w.ndim == 1 else w for n, w in weights(0).items()}
    a, b = opened(tmp_path / "a", ones), opened(tmp_path / "b", rotated(ones, RNG))
    terms = list(METHODS["huref"].score(a, b).detail.values())  # Ma, Mb, Mf of two layers
    assert [terms[i] for i in (0, 1, 3, 4)] == pytest.approx([1, 1, 1, 1], abs=1e-6)
    assert max(terms[2], terms[5]) < 0.2
    c, d = opened(tmp_path / "c", weights(0)), opened(tmp_path / "d", rotated(weights(0), RNG))
    terms = list(METHODS["huref"].score(c, d).detail.values())
    assert max(terms[0], terms[1], terms[3], terms[4]) < 0.999


def test_columns_are_matched_with_signs() -> None:
    base = RNG.standard_normal((50, 9))
    order, sign = RNG.permutation(9)[:6], RNG.choice([-1.0, 1.0], 6)
    found, signs = match_columns(base, base[:, order] * sign)
    assert (found == order).all() and (signs == sign).all()


def test_dropped_layers_are_skipped_in_the_alignment() -> None:
    place = np.arange(6.0)
    cost = np.abs(place[:, None] - place[[0, 1, 3, 5]][None, :])
    assert align(cost, 0.1) == [(0, 0), (1, 1), (3, 2), (5, 3)]


def test_the_lab_tokenizer_is_read_row_by_row(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, 300)
    found = read_vocabulary(tmp_path)
    assert found is not None
    assert found.tokens == {bytes((i,)) if i < 256 else f"<extra_{i}>".encode(): i for i in range(300)}
    assert found.notes == ()


def test_tokens_are_shared_by_string(tmp_path: Path) -> None:
    def with_vocab(name: str, vocab: str) -> Model:
        m = opened(tmp_path / name, weights(0))
        (tmp_path / name / "tokenizer.json").write_text('{"model": {"vocab": ' + vocab + "}}")
        return m

    a, b = with_vocab("a", '{"x": 0, "y": 3, "z": 500}'), with_vocab("b", '[["y", 0.1], ["x", 0.2], ["z", 0.1]]')
    got = shared_tokens(a, b)
    assert not isinstance(got, str)
    assert [g.tolist() for g in got] == [[0, 3], [1, 0]]
    assert "unknown" in str(shared_tokens(a, opened(tmp_path / "c", weights(0))))
    assert "cannot be read" in str(shared_tokens(with_vocab("d", "7"), b))
