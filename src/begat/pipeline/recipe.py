"""What the numbers of a decomposition amount to: the name of the recipe and one sentence.

Enters: `Found`, the finished fits.  Leaves: `Said`.  The thresholds are all here; the numbers come from `begat.signals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from begat.pipeline.words import ranges
from begat.recipes import ArcFit, LowRank, PartFit, SparseFit
from begat.signals.merge import Fit

#: unexplained share up to which a recipe is the whole story, and beyond which there is none
COMPLETE, SOME = 0.02, 0.5
#: and the same of the distance to the nearest parent: a child of one parent, trained a little, is no merge
_OF_CHANGE = 0.1
#: coefficient from which a layer is a parent's own, and the share that may be missing then
_WHOLE, _WHOLE_REST = 0.98, 0.02
#: share of values that a rule of dropping must give to within rounding; kept share from which nothing was dropped
_RULE, _KEPT = 0.9, 0.98
#: slope of the coefficients' excess that speaks for an arc, and standard errors it must be away from the line's
_ARC, _ARC_SE = 0.5, 4.0
#: condition number of the parents' correlations from which they are alike enough to be tuned from one model
_ALIKE = 10.0
#: a coefficient up to this says nothing of a second parent
_ALONE = 0.01
#: by how much a coefficient must differ from place to place to be called a merge that varies
_VARIES = 0.05
#: share of a part's sum of squares that storing it in 16 bits rounds away at most
_ROUNDED = 1e-5
_ADAPTER = "a LoRA adapter merged into its base"
_ONE = "a LoRA adapter of rank 1 merged, or one direction taken out of what the matrices write"


@dataclass(frozen=True, slots=True)
class Found:
    """names: child, parents…, base; parents: how many. whole_parents: of each, whether the child has all of its layers, each once
    and in its place. explained: of each part, whether its parents leave nothing over.
    """

    names: Sequence[str]
    parents: int
    base: bool
    whole: Fit
    parts: Sequence[PartFit]
    low_rank: Sequence[LowRank]
    arc: ArcFit | None
    sparse: SparseFit | None
    whole_parents: Sequence[bool]
    explained: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Said:
    """The recipe in words."""

    method: str
    sentence: str
    caveats: tuple[str, ...]


def recipe(f: Found) -> Said:
    """The first recipe whose conditions hold, from the most particular to the least."""
    for attempt in (_copied, _lora, _stitched, _sparse, _arc, _layered, _linear):
        said = attempt(f)
        if said is not None:
            return Said(*said, _caveats(f))
    if f.whole.residual > SOME:
        return Said("unexplained", f"{_child(f)} is not explained by the given {_parents(f)}: {_left(f)} left over.", _caveats(f))
    return Said(
        "partial",
        f"{_child(f)} = {terms(f)} + a remainder of {_left(f)}: trained on, rounded, or of sources not given.",
        _caveats(f),
    )


def _copied(f: Found) -> tuple[str, str] | None:
    for r in f.low_rank:
        if r.state == "equal" and (r.parent < 0 or f.whole_parents[r.parent]):
            return "copy", f"{_child(f)} holds the weights of {_name(f, r.parent)}: every compared matrix is equal."
    return None


def _lora(f: Found) -> tuple[str, str] | None:
    hits = [r for r in f.low_rank if r.state == "low-rank"]
    if not hits:
        return None
    r = min(hits, key=lambda r: r.rank or 0)
    where = ranges([f"layer {layer}" for layer in r.layers if layer >= 0]) or "no layer"
    modules = ", ".join(m.removeprefix("attn.").removeprefix("mlp.") for m in r.modules)
    return "low-rank", (
        f"{_child(f)} = {_name(f, r.parent)} + a difference of rank {r.rank} in {modules} of {where} ({r.same_rank} of {r.changed} changed matrices "
        f"show exactly this rank; all else is equal): {_ONE if r.rank == 1 else _ADAPTER}."
    )


def _stitched(f: Found) -> tuple[str, str] | None:
    """Every layer is one parent's, and they are not all one parent's at one place."""
    if f.base:
        return None
    owners: dict[int, set[tuple[int, int]]] = {}
    for p in f.parts:
        if p.group == "norms and biases" or p.tower != "text" or p.layer < 0:
            continue
        top = max(range(f.parents), key=lambda i: p.coefficients[i].value)
        rest = sum(c.value for i, c in enumerate(p.coefficients) if i != top)
        if p.coefficients[top].value < _WHOLE or p.residual > _WHOLE_REST or rest > 1 - _WHOLE:
            return None
        owners.setdefault(p.layer, set()).add((top, p.sources[top]))
    if not owners or any(len(o) != 1 for o in owners.values()):
        return None
    by_layer = {layer: next(iter(o)) for layer, o in owners.items()}
    if len({o for o, _ in by_layer.values()}) == 1 and not any(layer != source for layer, (_, source) in by_layer.items()):
        return None
    pieces = [f"{ranges([f'layer {layer}' for layer in at])} from {_name(f, owner)}" + (f" {ranges([f'layer {s}' for s in sources])}" if sources != at else "")
              for owner, at, sources in _runs(by_layer)]  # fmt: skip
    return "stitched", f"{_child(f)} is stitched together: {'; '.join(pieces)}."


def _runs(by_layer: dict[int, tuple[int, int]]) -> list[tuple[int, list[int], list[int]]]:
    out: list[tuple[int, list[int], list[int]]] = []
    for layer, (owner, source) in sorted(by_layer.items()):
        if out and out[-1][0] == owner and out[-1][2][-1] == source - 1 and out[-1][1][-1] == layer - 1:
            out[-1][1].append(layer)
            out[-1][2].append(source)
        else:
            out.append((owner, [layer], [source]))
    return out


def _sparse(f: Found) -> tuple[str, str] | None:
    s = f.sparse
    if s is None or s.explained < _RULE or min(s.kept) > _KEPT or f.whole.residual < COMPLETE:
        return None
    kept = ", ".join(f"{k:.0%} of {_name(f, i)}'s" for i, k in enumerate(s.kept))
    if s.rule == "ties":
        return "ties", (
            f"{_child(f)} = {_base(f)} + the mean of trimmed differences (TIES): {kept} entered, times {_mean(s.scale):.2f}; "
            f"{s.explained:.1%} of the values follow this rule to within rounding."
        )
    return "dare", (
        f"{_child(f)} = {_base(f)} + differences dropped at random and rescaled (DARE): {kept} entered, times {_mean(s.scale):.2f}, so that on average "
        f"{terms(f)}; {s.explained:.1%} of the values follow this rule to within rounding."
    )


def _arc(f: Found) -> tuple[str, str] | None:
    a = f.arc
    if a is None or a.slope < _ARC or a.high - a.low > _VARIES or a.slope < _ARC_SE * a.slope_se or not _complete(f) or f.whole.low_P.min() <= _ALONE:
        return None
    return "slerp", (
        f"{_child(f)} lies on the arc between {_name(f, 0)} and {_name(f, 1)} (SLERP) at t = {a.t:.3f} ({a.low:.3f} to {a.high:.3f}); "
        f"{_left(f)} left over."
    )


def _linear(f: Found) -> tuple[str, str] | None:
    if not _complete(f):
        return None
    if f.base:
        return "task-arithmetic", f"{_child(f)} = {_base(f)} + {terms(f, ' × the difference of ')}; {_left(f)} left over."
    return "linear", f"{_child(f)} is a linear merge: {terms(f)}; {_left(f)} left over."


def _layered(f: Found) -> tuple[str, str] | None:
    """Every part with matrices is explained by the parents, with weights that differ from place to place."""
    parts = [p for p in f.parts if p.group != "norms and biases"]
    whole = [ok for p, ok in zip(f.parts, f.explained, strict=True) if p.group != "norms and biases"]
    if f.parents < 2 or len(parts) < 2 or not all(whole):
        return None
    values = [[p.coefficients[i].value for p in parts] for i in range(f.parents)]
    if max(max(v) - min(v) for v in values) < _VARIES or sum(max(v) > _ALONE for v in values) < 2:
        return None
    curves = "; ".join(filter(None, (_curve(f, i, parts) for i in range(f.parents))))
    plus = f"{_base(f)} + differences" if f.base else "a merge"
    return "layered", f"{_child(f)} is {plus} whose weights vary from place to place: {curves}; with one weight for all {_left(f)} would be left over."


def _curve(f: Found, parent: int, parts: Sequence[PartFit]) -> str:
    """A parent's weight in every group: in first, middle and last layer, or one number where it does not vary."""
    said = []
    for group in dict.fromkeys(p.group for p in parts if p.tower == "text" and p.layer >= 0):
        here = [(p.layer, p.coefficients[parent].value) for p in parts if p.group == group and p.tower == "text" and p.layer >= 0]
        if max(v for _, v in here) - min(v for _, v in here) < _VARIES:
            said.append(f"{group} {here[0][1]:.2f}")
        else:
            some = dict.fromkeys([here[0], here[len(here) // 2], here[-1]])
            said.append(f"{group} " + ", ".join(f"{v:.2f} in layer {layer}" for layer, v in some))
    said += [f"{p.group} {p.coefficients[parent].value:.2f}" for p in parts if p.tower == "text" and p.layer < 0]
    return f"{_name(f, parent)} enters with " + ", ".join(said) if said else ""


def is_explained(found: Fit) -> bool:
    """The parents leave nothing of a part over: next to how far the nearest parent is, or no more than storing it rounds away."""
    return found.residual <= _ROUNDED or (found.residual <= COMPLETE and found.change <= _OF_CHANGE)


def _complete(f: Found) -> bool:
    return f.whole.residual <= COMPLETE and (f.base or f.whole.change <= _OF_CHANGE)


def terms(f: Found, times: str = " × ") -> str:
    """0.50 (± 0.01) × P1 + …, largest first; parents whose interval reaches zero are named after it."""
    order = sorted(range(f.parents), key=lambda i: -f.whole.value_P[i])
    used = [i for i in order if f.whole.value_P[i] > 0 and (f.whole.low_P[i] > 0 or not f.whole.identified_P[i])]
    none = [_name(f, i) for i in order if i not in used]
    said = " + ".join(f"{_number(f, i)}{times}{_name(f, i)}" for i in used) or "nothing of the given"
    return said + (f" and nothing of {', '.join(none)}" if none and used else "")


def _number(f: Found, i: int) -> str:
    low, high, value = f.whole.low_P[i], f.whole.high_P[i], f.whole.value_P[i]
    if not f.whole.identified_P[i]:
        return f"between {low:.2f} and {high:.2f}"
    half = max(high - value, value - low)
    return f"{value:.3f} (± {max(half, 0.001):.3f})"


def _caveats(f: Found) -> tuple[str, ...]:
    out = []
    if not f.whole.identified_P.all():
        out.append(
            "Some parents are linear combinations of others: their coefficients cannot be told apart, only what they share."
        )
    elif not f.base and (f.whole.low_P > _ALONE).sum() > 1 and f.whole.condition > _ALIKE and f.whole.change > _OF_CHANGE / 10:
        out.append("The parents are alike, and what sets them apart does not explain the child. If they were tuned from one model, name it with --base: "
                   "differences from it tell scaled, dropped and trimmed merges apart.")  # fmt: skip
    out.append(
        "Coefficients describe weights at equal places. They assume that the parents are relatives of the child; begat compare says whether."
    )
    return tuple(out)


def _child(f: Found) -> str:
    return f"“{f.names[0]}”"


def _base(f: Found) -> str:
    return f"“{f.names[-1]}”"


def _name(f: Found, parent: int) -> str:
    return _base(f) if parent < 0 else f"“{f.names[1 + parent]}”"


def _parents(f: Found) -> str:
    return "parent" if f.parents == 1 else "parents"


def _left(f: Found) -> str:
    share = f.whole.residual
    words = f"{share:.1%}" if share >= 0.001 else "less than 0.1%" if share > 0 else "nothing"
    return words + (" of the difference" if f.base else "")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
