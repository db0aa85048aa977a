"""Recipes of toy merges of known make, and what is said when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

import begat
from begat import InputError
from begat.cli.main import cli
from begat.report.decompose_html import render_html
from begat.report.decompose_json import load_schema, to_json
from begat.report.decompose_text import render_text
from builders import BF16, Tensors, llama, noisy, stitched, write

Config = dict[str, Any]


def mix(shares: list[float], models: list[Tensors]) -> Tensors:
    return {n: sum((c * m[n] for c, m in zip(shares, models, strict=True)), np.zeros_like(w)).astype(np.float32) for n, w in models[0].items()}


def as_stored(model: Tensors) -> Tensors:
    return {n: w.astype(BF16).astype(np.float32) for n, w in model.items()}


@pytest.fixture(scope="module")
def models() -> tuple[list[Tensors], Config]:
    """A base, three children of it, a stranger; all as bf16 stores them."""
    rng = np.random.default_rng(3)
    base, config = llama(rng)
    base = as_stored(base)
    return [base, *(as_stored(noisy(base, rng, 0.2)) for _ in range(3)), as_stored(llama(rng)[0])], config


@pytest.fixture(scope="module")
def homes(models: tuple[list[Tensors], Config], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("models")
    return [write(root / name, m, models[1], BF16) for name, m in zip(("base", "one", "two", "three", "stranger"), models[0], strict=True)]


@pytest.mark.parametrize("full", [False, True])
def test_linear_merge(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path, full: bool) -> None:
    child = write(tmp_path / "child", mix([0.5, 0.3, 0.2], models[0][1:4]), models[1], BF16)
    d = begat.decompose(child, [homes[4], *homes[1:4]], full=full)
    assert d.method == "linear"
    assert [round(c.value, 2) for c in d.coefficients] == [0, 0.5, 0.3, 0.2]
    assert d.coefficients[0].low == 0
    assert d.residual < 1e-4
    assert d.unmatched == ()


def test_order_of_parents_does_not_matter(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", mix([0.5, 0.5], models[0][1:3]), models[1], BF16)
    one, other = begat.decompose(child, homes[1:3]), begat.decompose(child, homes[2:0:-1])
    assert one.coefficients[0].value == pytest.approx(other.coefficients[1].value, abs=1e-9)


def test_task_arithmetic(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    """base + 0.9 d1 + 0.6 d2: coefficients add up to more than one, so weights alone cannot give it."""
    child = write(tmp_path / "child", mix([-0.5, 0.9, 0.6], models[0][:3]), models[1], BF16)
    d = begat.decompose(child, homes[1:3], homes[0])
    assert (d.method, d.form) == ("task-arithmetic", "task")
    assert [round(c.value, 2) for c in d.coefficients] == [0.9, 0.6]


def _sparse(models: list[Tensors], rule: str, seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    base, out = models[0], {}
    for name, w in base.items():
        deltas = np.stack([m[name] - w for m in models[1:3]])
        if rule == "dare":
            out[name] = w + ((rng.random(deltas.shape) >= 0.6) * deltas).sum(0) / 0.4 / 2
        else:
            cut = np.quantile(np.abs(deltas), 0.7, axis=tuple(range(1, deltas.ndim)), keepdims=True)
            kept = np.where(np.abs(deltas) >= cut, deltas, 0)
            agrees = (np.sign(kept) == np.sign(kept.sum(0))) & (kept != 0)
            out[name] = w + 0.8 * (kept * agrees).sum(0) / np.maximum(agrees.sum(0), 1)
    return {n: w.astype(np.float32) for n, w in out.items()}


@pytest.mark.parametrize(("rule", "kept", "scale"), [("dare", 0.4, 1.25), ("ties", 0.3, 0.8)])
def test_dropped_and_trimmed(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path, rule: str, kept: float, scale: float) -> None:
    child = write(tmp_path / "child", _sparse(models[0], rule, 1), models[1], BF16)
    d = begat.decompose(child, homes[1:3], homes[0])
    assert d.method == rule
    assert d.sparse is not None and d.sparse.explained > 0.95
    assert np.allclose(d.sparse.kept, kept, atol=0.05)
    assert np.allclose(d.sparse.scale, scale, atol=0.01)


@pytest.mark.parametrize("rule", ["dare", "ties"])
def test_dropped_and_trimmed_of_one_parent(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path, rule: str) -> None:
    rng, out = np.random.default_rng(2), {}
    for name, w in models[0][0].items():
        delta = models[0][1][name] - w
        kept = rng.random(w.shape) < 0.3 if rule == "dare" else np.abs(delta) >= np.quantile(np.abs(delta), 0.7)
        out[name] = (w + kept * delta / (0.3 if rule == "dare" else 1)).astype(np.float32)
    d = begat.decompose(write(tmp_path / "child", out, models[1], BF16), homes[1:2], homes[0])
    assert d.method == rule and d.sparse is not None
    assert abs(d.sparse.kept[0] - 0.3) < 0.03 and abs(d.sparse.scale[0] - (1 / 0.3 if rule == "dare" else 1)) < 0.03


def test_slerp(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    t, out = 0.3, {}
    for name, x in models[0][1].items():
        y = models[0][4][name]
        angle = np.arccos(np.clip((x * y).sum(dtype=np.float64) / np.linalg.norm(x) / np.linalg.norm(y), -1, 1))
        out[name] = ((np.sin((1 - t) * angle) * x + np.sin(t * angle) * y) / np.sin(angle)).astype(np.float32)
    d = begat.decompose(write(tmp_path / "child", out, models[1], BF16), [homes[1], homes[4]])
    assert d.method == "slerp" and d.arc is not None
    assert abs(d.arc.t - t) < 0.01


def test_a_linear_merge_of_two_is_no_slerp(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", mix([0.7, 0.3], [models[0][1], models[0][4]]), models[1], BF16)
    assert begat.decompose(child, [homes[1], homes[4]]).method == "linear"


def test_stitched(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", stitched(models[0][1], models[0][4], range(2, 4)), models[1], BF16)
    d = begat.decompose(child, [homes[1], homes[4]])
    assert d.method == "stitched"
    assert "layers 0–1 from “one”; layers 2–3 from “stranger”; layer 4 from “one”" in d.sentence


def test_layers_from_elsewhere(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    """A tower of seven layers out of two of five: 0-3 of the one, then 2-4 of the other."""
    out: Tensors = {n: w for n, w in models[0][1].items() if ".layers." not in n}
    for to, (source, layer) in enumerate([(1, 0), (1, 1), (1, 2), (1, 3), (4, 2), (4, 3), (4, 4)]):
        for name, w in models[0][source].items():
            if name.startswith(f"model.layers.{layer}."):
                out[name.replace(f"layers.{layer}.", f"layers.{to}.", 1)] = w
    d = begat.decompose(write(tmp_path / "child", out, models[1] | {"num_hidden_layers": 7}, BF16), [homes[1], homes[4]])
    assert d.method == "stitched"
    assert "layers 0–3 from “one”; layers 4–6 from “stranger” layers 2–4" in d.sentence


@pytest.mark.parametrize("rank", [1, 6])
def test_merged_adapter(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path, rank: int) -> None:
    rng = np.random.default_rng(rank)
    out = dict(models[0][0])
    for name, w in out.items():
        if "q_proj" in name or "v_proj" in name:
            out[name] = (w + 0.03 / rank**0.5 * rng.standard_normal((w.shape[0], rank)) @ rng.standard_normal((rank, w.shape[1]))).astype(np.float32)
    d = begat.decompose(write(tmp_path / "child", out, models[1], BF16), [homes[4], homes[0]])
    assert d.method == "low-rank"
    found = d.low_rank[1]
    assert (found.state, found.rank, found.modules) == ("low-rank", rank, ("attn.q", "attn.v"))
    assert found.same_rank == found.changed == 10
    assert d.low_rank[0].state == "not-low-rank"


def test_a_child_of_one_parent_is_no_merge(models: tuple[list[Tensors], Config], homes: list[Path]) -> None:
    d = begat.decompose(homes[1], [homes[0], homes[4]])
    assert d.method == "partial"
    assert abs(d.coefficients[0].value - 1) < 0.02 and d.coefficients[1].high < 0.02
    assert all(r.state == "not-low-rank" for r in d.low_rank)


def test_a_child_of_one_parent_hardly_trained_is_no_merge_either(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", noisy(models[0][1], np.random.default_rng(5), 0.02), models[1], BF16)
    for parents in ([homes[1], homes[4]], [homes[1]], [homes[1], homes[2]]):
        d = begat.decompose(child, parents)
        assert d.method == "partial" and abs(d.coefficients[0].value - 1) < 0.02, d.sentence


def test_strangers_explain_nothing(homes: list[Path]) -> None:
    d = begat.decompose(homes[4], homes[:1])
    assert d.method == "unexplained"
    assert d.coefficients[0].value < 0.02


def test_a_copy(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", models[0][1], models[1], BF16)
    assert begat.decompose(child, [homes[4], homes[1]]).method == "copy"


def test_equal_parents_are_said_to_be_so(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    twin = write(tmp_path / "twin", models[0][1], models[1], BF16)
    child = write(tmp_path / "child", mix([0.5, 0.5], models[0][1:3]), models[1], BF16)
    d = begat.decompose(child, [homes[1], twin, homes[2]])
    assert [c.identified for c in d.coefficients] == [False, False, True]
    assert d.coefficients[0].low == 0 and abs(d.coefficients[0].high - 0.5) < 0.01
    assert any("cannot be told apart" in c for c in d.caveats)


def test_siblings_without_their_base_are_told_to_name_it(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", mix([-0.5, 0.9, 0.6], models[0][:3]), models[1], BF16)
    d = begat.decompose(child, homes[1:3])
    assert any("--base" in c for c in d.caveats)


def test_what_does_not_match_is_listed(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    out = mix([0.6, 0.4], models[0][1:3])
    out["model.embed_tokens.weight"] = out["model.embed_tokens.weight"][:150]
    out["lm_head.weight"] = out["lm_head.weight"][:150]
    out["model.layers.0.self_attn.odd_proj.weight"] = np.ones((3, 3), dtype=np.float32)
    d = begat.decompose(write(tmp_path / "child", out, models[1] | {"vocab_size": 150}, BF16), homes[1:3])
    assert [round(c.value, 2) for c in d.coefficients] == [0.6, 0.4]
    assert d.unmatched == ("model.layers.0.self_attn.odd_proj.weight",)
    assert any(p.group == "embedding" for p in d.parts)


# --- adapters ------------------------------------------------------------------------------------------------


def adapter(folder: Path, factors: Tensors) -> Path:
    folder.mkdir()
    save_file({f"base_model.model.{n}": f for n, f in factors.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "stranger"}))
    return folder


def gradient_like(base: Tensors, rng: np.random.Generator) -> Tensors:
    """Factors as gradients leave them: B_up is what reaches a unit through its down column, B_v through o's."""
    out: Tensors = {}
    for i in range(5):
        p = f"model.layers.{i}."
        down = base[p + "mlp.down_proj.weight"]
        b = down.T @ rng.standard_normal((down.shape[0], 4)) + 0.2 * rng.standard_normal((down.shape[1], 4))
        out[p + "mlp.up_proj.lora_B.weight"] = b.astype(np.float32)
        out[p + "mlp.up_proj.lora_A.weight"] = rng.standard_normal((4, 96)).astype(np.float32)
    return out


