"""How each stored tensor lies: which side is out, which is in, and how many experts it stacks.

Enters: the claims of one tower.  Leaves: `Placed` tensors, oriented, and the tower's width.  Head counts are the neighbour's:
`geometry.py`; cutting fused tensors: `layout.py`.

Names say how a matrix is stored (torch's Linear [out, in], GPT-2's Conv1D [in, out]), and `TensorEntry.transposed` says that a
file turned it round again. Both can be wrong for a given file, so where the residual axis can only be one of the two, the shape
decides, and what it decided for unequal sides holds for the square matrices stored in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from begat.canon.claims import Claim
from begat.canon.families import Family
from begat.canon.roles import FUSED, ROLES
from begat.types import TensorEntry

_WIDTH_ROLES = ("attn.norm.gain", "mlp.norm.gain", "attn.post_norm.gain", "mlp.post_norm.gain", "final.norm.gain")
_Way = tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True)
class Placed:
    """A claim and how its tensor lies.

    Attributes:
        out, into: canonical sides of the stored matrix (of one expert where several are stacked); `into` is 0 for a vector.
        transposed: stored as [in, out].
        stack: experts in the tensor, 0 when it is not a stack.
    """

    claim: Claim
    entry: TensorEntry
    out: int
    into: int
    transposed: bool = False
    stack: int = 0


def axes_of(role: str) -> tuple[str, ...]:
    """The axes of a role or fused pseudo-role."""
    if role in ROLES:
        return ROLES[role].axes
    base, _, leaf = role.rpartition(".")
    return ROLES[f"{FUSED[base][0]}.{leaf}"].axes


def width_of(claims: Iterable[Claim], entries: Mapping[str, TensorEntry]) -> int | None:
    """Size of the residual stream: the commonest norm gain length, else the embedding's columns, else q's."""
    lengths: Counter[int] = Counter()
    embedding = query = None
    for claim in claims:
        entry = entries[claim.name]
        if claim.key.role in _WIDTH_ROLES:
            lengths[entry.size] += 1
        elif claim.key.role == "embed.tokens" and len(entry.shape) == 2:
            embedding = entry.shape[0] if entry.transposed else entry.shape[1]
        elif claim.key.role in ("attn.q.weight", "mlp.up.weight") and len(entry.shape) == 2 and query is None:
            query = entry.shape[0] if entry.transposed else entry.shape[1]
    if lengths:
        return max(lengths, key=lambda n: (lengths[n], n))
    return embedding if embedding is not None else query


def place(
    claims: Iterable[Claim], entries: Mapping[str, TensorEntry], family: Family, width: int | None, gguf: bool
) -> list[Placed]:
    """Orient every claimed tensor of one tower."""
    claims = list(claims)
    experts = {c.key.layer: entries[c.name].rows for c in claims if c.key.role == "moe.router.weight"}
    learned: dict[_Way, bool] = {}
    if not gguf:
        for claim in claims:
            entry = entries[claim.name]
            way = _way(claim, entry, family)
            forced = None if way is None else _forced(claim, entry, width, experts)
            if way is not None and forced is not None:
                learned.setdefault(way, forced)
    return [_one(c, entries[c.name], family, width, experts, None if gguf else learned) for c in claims]


def _one(
    claim: Claim,
    entry: TensorEntry,
    family: Family,
    width: int | None,
    experts: Mapping[int, int],
    learned: Mapping[_Way, bool] | None,
) -> Placed:
    if len(axes_of(claim.key.role)) == 1:
        if claim.stacked and len(entry.shape) == 2:
            return Placed(claim, entry, entry.shape[1], 0, False, entry.shape[0])
        return Placed(claim, entry, entry.size, 0)
    way = _way(claim, entry, family)
    turned = False
    if way is not None and learned is not None:
        forced = _forced(claim, entry, width, experts)
        turned = forced if forced is not None else learned.get(way, way[0] != way[1])
    if claim.stacked:
        stack, a, b = _stack(claim, entry, experts)
        if stack:
            return Placed(claim, entry, b if turned else a, a if turned else b, turned, stack)
    rows, cols = entry.shape if len(entry.shape) == 2 else (entry.rows, entry.cols)
    return Placed(claim, entry, cols, rows, True) if turned else Placed(claim, entry, rows, cols)


def _way(claim: Claim, entry: TensorEntry, family: Family) -> _Way | None:
    """(Conv1D, turned by the file, stacked): tensors alike in these are oriented alike; None = as torch's Linear, no question."""
    conv = claim.module in family.conv1d
    if not (conv or entry.transposed or claim.stacked) or len(entry.shape) < 2:
        return None
    return conv, entry.transposed, claim.stacked


def _stack(claim: Claim, entry: TensorEntry, experts: Mapping[int, int]) -> tuple[int, int, int]:
    """(experts, stored rows, stored columns of one); experts 0 when it is no stack."""
    if len(entry.shape) == 3:
        return entry.shape[0], entry.shape[1], entry.shape[2]
    n = experts.get(claim.key.layer, 0)
    if len(entry.shape) == 2 and n and entry.shape[0] % n == 0:
        return n, entry.shape[0] // n, entry.shape[1]
    return 0, 0, 0


def _forced(claim: Claim, entry: TensorEntry, width: int | None, experts: Mapping[int, int]) -> bool | None:
    """Whether the residual axis can only lie so that the tensor is stored as [in, out]; None when both are possible."""
    axes = axes_of(claim.key.role)
    if len(axes) != 2 or axes.count("residual") != 1 or width is None:
        return None
    if claim.stacked:
        stack, a, b = _stack(claim, entry, experts)
        if not stack:
            return None
    elif len(entry.shape) == 2:
        a, b = entry.shape
    else:
        return None
    if (a == width) == (b == width):
        return None
    stored_first = a == width
    return stored_first != (axes[0] == "residual")
