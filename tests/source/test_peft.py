"""LoRA adapters: merged values against numpy, and refusals of everything that is no plain LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.types import Checkpoint

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


BASE = {"model.q.weight": draw(6, 10), "model.q.bias": draw(6), "h.c_attn.weight": draw(10, 30), "score.weight": draw(2, 6)}
A, B = draw(2, 10), draw(6, 2)
LORA = {"base_model.model.model.q.lora_A.weight": A, "base_model.model.model.q.lora_B.weight": B}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 8}


def adapter(
    folder: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], base: dict[str, np.ndarray] | None = None
) -> Checkpoint:
    (folder / "base").mkdir(exist_ok=True, parents=True)
    (folder / "adapter").mkdir(exist_ok=True)
    save_file(base or BASE, folder / "base" / "model.safetensors")
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return open_checkpoint(folder / "adapter", folder / "base")


@pytest.mark.parametrize(
    ("extra", "scale"),
    [
        ({}, 4.0),
        ({"use_rslora": True}, 8 / 2**0.5),
        ({"alpha_pattern": {"q": 3}}, 1.5),
        ({"alpha_pattern": {"^model.q": 3}}, 1.5),
        ({"alpha_pattern": {"other": 3}}, 4.0),
        ({"rank_pattern": {"q": 2}, "r": 64}, 4.0),
        ({"base_model_name_or_path": "/etc/passwd", "fan_in_fan_out": True}, 4.0),
    ],
)
def test_merged_rows(tmp_path: Path, extra: dict[str, Any], scale: float) -> None:
    checkpoint = adapter(tmp_path, LORA, CONFIG | extra)
    want = BASE["model.q.weight"] + scale * (B @ A)
    assert np.allclose(checkpoint.read("model.q.weight"), want, atol=1e-5)
    some = np.array([5, 0, 5])
    assert np.allclose(checkpoint.read("model.q.weight", some, slice(2, 5)), want[some, 2:5], atol=1e-5)
    assert np.allclose(checkpoint.read("model.q.weight", range(5, -1, -2)), want[5::-2], atol=1e-5)
    assert checkpoint.entries["model.q.weight"].dtype == "F32"
    assert checkpoint.raw("model.q.weight", np.array([1])).view("<f4") == pytest.approx(want[1:2], abs=1e-5)
    assert np.array_equal(checkpoint.read("model.q.bias")[0], BASE["model.q.bias"])
    assert checkpoint.raw("model.q.bias").tobytes() == BASE["model.q.bias"].tobytes()
    assert checkpoint.format == "peft"


def test_fan_in_fan_out(tmp_path: Path) -> None:
    a, b = draw(2, 10), draw(30, 2)
    tensors = {"base_model.model.h.c_attn.lora_A.weight": a, "base_model.model.h.c_attn.lora_B.weight": b}
    want = BASE["h.c_attn.weight"] + 4 * (b @ a).T
    checkpoint = adapter(tmp_path, tensors, CONFIG | {"fan_in_fan_out": True})
    assert np.allclose(checkpoint.read("h.c_attn.weight"), want, atol=1e-5)
    assert np.allclose(checkpoint.read("h.c_attn.weight", np.array([9, 1]), slice(3, 7)), want[[9, 1], 3:7], atol=1e-5)


def test_square_conv1d_follows_the_flag(tmp_path: Path) -> None:
    base, a, b = {"h.c_proj.weight": draw(8, 8)}, draw(2, 8), draw(8, 2)
    tensors = {"base_model.model.h.c_proj.lora_A.weight": a, "base_model.model.h.c_proj.lora_B.weight": b}
    for flag, delta in ((False, b @ a), (True, (b @ a).T)):
        checkpoint = adapter(tmp_path, tensors, CONFIG | {"fan_in_fan_out": flag}, base)
        assert np.allclose(checkpoint.read("h.c_proj.weight"), base["h.c_proj.weight"] + 4 * delta, atol=1e-5)


def test_replaced_tensors_and_new_heads(tmp_path: Path) -> None:
    head, bias, new = draw(2, 6), draw(6), draw(3, 6)
    extra = {
        "base_model.model.score.modules_to_save.weight": head,
        "base_model.model.model.q.bias": bias,
        "base_model.model.classifier.weight": new,
    }
    checkpoint = adapter(tmp_path, LORA | extra, CONFIG)
    assert np.array_equal(checkpoint.read("score.weight"), head)
    assert np.array_equal(checkpoint.read("model.q.bias")[0], bias)
    assert np.array_equal(checkpoint.read("classifier.weight"), new)
    assert checkpoint.notes[-1] == "LoRA adapter merged on demand: 1 tensors changed, 3 replaced"


def test_base_names_may_lack_a_prefix(tmp_path: Path) -> None:
    checkpoint = adapter(tmp_path, LORA, CONFIG, {"q.weight": BASE["model.q.weight"]})
    assert np.allclose(checkpoint.read("q.weight"), BASE["model.q.weight"] + 4 * (B @ A), atol=1e-5)


def test_bin_adapters(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    adapter(tmp_path, LORA, CONFIG)
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({k: torch.from_numpy(v) for k, v in LORA.items()}, tmp_path / "adapter" / "adapter_model.bin")
    checkpoint = open_checkpoint(tmp_path / "adapter", tmp_path / "base")
    assert np.allclose(checkpoint.read("model.q.weight"), BASE["model.q.weight"] + 4 * (B @ A), atol=1e-5)


def test_without_a_base(tmp_path: Path) -> None:
    adapter(tmp_path, LORA, CONFIG)
    for path in (tmp_path / "adapter", tmp_path / "adapter" / "adapter_model.safetensors"):
        checkpoint = open_checkpoint(path)
        assert checkpoint.format == "peft"
        assert set(checkpoint.entries) == set(LORA)
        assert "give --base" in checkpoint.notes[-1]
    with pytest.raises(InputError, match="base is an adapter itself"):
        open_checkpoint(tmp_path / "adapter", tmp_path / "adapter")


P = "base_model.model.model."


@pytest.mark.parametrize(
    ("tensors", "config", "problem"),
    [
        (LORA, {"peft_type": "IA3"}, "adapter type is not read"),
        (LORA, {}, "adapter type is not read"),
        (LORA, CONFIG | {"use_dora": True}, "use_dora"),
        (LORA, CONFIG | {"init_lora_weights": "pissa_niter_4"}, "changing its base"),
        (LORA, CONFIG | {"lora_alpha": "8"}, "lora_alpha is no number"),
        (LORA, CONFIG | {"lora_alpha": float("nan")}, "lora_alpha is no number"),
        (LORA, CONFIG | {"alpha_pattern": {"(a+)+$": 3}}, "regular expression"),
        (LORA, CONFIG | {"alpha_pattern": [1]}, "no object"),
        (LORA | {P + "q.lora_magnitude_vector": draw(6)}, CONFIG, "kind that is not read"),
        (LORA | {P + "q.lora_B.bias": draw(6)}, CONFIG, "kind that is not read"),
        (LORA | {P + "q.lora_A.default.weight": A}, CONFIG, "two factors"),
        (LORA | {P + "q.weight": draw(6, 10)}, CONFIG, "two adapter parts"),
        (LORA | {P + "q.weight": draw(6, 11)}, CONFIG, "another shape"),
        ({P + "q.lora_A.weight": A}, CONFIG, "only one of two factors"),
        ({P + "z.lora_A.weight": A, P + "z.lora_B.weight": B}, CONFIG, "no tensor this adapter part"),
        ({P + "q.lora_A.weight": A, P + "q.lora_B.weight": draw(6, 3)}, CONFIG, "no matrices of one rank"),
        ({P + "q.lora_A.weight": draw(2, 11), P + "q.lora_B.weight": B}, CONFIG, "does not fit the base"),
        ({P + "q.lora_A.weight": draw(0, 10), P + "q.lora_B.weight": draw(6, 0)}, CONFIG, "no matrices of one rank"),
    ],
)
def test_refusals(tmp_path: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        adapter(tmp_path, tensors, config)


EMBED = "base_model.model.model.embed_tokens"
TABLES = BASE | {"model.embed_tokens.weight": draw(12, 10), "lm_head.weight": draw(12, 10)}


def with_tokens(folder: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], tied: bool = False) -> Checkpoint:
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
    return adapter(folder, tensors, config, TABLES)


@pytest.mark.parametrize(
    "said",
    [
        {"trainable_token_indices": [7, 0, 11]},
        {"trainable_token_indices": {"embed_tokens": [7, 0, 11]}},
        {"trainable_token_indices": {"other": [1], "model.embed_tokens": [7, 0, 11]}},
        {"peft_type": "TRAINABLE_TOKENS", "token_indices": [7, 0, 11]},
    ],
)
@pytest.mark.parametrize("tied", [False, True])
def test_trainable_token_rows(tmp_path: Path, said: dict[str, Any], tied: bool) -> None:
    """The tensor holds the rows themselves; a tied head that is stored too moves with its embedding."""
    rows = draw(3, 10)
    alone = said.get("peft_type") == "TRAINABLE_TOKENS"
    name = f"{EMBED}.trainable_tokens_delta" if alone else f"{EMBED}.token_adapter.trainable_tokens_delta"
    checkpoint = with_tokens(tmp_path, ({} if alone else LORA) | {name: rows}, CONFIG | said, tied)
    want = TABLES["model.embed_tokens.weight"].copy()
    want[[7, 0, 11]] = rows
    assert np.array_equal(checkpoint.read("model.embed_tokens.weight"), want)
    some = np.array([11, 3, 0, 0])
    assert np.array_equal(checkpoint.read("model.embed_tokens.weight", some, slice(2, 6)), want[some, 2:6])
    assert np.array_equal(checkpoint.raw("model.embed_tokens.weight").view("<f4"), want)
    head = TABLES["lm_head.weight"].copy()
    if tied:
        head[[7, 0, 11]] = rows
    assert np.array_equal(checkpoint.read("lm_head.weight"), head)
    if not alone:
        assert np.allclose(checkpoint.read("model.q.weight"), BASE["model.q.weight"] + 4 * B @ A, atol=1e-5)


@pytest.mark.parametrize("said", [None, 3, [], [1, 2], [1, 2, 12], [1, 2, -1], [1, 2, 2], ["a", 1, 2], {"lm_head": [1, 2, 3]}])
def test_token_rows_that_do_not_fit_are_refused(tmp_path: Path, said: object) -> None:
    tensors = LORA | {f"{EMBED}.token_adapter.trainable_tokens_delta": draw(3, 10)}
    with pytest.raises(InputError, match="token rows of the adapter"):
        with_tokens(tmp_path, tensors, CONFIG | {"trainable_token_indices": said})


def test_token_rows_of_a_table_that_is_adapted_or_absent_are_refused(tmp_path: Path) -> None:
    lora = {f"{EMBED}.lora_embedding_A": draw(2, 12), f"{EMBED}.lora_embedding_B": draw(10, 2)}
    adapted = {f"{EMBED}.token_adapter.trainable_tokens_delta": draw(1, 10)} | lora
    for number, tensors in enumerate((adapted, {"base_model.model.x.trainable_tokens_delta": draw(1, 10)})):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InputError, match="token rows of the adapter belong to"):
            with_tokens(tmp_path / str(number), tensors, CONFIG | {"trainable_token_indices": [1]})


@pytest.mark.parametrize("rows", [12, 15])
def test_embeddings_that_the_adapter_keeps_a_copy_of(tmp_path: Path, rows: int) -> None:
    """PEFT stores the base's table whole beside the factors, resized where the vocabulary was."""
    table, a, b = draw(rows, 10), draw(2, rows), draw(10, 2)
    tensors = {f"{EMBED}.base_layer.weight": table, f"{EMBED}.lora_embedding_A": a, f"{EMBED}.lora_embedding_B": b}
    head = draw(rows, 10)
    checkpoint = with_tokens(tmp_path, tensors | {"base_model.model.lm_head.weight": head}, CONFIG)
    want = table + 4 * (b @ a).T
    assert np.allclose(checkpoint.read("model.embed_tokens.weight"), want, atol=1e-5)
    assert np.allclose(checkpoint.read("model.embed_tokens.weight", np.array([rows - 1, 2])), want[[rows - 1, 2]], atol=1e-5)
    assert np.array_equal(checkpoint.read("lm_head.weight"), head)


def test_token_rows_of_a_replaced_table(tmp_path: Path) -> None:
    table, rows = draw(14, 10), draw(2, 10)
    tensors = {f"{EMBED}.weight": table, f"{EMBED}.token_adapter.trainable_tokens_delta": rows}
    checkpoint = with_tokens(tmp_path, LORA | tensors, CONFIG | {"trainable_token_indices": [13, 1]})
    table[[13, 1]] = rows
    assert np.array_equal(checkpoint.read("model.embed_tokens.weight"), table)
