"""The two containers of `torch.save`: the zip archive of torch ≥ 1.6 and the stream before it.

Enters: an open file.  Leaves: the plain tree its pickle describes, with a `TensorStub` for every tensor, and where each storage
lies. The pickle runs on `pickle_vm.py`; names it may mention: `torch_globals.py`; entries are made in `torch_pickle.py`.
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from begat.errors import InputError
from begat.source.pickle_vm import Damaged, Global, Inert, PickleMachine
from begat.source.torch_globals import TORCH_DTYPES, find
from begat.source.zip_members import Member, members

MAGIC = 0x1950A86A20F9469CFC6C
RESAVE = "re-save the state_dict as safetensors"
_MAX_PICKLE = 128 << 20


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage as the pickle names it: `numel` elements of torch type `dtype`, `start` elements into storage `key`."""

    key: str
    dtype: str
    numel: int
    start: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TensorStub:
    """A tensor as the pickle describes it; `storage` is None for meta tensors, which hold no data.

    `unread` says why a tensor of another layout is not read, "" for all others.
    """

    storage: Storage | None
    dtype: str
    offset: int
    shape: Any
    strides: Any
    unread: str = ""


class Loader:
    """What both formats share: the callbacks of the pickle machine, and the storages they met."""

    def __init__(self, f: BinaryIO, path: Path) -> None:
        self.f, self.path = f, path
        self.size = path.stat().st_size
        self.storages: dict[str, Storage] = {}
        self.places: dict[str, tuple[int, int]] = {}
        self.digest = ""

    def run(self, stream: BinaryIO) -> Any:
        return PickleMachine(stream, self.path, partial(find, self.path), self.persistent, self.call).run()

    def persistent(self, pid: Any) -> Storage:
        """("storage", storage class, key, device, elements[, view]) → `Storage`."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] not in ("storage", b"storage"):
            raise Damaged("a reference to no storage")
        kind, key, numel = pid[1], pid[2], pid[4]
        if not isinstance(kind, Global) or kind.kind != "storage" or not isinstance(key, (str, int)) or not natural(numel):
            raise Damaged("a storage reference of the wrong types")
        storage = Storage(str(key), str(kind.value), numel)
        known = self.storages.setdefault(storage.key, storage)
        if known.numel != numel or TORCH_DTYPES[known.dtype][1] != TORCH_DTYPES[storage.dtype][1]:
            raise Damaged("one storage with two sizes")
        view = pid[5] if len(pid) == 6 else None
        if view is None:
            return storage
        if (
            not isinstance(view, tuple)
            or len(view) != 3
            or not natural(view[1])
            or not natural(view[2])
            or view[1] + view[2] > numel
        ):
            raise Damaged("a view outside its storage")
        return Storage(storage.key, storage.dtype, view[2], view[1])

    def call(self, func: Global, args: tuple[Any, ...]) -> Any:
        """The meaning of the few functions a checkpoint may call."""
        match func.kind:
            case "tensor":
                storage, offset, shape, strides = args[:4]
                return TensorStub(_storage(storage), storage.dtype, offset, shape, strides)
            case "tensor_v3":
                storage, offset, shape, strides, _, _, dtype = args[:7]
                return TensorStub(_storage(storage), _dtype(dtype), offset, shape, strides)
            case "meta":
                return TensorStub(None, _dtype(args[0]), 0, args[1], args[2])
            case "sparse" | "quantised":
                return TensorStub(None, "", 0, _shape(func.kind, args), (), f"a {func.kind} tensor of torch")
            case "first":
                return args[0]
            case "from_type":
                if not isinstance(args[0], Global):
                    raise Damaged("a tensor without its function")
                if args[0].kind == "from_type":
                    raise Damaged("a tensor function inside itself")
                return self.call(args[0], tuple(args[2]))
            case "dict":
                return dict(args[0]) if args and isinstance(args[0], dict) else _from_pairs(args)
            case "list":
                return tuple(args[0]) if args and isinstance(args[0], (list, tuple)) else ()
            case "inert":
                return Inert(f"{func.module}.{func.name}", list(args))
        raise Damaged("a call of what is no function")


def _shape(kind: str, args: tuple[Any, ...]) -> Any:
    """The stated shape of a tensor whose layout is not read: _rebuild_qtensor(storage, offset, size, …), _rebuild_sparse_tensor(layout,
    (indices, values, size, …)); () where it is not there.
    """
    if kind == "quantised":
        return args[2] if len(args) > 2 else ()
    parts = args[1] if len(args) > 1 and isinstance(args[1], tuple) else ()
    return next((p for p in reversed(parts) if isinstance(p, (tuple, list))), ())


def _from_pairs(args: tuple[Any, ...]) -> dict[Any, Any]:
    """OrderedDict([[k, v], …]) as Python 2 wrote it; defaultdict(factory) starts empty."""
    if not args or not isinstance(args[0], list):
        return {}
    return {k if isinstance(k, (str, int)) else f"<key {i}>": v for i, (k, v) in enumerate(args[0])}


def natural(value: Any) -> bool:
    """An int that could be a size or an offset."""
    return type(value) is int and 0 <= value < 1 << 62


def _storage(value: Any) -> Storage:
    if not isinstance(value, Storage):
        raise Damaged("a tensor without storage")
    return value


def _dtype(value: Any) -> str:
    if not isinstance(value, Global) or value.kind != "dtype":
        raise Damaged("a tensor without dtype")
    return str(value.value)


class Zip(Loader):
    """torch ≥ 1.6: `NAME/data.pkl` and one stored member `NAME/data/KEY` per storage."""

    def load(self) -> Any:
        found = members(self.f, self.path, self.size)
        pickles = [n for n in found if n == "data.pkl" or (n.endswith("/data.pkl") and n.count("/") == 1)]
        if len(pickles) != 1:
            raise InputError(
                "zip archive is no torch checkpoint",
                file=self.path,
                expected="one data.pkl",
                found=len(pickles),
                fix="name the checkpoint itself" if pickles else "unpack the archive first",
            )
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in found or any(n.startswith(root + "code/") for n in found):
            raise InputError(
                "TorchScript archive holds code beside weights and is not read",
                file=self.path,
                fix="save model.state_dict() as safetensors",
            )
        order = found.get(f"{root}byteorder")
        if order is not None and self._bytes(order, 16) != b"little":
            raise InputError("checkpoint was written on a big-endian machine", file=self.path, fix=RESAVE)
        blob = self._bytes(found[pickles[0]], _MAX_PICKLE)
        self.digest = hashlib.sha256(blob).hexdigest()
        tree = self.run(io.BytesIO(blob))
        for key, storage in self.storages.items():
            self._place(found, root, key, storage)
        return tree

    def _place(self, found: dict[str, Member], root: str, key: str, storage: Storage) -> None:
        member = found.get(f"{root}data/{key}")
        if member is None:
            raise InputError(
                "a storage is missing from the archive",
                file=self.path,
                expected=f"{root}data/{key}",
                found="absent",
                fix="download the file again",
            )
        if not member.stored:
            raise InputError(
                "archive is compressed, so rows cannot be read from it", file=self.path, found=member.name, fix=RESAVE
            )
        want = storage.numel * TORCH_DTYPES[storage.dtype][1]
        if want > member.size:
            raise InputError(
                "a storage is shorter than its tensors need",
                file=self.path,
                expected=f"{want} bytes in {member.name}",
                found=member.size,
                fix="download the file again",
            )
        self.places[key] = (member.offset, want)

    def _bytes(self, member: Member, limit: int) -> bytes:
        if not member.stored:
            raise InputError(
                "archive is compressed, so rows cannot be read from it", file=self.path, found=member.name, fix=RESAVE
            )
        if member.size > limit:
            raise InputError(
                "archive member is implausibly large",
                file=self.path,
                expected=f"at most {limit} bytes in {member.name}",
                found=member.size,
                fix=RESAVE,
            )
        self.f.seek(member.offset)
        return self.f.read(member.size)


class Legacy(Loader):
    """torch < 1.6: five pickles (magic, protocol, system, object, storage keys), then every storage as length + data."""

    def load(self) -> Any:
        self.f.seek(0)
        magic, protocol, system = (self.run(self.f) for _ in range(3))
        if magic != MAGIC or protocol != 1001:
            raise InputError(
                "unknown version of torch's old format", file=self.path, expected="protocol 1001", found=protocol, fix=RESAVE
            )
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise InputError("checkpoint was written on a big-endian machine", file=self.path, fix=RESAVE)
        tree = self.run(self.f)
        keys = self.run(self.f)
        end = self.f.tell()
        self.f.seek(0)
        self.digest = _hash(self.f, end)
        if not isinstance(keys, list) or not all(isinstance(k, (str, int)) for k in keys) or len(set(keys)) != len(keys):
            raise InputError("list of storages is damaged", file=self.path, fix="download the file again")
        for key in keys:
            end = self._place(str(key), end)
        missing = [k for k in self.storages if k not in self.places]
        if missing:
            raise InputError(
                "a storage is missing from the file",
                file=self.path,
                expected=f"storage {missing[0]}",
                found="absent",
                fix="download the file again",
            )
        return tree

    def _place(self, key: str, at: int) -> int:
        """Note where storage `key` lies; returns the position behind it."""
        storage = self.storages.get(key)
        self.f.seek(at)
        head = self.f.read(8)
        if storage is None or len(head) != 8:
            raise InputError(
                "file ends before its storages, or lists one no tensor uses",
                file=self.path,
                expected=f"storage {key}",
                found=f"{max(self.size - at, 0)} bytes left",
                fix="download the file again",
            )
        numel = struct.unpack("<q", head)[0]
        want = storage.numel * TORCH_DTYPES[storage.dtype][1]
        if numel != storage.numel or at + 8 + want > self.size:
            raise InputError(
                "a storage does not fit the file",
                file=self.path,
                expected=f"{storage.numel} elements ({want} bytes)",
                found=f"{numel} elements, {max(self.size - at - 8, 0)} bytes left",
                fix="download the file again",
            )
        self.places[key] = (at + 8, want)
        return at + 8 + want


def _hash(f: BinaryIO, length: int) -> str:
    digest = hashlib.sha256()
    while length > 0:
        block = f.read(min(length, 1 << 20))
        if not block:
            break
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()
