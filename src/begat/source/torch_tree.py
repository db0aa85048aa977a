"""Which of the tensors in an unpickled tree are the model's weights, and under which names.

Enters: the plain tree `pickle_vm.py` built.  Leaves: (name, tensor) in file order, and what was skipped and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.pickle_vm import Inert

#: keys that wrap a state dict, as training scripts write them
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "model_ema",
    "ema_state_dict",
)
_TRAINING = (
    "optimizer",
    "optim",
    "lr_scheduler",
    "scheduler",
    "grad_scaler",
    "scaler",
    "amp",
    "rng_state",
    "rng",
    "cuda_rng_state",
)
_MAX_DEPTH = 64
NUMPY = "a numpy array, not a tensor"


@dataclass(frozen=True, slots=True)
class Leaves:
    """Tensors with their names, (name, reason) of what was skipped, caveats, and name → shape of the skipped that may be weights."""

    tensors: list[tuple[str, Any]]
    skipped: list[tuple[str, str]]
    notes: tuple[str, ...]
    arrays: dict[str, Any]


def leaves(path: Path, tree: Any, kind: type) -> Leaves:
    """Find every `kind` in `tree`. Optimiser and other training state is skipped, cycles and repeats are walked once.

    A single tensor is named "tensor". If exactly one well-known wrapper key ("state_dict", "model", …) of the top-level dict
    holds tensors, its prefix is dropped, repeatedly; with several (weights and their moving average) the prefixes stay.

    Raises InputError: a tree of absurd depth, two tensors under one name.
    """
    found: list[tuple[tuple[str, ...], Any]] = []
    skipped: list[tuple[str, str]] = []
    arrays: dict[str, Any] = {}
    for where, value in _walk(path, tree, kind, skipped, arrays):
        found.append((where, value))
    notes: list[str] = []
    while True:
        heads = {where[0] for where, _ in found if len(where) > 1 and where[0] in WRAPPERS}
        if len(heads) > 1:
            notes.append(f"several nested state dicts ({', '.join(sorted(heads))}): their names keep the prefix")
        if len(heads) != 1:
            break
        head = next(iter(heads))
        shorter = [(w[1:] if w[0] == head and len(w) > 1 else w, v) for w, v in found]
        if len({w for w, _ in shorter}) != len(shorter):
            break
        found = shorter
    names: set[str] = set()
    out = []
    for where, value in found:
        name = ".".join(where) or "tensor"
        if name in names:
            raise InputError("two tensors of one name", file=path, tensor=name, fix="re-save the state_dict as safetensors")
        names.add(name)
        out.append((name, value))
    return Leaves(out, skipped, tuple(notes), arrays)


def _walk(
    path: Path, tree: Any, kind: type, skipped: list[tuple[str, str]], arrays: dict[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path of keys, tensor), depth first in file order; every container once, so that cycles and shared branches end."""
    seen: dict[int, bool] = {}  # container → does it hold tensors itself
    todo: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while todo:
        where, value = todo.pop()
        if isinstance(value, kind):
            yield where, value
            continue
        if isinstance(value, Inert):
            if "numpy" in value.cls and value.cls.endswith(("_reconstruct", "_frombuffer")):
                skipped.append((".".join(where), NUMPY))
                arrays[".".join(where)] = _array_shape(value)
                continue
            value = value.parts
        if not isinstance(value, (dict, list, tuple)):
            continue
        if id(value) in seen:
            if seen[id(value)]:
                skipped.append((".".join(where), "the same object as an earlier branch"))
            continue
        seen[id(value)] = any(isinstance(v, kind) for v in (value.values() if isinstance(value, dict) else value))
        if len(where) >= _MAX_DEPTH:
            raise InputError(
                "checkpoint is nested too deeply",
                file=path,
                expected=f"at most {_MAX_DEPTH} levels",
                found="more",
                fix="re-save the state_dict as safetensors",
            )
        items = value.items() if isinstance(value, dict) else enumerate(value)
        level = []
        for key, child in items:
            if isinstance(child, (str, int, float, bytes)) or child is None:
                continue
            text = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)
            if isinstance(value, dict) and isinstance(child, (dict, list, tuple)) and _is_training(text):
                skipped.append((".".join((*where, text)), "training state, not weights"))
                continue
            level.append(((*where, text), child))
        todo.extend(reversed(level))


def _array_shape(array: Inert) -> Any:
    """The shape in a numpy array's state (version, shape, dtype, order, bytes), () where there is none."""
    states = [p for p in array.parts if isinstance(p, tuple) and len(p) == 5]
    return states[0][1] if states else ()


def _is_training(key: str) -> bool:
    low = key.lower()
    return low in _TRAINING or low.startswith(("optimizer", "lr_scheduler", "rng_state"))
