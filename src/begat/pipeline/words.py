"""Words around a verdict: labels, shapes, ranges of parts, caveats.

Enters: canonical models and finished results.  Leaves: strings for the decision table's sentences and for the report. Nothing here decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from begat.alignment import Alignment
from begat.canon.model import Canonical
from begat.errors import printable
from begat.pipeline.exact import ExactResult
from begat.signals.axes import AXES
from begat.types import EqualityResult, ExpertMatch

#: experts under other numbers that a sentence names
_EXPERTS_NAMED = 6


def shape_words(model: Canonical) -> str:
    """Width, depth and MLP size of every tower."""
    words = []
    for tower, g in model.geometry.items():
        layers = {k.layer for k in model.tensors if k.tower == tower and k.layer >= 0}
        ups = [t.shape for k, t in model.tensors.items() if k.tower == tower and k.role in ("mlp.up.weight", "expert.up.weight")]
        sizes = [f"width {g.width}"] if g.width else []
        sizes += [f"{len(layers)} layers"] if layers else ["no known layers"]
        sizes += [f"MLP {ups[0][0]}"] if ups else []
        words.append(f"{tower}: " + ", ".join(sizes))
    return "; ".join(words) or "no known tower"


def labels(a: Canonical, b: Canonical) -> tuple[str, str]:
    """Short names of the two: the last part of their paths that differs."""
    x, y = (printable(os.path.abspath(m.checkpoint.path)).split(os.sep) for m in (a, b))
    for i in range(1, min(len(x), len(y)) + 1):
        if x[-i] != y[-i]:
            return x[-i], y[-i]
    return x[-1], y[-1]


def why_not(exact: ExactResult) -> str:
    """Why the tests could not have reached the threshold."""
    reasons = sorted({x.not_run for x in exact.axes if x.not_run and "has none" not in x.not_run and x.not_run != "neither has any"})
    return "; ".join(reasons) if reasons else "too few units in common for a test that could reach the threshold"


def alignment_words(alignment: Alignment | None) -> dict[str, str]:
    """The words that sentences about alignment are filled with; empty strings where there is nothing to say."""
    names = (
        "route",
        "aligned_hits",
        "aligned_sampled",
        "tried",
        "p_aligned",
        "agreeing",
        "viewed",
        "null_pairs",
        "null_most",
        "p_views",
    )
    words = dict.fromkeys(names, "")
    if alignment is None:
        return words
    best = max((r for r in alignment.routes if r.log10_e is not None), key=lambda r: r.log10_e or 0.0, default=None)
    if best is not None:
        matched = {(m.layer_a, m.layer_b) for m in alignment.layers if m.tower == "text"}
        tests = [t for t in best.tests if t.layer_b < 0 or (t.layer_a, t.layer_b) in matched] or list(best.tests)
        words |= {
            "route": best.title, "aligned_hits": f"{sum(t.hits for t in tests):,}", "aligned_sampled": f"{sum(t.m for t in tests):,}",
            "p_aligned": power_of_ten(min(0.0, 1.0 - (alignment.log10_e or 0.0))),
            "tried": "; ".join(r.title for r in alignment.routes if r.log10_e is not None),
        }  # fmt: skip
    if alignment.views is not None:
        v = alignment.views
        words |= {
            "agreeing": f"{v.agreeing:,}", "viewed": f"{v.sampled:,}", "null_pairs": f"{v.null_pairs:,}", "null_most": f"{v.null_most:.1%}",
            "p_views": f"{v.p:.2g}",
        }  # fmt: skip
    return words


def power_of_ten(log10: float | None) -> str:
    """10^k in words, rounded towards caution."""
    if log10 is None:
        return "1"
    return f"10^{-int(-log10)}" if log10 <= -2 else f"{10**log10:.2g}"


def ranges(parts: Sequence[str]) -> str:
    """Names of parts with runs of layers joined: layers 0–2 for layer 0, layer 1, layer 2."""
    out: list[str] = []
    runs: list[tuple[str, int, int]] = []
    for part in parts:
        stem, _, number = part.rpartition(" ")
        if not number.isdigit():
            out.append(f"the {part}")
        elif runs and runs[-1][0] == stem and runs[-1][2] == int(number) - 1:
            runs[-1] = (stem, runs[-1][1], int(number))
        else:
            runs.append((stem, int(number), int(number)))
    words = [f"{stem} {lo}" if lo == hi else f"{stem}s {lo}–{hi}" for stem, lo, hi in runs] + out
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1] if words else ""


def expert_words(matches: Iterable[ExpertMatch]) -> str:
    """Which experts stand under other numbers, as a clause after a semicolon; "" when all stand in their place."""
    moved = sorted((m.expert_b, m.experts_a) for m in matches if m.experts_a and m.experts_a != (m.expert_b,))
    if not moved:
        return ""
    some = [f"{b}: {' and '.join(map(str, a))}" for b, a in moved[:_EXPERTS_NAMED]]
    more = f" and {len(moved) - _EXPERTS_NAMED} more" if len(moved) > _EXPERTS_NAMED else ""
    return f"; counterparts in A of B's experts: {', '.join(some)}{more}"


def caveats(
    a: Canonical, b: Canonical, verdict: str, same: EqualityResult | None, alignment: Alignment | None
) -> tuple[str, ...]:
    """What a reader must know before quoting the verdict."""
    out = [f"{name}: {printable(note, 400)}" for name, m in (("A", a), ("B", b)) for note in m.checkpoint.notes]
    for name, m in (("A", a), ("B", b)):
        if m.unmapped and not (same is not None and same.relation == "identical"):
            out.append(f"{name}: {len(m.unmapped)} tensors have names begat does not know and were not compared (listed below).")
    out += _not_searched(a, b, verdict, alignment)
    if verdict == "no-evidence":
        tried = [r.title for r in alignment.routes if r.log10_e is not None] if alignment else []
        also = f" It was also looked for behind disguises: {'; '.join(tried)}." if tried else ""
        out.append(
            f"The tests see weights that kept some order of units.{also} Units reordered, heads and the residual stream transformed and embeddings replaced, "
            "all together, are looked for by three views of units alone: in residual streams of one width, and only while weights stay near each other's. "
            "Distillation into fresh weights is not seen."
        )
    if alignment is not None and alignment.views is not None and alignment.views.shown:
        out.append(
            "Agreement of three views is calibrated on small models of the lab, not proved: independent models hold some alike units, and larger models may "
            "hold more. Have it confirmed by the training records before it is acted on."
        )
    if verdict in ("derived-or-shared-initialisation", "partly-derived"):
        out.append(
            "The order of units is drawn at initialisation: two models trained apart from the same initial weights share it too. The "
            "test says they are not independent; it does not say which came first."
        )
    if same is not None and same.relation == "on-grid" and not same.complete:
        out.append(f"Grid equality was checked on sampled rows of every matrix ({same.compared:,} values).")
    if same is not None and same.exceptions and same.share > 0.9:
        out.append("Not equal or not on the grid: " + ", ".join(printable(e) for e in same.exceptions[:6]))
    out.append(
        "Assumed: training treated all units of an axis alike. Optimisers that depend on the index (8-bit block-wise states, sharded "
        "random numbers) or weights initialised by index break this."
    )
    return tuple(out)


def _not_searched(a: Canonical, b: Canonical, verdict: str, alignment: Alignment | None) -> list[str]:
    """What was compared at one place only, where that can hide or misplace a dependence."""
    out = []
    for tower in sorted({k.tower for k in a.tensors} & {k.tower for k in b.tensors}):
        depths = [len({k.layer for k in m.tensors if k.tower == tower and k.layer >= 0}) for m in (a, b)]
        searched = tower == "text" and alignment is not None and any(r.log10_e is not None for r in alignment.routes)
        if depths[0] != depths[1] and all(depths) and not searched:
            name = "" if tower == "text" else f"{tower}: "
            out.append(
                f"{name}A has {depths[0]} layers and B {depths[1]}. Layers were compared at the same index only, so layers that moved because "
                "others were removed or inserted show no dependence."
            )
    experts = max((k.expert for m in (a, b) for k in m.tensors), default=-1) + 1
    sampled = AXES["expert-units"].per_layer
    if experts > sampled and verdict in ("no-evidence", "partly-derived"):
        out.append(
            f"Of {experts} routed experts {sampled} of each layer were sampled for their units: a few inherited experts among many "
            "may go unseen."
        )
    return out
