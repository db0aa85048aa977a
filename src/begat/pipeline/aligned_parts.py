"""What parts are after alignment: which layer of A a layer of B is, and which of them may be said to show nothing.

Enters: parts by the plain tests, an `Alignment` or None.  Leaves: parts whose status says what was really tested. Before: `parts.py`.

The plain tests hold a layer against the layer of A at its own index, as it stands. "No evidence" of a layer needs more: that it was held against
every layer of A (`align.py`), and where B holds something of A, with its units in any order (`rest.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from begat.alignment import Alignment, LayerLook, LayerMatch
from begat.pipeline.exact import ExactResult
from begat.stats.order import LN10, log_e_single
from begat.types import PartResult
from begat.verdict.policy import POLICY

OWN_INDEX = "it shows none of the layer of A at its own index; the other layers were not looked at"
#: reasons of the plain tests that another look settles: where the counterpart was not known
MOVED = "the models differ in depth: its counterpart may be another layer"


def held_layers(exact: ExactResult, parts: Sequence[PartResult]) -> frozenset[int] | None:
    """Layers of the text tower that are dependent by the plain tests; None where nothing of that tower is."""
    found = [p for p in parts if p.tower == "text" and p.status == "dependent"]
    residual = [log_e_single(t.hits, t.m) / LN10 for x in exact.axes if x.axis == "residual" for t in x.tests if t.tower == "text"]
    if not found and max(residual, default=0.0) < POLICY.dependence_log10_e:
        return None
    return frozenset(p.layer for p in found if p.layer >= 0)


def open_towers(parts: Sequence[PartResult]) -> dict[str, frozenset[int]]:
    """Towers beside the text tower with layers that the plain tests left open, and their layers that are dependent."""
    towers = {p.tower for p in parts if p.tower != "text" and p.layer >= 0 and p.status in ("no-evidence", "undetermined")}
    return {t: frozenset(p.layer for p in parts if p.tower == t and p.layer >= 0 and p.status == "dependent") for t in sorted(towers)}


def aligned_parts(parts: Sequence[PartResult], alignment: Alignment | None) -> tuple[PartResult, ...]:
    """The parts with what alignment found: a layer of B that holds a layer of A is dependent, wherever A has it."""
    # where some experts of a layer were found by themselves, what is found of that layer is theirs, and the others stay as they were
    split = {(p.tower, p.layer) for p in parts if p.part.startswith("inherited experts")}
    layers = alignment.layers if alignment is not None else ()
    held = {(m.tower, m.layer_b): m for m in layers if (m.tower, m.layer_b) not in split}
    looks = {(x.tower, x.layer_b): x for x in (alignment.rest if alignment is not None else ())}
    out = []
    for part in parts:
        at = part.tower, part.layer
        if part.status == "dependent" or at in split:
            out.append(part)
        elif part.layer < 0:
            out.append(_outside(part, bool(held) and part.tower == "text"))
        else:
            out.append(_layer(part, held.get(at), looks.get(at)))
    return tuple(out)


def _layer(part: PartResult, match: LayerMatch | None, look: LayerLook | None) -> PartResult:
    if match is not None:
        how = f"layer {match.layer_a} of A, found by {match.by}" if match.layer_a != match.layer_b else f"found by {match.by}"
        return replace(part, status="dependent", log10_e=match.log10_e, why=how)
    if look is None:
        return replace(part, status="undetermined", why=OWN_INDEX) if part.status == "no-evidence" else part
    if part.status == "no-evidence" or (part.status == "undetermined" and part.why == MOVED):
        return replace(part, status=look.status, why=look.why)
    return part


def _outside(part: PartResult, aligned: bool) -> PartResult:
    """The embedding: where layers were found after alignment it may have served to lay the two over each other."""
    if not aligned or part.status != "no-evidence":
        return part
    return replace(part, status="undetermined", why="the residual streams were laid over each other by it, so it is not tested itself")
