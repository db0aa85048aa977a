"""torch checkpoints (`.bin`, `.pt`, `.pth`, `.ckpt`), without torch and without unpickling.

Enters: a file.  Leaves: `TensorEntry`s that point into it. Its two containers are read in `torch_archive.py` by a pickle machine
that imports and calls nothing (`pickle_vm.py`); which nested tensors are the model's weights is decided in `torch_tree.py`.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.dtypes import DTYPES
from begat.source.formats import FORMATS, ParsedFile, check_name, check_shape, digest_of
from begat.source.torch_archive import MAGIC, RESAVE, Legacy, Storage, TensorStub, Zip, natural
from begat.source.torch_globals import TORCH_DTYPES
from begat.source.torch_tree import NUMPY, leaves
from begat.types import TensorEntry, Unread

_ZIP = b"PK\x03\x04"
_LEGACY_HEAD = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
_MAX_EXPANDED = 16 << 20  # bytes an expanded (stride 0) tensor may have beyond its storage


class Torch:
    """Files written by `torch.save`."""

    suffixes = (".bin", ".pt", ".pth", ".ckpt")

    def recognises(self, head: bytes) -> bool:
        """A zip file, or a pickle that starts with torch's magic number (behind a protocol and, from protocol 4, a frame)."""
        return head.startswith(_ZIP) or any(head[at : at + 12] == _LEGACY_HEAD for at in (0, 2, 11))

    def parse(self, path: Path) -> ParsedFile:
        """Run the pickle on the inert machine and place every tensor it describes.

        Raises InputError: no torch file, a forbidden global, compressed or damaged archive, tensors outside their storage.
        """
        with path.open("rb") as f:
            head = f.read(512)
            if head.startswith(_ZIP):
                loader: Zip | Legacy = Zip(f, path)
            elif self.recognises(head[:64]):
                loader = Legacy(f, path)
            else:
                raise _not_torch(path, head)
            tree = loader.load()
        return _assemble(path, tree, loader)


FORMATS.add("torch")(Torch())


def _not_torch(path: Path, head: bytes) -> InputError:
    if not head:
        return InputError("file is empty", file=path, fix="download the file again")
    if head[257:262] == b"ustar":
        return InputError("tar checkpoint of torch before 0.2 is not read", file=path, fix=RESAVE)
    what = "a pickle that torch.save did not write" if head[:1] == b"\x80" else repr(head[:8])
    return InputError(
        "is no torch checkpoint", file=path, expected="a zip archive or torch's magic number", found=what, fix=RESAVE
    )


def _assemble(path: Path, tree: Any, loader: Zip | Legacy) -> ParsedFile:
    found = leaves(path, tree, TensorStub)
    entries: list[TensorEntry] = []
    skipped = list(found.skipped)
    unread = {name: Unread(NUMPY, _size(shape)) for name, shape in found.arrays.items()}
    for name, stub in found.tensors:
        check_name(path, name)
        why = stub.unread or _not_read(stub)
        if why or stub.storage is None:
            skipped.append((name, why))
            unread[name] = Unread(why, _size(stub.shape))
        else:
            entries.append(_entry(path, name, stub, stub.storage, loader.places[stub.storage.key][0]))
    digest = hashlib.sha256((loader.digest + digest_of(entries)).encode()).hexdigest()
    return ParsedFile(tuple(entries), digest, skipped=tuple(skipped), notes=found.notes, unread=unread)


def _not_read(stub: TensorStub) -> str:
    """Why a tensor's numbers cannot be read, "" when they can."""
    if TORCH_DTYPES[stub.dtype][0] is None:
        return f"numbers of type {stub.dtype}"
    return "meta tensor, saved without data" if stub.storage is None else ""


def _size(shape: Any) -> int:
    """Elements of a tensor that is not read; 0 where its shape says nothing usable."""
    if not isinstance(shape, (tuple, list)) or len(shape) > 32 or not all(natural(n) for n in shape):
        return 0
    size = math.prod(shape)
    return size if size < 1 << 48 else 0


def _entry(path: Path, name: str, stub: TensorStub, storage: Storage, base: int) -> TensorEntry:
    """The entry of a tensor whose elements all lie inside its storage."""
    shape = check_shape(path, name, stub.shape)
    strides = stub.strides
    if (
        not isinstance(strides, (tuple, list))
        or len(strides) != len(shape)
        or not all(natural(s) for s in (*strides, stub.offset))
    ):
        raise InputError(
            "strides or offset are damaged",
            file=path,
            tensor=name,
            expected=f"{len(shape)} natural numbers",
            found=repr(strides)[:80] if isinstance(strides, (tuple, list)) and len(strides) < 33 else "something else",
            fix="download the file again",
        )
    dtype = TORCH_DTYPES[stub.dtype][0]
    assert dtype is not None
    item, unit = DTYPES[dtype].block_bytes, TORCH_DTYPES[storage.dtype][1]
    if 0 in shape:
        return TensorEntry(name, shape, dtype, path, base, 0)
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    first, room = storage.start * unit + stub.offset * item, (storage.start + storage.numel) * unit
    if first + span * item > room:
        raise InputError(
            "tensor reaches beyond its storage",
            file=path,
            tensor=name,
            expected=f"at most {room} bytes",
            found=first + span * item,
            fix="download the file again",
        )
    if _contiguous(shape, strides):
        return TensorEntry(name, shape, dtype, path, base + first, span * item)
    size = 1
    for n in shape:
        size *= n
    if size > span and size * item > _MAX_EXPANDED:
        raise InputError(
            "expanded tensor is far larger than its storage",
            file=path,
            tensor=name,
            expected=f"{span} elements",
            found=size,
            fix="save it with .contiguous()",
        )
    return TensorEntry(name, shape, dtype, path, base + first, span * item, strides=tuple(strides))


def _contiguous(shape: tuple[int, ...], strides: Any) -> bool:
    want = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and s != want:
            return False
        want *= n
    return True
