"""Which layers and components show dependence.

Enters: order tests and map cells.  Leaves: `PartResult`s. A part's e-value is never added to the verdict's; it only says where. The
thresholds come from `begat.verdict`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from begat.canon.model import Canonical
from begat.errors import InputError
from begat.pipeline.expert_partners import NOTHING_LOOKED_AT, Matched
from begat.pipeline.words import expert_words
from begat.source.tokens import read_vocabulary
from begat.stats.order import LN10, log_e_combined, log_e_single, log_mean_exp
from begat.types import AxisResult, ExpertMatch, MapCell, OrderTest, PartResult
from begat.verdict.policy import Policy

_LAYER_AXES = ("mlp-units", "expert-units", "experts", "kv-heads", "value-dims", "latent-dims", "chain-units")


def find_parts(
    axes: Sequence[AxisResult], cells: Sequence[MapCell], policy: Policy, moved: frozenset[str] = frozenset(),
    experts: Matched = NOTHING_LOOKED_AT,
) -> tuple[PartResult, ...]:  # fmt: skip
    """One part per layer of each tower (two where only some of its experts are dependent), and one for each tower's embedding.

    Args:
        moved: towers of unequal depth. Their layers may have moved, so that a layer without hits at its own index says nothing.
        experts: experts found under other numbers.
    """
    tests: dict[tuple[str, int], list[OrderTest]] = defaultdict(list)
    for axis in axes:
        for t in axis.tests:
            if axis.axis in _LAYER_AXES:
                tests[t.tower, t.layer].append(t)
    by_layer: dict[tuple[str, int], list[MapCell]] = defaultdict(list)
    for c in cells:
        by_layer[c.tower, c.layer].append(c)
    layers = sorted(set(tests) | {k for k in by_layer if k[1] >= 0})
    needed = policy.part_log10_e + math.log10(max(len(layers), 1))
    parts: list[PartResult] = []
    for tower, layer in layers:
        part = _layer(tower, layer, tests[tower, layer], by_layer[tower, layer], needed, policy)
        if part.status == "no-evidence" and tower in moved:
            part = replace(part, status="undetermined", why="the models differ in depth: its counterpart may be another layer")
        matches = {m.expert_b: m for m in experts.matches if (m.tower, m.layer) == (tower, layer)}
        parts += _experts(part, tests[tower, layer], needed, matches, experts.looked.get((tower, layer), {}))
    residual = next((a for a in axes if a.axis == "residual"), None)
    towers = sorted({t.tower for t in residual.tests}) if residual else []
    for tower in towers:
        assert residual is not None
        found = [t for t in residual.tests if t.tower == tower]
        parts += _embedding(tower, found, by_layer[tower, -1], needed, policy)
    return tuple(parts)


def tables_open(parts: Sequence[PartResult], a: Canonical, b: Canonical) -> tuple[PartResult, ...]:
    """A token table without hits says nothing where its rows may stand for other tokens.

    The columns of two tables agree only over rows of the same tokens. Beside layers that are dependent, a table
    that was reordered, cut or transplanted looks like a new one; it is called that only where both tokenizers
    give the same tokens the same rows.
    """
    open_ = [p for p in parts if p.layer < 0 and p.status == "no-evidence"]
    if not open_ or not any(p.status == "dependent" and p.layer >= 0 for p in parts) or _same_rows(a, b):
        return tuple(parts)
    why = "rows of the two tables may stand for other tokens"
    return tuple(replace(p, status="undetermined", why=why) if p in open_ else p for p in parts)


def _same_rows(a: Canonical, b: Canonical) -> bool:
    """Nearly all tokens that both tokenizers know have one id in both."""
    try:
        x, y = (read_vocabulary(m.checkpoint.path) for m in (a, b))
    except InputError:
        return False
    if x is None or y is None:
        return False
    common = x.tokens.keys() & y.tokens.keys()
    return 2 * len(common) > max(x.size, y.size) and sum(x.tokens[t] == y.tokens[t] for t in common) > 0.9 * len(common)


def _layer(tower: str, layer: int, tests: list[OrderTest], cells: list[MapCell], needed: float, policy: Policy) -> PartResult:
    matrices = [abs(c.cosine) for c in cells if not c.role.endswith((".gain", ".bias"))]
    gains = [c.cosine for c in cells if c.role.endswith(".gain") and c.n >= 64]
    cosine = float(np.mean(matrices)) if matrices else None
    hits, sampled = sum(t.hits for t in tests), sum(t.m for t in tests)
    name = f"{tower} layer {layer}" if tower != "text" else f"layer {layer}"
    if not tests:
        return PartResult(name, tower, layer, "not-tested", None, 0, 0, cosine, "no symmetric axis in common")
    by_axis: dict[str, float] = defaultdict(float)
    for t in tests:
        by_axis[t.axis] += log_e_single(t.hits, t.m)
    log10_e = log_e_combined(list(by_axis.values())) / LN10
    if log10_e >= needed:
        return PartResult(name, tower, layer, "dependent", log10_e, hits, sampled, cosine, "units sit at the same index")
    if cosine is not None and cosine > policy.agreeing_cosine:
        return PartResult(name, tower, layer, "undetermined", log10_e, hits, sampled, cosine,
                          "matrices agree at the same index, units do not: reordered or retrained in part")  # fmt: skip
    if gains and max(gains) > policy.agreeing_gains:
        return PartResult(name, tower, layer, "undetermined", log10_e, hits, sampled, cosine,
                          "norm gains agree, units do not: the units may have been reordered")  # fmt: skip
    if sampled < policy.part_units or log10_e > 1.0:
        return PartResult(name, tower, layer, "undetermined", log10_e, hits, sampled, cosine, "too little to say")
    return PartResult(name, tower, layer, "no-evidence", log10_e, hits, sampled, cosine, "units match no better than chance")


@dataclass(frozen=True, slots=True)
class _Expert:
    """What was found of one expert of B."""

    number: int
    log10_e: float
    hits: int
    m: int


def _experts(
    part: PartResult, tests: list[OrderTest], needed: float, matches: Mapping[int, ExpertMatch], states: Mapping[int, str]
) -> list[PartResult]:  # fmt: skip
    """The sampled experts of a layer in two parts, when some are dependent and others match no better than chance; else the layer.

    Args:
        matches: by expert of B, the expert of A that it holds, wherever that stands.
        states: by expert of B that was looked for, what became of it (`Matched.looked`).
    """
    found = {m.expert_b: _Expert(m.expert_b, m.log10_e, m.hits, m.sampled) for m in matches.values()}
    none: dict[int, _Expert] = {}
    unknown = "not looked for" if states else "none"
    for t in tests:
        if t.axis != "expert-units" or t.expert in found:
            continue
        seen = _Expert(t.expert, log_e_single(t.hits, t.m) / LN10, t.hits, t.m)
        if seen.log10_e >= needed:
            found[t.expert] = seen
        elif seen.log10_e <= 0 and t.m >= 16 and states.get(t.expert, unknown) == "none":
            none[t.expert] = seen
    if part.status == "not-tested" and not matches:
        return [part]
    if found and none:
        return [_some_experts(part, "dependent", found), _some_experts(part, "no-evidence", none)]
    moved = expert_words(matches.values())
    if matches and part.status != "dependent":
        log10_e = log_mean_exp([x.log10_e * LN10 for x in found.values()] + [0.0] * (len(states) - len(found))) / LN10
        why = f"units of its experts sit at the same index{moved}"
        return [replace(part, status="dependent", log10_e=log10_e, hits=sum(x.hits for x in found.values()), sampled=sum(x.m for x in found.values()), why=why)]
    if part.status == "no-evidence" and set(states.values()) & {"alike"}:
        return [replace(part, status="undetermined", why="its experts may stand under other numbers: not all were looked for, or their units were reordered")]
    return [replace(part, why=part.why + moved) if part.status == "dependent" else part]


def _some_experts(part: PartResult, status: str, group: Mapping[int, _Expert]) -> PartResult:
    numbers = ", ".join(str(e) for e in sorted(group))
    name = f"{'inherited' if status == 'dependent' else 'other'} experts of {part.part}"
    log10_e = log_mean_exp([x.log10_e * LN10 for x in group.values()]) / LN10
    hits, sampled = (sum(getattr(x, n) for x in group.values()) for n in ("hits", "m"))
    return PartResult(name, part.tower, part.layer, status, log10_e, hits, sampled, None, f"of the sampled experts: {numbers}")


def _embedding(tower: str, tests: list[OrderTest], cells: list[MapCell], needed: float, policy: Policy) -> list[PartResult]:
    """The token embedding by its columns, judged alone."""
    table = tests[-1]  # the alternatives come in the order all, gains, embedding
    name = "embedding" if tower == "text" else f"{tower} embedding"
    tokens = [c for c in cells if c.role in ("embed.tokens", "head.weight")]
    if not tokens:
        return []
    log10_e = log_e_single(table.hits, table.m) / LN10
    cosine = max(abs(c.cosine) for c in tokens)
    if log10_e >= needed:
        status, why = "dependent", "columns sit at the same index"
    elif cosine > policy.agreeing_cosine or log10_e > 1.0 or table.m < policy.part_units:
        status, why = "undetermined", "too little to say"
    else:
        status, why = "no-evidence", "columns match no better than chance"
    return [PartResult(name, tower, -1, status, log10_e, table.hits, table.m, cosine, why)]
