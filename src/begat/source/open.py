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

import begat.source.gguf
import begat.source.onnx
import begat.source.safetensors
import begat.source.torch_pickle  # noqa: F401  (imports register the formats)
from begat.errors import InputError
from begat.source.foreign import refuse_foreign
from begat.source.formats import FORMATS, ParsedFile
from begat.source.reader import FileReader
from begat.types import Checkpoint, TensorEntry

_SHARD = re.compile(r"^(?P<stem>.*?)-?(?P<at>\d{5})-of-(?P<of>\d{5})(?P<suffix>\.[a-z]+)$")
_CONFIG_LIMIT = 16 << 20
_INDEX_LIMIT = 64 << 20
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
    try:
        return _open(Path(path), base)
    except OSError as err:
        raise InputError(
            f"cannot be read: {err.strerror or type(err).__name__}",
            file=err.filename or path,
            fix="check the disk and the file's permissions",
        ) from None


def _open(where: Path, base: str | Path | None) -> Checkpoint:
    if not where.exists():
        raise InputError("no such file or folder", file=where, fix="check the path")
    adapter = _adapter_folder(where)
    if adapter is None:
        _refuse_foreign(where)
    if adapter is not None:
        from begat.source.peft import open_adapter

        return open_adapter(adapter, None if base is None else open_checkpoint(base))
    files, weight_map = _files(where)
    format_name = _format_of(files[0])
    parsed = [parse_file(f, format_name) for f in files]
    if weight_map:
        _check_index(weight_map, files, parsed)
    _check_split(files, parsed)
    return assemble(where, format_name, files, parsed, _config(where if where.is_dir() else where.parent))


def _refuse_foreign(where: Path) -> None:
    """Name a format that is not read, unless the bytes are those of one that is; Core ML's begin as ONNX's do."""
    if where.is_dir():
        if not any(_recognised(f) for f in _weight_files(where)) and not any(where.glob("*.index.json")):
            refuse_foreign(where, sorted(p.name for p in where.iterdir()))
    elif where.is_file() and (not _recognised(where) or where.suffix == ".mlmodel"):
        refuse_foreign(where, [where.name])


def _adapter_folder(where: Path) -> Path | None:
    """The folder of a PEFT adapter: it has an adapter_config.json and no weights but the adapter's."""
    if where.is_file():
        return where.parent if where.stem == "adapter_model" and (where.parent / "adapter_config.json").is_file() else None
    if where.is_dir() and (where / "adapter_config.json").is_file() and not _weight_files(where):
        return where
    return None


def parse_file(file: Path, format_name: str | None = None) -> ParsedFile:
    """The parsed header of one weight file. Raises InputError."""
    if not file.is_file():
        raise InputError("is not a regular file", file=file, fix="name a weight file")
    try:
        return FORMATS[format_name or _format_of(file)].parse(file)
    except OSError as err:
        raise InputError(
            f"cannot be read: {err.strerror or type(err).__name__}", file=file, fix="check the disk and the file's permissions"
        ) from None


def assemble(where: Path, format_name: str, files: list[Path], parsed: list[ParsedFile], config: dict[str, Any]) -> Checkpoint:
    """One `Checkpoint` from parsed files; a name in two shards is an error."""
    from begat.source.packed import attach_packed
    from begat.source.scales import attach_scales

    entries: dict[str, TensorEntry] = {}
    for one in parsed:
        for entry in one.entries:
            if entry.name in entries:
                raise InputError(
                    f"tensor is also in {entries[entry.name].file.name}",
                    file=entry.file,
                    tensor=entry.name,
                    fix="remove the stale shard",
                )
            entries[entry.name] = entry
    if not entries:
        why = next((u.why for p in parsed for u in p.unread.values()), None)
        problem = "holds no tensors" if why is None else "holds no tensor of a type that is read"
        raise InputError(problem, file=where, found=why, fix="name a checkpoint with weights")
    for one in parsed if format_name == "gguf" else ():
        config = {**one.metadata, **config}
    reader = FileReader()
    packed = attach_packed(entries, config, reader)
    scaled = attach_scales(packed.entries, config, reader, packed.unread)
    digest = hashlib.sha256("\n".join(p.digest for p in parsed).encode()).hexdigest()
    beside = [e.file for p in parsed for e in p.entries if e.file not in files]  # ONNX keeps large weights in files of their own
    return Checkpoint(
        path=where,
        format=format_name,
        entries=scaled.entries,
        config=config,
        header_digest=digest,
        files=tuple(dict.fromkeys([*files, *beside])),
        reader=reader,
        skipped=(*packed.skipped, *scaled.skipped, *(s for p in parsed for s in p.skipped)),
        stored=tuple(e for p in parsed for e in p.entries),
        notes=(*(n for p in parsed for n in p.notes), *scaled.notes),
        unread={**{name: u for p in parsed for name, u in p.unread.items()}, **packed.unread, **scaled.unread},
    )


def _files(where: Path) -> tuple[list[Path], dict[str, str]]:
    """The weight files that make up the checkpoint `where`, shards in order, all present; and the index's tensor → file."""
    if where.is_file():
        return _from_index(where) if where.name.endswith(".index.json") else (_siblings(where), {})
    if not where.is_dir():
        raise InputError("is neither a regular file nor a folder", file=where, fix="name a checkpoint file or folder")
    found = _weight_files(where)
    for stem in ("model.safetensors", "pytorch_model.bin"):  # the order transformers looks in
        if where / stem in found:
            return [where / stem], {}
        if (where / f"{stem}.index.json").is_file():
            return _from_index(where / f"{stem}.index.json")
    indexes = sorted(f for f in where.glob("*.index.json") if f.is_file())
    if len(indexes) == 1:
        return _from_index(indexes[0])
    _no_dangling_link(where)
    if not found:
        raise InputError(
            "no weights in this folder",
            file=where,
            expected=" / ".join("*" + s for s in _FOLDER_ORDER),
            found=_listing(where),
            fix="name the folder that holds the weight files",
        )
    exact = [f for f in found if f.stem == "model"]
    if exact:
        return exact[:1], {}
    groups = {_group(f.name): f for f in found}
    if len(groups) > 1:
        raise InputError(
            "several weight files and no index",
            file=where,
            found=", ".join(f.name for f in found[:5]),
            fix="name one of the files",
        )
    return _siblings(found[0]), {}


