"""From a path to a `Checkpoint`: which files belong together, and nothing about what their tensors mean.

Enters: a file or folder (and the base for an adapter folder).  Leaves: a `Checkpoint`.  Formats: `formats.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import begat.source.safetensors  # noqa: F401  (registers the format)
from begat.errors import InputError
from begat.source.formats import FORMATS, ParsedFile
from begat.source.reader import FileReader
from begat.types import Checkpoint, TensorEntry

_SHARD = re.compile(r"^(?P<stem>.*?)-?(?P<at>\d{5})-of-(?P<of>\d{5})(?P<suffix>\.[a-z]+)$")
_JSON_LIMIT = 256 << 20
#: which weight files of a folder are the model, first match wins
_FOLDER_ORDER = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx")
_NOT_MODELS = re.compile(
    r"^(optimizer|scheduler|training_args|rng_state|adapter_model|non_lora_trainables|trainer_state|consolidated\.)", re.I
)


def open_checkpoint(path: str | Path, base: str | Path | None = None) -> Checkpoint:
    """Open a checkpoint for reading.

    Args:
        path: a weight file, or a folder with weight files (and shards' index, config.json).
        base: for a PEFT adapter folder: the checkpoint it was trained on.

    Raises:
        InputError: nothing readable is there, a shard is missing, a header is damaged, ….
    """
    where = Path(path)
    if not where.exists():
        raise InputError("no such file or folder", file=path)
    if where.is_dir() and (where / "adapter_config.json").is_file() and not _weight_files(where):
        from begat.source.peft import open_adapter

        return open_adapter(where, None if base is None else open_checkpoint(base))
    files = _files(where)
    format_name = _format_of(files[0])
    parsed = [_parse(format_name, f) for f in files]
    return assemble(where, format_name, files, parsed, _config(where if where.is_dir() else where.parent))


def assemble(where: Path, format_name: str, files: list[Path], parsed: list[ParsedFile], config: dict[str, Any]) -> Checkpoint:
    """One `Checkpoint` from parsed files; a name in two shards is an error."""
    from begat.source.scales import attach_scales

    entries: dict[str, TensorEntry] = {}
    for one in parsed:
        for entry in one.entries:
            if entry.name in entries:
                raise InputError(f"tensor is also in {entries[entry.name].file.name}", file=entry.file, tensor=entry.name,
                                 fix="remove the stale shard")  # fmt: skip
            entries[entry.name] = entry
    if not entries:
        raise InputError("holds no tensors", file=where, fix="name a checkpoint with weights")
    for one in parsed:
        config = {**one.metadata, **config} if format_name == "gguf" else config
    reader = FileReader()
    entries, skipped = attach_scales(entries, reader)
    digest = hashlib.sha256("\n".join(p.digest for p in parsed).encode()).hexdigest()
    return Checkpoint(
        path=where, format=format_name, entries=entries, config=config, header_digest=digest, files=tuple(files), reader=reader,
        skipped=(*skipped, *(s for p in parsed for s in p.skipped)), notes=tuple(n for p in parsed for n in p.notes),
    )  # fmt: skip


def _files(where: Path) -> list[Path]:
    """The weight files that make up the checkpoint `where`, shards in order, all present."""
    if where.is_file():
        if where.name.endswith(".index.json"):
            return _from_index(where)
        return _siblings(where)
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (where / index).is_file():
            return _from_index(where / index)
    others = sorted(where.glob("*.index.json"))
    if others:
        return _from_index(others[0])
    found = _weight_files(where)
    if not found:
        raise InputError("no weights in this folder", file=where,
                         expected=" / ".join("*" + s for s in _FOLDER_ORDER), found=_listing(where),
                         fix="name the folder that holds the weight files")  # fmt: skip
    for name in ("model", "pytorch_model"):
        exact = [f for f in found if f.stem == name]
        if exact:
            return exact
    if len(found) > 1 and not _SHARD.match(found[0].name):
        raise InputError("several weight files and no index", file=where, found=", ".join(f.name for f in found[:5]),
                         fix="name one of the files")  # fmt: skip
    return _siblings(found[0])


def _weight_files(folder: Path) -> list[Path]:
    for suffix in _FOLDER_ORDER:
        found = sorted(f for f in folder.glob("*" + suffix) if f.is_file() and not _NOT_MODELS.match(f.name))
        if found:
            return found
    return []


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "") if names else "an empty folder"


def _siblings(file: Path) -> list[Path]:
    """The numbered shards a file belongs to (a GGUF split or an index-less save), or the file alone."""
    match = _SHARD.match(file.name)
    if not match:
        return [file]
    total = int(match["of"])
    if not 1 <= total <= 10_000:
        return [file]
    dash = "-" if file.name[len(match["stem"])] == "-" else ""
    shards = [file.with_name(f"{match['stem']}{dash}{i:05d}-of-{total:05d}{match['suffix']}") for i in range(1, total + 1)]
    _all_there(shards, file)
    return shards


def _from_index(index: Path) -> list[Path]:
    """Shards named by an index.json: inside its folder only, all present, none listed without tensors."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise InputError("index has no weight_map of tensor → file", file=index, fix="download the index again")
    names = sorted(set(weight_map.values()))
    for name in names:
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise InputError("index names a file outside its folder", file=index, found=name, fix="do not trust this checkpoint")
    shards = [index.parent / name for name in names]
    _all_there(shards, index)
    _check_index(index, weight_map, shards)
    return shards


def _check_index(index: Path, weight_map: dict[str, str], shards: list[Path]) -> None:
    """Every tensor the index promises is in the shard it names."""
    format_name = _format_of(shards[0])
    for shard in shards:
        here = {e.name for e in _parse(format_name, shard).entries} | {n for n, _ in _parse(format_name, shard).skipped}
        for tensor, name in weight_map.items():
            if name == shard.name and tensor not in here:
                raise InputError("tensor is in the index but not in its shard", file=shard, tensor=tensor,
                                 expected=f"listed in {index.name}", found="absent",
                                 fix="download shard and index again")  # fmt: skip


def _all_there(shards: Iterable[Path], named_by: Path) -> None:
    missing = [s.name for s in shards if not s.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError("missing shard", file=named_by, expected=missing[0] + more, found="no such file",
                         fix="download the missing file")  # fmt: skip


_parsed_cache: dict[tuple[Path, int, int], ParsedFile] = {}


def _parse(format_name: str, file: Path) -> ParsedFile:
    try:
        stat = file.stat()
        key = (file, stat.st_size, stat.st_mtime_ns)
        if key not in _parsed_cache:
            if len(_parsed_cache) > 512:
                _parsed_cache.clear()
            _parsed_cache[key] = FORMATS[format_name].parse(file)
        return _parsed_cache[key]
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file) from None


def _format_of(file: Path) -> str:
    """The format of a file: by its first bytes, then by its name."""
    try:
        with file.open("rb") as f:
            head = f.read(64)
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file) from None
    named = [n for n, f in FORMATS.items() if file.name.endswith(f.suffixes)]
    seen = [n for n, f in FORMATS.items() if f.recognises(head)]
    for name in (*(n for n in named if n in seen), *seen, *named):
        return name
    raise InputError("not a weight file begat knows", file=file, expected=", ".join(n for n in FORMATS),
                     found=f"{head[:8]!r}" if head else "an empty file",
                     fix="name a safetensors, torch, GGUF or ONNX file")  # fmt: skip


def _config(folder: Path) -> dict[str, Any]:
    """config.json beside the weights; a damaged one is an error, an absent one is not."""
    file = folder / "config.json"
    return read_json(file) if file.is_file() else {}


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file, or an InputError."""
    try:
        if file.stat().st_size > _JSON_LIMIT:
            raise InputError("JSON file is too large", file=file, expected=f"at most {_JSON_LIMIT} bytes", found=file.stat().st_size)
        value = json.loads(file.read_text("utf-8"))
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file) from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise InputError(f"is not JSON ({type(err).__name__})", file=file, fix="download the file again") from None
    if not isinstance(value, dict):
        raise InputError("is not a JSON object", file=file, found=type(value).__name__)
    return value
