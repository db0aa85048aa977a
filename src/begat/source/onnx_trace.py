"""Following the constants of an ONNX graph: what uses each, under which names, transposed and scaled by what.

Enters: initialisers and nodes, as `onnx.py` found them.  Leaves: per initialiser a `Use`, and the torch name the graph suggests.
What is a weight in the end is decided in `onnx_graph.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from begat.source.dtypes import DTYPES
from begat.types import TensorEntry

_SUFFIX = re.compile(r"_(quantized|q|Q[48](G\d+)?|int8|uint8|dequantized|transposed|fp16|DequantizeLinear(_Output)?)$")
GENERATED = re.compile(r"^(/.*|.*::.*|\d+|\w+\.\d+|.*_output_\d+)$")

#: operator → (input that is the weight, input that is the bias or -1)
_MATMULS = {
    "MatMul": (1, -1), "Gemm": (1, 2), "FusedMatMul": (1, -1), "MatMulInteger": (1, -1), "QLinearMatMul": (3, -1),
    "QGemm": (3, 6), "DynamicQuantizeMatMul": (1, 4), "MatMulIntegerToFloat": (1, 6), "FusedGemm": (1, 2),
}  # fmt: skip
#: operator → inputs that are the weight's scale and zero point
_SCALED_BY = {"QLinearMatMul": (4, 5), "QGemm": (4, 5), "DynamicQuantizeMatMul": (2, 3), "MatMulIntegerToFloat": (3, 5)}
_PACKED = ("MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "QMoE")


@dataclass(slots=True)
class Initialiser:
    """A stored tensor of the graph; `problem` says why its values cannot be read as rows of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    offset: int = 0
    problem: str = ""
    data: bytes | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    def entry(self, name: str = "") -> TensorEntry:
        """Its entry, under `name` or its own."""
        return TensorEntry(
            name or self.name, self.shape, self.dtype, self.file, self.offset, DTYPES[self.dtype].nbytes(self.size), data=self.data
        )


