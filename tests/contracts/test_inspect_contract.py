"""One contract for every finding of `begat inspect`: a model that has it says so, and no random model, however structured, says
it was copied or rounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import begat
from begat.inspection import Finding
from begat.signals.inspect import FINDINGS
from begat.signals.inspect.lattice import NF4
from builders import BF16, Tensors, llama, noisy, reordered_units, rounded, write
from contracts.test_axis_contract import MODELS

Rng = np.random.Generator
TYPES = {"float32": None, "bfloat16": BF16, "float16": np.float16}
EXPERTS = ("gate_proj", "up_proj", "down_proj")


def matrices(x: Tensors, change: Callable[[np.ndarray], np.ndarray]) -> Tensors:
    return {n: change(w).astype(np.float32) if w.ndim == 2 and "embed" not in n else w for n, w in x.items()}


def look(folder: Path, tensors: Tensors, config: dict[str, Any], dtype: Any = None, **options: Any) -> begat.Inspection:
    return begat.inspect(write(folder, tensors, config, dtype), **options)


# --- no false alarm -------------------------------------------------------------------------------------------------------------


def plain(x: Tensors, rng: Rng) -> Tensors:
    return x


def heavy(x: Tensors, rng: Rng) -> Tensors:
    """A few units and dims carry nearly everything."""
    return matrices(
        x, lambda w: w * np.exp(1.5 * rng.standard_normal((len(w), 1))) * np.exp(1.0 * rng.standard_normal((1, w.shape[1])))
    )


def padded(x: Tensors, rng: Rng) -> Tensors:
    """The last units of every layer are empty, at the same indices."""
    out = dict(x)
    for n, w in x.items():
        if n.endswith(("gate_proj.weight", "up_proj.weight")):
            out[n] = np.where(np.arange(len(w))[:, None] < 0.7 * len(w), w, np.float32(0.01))
    return out


def common(x: Tensors, rng: Rng) -> Tensors:
    """All rows of all matrices of one width lean towards a few common directions, as trained ones do."""
    base: dict[int, np.ndarray] = {}

    def lean(w: np.ndarray) -> np.ndarray:
        directions = base.setdefault(w.shape[1], rng.standard_normal((3, w.shape[1])))
        return w + 0.05 * rng.standard_normal((len(w), 3)) @ directions

    return matrices(x, lean)


def one_layer(x: Tensors, rng: Rng) -> Tensors:
    """The hardest strangers: every layer's units are those of layer 0, each layer in an order of its own."""
    out = dict(x)
    for n in x:
        if ".mlp." in n and ".layers." in n:
            first = n.split(".layers.")[0] + ".layers.0." + n.split(".", 3)[3]
            if first in x and x[first].shape == x[n].shape:
                out[n] = x[first]
    return reordered_units(out, rng)