def test_an_adapter_finds_its_base_and_its_relatives(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    """The config names the stranger; it decides nothing."""
    home = adapter(tmp_path / "adapter", gradient_like(models[0][0], np.random.default_rng(4)))
    d = begat.decompose(home, [homes[4], homes[0], homes[1]])
    assert [m.fits for m in d.adapter] == [False, True, True]
    assert d.method == "adapter" and "rank 4" in d.sentence


@pytest.mark.slow
def test_strangers_of_an_adapter_are_cleared(tmp_path: Path) -> None:
    """E-values of unrelated bases: mean at most one, none that fits, over 32 candidates."""
    rng = np.random.default_rng(5)
    home = adapter(tmp_path / "adapter", gradient_like(llama(rng)[0], rng))
    found = []
    for n in range(8):
        bases = []
        for k in range(4):
            tensors, config = llama(rng)
            bases.append(write(tmp_path / f"{n}-{k}", tensors, config))
        found += begat.decompose(home, bases).adapter
    es = 10.0 ** np.array([m.log10_e for m in found], dtype=np.float64)
    assert es.mean() < 1.5 and not any(m.fits for m in found)


def test_shapes_rule_a_base_out(homes: list[Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    up = "model.layers.0.mlp.up_proj.lora_"
    factors = {up + "B.weight": rng.random((64, 2), np.float32), up + "A.weight": rng.random((2, 48), np.float32)}
    d = begat.decompose(adapter(tmp_path / "adapter", factors), [homes[0]])
    assert not d.adapter[0].fits and "shapes differ" in d.adapter[0].why


# --- presented, and bad input ---------------------------------------------------------------------------------


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], standalone_mode=False, catch_exceptions=False)


def test_command(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    child = write(tmp_path / "child", mix([0.7, 0.3], models[0][1:3]), models[1], BF16)
    done = call("decompose", child, "--parents", homes[1], homes[2], "--json", "--html", tmp_path / "r.html")
    assert done.return_value == 1
    jsonschema.validate(json.loads(done.stdout), load_schema())
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page and "<script" not in page and "http" not in page.split("<body>")[1]
    text = call("decompose", child, "--parents", homes[1], "--parents", homes[2]).stdout
    assert "0.700" in text and "95 % interval" in text
    assert call("decompose", homes[4], "--parents", homes[0]).return_value == 0


def test_every_method_is_presented(models: tuple[list[Tensors], Config], homes: list[Path], tmp_path: Path) -> None:
    sparse = write(tmp_path / "sparse", _sparse(models[0], "dare", 2), models[1], BF16)
    home = adapter(tmp_path / "adapter", gradient_like(models[0][0], np.random.default_rng(4)))
    for d in (begat.decompose(sparse, homes[1:3], homes[0]), begat.decompose(home, homes[:1]), begat.decompose(homes[4], homes[:1])):
        jsonschema.validate(to_json(d), load_schema())
        assert d.method in render_text(d) and d.method in render_html(d)


def test_bad_input(homes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no candidate parent"):
        begat.decompose(homes[0], [])
    with pytest.raises(InputError, match="is named twice"):
        begat.decompose(homes[0], [homes[1], homes[0]])
    with pytest.raises(InputError, match="no such file"):
        begat.decompose(homes[0], [tmp_path / "nowhere"])
    with pytest.raises(InputError, match="too many"):
        begat.decompose(homes[0], [homes[1]] * 9)
    broken = {n: w.copy() for n, w in llama(np.random.default_rng(2))[0].items()}
    broken["model.layers.1.mlp.up_proj.weight"][:] = np.nan
    with pytest.raises(InputError, match="not finite"):
        begat.decompose(write(tmp_path / "broken", broken, llama(np.random.default_rng(2))[1]), homes[:1])
    home = adapter(tmp_path / "adapter", gradient_like(llama(np.random.default_rng(3))[0], np.random.default_rng(4)))
    with pytest.raises(InputError, match="adapter folder"):
        begat.decompose(homes[0], [home])
    with pytest.raises(InputError, match="candidate bases alone"):
        begat.decompose(home, homes[:1], homes[1])
