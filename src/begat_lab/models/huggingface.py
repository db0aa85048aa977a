"""A Hugging Face folder (`config.json`, `model.safetensors`) to and from a model of the lab, of any architecture.

Enters: a folder, or a model.  Leaves: the other.  Loading and saving again gives the same bytes; a tensor that the model does
not know, or misses, is an error with its name, never dropped.  The models: `dense.py` and its neighbours; what `config.json` says of
each is written there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from begat_lab.models.architecture import ARCHITECTURES, Architecture, LanguageModel, architecture_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model and all that its folder says beyond float32 values, so that it can be written back byte for byte."""

    model: LanguageModel  # always float32, ready to train
    dtypes: dict[str, torch.dtype]  # how each tensor is stored
    metadata: dict[str, str] | None  # the `__metadata__` of the safetensors header
    config_text: str  # config.json, verbatim


def load_folder(folder: Path) -> ModelFolder:
    """Read a checkpoint of one safetensors file.

    Raises:
        ValueError: the config asks for something the model does not do, or names or shapes do not fit the config.

    """
    config_text = (folder / CONFIG).read_text(encoding="utf-8")
    config = parse_config(config_text, folder / CONFIG)
    model = architecture_of(config).empty(config)
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (a safe_open is no dict)
    _check_names(model, tensors, folder / WEIGHTS)
    model.load_state_dict(tensors)
    return ModelFolder(model, {name: tensor.dtype for name, tensor in tensors.items()}, metadata, config_text)


def save_folder(stored: ModelFolder, folder: Path) -> None:
    """Write `stored` to `folder` (made if absent), each tensor rounded to its stored type."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: weight.to(stored.dtypes[name]).contiguous() for name, weight in stored.model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata=stored.metadata)
    (folder / CONFIG).write_text(stored.config_text, encoding="utf-8", newline="\n")


def pack(model: LanguageModel, dtype: torch.dtype) -> ModelFolder:
    """A folder-to-be for a model that never had one, all tensors of one type."""
    dtypes = dict.fromkeys(model.state_dict(), dtype)
    return ModelFolder(model, dtypes, {"format": "pt"}, config_json(model.config, dtype))


def with_model(stored: ModelFolder, model: LanguageModel) -> ModelFolder:
    """The same folder around another model of the same shape: what a fine-tune of a published checkpoint looks like."""
    return replace(stored, model=model)


def config_json(config: Any, dtype: torch.dtype) -> str:
    """The text of `config.json`."""
    return json.dumps(architecture_of(config).write_config(config, dtype), indent=2, sort_keys=True) + "\n"


def parse_config(text: str, where: Path) -> Any:
    """The config that a Hugging Face `config.json` describes; a `model_type` the lab does not know is read as a Llama's."""
    raw: dict[str, Any] = json.loads(text)
    return _architecture(raw.get("model_type")).read_config(raw, where)


def _architecture(model_type: object) -> Architecture:
    known = {architecture.model_type: architecture for _, architecture in ARCHITECTURES.items()}
    return known.get(model_type, ARCHITECTURES["dense"]) if isinstance(model_type, str) else ARCHITECTURES["dense"]


def _check_names(model: LanguageModel, tensors: dict[str, torch.Tensor], where: Path) -> None:
    wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        asked, has = wanted.get(name, "nothing"), found.get(name, "nothing")
        if asked != has:
            raise ValueError(f"{where}: {name}: config.json asks for {asked}, the file has {has}")
