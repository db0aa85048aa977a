"""ONNX models: the initialisers of the graph, as rows of the file or of its external data.

Enters: a file.  Leaves: `TensorEntry`s under the names the weights had in torch. The wire format is walked in `wire.py`; which
initialiser is which weight, which way round it lies and which scale belongs to it is decided in `onnx_graph.py`.

Read: raw data, lists of floats and of integers (`int32_data`, `int64_data`, `uint64_data`: onnxruntime's quantiser keeps zero points
there), external data beside the model. Lists of integers have no rows in the file and are kept as bytes.  Format: onnx/onnx.proto.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from begat.errors import InputError
from begat.source.dtypes import DTYPES
from begat.source.formats import FORMATS, ParsedFile, check_name, check_shape, digest_of
from begat.source.onnx_graph import weights
from begat.source.onnx_trace import Initialiser, Node
from begat.source.wire import Field, Wire

_MAX_NESTING = 12
_MAX_NODES = 2_000_000
#: TensorProto.DataType → begat dtype
_TYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 12: "U32", 13: "U64",
    16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ", 19: "F8_E5M2", 20: "F8_E5M2FNUZ", 21: "U4", 22: "I4", 23: "E2M1", 24: "F8_E8M0",
}  # fmt: skip
_OTHER_TYPES = {8: "string", 14: "complex64", 15: "complex128", 25: "uint2", 26: "int2"}
#: begat dtype → the list field of TensorProto that holds it, and the type its numbers are cut to: floats of 16 bits and fewer as bits
_LISTS: dict[str, tuple[int, str]] = {
    "I32": (5, "<i4"), "I16": (5, "<i2"), "I8": (5, "<i1"), "U16": (5, "<u2"), "U8": (5, "<u1"), "BOOL": (5, "<u1"), "F16": (5, "<u2"),
    "BF16": (5, "<u2"), "U4": (5, "<u1"), "I4": (5, "<u1"), "E2M1": (5, "<u1"), "I64": (7, "<i8"), "U32": (11, "<u4"), "U64": (11, "<u8"),
    **{f"F8_{kind}": (5, "<u1") for kind in ("E4M3", "E4M3FNUZ", "E5M2", "E5M2FNUZ", "E8M0")},
}  # fmt: skip
_MAX_LIST = 1 << 24


class Onnx:
    """`.onnx` files."""

    suffixes = (".onnx",)

    def recognises(self, head: bytes) -> bool:
        """A ModelProto starts with its ir_version, a small varint."""
        return len(head) > 3 and head[0] == 0x08 and 1 <= head[1] <= 64 and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)

    def parse(self, path: Path) -> ParsedFile:
        """Walk the graph; check every range against file and shape.

        Raises InputError: damage, a weight in an encoding that is not read, external data outside the folder.
        """
        size = path.stat().st_size
        with path.open("rb") as f:
            wire = Wire(f, path, size)
            graph = _Graph(wire)
            for one in wire.fields(0, size):
                if one.number == 7:
                    graph.walk(one, 0)
        found = weights(path, graph.initialisers, graph.nodes)
        digest = hashlib.sha256((digest_of(found.entries) + repr(found.skipped)).encode()).hexdigest()
        return ParsedFile(tuple(found.entries), digest, skipped=tuple(found.skipped), notes=found.notes, unread=found.unread)


FORMATS.add("onnx")(Onnx())


@dataclass
class _Graph:
    """Collects initialisers, constants and nodes of a graph and its subgraphs, in file order."""

    wire: Wire
    initialisers: dict[str, Initialiser] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def walk(self, graph: Field, depth: int) -> None:
        if depth > _MAX_NESTING:
            raise self.wire.damaged("subgraphs nested too deeply")
        for one in self.wire.message(graph):
            if one.number == 1:
                self._node(one, depth)
            elif one.number == 5:
                self._add(_tensor(self.wire, one), constant=False)
            elif one.number == 15:
                raise InputError(
                    "sparse initialisers are not read", file=self.wire.path, fix="export the model with dense weights"
                )

    def _add(self, tensor: Initialiser, constant: bool) -> None:
        if not tensor.name and constant:
            return
        check_name(self.wire.path, tensor.name)
        if tensor.name in self.initialisers:
            raise InputError("initialiser is there twice", file=self.wire.path, tensor=tensor.name, fix="export the model again")
        self.initialisers[tensor.name] = tensor

    def _node(self, message: Field, depth: int) -> None:
        inputs: list[str] = []
        outputs: list[str] = []
        texts = {3: "", 4: ""}
        numbers: dict[str, int] = {}
        scopes = ""
        tensors: list[Initialiser] = []
        for one in self.wire.message(message):
            if one.number == 1:
                inputs.append(self.wire.text(one))
            elif one.number == 2:
                outputs.append(self.wire.text(one))
            elif one.number in texts:
                texts[one.number] = self.wire.text(one)
            elif one.number == 5:
                self._attribute(one, depth, numbers, tensors)
            elif one.number == 9:
                key, value = _pair(self.wire, one)
                scopes = value if key == "pkg.torch.onnx.name_scopes" else scopes
        if len(self.nodes) >= _MAX_NODES:
            raise self.wire.damaged("too many nodes")
        if texts[4] == "Constant" and outputs:
            for tensor in tensors[:1]:
                tensor.name = outputs[0]
                self._add(tensor, constant=True)
            return
        self.nodes.append(Node(texts[4], texts[3], tuple(inputs), tuple(outputs), numbers, scopes))

    def _attribute(self, message: Field, depth: int, numbers: dict[str, int], tensors: list[Initialiser]) -> None:
        name = ""
        for one in self.wire.message(message):
            if one.number == 1:
                name = self.wire.text(one)
            elif one.number == 3 and one.kind == 0:
                numbers[name] = self.wire.integers(one)[0]
            elif one.number == 5:
                tensors.append(_tensor(self.wire, one))
            elif one.number in (6, 11):
                self.walk(one, depth + 1)
            elif one.number == 8 and name == "perm":
                for axis in self.wire.integers(one):
                    numbers[f"perm{sum(k.startswith('perm') for k in numbers)}"] = axis


def _pair(wire: Wire, message: Field) -> tuple[str, str]:
    """A StringStringEntryProto."""
    key = value = ""
    for one in wire.message(message):
        if one.number == 1:
            key = wire.text(one)
        elif one.number == 2:
            value = wire.text(one)
    return key, value


def _tensor(wire: Wire, message: Field) -> Initialiser:
    """A TensorProto: type, shape and where its values lie; `problem` says why they cannot be read as rows."""
    dims: list[int] = []
    kind, name, doc_external, location = 0, "", {}, 0
    raw: Field | None = None
    packed: dict[int, list[Field]] = {}
    for one in wire.message(message):
        if one.number == 1:
            dims += wire.integers(one)
        elif one.number == 2:
            kind = one.value
        elif one.number == 8:
            name = wire.text(one)
        elif one.number == 9 and one.kind == 2:
            raw = one
        elif one.number in (4, 5, 6, 7, 10, 11):
            packed.setdefault(one.number, []).append(one)
        elif one.number == 13:
            key, value = _pair(wire, one)
            doc_external[key] = value
        elif one.number == 14:
            location = one.value
    shape = check_shape(wire.path, name or "(constant)", dims)
    dtype = _TYPES.get(kind)
    tensor = Initialiser(name, shape, dtype or "", wire.path)
    if dtype is None:
        tensor.problem = f"type {_OTHER_TYPES.get(kind, kind)}"
        return tensor
    want = DTYPES[dtype].nbytes(tensor.size)
    if location == 1:
        _external(wire.path, tensor, doc_external, want)
    elif raw is not None:
        _place(wire.path, tensor, raw, want)
    else:
        _packed(wire, tensor, packed, want)
    return tensor


def _place(path: Path, tensor: Initialiser, data: Field, want: int) -> None:
    if data.length != want:
        raise InputError(
            "data size does not match shape and type",
            file=path,
            tensor=tensor.name,
            expected=f"{want} bytes for {tensor.dtype} {list(tensor.shape)}",
            found=data.length,
            fix="download the file again",
        )
    tensor.offset = data.start


def _packed(wire: Wire, tensor: Initialiser, packed: dict[int, list[Field]], want: int) -> None:
    """float_data and double_data are little-endian arrays when packed; the integer lists are varints and have no rows."""
    path = wire.path
    lists = packed.get({"F32": 4, "F64": 10}.get(tensor.dtype, -1), [])
    number, kind = _LISTS.get(tensor.dtype, (0, ""))
    if len(lists) == 1 and lists[0].kind == 2:
        _place(path, tensor, lists[0], want)
    elif want and number in packed:
        _listed(wire, tensor, packed[number], kind, want)
    elif want and not packed:
        raise InputError(
            "initialiser has no data",
            file=path,
            tensor=tensor.name,
            expected=f"{want} bytes",
            found="none",
            fix="export the model again",
        )
    elif want:
        tensor.problem = "type in a list of another type"


def _listed(wire: Wire, tensor: Initialiser, fields: list[Field], kind: str, want: int) -> None:
    """A list of varints as the bytes of its numbers; of 4-bit types each number is a byte of two."""
    if want > _MAX_LIST:
        tensor.problem = "type with a very long list of numbers"
        return
    width = np.dtype(kind).itemsize
    low, high = (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    if want // width > sum(f.length if f.kind == 2 else 1 for f in fields):  # a number takes a byte at least
        values: list[int] = []
    else:
        values = [n & 0xFFFFFFFFFFFFFFFF if kind == "<u8" else n for f in fields for n in wire.integers(f)]
    if len(values) * width != want or any(not low <= n <= high for n in values):
        raise InputError(
            "list of numbers does not fit its shape and type", file=wire.path, tensor=tensor.name,
            expected=f"{want // width} numbers of {tensor.dtype}", found=f"{len(values)} numbers", fix="download the file again",
        )  # fmt: skip
    tensor.data = np.array(values, dtype=kind).tobytes()


def _external(path: Path, tensor: Initialiser, pairs: dict[str, str], want: int) -> None:
    """External data lies in a file of the model's folder. The path is checked as text: the hub's cache links files elsewhere."""
    where = pairs.get("location", "")
    parts = [p for p in where.split("/") if p != "."]
    if not parts or any(c in where for c in "\\\0:") or {"", ".."} & set(parts):
        raise InputError(
            "external data lies outside the model's folder",
            file=path,
            tensor=tensor.name,
            found=where,
            fix="do not trust this model",
        )
    file = path.parent.joinpath(*parts)
    numbers = []
    for key, default in (("offset", "0"), ("length", str(want))):
        text = pairs.get(key, default)
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise InputError(
                f"external data has no proper {key}", file=path, tensor=tensor.name, found=text, fix="export the model again"
            )
        numbers.append(int(text))
    if not file.is_file():
        raise InputError(
            "external data is missing",
            file=path,
            tensor=tensor.name,
            expected=where,
            found="no such file",
            fix="download the missing file into the model's folder",
        )
    size = file.stat().st_size
    if numbers[1] != want or numbers[0] + want > size:
        raise InputError(
            "external data does not fit",
            file=file,
            tensor=tensor.name,
            expected=f"{want} bytes at {numbers[0]}",
            found=f"{numbers[1]} bytes, file of {size}",
            fix="download the file again",
        )
    tensor.file, tensor.offset = file, numbers[0]
