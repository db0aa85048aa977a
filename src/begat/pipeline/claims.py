"""The claims of a comparison, a decomposition and an inspection.

Enters: finished results.  Leaves: `Claim`s, in the order of a report.  The headline of a comparison is made from
the same values (`headline.py`); the type and its table: `begat.claims`.
"""

from __future__ import annotations

from collections.abc import Sequence

from begat.alignment import Alignment
from begat.canon.function import ConfigDifference
from begat.claims import Claim
from begat.inspection import Inspection
from begat.recipes import Decomposition
from begat.types import Coverage, EqualityResult, ExpertMatch, PartResult
from begat.verdict.kinds import Description

#: cosine from which an expert is said to be another: one of a mean of two has 0.71 with it
_SAME = 0.8

def claims_of_comparison(
    verdict: str, parts: Sequence[PartResult], alignment: Alignment | None, told: Description, same: EqualityResult | None,
    coverage: Sequence[Coverage], equal: Sequence[str] = (), experts: Sequence[ExpertMatch] = (),
    configs: Sequence[ConfigDifference] = (),
) -> tuple[Claim, ...]:  # fmt: skip
    """Everything that a comparison says.

    Args:
        told: kind and direction; its evidence names facts of kinds.toml, else its kind is one of policy.toml.
        coverage: of A and of B.
        equal: tensors with equal values that the headline names.
        experts: counterparts of B's experts. configs: what equal weights are told to compute otherwise.
    """
    out = [Claim("relation", "A and B", verdict)]
    if verdict in ("identical", "re-encoded") and same is not None:
        out.append(Claim("equality", same.coarser, same.relation))
        alignment = None  # all is equal or a rounding: where layers lie says nothing more
    out += [Claim("part", p.part, p.status, p.tower, p.layer) for p in parts]
    for match in alignment.layers if alignment is not None else ():
        names = f"layer {match.layer_b}", f"layer {match.layer_a}"
        out.append(Claim("counterpart", *names, match.tower, match.layer_b, match.layer_a))
    out += [_expert(m) for m in experts if len(m.experts_a) > 1 or (m.experts_a and m.cosine >= _SAME)]
    out += [Claim("kind", e.parent, e.fact) for e in told.evidence] or [Claim("kind", "", told.kind)]
    out.append(Claim("direction", "A and B", told.direction))
    out += [Claim("config", d.key, f"{d.a} / {d.b}") for d in configs]
    out += [Claim("equal-tensor", name, "equal") for name in equal]
    for c in coverage:
        out += [Claim("unread", c.model, gap.why, number=gap.share) for gap in c.gaps]
        out += [Claim("part", tower, f"only-in-{c.model.lower()}", tower) for tower in c.only_here]
    return tuple(out)


def _expert(m: ExpertMatch) -> Claim:
    """Which expert of A one of B is, or of which it is a mean."""
    one = len(m.experts_a) == 1
    value = f"expert {m.experts_a[0]}" if one else f"a mean of experts {', '.join(map(str, m.experts_a))}"
    subject = f"expert {m.expert_b} of layer {m.layer}"
    return Claim("counterpart", subject, value, m.tower, m.layer, m.layer, (m.expert_b, *m.experts_a))


def claims_of_decomposition(found: Decomposition) -> tuple[Claim, ...]:
    """The recipe, the coefficients over all matrices, ranks, and which bases fit an adapter."""
    out = [Claim("recipe", "", found.method)]
    if found.method not in ("unexplained", "partial", "adapter", "layered"):
        for number, c in enumerate(found.coefficients, 1):
            out.append(Claim("coefficient", str(number), "identified" if c.identified else "", number=c.value))
    for low in found.low_rank:
        if low.state == "low-rank" and low.rank is not None:
            subject = "base" if low.parent < 0 else str(low.parent + 1)
            out.append(Claim("rank", subject, "low-rank", number=float(low.rank)))
    return tuple(out + [Claim("adapter-base", str(m.parent + 1), "fits" if m.fits else "does not fit") for m in found.adapter])


def claims_of_inspection(found: Inspection) -> tuple[Claim, ...]:
    """Each look's outcome, and every pair of places that is called a copy."""
    out = [Claim("unread", "the model", gap.why, number=gap.share) for gap in found.unread]
    for finding in found.findings:
        out.append(Claim("trace", finding.name, finding.found.status))
        for pair in (p for p in finding.found.pairs if p.copies):
            if pair.kind == "experts":
                out.append(Claim("copies", pair.kind, "copied", pair.tower, pair.layer, pair.layer, (pair.i, pair.j)))
            else:
                out.append(Claim("copies", pair.kind, "copied", pair.tower, pair.j, pair.i))
    return tuple(out)