@dataclass(frozen=True, slots=True)
class Node:
    """An operator: `numbers` are its integer attributes (and perm0, perm1, …), `scopes` the exporter's module scopes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, int]
    scopes: str = ""


@dataclass(slots=True)
class _Value:
    """A constant on its way from its initialiser to the operator that uses it."""

    root: Initialiser
    names: tuple[str, ...]
    flipped: bool = False


@dataclass(slots=True)
class Use:
    """What the graph says about one initialiser."""

    names: tuple[str, ...] = ()
    node: Node | None = None
    in_out: bool = False
    packed: bool = False
    scale: str = ""
    zero: str = ""
    axis: int = -1


class Trace:
    """Follows constants through the operators that only rename, cast, transpose or scale them."""

    def __init__(self, initialisers: dict[str, Initialiser], nodes: list[Node]) -> None:
        self.initialisers = initialisers
        self.uses: dict[str, Use] = {}
        self._values = {n: _Value(i, (n,)) for n, i in initialisers.items()}
        self._consumers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in set(node.inputs):
                self._consumers.setdefault(name, []).append(node)
        for node in nodes:
            if not self._passes(node):
                self._uses_of(node)
        for name in initialisers:
            self._scale_by_name(name)

    def _passes(self, node: Node) -> bool:
        """Carry a constant through `node`; False when the node uses it instead."""
        value = self._values.get(node.inputs[0]) if node.inputs else None
        if not node.outputs:
            return False
        second = self._values.get(node.inputs[1]) if node.op == "Mul" and len(node.inputs) == 2 else None
        if second is not None and self._rescale(node, second, node.inputs[0]):  # scale * weight
            return True
        if value is None:
            return False
        if node.op in ("Identity", "Cast", "QuantizeLinear"):
            self._carry(node, value, value.flipped)
            return True
        if node.op == "Transpose" and len(value.root.shape) == 2:
            swaps = (node.numbers.get("perm0", 1), node.numbers.get("perm1", 0)) == (1, 0)
            self._carry(node, value, value.flipped != swaps)
            return True
        if node.op == "DequantizeLinear" and len(node.inputs) > 1:
            use = self._use(value.root)
            if _quantised(value.root) and not value.flipped and node.inputs[1] in self.initialisers:
                use.scale, use.axis = node.inputs[1], node.numbers.get("axis", 1)
                use.zero = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2] in self.initialisers else ""
            self._carry(node, value, value.flipped)
            return True
        if node.op in ("Mul", "Sub") and len(node.inputs) == 2:
            return self._rescale(node, value, node.inputs[1])
        return False

    def _rescale(self, node: Node, value: _Value, other: str) -> bool:
        """Weight - zero, weight * scale, where the weight is stored as integers and the other operand is a constant."""
        by = self._values.get(other)
        if by is None or not _quantised(value.root) or value.flipped or _quantised(by.root) != (node.op == "Sub"):
            return False
        use = self._use(value.root)
        if node.op == "Sub":
            use.zero = by.root.name
        else:
            use.scale, use.axis = by.root.name, len(value.root.shape) - 1
        self._carry(node, value, value.flipped)
        return True

    def _carry(self, node: Node, value: _Value, flipped: bool) -> None:
        names = (*value.names[-7:], node.outputs[0])
        self._values[node.outputs[0]] = _Value(value.root, names, flipped)
        self._use(value.root).names = names

    def _uses_of(self, node: Node) -> None:
        at = _MATMULS.get(node.op, (-1, -1))[0]
        for i, name in enumerate(node.inputs):
            value = self._values.get(name)
            if value is None:
                continue
            use = self._use(value.root)
            use.packed = use.packed or node.op in _PACKED
            if use.node is None or i == at:
                use.node = node
            if i == at and len(value.root.shape) == 2:
                use.in_out = value.flipped == bool(node.numbers.get("transB", 0))
                for slot, what in zip(_SCALED_BY.get(node.op, ()), ("scale", "zero"), strict=False):
                    if slot < len(node.inputs) and node.inputs[slot] in self.initialisers:
                        setattr(use, what, node.inputs[slot])

    def _use(self, init: Initialiser) -> Use:
        return self.uses.setdefault(init.name, Use())

    def _scale_by_name(self, name: str) -> None:
        """`X_quantized`, `X_scale`, `X_zero_point` as onnxruntime names them, where the scale is applied at run time."""
        base = name.removesuffix("_quantized")
        if base == name or not _quantised(self.initialisers[name]) or self._use(self.initialisers[name]).scale:
            return
        if base + "_scale" in self.initialisers:
            use = self._use(self.initialisers[name])
            use.scale = base + "_scale"
            use.zero = base + "_zero_point" if base + "_zero_point" in self.initialisers else ""

    def recovered(self, use: Use) -> str:
        """The torch name of an unnamed weight of a matrix product or look-up, "" when the graph does not tell."""
        node = use.node
        if node is None or (node.op not in _MATMULS and node.op not in ("Gather", "Conv", "MatMulNBits")):
            return ""
        for bias in self._biases(node):
            if bias.endswith("bias"):
                return bias[: -len("bias")] + "weight"
        parts = node.name.split("/")[:-1] if node.name.startswith("/") else []
        parts = [p for i, p in enumerate(parts) if p and not (i + 1 < len(parts) and parts[i + 1].startswith(p + "."))]
        if parts:
            return ".".join(parts) + ".weight"
        scopes = re.findall(r"'([^']*)'", node.scopes)
        return f"{scopes[-2]}.weight" if len(scopes) > 1 and scopes[-2] else ""

    def _biases(self, node: Node) -> Iterator[str]:
        """Names of constants added to the product `node` makes."""
        slot = _MATMULS.get(node.op, (-1, -1))[1]
        if 0 <= slot < len(node.inputs):
            yield self._constant_name(node.inputs[slot])
        value = node.outputs[0] if node.outputs else ""
        for _ in range(6):
            after = self._consumers.get(value, [])
            if len(after) != 1 or after[0].op not in ("Add", "Cast", "Mul", "Identity") or not after[0].outputs:
                return
            if after[0].op == "Add":
                yield from (self._constant_name(n) for n in after[0].inputs if n in self._values)
                return
            value = after[0].outputs[0]

    def _constant_name(self, name: str) -> str:
        value = self._values.get(name)
        return "" if value is None else original_name(value.root.name, Use(names=value.names))


def _quantised(init: Initialiser) -> bool:
    return init.dtype in ("I8", "U8", "I16", "U16", "I32", "U4", "I4", "E2M1", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")


def original_name(name: str, use: Use) -> str:
    """The first of a constant's names that a torch module could have, without the quantiser's suffix; "" if none."""
    for one in (name, *reversed(use.names)):
        plain = _SUFFIX.sub("", one)
        if "." in plain and not GENERATED.match(plain):
            return plain
    return ""
