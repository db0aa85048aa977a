"""A Llama folder (`config.json`, `model.safetensors`) to and from the lab's dense model.

Enters: a folder, or a `DenseLM`.  Leaves: the other.  Loading and saving again gives the same bytes; a tensor that the model does
not know, or misses, is an error with its name, never dropped.  The model itself: `dense.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from begat_lab.models.dense import DenseConfig, DenseLM, empty_model

WEIGHTS, CONFIG = "model.safetensors", "config.json"

# Settings of Hugging Face's Llama that change the function and that `dense.py` does not have, with the value it stands for.
_FIXED: dict[str, Any] = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "rope_scaling": None}


@dataclass(frozen=True, slots=True)
class LlamaFolder:
    """A model and all that its folder says beyond float32 values, so that it can be written back byte for byte."""

    model: DenseLM  # always float32, ready to train
    dtypes: dict[str, torch.dtype]  # how each tensor is stored
    metadata: dict[str, str] | None  # the `__metadata__` of the safetensors header
    config_text: str  # config.json, verbatim


def load_folder(folder: Path) -> LlamaFolder:
    """Read a Llama-shaped checkpoint of one safetensors file.

    Raises:
        ValueError: the config asks for something `dense.py` does not do, or names or shapes do not fit the config.

    """
    config_text = (folder / CONFIG).read_text(encoding="utf-8")
    model = empty_model(parse_config(config_text, folder / CONFIG))
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (a safe_open is no dict)
    _check_names(model, tensors, folder / WEIGHTS)
    model.load_state_dict(tensors)
    return LlamaFolder(model, {name: tensor.dtype for name, tensor in tensors.items()}, metadata, config_text)


def save_folder(llama: LlamaFolder, folder: Path) -> None:
    """Write `llama` to `folder` (made if absent), each tensor rounded to its stored type."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: weight.to(llama.dtypes[name]).contiguous() for name, weight in llama.model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata=llama.metadata)
    (folder / CONFIG).write_text(llama.config_text, encoding="utf-8", newline="\n")


def pack(model: DenseLM, dtype: torch.dtype) -> LlamaFolder:
    """A folder-to-be for a model that never had one, all tensors of one type."""
    dtypes = dict.fromkeys(model.state_dict(), dtype)
    return LlamaFolder(model, dtypes, {"format": "pt"}, config_json(model.config, dtype))


def with_model(llama: LlamaFolder, model: DenseLM) -> LlamaFolder:
    """The same folder around another model of the same shape: what a fine-tune of a published checkpoint looks like."""
    return replace(llama, model=model)


def config_json(config: DenseConfig, dtype: torch.dtype) -> str:
    """The text of `config.json`: the fields of `config` and what transformers needs to call it a Llama."""
    fixed = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": str(dtype).removeprefix("torch.")}
    return json.dumps({**fixed, **_FIXED, **asdict(config)}, indent=2, sort_keys=True) + "\n"


def parse_config(text: str, where: Path) -> DenseConfig:
    """The `DenseConfig` that a Hugging Face `config.json` describes; newer files keep theta under `rope_parameters`."""
    raw: dict[str, Any] = json.loads(text)
    rope: dict[str, Any] = raw.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"{where}: rope_type is {rope['rope_type']!r}, the lab's dense model has plain rotary positions only")
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise ValueError(f"{where}: {key} is {raw[key]!r}, the lab's dense model has {value!r} only")
    heads = int(raw["num_attention_heads"])
    return DenseConfig(
        vocab_size=int(raw["vocab_size"]),
        hidden_size=int(raw["hidden_size"]),
        intermediate_size=int(raw["intermediate_size"]),
        num_hidden_layers=int(raw["num_hidden_layers"]),
        num_attention_heads=heads,
        num_key_value_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or raw["hidden_size"] // heads),
        rope_theta=float(raw.get("rope_theta") or rope.get("rope_theta") or 10000.0),
        rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        initializer_range=float(raw.get("initializer_range", 0.02)),
        max_position_embeddings=int(raw.get("max_position_embeddings", 2048)),
    )


def _check_names(model: DenseLM, tensors: dict[str, torch.Tensor], where: Path) -> None:
    wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        asked, has = wanted.get(name, "nothing"), found.get(name, "nothing")
        if asked != has:
            raise ValueError(f"{where}: {name}: config.json asks for {asked}, the file has {has}")
