"""The claims of an audit.

Enters: an `Audit`.  Leaves: `Claim`s: how the release's weights stand to each reference's, by which arrow, what the card says
of it, and every other finding by its id with its level.
"""

from __future__ import annotations

from begat.audit.types import Audit
from begat.claims import Claim


def claims_of_audit(audit: Audit) -> tuple[Claim, ...]:
    """Everything an audit says, made of the same typed values as its sentences."""
    out = []
    for w in audit.weights:
        out.append(Claim("audit-weights", w.reference, w.verdict or "not-compared"))
        out.append(Claim("audit-arrow", w.reference, w.arrow))
    for f in audit.findings:
        if f.about == "disclosure":
            out.append(Claim("audit-card", f.reference.id if f.reference else f.evidence.measure, f.value))
        elif f.about != "weights":
            out.append(Claim("audit", f.id, f.level))
    return tuple(out)
