"""Two fingerprints against each other, in words.

Enters: a `FingerprintMatch`, and whether it reaches the policy's threshold.  Leaves: sentences.  Numbers of searches:
`search_words.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from begat.report import words
from begat.report.search_words import quoted

if TYPE_CHECKING:
    from begat.pipeline.fingerprints import FingerprintMatch


def headline(m: FingerprintMatch, dependent: bool) -> str:
    """The finding, to be quoted."""
    a, b = quoted(m.a), quoted(m.b)
    if m.log10_e is None:
        return f"The fingerprints of {a} and {b} cannot be tested against each other: {m.why}."
    if not dependent:
        return f"The fingerprints of {a} and {b} show no exact evidence that one has to do with the other."
    equal = " Every sampled value is equal in both." if m.identical else ""
    arrow = {"a → b": f" One-way evidence says that {b} was made from {a}: {m.direction_why}.",
             "b → a": f" One-way evidence says that {a} was made from {b}: {m.direction_why}."}.get(m.direction, "")  # fmt: skip
    return f"{a} and {b} were not made independently.{equal}{arrow}"


def means(m: FingerprintMatch, dependent: bool) -> str:
    """What that does not say."""
    if dependent:
        return (
            "Dependent: by derivation either way, by a third model, or by one initialisation trained twice. "
            "A fingerprint does not tell these apart; the weights do. "
            "The e-value counts this one comparison: whoever picked the pair out of many must divide it by how many."
        )
    return (
        "No evidence is no clearance: what was changed beyond what a fingerprint keeps is not seen. "
        "Comparing the weights sees more, and says with which power."
    )


def badge(m: FingerprintMatch, dependent: bool) -> str:
    """The finding in two words."""
    if m.log10_e is None:
        return "cannot be tested"
    return ("equal samples" if m.identical else "not independent") if dependent else "no evidence"


def tone(m: FingerprintMatch, dependent: bool) -> str:
    """Class of the badge."""
    return "open" if m.log10_e is None else "shared" if dependent else "apart"


def p_bound(m: FingerprintMatch) -> words.Power:
    """Bound on the chance of such an e-value between independent models."""
    return words.p_bound(None if m.log10_e is None else min(0.0, -m.log10_e))


def slots(m: FingerprintMatch) -> str:
    """Units chosen by content, "" without any."""
    return "" if m.slots is None else f"{m.slots} of 64 units chosen by content agree (calibrated, no part of the e-value)"
