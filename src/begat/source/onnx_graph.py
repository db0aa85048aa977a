"""Which ONNX initialiser is which weight: its torch name, its orientation, its scale.

Enters: initialisers and nodes, as `onnx.py` found them.  Leaves: entries, and everything else with the reason it is no weight.

Exporters fold transposes into constants and lose their names (`onnx::MatMul_1234`, `val_49`). What the graph still knows: the
bias added next keeps its name, the node's path is the module's path, and newer exports carry module scopes. A weight used as
x @ W lies as [in, out]; torch's Linear has [out, in], so its entry is marked `transposed`. GPT-2's Conv1D is [in, out] there too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from begat.errors import InputError
from begat.source import onnx_nbits
from begat.source.onnx_scales import scaling_of
from begat.source.onnx_trace import GENERATED, Initialiser, Node, Trace, Use, original_name
from begat.source.reader import FileReader
from begat.types import TensorEntry, Unread

_CONSTANT = "graph constant"
_WEIGHT_SIZE = 1024  # an unnamed matrix of fewer values is a mask or a table of the exporter's
_CONV1D = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$")
_WRAPPERS = ("inner", "wrapped", "wrapper", "module", "_orig_mod", "auto_model", "0")
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "E2M1")


@dataclass(slots=True)
class Found:
    """What a graph holds: weights, and (name, reason) for the rest."""

    entries: list[TensorEntry] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    unread: dict[str, Unread] = field(default_factory=dict)


def weights(path: Path, initialisers: dict[str, Initialiser], nodes: list[Node]) -> Found:
    """Name, orient and scale every weight. Raises InputError when one is stored in an encoding that is not read."""
    graph = Trace(initialisers, nodes)
    found = Found()
    notes: list[str] = []
    taken = set(initialisers)
    helpers = {n: root for root, use in graph.uses.items() for n in (use.scale, use.zero) if n}
    reader = FileReader()
    for name, init in initialisers.items():
        use = graph.uses.get(name, Use())
        packed = onnx_nbits.weight(init, use, initialisers, original_name(name, use) or graph.recovered(use) or name) if use.packed else None
        if packed is not None and packed.name not in taken - {name}:
            taken.add(packed.name)
            found.entries.append(packed)
            continue
        if name in helpers:
            found.skipped.append((name, f"scale or zero point of {helpers[name]}"))
            continue
        torch_name = original_name(name, use) or graph.recovered(use)
        reason = _no_weight(init, use, torch_name)
        if reason:
            found.skipped.append((name, reason))
            if use.packed and init.size >= _WEIGHT_SIZE:
                found.unread[name] = Unread(reason, init.size)
            continue
        if init.problem:
            why = f"numbers of {init.problem}"
            found.skipped.append((name, why))
            found.unread[name] = Unread(why, init.size)
            continue
        if torch_name and torch_name != name and torch_name in taken:
            notes.append(f"{name} looks like a second {torch_name} and keeps its own name")
            torch_name = ""
        taken.add(torch_name or name)
        found.entries.append(_entry(init, torch_name or name, use, initialisers, reader))
    reader.close()
    found.entries, note = _without_wrapper(found.entries)
    found.notes = (*notes, *note)
    return found


def _no_weight(init: Initialiser, use: Use, torch_name: str) -> str:
    """Why an initialiser is no weight, "" when it is one."""
    if use.packed:
        return "packed in blocks by an operator that is not read"
    large = init.size >= _WEIGHT_SIZE and len(init.shape) > 1
    if init.problem.startswith("type"):
        return "" if large and "string" not in init.problem else f"{_CONSTANT} ({init.problem})"
    if init.dtype in _FLOATS or use.scale:
        if torch_name or large:
            return ""
        return _CONSTANT if init.size <= 1 or _plain_generated(init.name) else ""
    if init.dtype in ("I8", "U8", "I4", "U4") and large:
        return ""
    return "" if torch_name and not init.problem else _CONSTANT


def _plain_generated(name: str) -> bool:
    return bool(
        GENERATED.match(name) or re.match(r"^(val|onnx|const|constant|ort|node|tensor|initializer)[a-z]*_?_?\w*\d", name, re.I)
    )


def _entry(init: Initialiser, name: str, use: Use, initialisers: dict[str, Initialiser], reader: FileReader) -> TensorEntry:
    plain = init.entry(name)
    scaling = None
    if use.scale:
        for helper in (use.scale, use.zero):
            if helper and initialisers[helper].problem:
                raise InputError(
                    f"scale is not read: {initialisers[helper].problem}",
                    file=init.file,
                    tensor=helper,
                    fix="export with raw data",
                )
        zero = initialisers[use.zero].entry() if use.zero else None
        scaling = scaling_of(plain, initialisers[use.scale].entry(), zero, use.axis, reader)
    transposed = use.in_out and len(init.shape) == 2 and name.endswith("weight") and not _CONV1D.search(name)
    return replace(plain, transposed=transposed, scaling=scaling)


def _without_wrapper(entries: list[TensorEntry]) -> tuple[list[TensorEntry], tuple[str, ...]]:
    """Drop a first name part that all weights share when it is the exporter's wrapper module and no part of the model."""
    dropped: list[str] = []
    while True:
        heads = {e.name.split(".")[0] for e in entries if "." in e.name}
        if len(heads) != 1 or not heads <= set(_WRAPPERS) or not any(e.name.count(".") > 1 for e in entries):
            break
        head = heads.pop() + "."
        dropped.append(head)
        entries = [_renamed(e, e.name.removeprefix(head)) for e in entries]
    return entries, (f"wrapper prefix '{''.join(dropped)}' left out of the names",) if dropped else ()


def _renamed(e: TensorEntry, name: str) -> TensorEntry:
    return replace(e, name=name)