STRUCTURES = {"plain": plain, "heavy": heavy, "padded": padded, "common": common}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("model", MODELS)
def test_random_models_show_nothing(model: str, structure: str, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([len(model), len(structure), len(dtype)])
    for n in range(2):
        tensors, config = MODELS[model](rng)
        i = look(tmp_path / str(n), STRUCTURES[structure](tensors, rng), config, TYPES[dtype])
        assert not i.descent, i.sentence
        for name in ("layers", "experts", "grid", "rank"):
            assert i.finding(name).found.status in ("nothing", "not-run"), (name, i.finding(name).found)


def test_layers_of_one_set_of_units_in_orders_of_their_own_are_no_copies(tmp_path: Path) -> None:
    """The null itself: hits have mean 1 a pair, the e-value of the whole search has mean at most 1."""
    rng = np.random.default_rng(7)
    hits, es = [], []
    for n in range(30):
        tensors, config = llama(rng)
        i = look(tmp_path / str(n), one_layer(tensors, rng), config)
        found = i.finding("layers").found
        assert found.status == "nothing"
        assert found.log10_e is not None
        hits += [p.hits for p in found.pairs]
        es.append(10.0**found.log10_e)
    assert 0.8 < np.mean(hits) < 1.2
    assert np.mean(es) < 1.2


# --- every finding, where it is due ---------------------------------------------------------------------------------------------


def up_scaled(tensors: Tensors, layers: list[int]) -> tuple[Tensors, dict[str, Any]]:
    out = {n: w for n, w in tensors.items() if ".layers." not in n}
    for to, source in enumerate(layers):
        stem = f"model.layers.{source}."
        out |= {n.replace(stem, f"model.layers.{to}."): w for n, w in tensors.items() if n.startswith(stem)}
    return out, {"num_hidden_layers": len(layers)}


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_copied_layers(noise: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tensors, config = llama(rng)
    grown, more = up_scaled(tensors, [0, 1, 2, 1, 2, 3, 4])
    i = look(tmp_path / "m", noisy(grown, rng, noise), config | more)
    f = i.finding("layers")
    assert f.found.status == "found" and i.descent
    assert {(p.i, p.j) for p in f.found.pairs if p.copies} == {(1, 3), (2, 4)}
    assert item(f, "layer map") == "0 1 2 1 2 3 4"
    assert [x.numbers["identical"] for x in f.found.items if "copies" in x.numbers] == [noise == 0.0] * 2
    assert f.found.log10_e is not None and f.found.log10_e > 6


def test_one_layer_for_all_is_said_to_be_perhaps_an_initialisation(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    tensors, config = llama(rng)
    grown, more = up_scaled(tensors, [0] * 5)
    f = look(tmp_path / "m", noisy(grown, rng, 0.5), config | more).finding("layers")
    assert "initialised" in f.found.items[0].what
    assert "nn.TransformerEncoder" in f.says_not


def test_layers_stored_once_are_layout(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    tensors, _ = llama(rng)
    state = {n: torch.from_numpy(w.copy()) for n, w in tensors.items()}
    for n in list(state):
        if ".layers.1." in n:
            state[n] = state[n.replace(".layers.1.", ".layers.0.")]
    (tmp_path / "m").mkdir()
    torch.save(state, tmp_path / "m" / "pytorch_model.bin")
    f = begat.inspect(tmp_path / "m" / "pytorch_model.bin").finding("layers")
    assert f.found.status == "nothing"
    assert [(p.i, p.j) for p in f.found.pairs if p.stored_once] == [(0, 1)]


def test_an_adapter_is_seen_over_its_base_and_refused_without(tmp_path: Path) -> None:
    rng = np.random.default_rng(15)
    tensors, config = llama(rng)
    grown, more = up_scaled(tensors, [0, 1, 2, 1])
    base = write(tmp_path / "base", grown, config | more)
    delta: Tensors = {}
    for layer in range(4):
        stem = f"base_model.model.model.layers.{layer}.mlp.up_proj.lora_"
        delta |= {
            stem + "A.weight": rng.standard_normal((2, 96)).astype(np.float32),
            stem + "B.weight": np.zeros((160, 2), np.float32),
        }
    adapter = write(tmp_path / "adapter", delta)
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["up_proj"], "bias": "none"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    found = begat.inspect(adapter, base=base).finding("layers").found
    assert {(p.i, p.j) for p in found.pairs if p.copies} == {(1, 3)} and not any(p.stored_once for p in found.pairs)
    with pytest.raises(begat.InputError, match="without its base"):
        begat.inspect(adapter)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_sibling_experts(noise: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    tensors, config = MODELS["mixture"](rng)
    for n in list(tensors):
        if ".experts." in n and ".layers.0." not in n:
            stem, _, rest = n.partition(".experts.")
            w = tensors[f"{stem}.experts.0.{rest.split('.', 1)[1]}"]
            tensors[n] = (w + noise * w.std() * rng.standard_normal(w.shape)).astype(np.float32)
    i = look(tmp_path / "m", tensors, config)
    f = i.finding("experts")
    assert f.found.status == "found" and i.descent
    assert [(x.where, x.numbers["siblings"]) for x in f.found.items] == [(f"layer {n}", 16) for n in (1, 2, 3)]
    assert "16 of 16 experts" in f.found.sentence and "3 of 4 layers" in f.found.sentence


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("bits", "group"), [(2, 32), (3, 32), (4, 32), (4, 160), (6, 16), (8, 32)])
def test_grids(bits: int, group: int, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    tensors, config = llama(rng, hidden_size=160, num_attention_heads=10, intermediate_size=320)
    i = look(tmp_path / "m", rounded(tensors, bits, group), config, TYPES[dtype])
    f = i.finding("grid")
    assert f.found.status == "found", f.found
    whole = [x for x in f.found.items if x.numbers.get("run")]
    assert [x.numbers["run"] for x in whole if x.numbers["tensors"] > 10] == [
        f"{group} values of a row" if group < 160 else "row"
    ], whole
    assert whole[0].numbers["bits"] == (1.58 if bits == 2 else bits), whole
    assert i.descent == (bits > 2)


def coded(x: Tensors, group: int, code: Callable[[np.ndarray], np.ndarray]) -> Tensors:
    def change(w: np.ndarray) -> np.ndarray:
        g = w.reshape(-1, group)
        top = np.abs(g).max(axis=1, keepdims=True)
        return (top * code(g / top)).reshape(w.shape)

    return matrices(x, change)


def nearest(table: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda r: table[np.abs(r[:, :, None] - table).argmin(2)]


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6]) / 6
CODES = {
    "NF4": (64, nearest(NF4)),
    "E2M1": (32, nearest(np.r_[-E2M1, E2M1])),
    "E4M3": (160, lambda r: (r * 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) / 448),
    "E5M2": (160, lambda r: (r * 57344).astype(ml_dtypes.float8_e5m2).astype(np.float32) / 57344),
    "offset": (32, lambda r: r.min(1, keepdims=True) + np.rint((r - r.min(1, keepdims=True)) / (np.ptp(r, 1)[:, None] / 15))
    * (np.ptp(r, 1)[:, None] / 15)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", CODES)
def test_other_grids(name: str, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    group, code = CODES[name]
    width = 160 if group == 160 else 320
    size = {"hidden_size": width, "num_attention_heads": width // 16, "intermediate_size": 320}
    tensors, config = llama(rng, num_hidden_layers=2, **size)
    i = look(tmp_path / "m", coded(tensors, group, code), config, TYPES[dtype])
    assert i.descent
    words = [x.what for x in i.finding("grid").found.items if x.numbers.get("tensors", 0) >= 8]
    assert any(name in w for w in words), i.finding("grid").found.items


def test_a_narrow_float_in_a_wide_one_is_a_state(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    tensors, config = llama(rng)
    for name, kind in (("bfloat16", BF16), ("float16", np.float16)):
        i = look(tmp_path / name, {n: w.astype(kind).astype(np.float32) for n, w in tensors.items()}, config)
        assert not i.descent
        assert any(x.what == f"float32 holding {name} values" for x in i.finding("grid").found.items)


def test_low_rank(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    tensors, config = llama(rng)
    name = "model.layers.2.self_attn.q_proj.weight"
    tensors[name] = (rng.standard_normal((96, 5)) @ rng.standard_normal((5, 96))).astype(np.float32)
    for dtype in TYPES.values():
        f = look(tmp_path / str(dtype), tensors, config, dtype).finding("rank")
        assert [(x.numbers["rank"], x.numbers["shape"]) for x in f.found.items] == [(5, "96 × 96")]


def test_untrained_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    tensors, config = llama(rng, vocab_size=400)
    size = np.exp(0.5 * rng.standard_normal((400, 1)))
    table = (tensors["model.embed_tokens.weight"] * size).astype(np.float32)
    spread = table.std(0)
    table[100:110] = 0
    table[120:130] = table[5]
    table[200:240] = table.mean(0) + 0.05 * spread * rng.standard_normal((40, 96))
    table[300:332] = 0.02 * rng.standard_normal((32, 96))
    tensors["model.embed_tokens.weight"] = table.astype(np.float32)
    f = look(tmp_path / "m", tensors, config | {"initializer_range": 0.02}).finding("vocabulary")
    found = {x.what.split(",")[0].split(":")[0]: x.where for x in f.found.items}
    assert found["all zero"].endswith("rows 100–109")
    assert found["equal to other rows in every column read"].endswith("rows 5, 120–129")
    assert found["near the mean of all rows"].endswith("rows 200–239")
    assert found["like fresh draws"].endswith(("rows 304–327", "rows 300–331", "rows 304–319"))


def test_pruned_two_of_four_and_sorted(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    tensors, config = llama(rng)

    def two_of_four(w: np.ndarray) -> np.ndarray:
        g = w.reshape(-1, 4)
        return np.where(np.argsort(np.argsort(np.abs(g), 1), 1) >= 2, g, 0).reshape(w.shape)

    f = look(tmp_path / "a", matrices(tensors, two_of_four), config).finding("zeros")
    assert all("2:4" in x.what for x in f.found.items) and len(f.found.items) >= 7
    half = look(tmp_path / "b", matrices(tensors, lambda w: np.where(np.abs(w) < np.median(np.abs(w)), 0, w)), config).finding(
        "zeros"
    )
    assert half.found.status == "found" and not any("2:4" in x.what for x in half.found.items)
    assert all(abs(x.numbers["zeros"] - 0.5) < 0.03 for x in half.found.items)
    for i in range(5):
        p = f"model.layers.{i}.mlp."
        order = np.argsort(np.linalg.norm(tensors[p + "up_proj.weight"], axis=1))
        tensors |= {p + n: tensors[p + n][order] for n in ("gate_proj.weight", "up_proj.weight")}
    found = look(tmp_path / "c", tensors, config).finding("zeros").found
    assert [x.where for x in found.items] == ["layers 0–4"] and "sorted" in found.items[0].what


def test_units_in_sorted_order_are_not_tested_by_order(tmp_path: Path) -> None:
    """Layers of one set of units, each sorted by size, share their order without any copying."""
    rng = np.random.default_rng(16)
    tensors, config = llama(rng)
    tensors = one_layer(tensors, rng)
    for i in range(5):
        p = f"model.layers.{i}.mlp."
        order = np.argsort(np.linalg.norm(np.hstack([tensors[p + n] for n in ("gate_proj.weight", "up_proj.weight")]), axis=1))
        tensors |= {p + n: tensors[p + n][order] for n in ("gate_proj.weight", "up_proj.weight")}
    i = look(tmp_path / "m", tensors, config)
    assert i.finding("layers").found.status == "not-run" and not i.descent
    assert len(i.finding("layers").found.items) == 5


# --- the rest of the contract ---------------------------------------------------------------------------------------------------


def item(f: Finding, where: str) -> str:
    return next(i.what for i in f.found.items if i.where == where)


def test_every_finding_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "inspect.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in FINDINGS)


def test_everything_is_reported_once_with_its_null_and_limits(tmp_path: Path) -> None:
    tensors, config = llama(np.random.default_rng(12))
    i = look(tmp_path / "m", tensors, config)
    assert [f.name for f in i.findings] == list(FINDINGS)
    assert all(f.null and f.says_not and f.title and f.found.sentence for f in i.findings)
    assert {f.basis for f in i.findings} <= {"exact", "counted", "described"}
    a = i.accounting
    assert a.stored == a.mapped + len(a.dropped) + len(a.unmapped) == len(tensors)


def test_full_agrees_with_sampled_and_reads_everything(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    tensors, config = llama(rng)
    grown, more = up_scaled(rounded(tensors, 4, 32), [0, 1, 2, 1, 2])
    folder = write(tmp_path / "m", grown, config | more, BF16)
    sampled, full = begat.inspect(folder), begat.inspect(folder, full=True)
    assert [f.found.status for f in sampled.findings] == [f.found.status for f in full.findings]
    assert item(sampled.finding("layers"), "layer map") == item(full.finding("layers"), "layer map")
    assert full.bytes_read >= full.bytes_total
    assert begat.inspect(folder).findings == sampled.findings


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    tensors, config = llama(np.random.default_rng(14))
    tensors["model.layers.0.mlp.up_proj.weight"][:] = np.nan
    with pytest.raises(begat.InputError, match="finite"):
        look(tmp_path / "m", tensors, config)
