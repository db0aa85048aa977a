"""Toy models as folders that any tool can read.

Enters: a `Toy`.  Leaves: safetensors (one file, or shards with their index), config.json,
tokenizer.json. Written by hand: the format is a header of JSON and the bytes
(https://github.com/huggingface/safetensors), and no package beyond numpy is asked for.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from begat_lab.cases.model import Array, Toy, as_stored

_TYPES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e8m0fnu": "F8_E8M0",
    "uint8": "U8",
    "int8": "I8",
    "int32": "I32",
    "int64": "I64",
}


def write(folder: Path, toy: Toy, shards: int = 1) -> Path:
    """Save a model; the folder must be new."""
    folder.mkdir(parents=True)
    tensors = as_stored(toy)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
    else:
        _sharded(folder, tensors, shards)
    if toy.config:
        (folder / "config.json").write_text(json.dumps(dict(toy.config), indent=1) + "\n", encoding="utf-8")
    if toy.tokens:
        words = {f"word{i}": i for i in range(toy.tokens)}
        (folder / "tokenizer.json").write_text(
            json.dumps({"model": {"type": "WordLevel", "vocab": words, "unk_token": "word0"}}), encoding="utf-8"
        )
    return folder


def write_safetensors(file: Path, tensors: Mapping[str, Array]) -> None:
    """One file."""
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": _TYPES[values.dtype.name], "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    body = b"".join(np.ascontiguousarray(v).tobytes() for v in tensors.values())
    file.write_bytes(struct.pack("<Q", len(head)) + head + body)


def _sharded(folder: Path, tensors: Mapping[str, Array], shards: int) -> None:
    names, places = list(tensors), dict[str, str]()
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        mine = names[i::shards]
        write_safetensors(folder / file, {n: tensors[n] for n in mine})
        places |= dict.fromkeys(mine, file)
    index = {"metadata": {"total_size": sum(v.nbytes for v in tensors.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