def _group(name: str) -> str:
    """Shards of one save share this."""
    match = _SHARD.match(name)
    return f"{match['stem']}-of-{match['of']}{match['suffix']}" if match else name


def _weight_files(folder: Path) -> list[Path]:
    """The folder's regular weight files of the first suffix that has any a format recognises (a `.bin` may be anything)."""
    unknown: list[Path] = []
    for suffix in _FOLDER_ORDER:
        found = sorted(f for f in folder.glob("*" + suffix) if f.is_file() and not _NOT_MODELS.match(f.name))
        known = [f for f in found if suffix != ".bin" or _recognised(f)]
        if known:
            return known
        unknown += found
    return unknown


def _recognised(file: Path) -> bool:
    head = _head(file)
    return any(f.recognises(head) for _, f in FORMATS.items())


def _no_dangling_link(folder: Path) -> None:
    """A link whose target was not downloaded looks like an absent file; say so instead."""
    for link in sorted(p for p in folder.iterdir() if p.is_symlink() and p.suffix in _FOLDER_ORDER and not p.exists()):
        raise InputError("is a link to a file that is not there", file=link, fix="download the file")


def _listing(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "") if names else "an empty folder"


def first_shard(file: Path) -> Path:
    """The first of the numbered shards a file belongs to; raises InputError when one is missing."""
    return _siblings(file)[0]


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


def _from_index(index: Path) -> tuple[list[Path], dict[str, str]]:
    """Shards named by an index.json: inside its folder only, all present."""
    weight_map = read_json(index, _INDEX_LIMIT).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise InputError("index has no weight_map of tensor → file", file=index, fix="download the index again")
    names = sorted(set(weight_map.values()))
    for name in names:
        if "/" in name or "\\" in name or "\0" in name or name in ("", ".", ".."):
            raise InputError("index names a file outside its folder", file=index, found=name, fix="do not trust this checkpoint")
    shards = [index.parent / name for name in names]
    _all_there(shards, index)
    return shards, weight_map


def _check_index(weight_map: dict[str, str], files: list[Path], parsed: list[ParsedFile]) -> None:
    """Every tensor the index promises is in the shard it names."""
    here = {f.name: {e.name for e in p.entries} | {n for n, _ in p.skipped} for f, p in zip(files, parsed, strict=True)}
    for tensor, name in weight_map.items():
        if tensor not in here[name]:
            raise InputError(
                "tensor is in the index but not in its shard",
                file=files[0].with_name(name),
                tensor=tensor,
                expected="listed in the index",
                found="absent",
                fix="download shard and index again",
            )


def _check_split(files: list[Path], parsed: list[ParsedFile]) -> None:
    """A GGUF part says how many parts there are, whatever its file is called."""
    total = parsed[0].metadata.get("split.count", len(files))
    if type(total) is int and total > 1 and total != len(files):
        raise InputError(
            "is one part of a split model",
            file=files[0],
            expected=f"{total} files named …-00001-of-{total:05d}.gguf",
            found=len(files),
            fix="put all parts in one folder under their original names",
        )


def _all_there(shards: Iterable[Path], named_by: Path) -> None:
    missing = [s.name for s in shards if not s.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            "missing shard", file=named_by, expected=missing[0] + more, found="no such file", fix="download the missing file"
        )


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as f:
            return f.read(64)
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file, fix="check the disk and the file's permissions") from None


def _format_of(file: Path) -> str:
    """The format of a file: by its first bytes, then by its name."""
    head = _head(file)
    named = [n for n, f in FORMATS.items() if file.name.lower().endswith(f.suffixes)]
    seen = [n for n, f in FORMATS.items() if f.recognises(head)]
    for name in (*(n for n in named if n in seen), *seen, *named):
        return name
    raise InputError(
        "not a weight file begat knows",
        file=file,
        expected=", ".join(n for n in FORMATS),
        found=f"{head[:8]!r}" if head else "an empty file",
        fix="name a safetensors, torch, GGUF or ONNX file",
    )


def _config(folder: Path) -> dict[str, Any]:
    """config.json beside the weights; a damaged one is an error, an absent one is not."""
    file = folder / "config.json"
    return read_json(file) if file.is_file() else {}


def read_json(file: Path, limit: int = _CONFIG_LIMIT) -> dict[str, Any]:
    """A JSON object from a file of at most `limit` bytes, or an InputError."""
    try:
        if file.stat().st_size > limit:
            raise InputError(
                "JSON file is too large",
                file=file,
                expected=f"at most {limit} bytes",
                found=file.stat().st_size,
                fix="download the file again",
            )
        value = json.loads(file.read_text("utf-8"))
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file, fix="check the disk and the file's permissions") from None
    except (ValueError, RecursionError) as err:  # ValueError: bad UTF-8, bad JSON, integers of thousands of digits
        raise InputError(f"is not JSON ({type(err).__name__})", file=file, fix="download the file again") from None
    if not isinstance(value, dict):
        raise InputError("is not a JSON object", file=file, found=type(value).__name__, fix="download the file again")
    return value
