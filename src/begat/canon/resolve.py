"""From a checkpoint to its canonical form: every stored tensor mapped, dropped with a reason, or listed.

Enters: a `Checkpoint`.  Leaves: a `Canonical`.  The steps, each in its own module: names → claims (`rules.py`, `claims.py`), the
family (`families.py`), orientation (`shapes.py`), head counts (`geometry.py`), cutting (`layout.py`), plain chains (`chains.py`),
and the check that layers fit (`check.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass, replace

from begat.canon import families as family_table
from begat.canon import rules as rule_table
from begat.canon.chains import find_chains
from begat.canon.check import MISFIT, VARIES, check
from begat.canon.claims import Claim, collect
from begat.canon.config import Numbers, numbers
from begat.canon.families import Family
from begat.canon.geometry import Heads, expert_groups, heads_of
from begat.canon.layout import INTEGERS, Cutter
from begat.canon.model import Canonical, CanonTensor, Geometry
from begat.canon.shapes import Placed, place, width_of
from begat.source.dtypes import DTYPES, FILE_TYPES, NARROW
from begat.types import Checkpoint, TensorEntry, TensorKey


@dataclass(frozen=True, slots=True)
class _Tower:
    """What is known about one tower."""

    family: Family
    numbers: Numbers
    width: int | None
    placed: list[Placed]
    heads: Heads
    rope_pairs: bool


def resolve(checkpoint: Checkpoint) -> Canonical:
    """Rename and un-fuse a checkpoint.

    Raises:
        InputError: tensors of one layer contradict each other.
    """
    rules = rule_table.load()
    empty = [n for n, e in checkpoint.entries.items() if 0 in e.shape and n not in checkpoint.unread]
    unread = [(n, u.why) for n, u in checkpoint.unread.items() if n in checkpoint.entries]
    found = collect((n for n, e in checkpoint.entries.items() if 0 not in e.shape and n not in checkpoint.unread), rules)
    by_tower: dict[str, list[Claim]] = defaultdict(list)
    for claim in found.claims:
        if _integers(checkpoint.entries[claim.name]):
            unread.append((claim.name, INTEGERS))
        elif claim.key.role == "embed.tokens" and len(checkpoint.entries[claim.name].shape) > 2:
            found.unmapped.append(claim.name)  # a convolution that is called `embed`
        else:
            by_tower[claim.key.tower].append(claim)
    modules = {
        name: seen if name in rules.towers.values() else found.modules.get("text", seen) for name, seen in found.modules.items()
    }  # a tower split off because its names were taken is of the same family as the text
    towers = {
        name: _tower(checkpoint, found.copies.get(name, name), claims, modules[name]) for name, claims in by_tower.items()
    }
    tensors: dict[TensorKey, CanonTensor] = {}
    mapped: list[str] = []
    dropped, unmapped = [*found.dropped, *((n, "holds no values") for n in empty), *unread], list(found.unmapped)
    for tower in towers.values():
        _cut(checkpoint, tower, tensors, mapped, dropped, unmapped)
    for t in find_chains(unmapped, checkpoint.entries, set(towers)):
        tensors[t.key] = t
        mapped.append(t.name)
    chained = set(mapped)
    ordered = dict(sorted(tensors.items(), key=lambda kt: (kt[0].tower, kt[0].layer, kt[0].role, kt[0].expert)))
    ordered = _routed(ordered)
    misfits = check(checkpoint, ordered, {n: t.width if t.family.name else None for n, t in towers.items()})
    gone = {ordered[key].name for key in misfits.keys}
    ordered = {key: t for key, t in ordered.items() if t.name not in gone}
    dropped += [(name, MISFIT) for name in sorted(gone)]
    return Canonical(
        checkpoint, _family_name(towers), ordered, tuple(n for n in mapped if n not in gone), tuple(dropped),
        tuple(n for n in unmapped if n not in chained), _geometries(ordered, towers, misfits.towers),
    )  # fmt: skip


def _routed(tensors: dict[TensorKey, CanonTensor]) -> dict[TensorKey, CanonTensor]:
    """Routers with a row for every routed expert, then one for every shared expert (Inkling): cut in two.

    How many are routed is the length of the correction bias, which only they have, where there is an expert for each. Shared experts
    are always used and are not interchangeable with routed ones, so their rows must not stand in one test with these.
    """
    out = dict(tensors)
    downs: dict[tuple[str, int], set[int]] = defaultdict(set)
    for key in tensors:
        if key.role == "expert.down.weight":
            downs[key.tower, key.layer].add(key.expert)
    for key, t in tensors.items():
        bias = tensors.get(replace(key, role="moe.router.bias"))
        if key.role != "moe.router.weight" or bias is None or t.transposed or not isinstance(t.rows, range):
            continue
        n = bias.shape[0]
        if n >= t.shape[0] or len(downs[key.tower, key.layer]) not in (0, n):
            continue
        shared = replace(key, role="shared.router.weight")
        if shared in tensors:
            continue
        out[key] = replace(t, shape=(n, t.shape[1]), rows=t.rows[:n])
        out[shared] = replace(t, key=shared, shape=(t.shape[0] - n, t.shape[1]), rows=t.rows[n:])
    return dict(sorted(out.items(), key=lambda kt: (kt[0].tower, kt[0].layer, kt[0].role, kt[0].expert)))


def _integers(entry: TensorEntry) -> bool:
    """Whole numbers that nothing turns into weights: what they stand for is not known."""
    known = entry.dtype in FILE_TYPES or entry.dtype in NARROW
    return entry.scaling is None and known and DTYPES[entry.dtype].mantissa is None


def _family_name(towers: dict[str, _Tower]) -> str:
    if "text" in towers:
        return towers["text"].family.name
    return next((t.family.name for _, t in sorted(towers.items()) if t.family.name), "")


def _tower(checkpoint: Checkpoint, name: str, claims: list[Claim], modules: set[str]) -> _Tower:
    gguf, table = checkpoint.format == "gguf", family_table.load()
    said = numbers(checkpoint.config, name)
    family = table.recognise(modules, said.model_type, gguf)
    width = width_of(claims, checkpoint.entries)
    placed = place(claims, checkpoint.entries, family, width, gguf)
    heads = heads_of(placed, said, family, gguf)
    pairs = said.model_type in table.gguf_rope_pairs if gguf else family.rope_pairs
    return _Tower(family, said, width, placed, heads, pairs)


def _cut(
    checkpoint: Checkpoint,
    tower: _Tower,
    tensors: dict[TensorKey, CanonTensor],
    mapped: list[str],
    dropped: list[tuple[str, str]],
    unmapped: list[str],
) -> None:
    qkv = "concat" if checkpoint.format == "gguf" else tower.family.qkv
    interleaved = tower.family.interleaved_gate_up and checkpoint.format != "gguf"
    cutter = Cutter(tower.heads, qkv, interleaved, tower.rope_pairs)
    o_into = {p.claim.key.layer: p.into for p in tower.placed if p.claim.key.role == "attn.o.weight"}
    down_into = {
        (p.claim.key.layer, p.claim.key.role.partition(".")[0]): p.into
        for p in tower.placed
        if p.claim.key.role.endswith(".down.weight")
    }
    for p in tower.placed:
        key = p.claim.key
        parts = cutter.cut(p, o_into.get(key.layer), down_into.get((key.layer, key.role.partition(".")[0])))
        if isinstance(parts, str):
            dropped.append((p.claim.name, parts))
        elif any(t.key in tensors for t in parts):
            unmapped.append(p.claim.name)
        else:
            tensors.update((t.key, t) for t in parts)
            mapped.append(p.claim.name)


def _geometries(tensors: dict[TensorKey, CanonTensor], towers: dict[str, _Tower], varied: Set[str]) -> dict[str, Geometry]:
    roles: dict[str, set[str]] = defaultdict(set)
    experts: dict[str, set[int]] = defaultdict(set)
    for key, t in tensors.items():
        roles[key.tower].add(key.role)
        if key.role == "moe.router.weight":
            experts[key.tower].add(t.shape[0])
    out = {}
    table = family_table.load()
    for name in sorted(roles):
        tower = towers.get(name)
        family = tower.family if tower else family_table.UNKNOWN
        heads = tower.heads if tower else Heads()
        said = tower.numbers if tower else Numbers()
        counts = experts[name]
        groups = expert_groups(family, said, next(iter(counts)) if len(counts) == 1 else None)
        symmetric, asymmetric = table.axes(family, roles[name], said.alibi, groups is not None)
        if name in varied and "residual" in symmetric:
            del symmetric["residual"]
            asymmetric["residual"] = VARIES
        out[name] = Geometry(
            tower.width if tower and name not in varied else None, heads.heads, heads.kv_heads, heads.head_dim, heads.value_dim, groups,
            symmetric, asymmetric,
        )  # fmt: skip
    return out
