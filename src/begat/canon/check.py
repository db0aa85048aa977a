"""Do the tensors of a layer fit each other?

Enters: canonical tensors.  Leaves: nothing, or an `InputError` that names file, tensor, expected, found and fix.  Sizes may
differ between layers; inside one, gate and up have as many rows as down has columns, and a bias as many as its matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

from begat.canon.model import CanonTensor
from begat.canon.roles import ROLES
from begat.errors import InputError
from begat.types import Checkpoint, TensorKey

_FIX = "the tensors come from different models or the file is damaged: convert or download it again"
_PAIRS = [
    (f"{family}.{part}.weight", f"{family}.down.weight")
    for family in ("mlp", "expert", "shared")
    for part in ("gate", "up")
]  # fmt: skip


def check(checkpoint: Checkpoint, tensors: Mapping[TensorKey, CanonTensor], widths: Mapping[str, int | None]) -> None:
    """Raise InputError when tensors of one layer contradict each other.

    Args:
        checkpoint: for the file names.
        tensors: the canonical tensors.
        widths: tower → size of its residual stream, None where that is not to be checked (an unknown family).
    """
    for key, t in tensors.items():
        role = ROLES[key.role]
        if key.role in _PARTNER:
            down = tensors.get(TensorKey(key.tower, key.layer, _PARTNER[key.role], key.expert))
            if down is not None and t.shape[0] != down.shape[1]:
                raise _error(checkpoint, t, f"{down.shape[1]} rows, as {down.name} has columns", t.shape[0])
        elif role.kind == "bias" and key.layer >= 0:
            matrix = tensors.get(TensorKey(key.tower, key.layer, key.role[:-4] + "weight", key.expert))
            if matrix is not None and matrix.shape[0] != t.shape[0]:
                raise _error(checkpoint, t, f"{matrix.shape[0]} values, as {matrix.name} has rows", t.shape[0])
        width = widths.get(key.tower)
        if width is not None and key.layer >= 0:
            for axis in role.residual:
                if t.shape[axis] != width:
                    side = ("rows" if axis == 0 else "columns") if len(t.shape) == 2 else "values"
                    raise _error(checkpoint, t, f"{width} {side}, the width of the model", t.shape[axis])


_PARTNER = dict(_PAIRS)


def _error(checkpoint: Checkpoint, t: CanonTensor, expected: str, found: int) -> InputError:
    return InputError("shape does not fit its layer", file=checkpoint.entries[t.name].file, tensor=t.name,
                      expected=expected, found=found, fix=_FIX)  # fmt: skip
