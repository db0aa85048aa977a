"""Folders of the openPangu decoders: `config.json` and sharded safetensors with the published names, read strictly and written back.

Enters: a folder, or a model.  Leaves: the other.  A setting that changes the function and that the model does not have is an error, and so
is a tensor too many, too few or of another shape; `rotary_emb.inv_freq`, which follows from the config, is left out.  Saving what was
loaded gives the same bytes.  The config: `pangu_json.py`; the models: `pangu.py`, `pangu_pro_moe.py`, `pangu_dense.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from begat import InputError
from begat_lab.models.pangu_json import Layout, Stored, config_json, parse_config, read_json

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
SINGLE = ("model.safetensors", "weights.safetensors")
_DTYPES = ("BF16", "F16", "F32", "F64")


class Folders:
    """What a `PanguLM` can do with folders."""

    layout: Layout

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, dtype: torch.dtype | str | None = None, device: str | torch.device = "cpu", **options: Any
    ) -> Self:
        """The model of a folder, in eval mode, shard by shard.

        Args:
            folder: holds `config.json` and safetensors, one file or shards with an index.
            dtype: of the weights, a torch dtype or its name; as stored (the embedding's) if None.
            device: where to.
            options: of the class (`attention`, `experts`).

        Raises:
            begat.InputError: it is another network (Pangu Pro MoE's second version, for one), or names or shapes do not fit.

        """
        folder = Path(folder)
        kept = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if dtype is not None and not (isinstance(kept, torch.dtype) and kept.is_floating_point):
            raise InputError("dtype", expected="float32, bfloat16 or float64", found=dtype)
        raw = read_json(folder / CONFIG)
        files = _weight_files(folder)
        shapes = _stored_shapes(files)
        config = parse_config(raw, cls.layout, folder / CONFIG, shapes)
        for size in ("num_hidden_layers", "num_experts"):  # before a model of an absurd size is laid out
            if getattr(config, size, 0) > len(shapes):
                raise InputError("config.json and weights do not fit", file=folder / CONFIG, expected=f"{size} at most {len(shapes)}, as many as "
                                 "there are tensors", found=getattr(config, size))  # fmt: skip
        with torch.device("meta"):
            model: Any = cls(config, **options)  # type: ignore[call-arg]  # PanguLM's
        wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        _check_names(wanted, shapes, config.tie_word_embeddings, folder)
        for file in files:
            with safe_open(file, framework="pt", device=str(device)) as opened:
                part = {name: opened.get_tensor(name) for name in opened.keys() if name in wanted}  # noqa: SIM118  (no dict)
            kept = kept or next((t.dtype for n, t in part.items() if "embed_tokens" in n), None)
            model.load_state_dict(part, strict=False, assign=True)
        model.to(kept).requires_grad_(True)
        model.raw_config = raw
        return model.eval()  # type: ignore[no-any-return]

    def save_pretrained(self, folder: str | Path, *, max_shard_bytes: int = 5_000_000_000) -> None:
        """Write `config.json` and the weights in their own dtype: one file, or shards of at most `max_shard_bytes` with an index.

        Keys of a config that was loaded and that are nothing to the model (`auto_map`, …) are written back.
        """
        model: Any = self
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
        dtype = model.model.embed_tokens.weight.dtype
        text = config_json(model.config, self.layout, dtype, getattr(model, "raw_config", {}))
        _write(folder / CONFIG, text)
        _save_shards(tensors, folder, max_shard_bytes)


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).exists():
        names = read_json(folder / INDEX).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) and Path(name).name == name for name in names.values()):
            raise InputError("weight_map is no table of files beside it", file=folder / INDEX)
        return [folder / name for name in sorted(set(names.values()))]
    for name in SINGLE:
        if (folder / name).exists():
            return [folder / name]
    raise InputError("no weights", file=folder, expected=f"{INDEX} or {SINGLE[0]}", found="neither")


def _stored_shapes(files: Iterable[Path]) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Every stored tensor but the rotary tables that some files carry: name → (file, shape)."""
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  (a safe_open is no dict)
                    if name in found:
                        raise InputError("is stored twice", file=file, tensor=name, found=f"also in {found[name][0].name}")
                    if not name.endswith("rotary_emb.inv_freq"):
                        stored = opened.get_slice(name)
                        if stored.get_dtype() not in _DTYPES:
                            raise InputError("is stored as numbers that need a scale", file=file, tensor=name, expected=" or ".join(_DTYPES),
                                             found=stored.get_dtype(), fix="give the checkpoint before it was quantised")  # fmt: skip
                        found[name] = (file, tuple(stored.get_shape()))
        except (OSError, SafetensorError) as err:
            raise InputError(f"cannot be read: {err}", file=file) from err
    return found


def _check_names(wanted: Mapping[str, tuple[int, ...]], stored: Stored, tied: bool, folder: Path) -> None:
    for name in sorted(wanted.keys() | stored.keys()):
        file, shape = stored.get(name, (folder, None))
        asked = wanted.get(name)
        if asked != shape and not (
            tied and name == "lm_head.weight"
        ):  # a tied head may be stored once more; the embedding counts
            raise InputError("config.json and weights do not fit", file=file, tensor=name, expected=asked or "no such tensor",
                             found=shape or "nothing")  # fmt: skip


def _save_shards(tensors: dict[str, Tensor], folder: Path, most: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    for name, tensor in tensors.items():
        if shards[-1] and sum(map(_bytes, shards[-1].values())) + _bytes(tensor) > most:
            shards.append({})
        shards[-1][name] = tensor
    for old in [*folder.glob("model-*-of-*.safetensors"), folder / INDEX, folder / SINGLE[0]]:
        if old.exists() and (old.name in (INDEX, SINGLE[0]) or re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", old.name)):
            old.unlink()  # an earlier save of another size, which would be read together with this one
    if len(shards) == 1:
        save_file(shards[0], folder / SINGLE[0], metadata={"format": "pt"})
        return
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name, metadata={"format": "pt"})
    place = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    index = {"metadata": {"total_size": sum(map(_bytes, tensors.values()))}, "weight_map": dict(sorted(place.items()))}
    _write(folder / INDEX, json.dumps(index, indent=2) + "\n")


def _bytes(tensor: Tensor) -> int:
    return int(tensor.numel() * tensor.element_size())


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")
