"""What the decision table is told: facts from finished results, with the words for its sentences.

Enters: canonical models and the results of tests, map, equality and parts.  Leaves: `Facts`, `TrainedState`, `PowerStatement`.
The table: `begat.verdict`.  Who asks: `begat.pipeline.compare`.
"""

from __future__ import annotations

from collections.abc import Sequence

from begat.alignment import Alignment
from begat.canon.config import initial_sd
from begat.canon.model import Canonical
from begat.pipeline.align import best_log10_e, mixed_log10_e
from begat.pipeline.exact import ExactResult
from begat.pipeline.headline import covered, dependent_words, is_component, rest_words
from begat.pipeline.trained import agreement_of
from begat.pipeline.words import alignment_words, labels, power_of_ten, why_not
from begat.stats.order import LN10, max_log_e
from begat.stats.power import detectable_cosine
from begat.stats.twins import load_bank
from begat.types import AxisResult, Coverage, EqualityResult, MapCell, PartResult, PowerStatement, TrainedState
from begat.verdict import POLICY, Facts
from begat.verdict.trained import apart as trained_apart
from begat.verdict.trained import judge_trained


def gather_facts(
    ma: Canonical, mb: Canonical, exact: ExactResult, same: EqualityResult | None, parts: Sequence[PartResult],
    power: PowerStatement | None, trained: TrainedState | None, alignment: Alignment | None, untestable: str, read: Sequence[Coverage],
) -> Facts:  # fmt: skip
    """The facts that the decision table asks for, and the words of its sentences."""
    log10_e = mixed_log10_e(exact.log10_e, alignment.log10_e if alignment else None)
    views = alignment.views if alignment else None
    best = max((max_log_e([t.m for t in x.tests]) / LN10 for x in exact.axes if x.tests), default=0.0)
    reachable = max(best, best_log10_e(alignment)) >= POLICY.dependence_log10_e
    dependent, without = (any(p.status == status for p in parts) for status in ("dependent", "no-evidence"))
    hits, sampled = (sum(getattr(x, n) for x in exact.axes) for n in ("hits", "sampled"))
    why = untestable or ("" if reachable else why_not(exact))
    words = {
        "a": f"“{labels(ma, mb)[0]}”", "b": f"“{labels(ma, mb)[1]}”", "hits": f"{hits:,}", "sampled": f"{sampled:,}",
        "expected": f"{sum(x.expected for x in exact.axes):,.0f}", "p": power_of_ten(exact.log10_p),
        "compared": f"{same.compared:,}" if same else "", "share": f"{same.share:.2%}" if same else "",
        "grid": same.grid if same else "", "dependent": dependent_words(parts, exact.axes),
        "rest": rest_words(parts), "power": power.sentence if power else "", "why": why,
        "gains": f"{trained.gains:.2f}" if trained and trained.gains is not None else "",
        "twin_gains": f"{trained.twin_gains:.2f}" if trained else "",
        "relative_gains": f"{trained.relative_gains:.2f}" if trained else "",
        **alignment_words(alignment),
    }  # fmt: skip
    return Facts(
        equality=same.relation if same else "unknown",
        coarser=same.coarser if same else "",
        tested=log10_e is not None,
        at_index=any(x.tests for x in exact.axes),
        dependence=log10_e is not None and log10_e >= POLICY.dependence_log10_e,
        aligned=_aligned(exact, log10_e),
        calibrated=views is not None and views.shown,
        mixed=without and (dependent or log10_e is not None),
        component=is_component(parts),
        covered=covered(read),
        reachable=reachable,
        trained=trained.state if trained else "unknown",
        words=words,
        apart=trained is not None and trained_apart(trained.gains, trained.ranks, trained.share),
    )


def _dependent(exact: ExactResult) -> bool:
    plain = mixed_log10_e(exact.log10_e, None)
    return plain is not None and plain >= POLICY.dependence_log10_e


def _aligned(exact: ExactResult, log10_e: float | None) -> bool:
    """Dependence was found, and only after alignment."""
    return log10_e is not None and log10_e >= POLICY.dependence_log10_e and not _dependent(exact)


def trained_state(
    ma: Canonical, mb: Canonical, exact: ExactResult, parts: Sequence[PartResult], cells: Sequence[MapCell], seed: int
) -> TrainedState | None:  # fmt: skip
    """Trained-state agreement over the layers of the text tower that are dependent."""
    if not _dependent(exact) or not cells:
        return None
    layers = {(p.tower, p.layer): p.status for p in parts if p.layer >= 0 and p.tower == "text"}
    dependent = {at for at, status in layers.items() if status == "dependent"}
    whole = len(dependent) == len(layers) and _in_order(exact)
    stated = {sd for m in (ma, mb) if (sd := initial_sd(m.checkpoint.config, "text")) is not None}
    return judge_trained(agreement_of(ma, mb, dependent, seed), stated, load_bank(), whole)


def _in_order(exact: ExactResult) -> bool:
    """No axis was reordered: twins keep a good part of every order, a permuted child has lost one whole."""
    return all(x.hits >= POLICY.initial_hits * x.sampled for x in exact.axes if x.tests)


def power_statement(axes: Sequence[AxisResult], read: Sequence[Coverage]) -> PowerStatement | None:
    """Power of the axis that would have seen the least similarity; it speaks of what was tested only."""
    some = " that were tested" if any(c.missing > POLICY.unread_share for c in read) else ""
    best: PowerStatement | None = None
    for x in axes:
        tests = [(t.m, t.noise_sd) for t in x.tests if t.m >= 8 and t.noise_sd > 0]
        if not tests:
            continue
        if x.axis == "residual":  # alternatives on one permutation: one of them
            tests = tests[:1]
        cosine = detectable_cosine(tests, POLICY.dependence_log10_e, POLICY.power)
        if cosine is not None and (best is None or best.cosine is None or cosine < best.cosine):
            sentence = (
                f"Had the {x.title} of one{some} kept a mean cosine of {cosine:.2f} or more with the other's, in the same order, this would have been "
                f"seen with probability {POLICY.power:.2f}."
            )
            best = PowerStatement(x.axis, cosine, POLICY.power, POLICY.dependence_log10_e, sentence)
    return best
