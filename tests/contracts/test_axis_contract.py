"""One contract for every symmetric axis: a copy hits everywhere; units reordered at random hit once a test on average, by every
stored type; the tensors it reads depend on no later permutation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.pipeline.exact import run_axes
from begat.signals.axes import AXES, Site
from begat.source import open_checkpoint
from begat.stats.order import log_e_axis
from builders import Tensors, llama, noisy, write

MIXTURE = {
    "model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16,
    "intermediate_size": 48, "moe_intermediate_size": 24, "num_experts": 16, "num_experts_per_tok": 4, "vocab_size": 96,
}  # fmt: skip
MLA = {
    "model_type": "deepseek_v2", "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 24,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "intermediate_size": 80, "vocab_size": 96, "n_group": 1,
}  # fmt: skip


def mixture(rng: np.random.Generator) -> tuple[Tensors, dict[str, Any]]:
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
    base, _ = llama(rng, **{k: MIXTURE[k] for k in same},
                    intermediate_size=24, tie_word_embeddings=False)  # fmt: skip
    out = {n: w for n, w in base.items() if ".mlp." not in n}
    for i in range(4):
        p = f"model.layers.{i}."
        out[p + "self_attn.q_norm.weight"] = np.ones(16, np.float32)
        out[p + "self_attn.k_norm.weight"] = np.ones(16, np.float32)
        out[p + "mlp.gate.weight"] = (0.1 * rng.standard_normal((16, 64))).astype(np.float32)
        for e in range(16):
            for name, shape in (("gate_proj", (24, 64)), ("up_proj", (24, 64)), ("down_proj", (64, 24))):
                out[f"{p}mlp.experts.{e}.{name}.weight"] = (0.1 * rng.standard_normal(shape)).astype(np.float32)
    return out, MIXTURE


def latent(rng: np.random.Generator) -> tuple[Tensors, dict[str, Any]]:
    base, _ = llama(
        rng,
        hidden_size=64,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        intermediate_size=80,
        vocab_size=96,
    )
    out = {n: w for n, w in base.items() if "self_attn" not in n}
    shapes = {
        "q_a_proj.weight": (24, 64), "q_a_layernorm.weight": (24,), "q_b_proj.weight": (96, 24), "kv_a_proj_with_mqa.weight": (40, 64),
        "kv_a_layernorm.weight": (32,), "kv_b_proj.weight": (128, 32), "o_proj.weight": (64, 64),
    }  # fmt: skip
    for i in range(5):
        for name, shape in shapes.items():
            out[f"model.layers.{i}.self_attn.{name}"] = (0.1 * rng.standard_normal(shape) + (1 if len(shape) == 1 else 0)).astype(
                np.float32
            )
    return out, MLA


def chain(rng: np.random.Generator) -> tuple[Tensors, dict[str, Any]]:
    out: Tensors = {}
    for element in "HCNO":
        widths = [48, 40, 32, 24, 1]
        for i in range(4):
            out[f"{element}.{2 * i}.weight"] = rng.standard_normal((widths[i + 1], widths[i])).astype(np.float32)
            out[f"{element}.{2 * i}.bias"] = rng.standard_normal(widths[i + 1]).astype(np.float32)
    return out, {}


MODELS = {"llama": lambda rng: llama(rng, num_key_value_heads=6), "mixture": mixture, "latent": latent, "chain": chain}
WHERE = {
    "residual": "llama", "kv-heads": "llama", "value-dims": "llama", "mlp-units": "llama", "latent-dims": "latent", "experts": "mixture",
    "expert-units": "mixture", "chain-units": "chain",
}  # fmt: skip


def canonical(folder: Path) -> Canonical:
    return resolve(open_checkpoint(folder))


def test_every_axis_is_covered() -> None:
    assert set(WHERE) == set(AXES)


@pytest.mark.parametrize("axis", list(AXES))
def test_a_child_hits_everywhere(axis: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parent, config = MODELS[WHERE[axis]](rng)
    a = canonical(write(tmp_path / "a", parent, config))
    b = canonical(write(tmp_path / "b", noisy(parent, rng, 0.02), config))
    found = next(x for x in run_axes(a, b, 1).axes if x.axis == axis)
    assert found.not_run is None
    assert found.hits >= 0.9 * found.sampled
    assert found.log10_e is not None and found.log10_e > 2


def _groups(axis: str, sites: list[Site]) -> Iterator[list[Site]]:
    """Sites that share one permutation together."""
    if AXES[axis].combine == "alternatives":
        yield sites
    else:
        yield from ([s] for s in sites)


def reordered(axis: str, model: Canonical, tensors: Tensors, rng: np.random.Generator) -> Tensors:
    """`tensors` with the units of every site of an axis in random order, seen in every view the axis reads."""
    out = {n: w.copy() for n, w in tensors.items()}
    for group in _groups(axis, list(AXES[axis].sites(model, model))):
        order = rng.permutation(group[0].units)
        done = set()
        for view in (v for site in group for v in site.views):
            t = model.tensors[view.key]
            if view.key in done:
                continue
            done.add(view.key)
            at = view.start + view.stride * np.arange(len(order))
            w = out[t.name]
            for o in view.offsets:
                if view.take == "tokens":
                    w[:, at + o] = w[:, at[order] + o]
                elif view.take == "elements":
                    w[np.asarray(t.rows)[at + o]] = w[np.asarray(t.rows)[at[order] + o]]
                else:
                    rows = np.asarray(t.rows)
                    w[rows[at + o]] = w[rows[at[order] + o]]
    return out


@pytest.mark.parametrize("axis", list(AXES))
def test_reordered_units_hit_once_a_test(axis: str, tmp_path: Path) -> None:
    """The hardest strangers there can be: equal in everything but the order of this axis. Mean hits <= 1 a test, mean e <= 1."""
    rng = np.random.default_rng(3)
    parent, config = MODELS[WHERE[axis]](rng)
    a = canonical(write(tmp_path / "a", parent, config))
    hits, tests, es = [], 0, []
    for n in range(14):
        b = canonical(write(tmp_path / f"b{n}", reordered(axis, a, parent, rng), config))
        found = next(x for x in run_axes(a, b, n).axes if x.axis == axis)
        if AXES[axis].combine == "alternatives":
            hits += [found.tests[0].hits]
            tests += 1
        else:
            hits += [t.hits for t in found.tests]
            tests += len(found.tests)
            es.append(np.exp(log_e_axis([t.hits for t in found.tests], [t.m for t in found.tests])))
    mean = np.mean(hits)
    assert mean <= 1 + 4 / np.sqrt(tests), (axis, mean)
    if es:
        assert np.mean(es) <= 2.5


@pytest.mark.parametrize("axis", list(AXES))
def test_what_is_not_symmetric_is_not_tested(axis: str, tmp_path: Path) -> None:
    """Names without a known family: only what holds for any network is tested."""
    rng = np.random.default_rng(0)
    parent, _ = MODELS[WHERE[axis]](rng)
    renamed = {n.replace("self_attn.", "odd.") for n in parent}
    assert len(renamed) == len(parent)
    a = canonical(write(tmp_path / "a", {n.replace("self_attn.", "odd."): w for n, w in parent.items()}, {}))
    for tower, geometry in a.geometry.items():
        for name in geometry.asymmetric:
            sites = list(AXES[name].sites(a, a)) if name in set(AXES) else []
            assert not [s for s in sites if s.tower == tower]
