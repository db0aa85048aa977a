"""Do the tensors of a layer fit each other?

Enters: canonical tensors.  Leaves: `Misfits`, or an `InputError` that names file, tensor, expected, found and fix.  Sizes may differ
between layers; inside one, gate and up have as many rows as down has columns, and a bias as many as its matrix.

A contradiction in one place, where the other layers fit, is damage. One that holds in most places is a layout begat does not know: such
tensors are left out and listed, and a model whose width changes by layer keeps its layers and loses the test of one residual stream.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from begat.canon.model import CanonTensor
from begat.canon.roles import ROLES
from begat.errors import InputError
from begat.types import Checkpoint, TensorKey

_FIX = "the tensors come from different models or the file is damaged: convert or download it again"
MISFIT = "does not fit its layer as begat knows it: the layout is another"
VARIES = "the width changes by layer, so there is no one residual stream"
_PAIRS = [
    (f"{family}.{part}.weight", f"{family}.down.weight")
    for family in ("mlp", "expert", "shared")
    for part in ("gate", "up")
]  # fmt: skip
_PARTNER = dict(_PAIRS)


@dataclass(slots=True)
class Misfits:
    """Tensors whose layout is not known, and towers whose width changes by layer."""

    keys: set[TensorKey] = field(default_factory=set)
    towers: set[str] = field(default_factory=set)


def check(checkpoint: Checkpoint, tensors: Mapping[TensorKey, CanonTensor], widths: Mapping[str, int | None]) -> Misfits:
    """What does not fit, where that is no damage.

    Args:
        checkpoint: for the file names.
        tensors: the canonical tensors.
        widths: tower → size of its residual stream, None where that is not to be checked (an unknown family).

    Raises:
        InputError: tensors of one layer contradict each other, and those of most others do not.
    """
    found = Misfits()
    seen: Counter[tuple[str, str]] = Counter()
    bad: dict[tuple[str, str], list[InputError]] = defaultdict(list)
    keys: dict[tuple[str, str], list[TensorKey]] = defaultdict(list)
    for key, t in tensors.items():
        other = _other(key, tensors)
        if other is None:
            continue
        place = (key.tower, key.role)
        seen[place] += 1
        side = 1 if key.role in _PARTNER else 0
        if t.shape[0] != other.shape[side]:
            unit, theirs = ("rows", "columns") if side else ("values", "rows")
            bad[place].append(_error(checkpoint, t, f"{other.shape[side]} {unit}, as {other.name} has {theirs}", t.shape[0]))
            keys[place].append(key)
    deep = len({key.layer for key in tensors if key.layer >= 0}) > 1
    for place, errors in bad.items():
        if 2 * len(errors) <= seen[place] or (deep and len(errors) == 1):
            raise errors[0]
        found.keys.update(keys[place])
    _widths(checkpoint, tensors, widths, found)
    return found


def _other(key: TensorKey, tensors: Mapping[TensorKey, CanonTensor]) -> CanonTensor | None:
    """The tensor of the same layer whose size must be this one's."""
    if key.role in _PARTNER:
        return tensors.get(TensorKey(key.tower, key.layer, _PARTNER[key.role], key.expert))
    if ROLES[key.role].kind == "bias" and key.layer >= 0:
        return tensors.get(TensorKey(key.tower, key.layer, key.role[:-4] + "weight", key.expert))
    return None


def _widths(
    checkpoint: Checkpoint, tensors: Mapping[TensorKey, CanonTensor], widths: Mapping[str, int | None], found: Misfits
) -> None:
    """A few tensors of one layer of another width are damage; whole layers of it, or one role in most layers, are another layout."""
    layers: dict[tuple[str, int], list[bool]] = defaultdict(list)
    roles: dict[tuple[str, str], list[bool]] = defaultdict(list)
    first: dict[str, InputError] = {}
    for key, t in tensors.items():
        width, axes = widths.get(key.tower), ROLES[key.role].residual
        if width is None or key.layer < 0 or not axes or key in found.keys:
            continue
        wrong = [axis for axis in axes if t.shape[axis] != width]
        layers[key.tower, key.layer].append(bool(wrong))
        roles[key.tower, key.role].append(bool(wrong))
        if wrong and key.tower not in first:
            side = ("rows" if wrong[0] == 0 else "columns") if len(t.shape) == 2 else "values"
            first[key.tower] = _error(checkpoint, t, f"{width} {side}, the width of the model", t.shape[wrong[0]])
    for tower, error in first.items():
        whole = any(2 * sum(bad) > len(bad) > 1 for (name, _), bad in layers.items() if name == tower)
        most = any(2 * sum(bad) > len(bad) > 1 for (name, _), bad in roles.items() if name == tower)
        if not (whole or most):
            raise error
        found.towers.add(tower)


def _error(checkpoint: Checkpoint, t: CanonTensor, expected: str, found: int) -> InputError:
    return InputError("shape does not fit its layer", file=checkpoint.entries[t.name].file, tensor=t.name,
                      expected=expected, found=found, fix=_FIX)  # fmt: skip
