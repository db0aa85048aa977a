"""The claims of an audit.

Enters: an `Audit`.  Leaves: one `Claim` a finding, about the reference it names.
"""

from __future__ import annotations

from begat.audit.types import Audit
from begat.claims import Claim


def claims_of_audit(audit: Audit) -> tuple[Claim, ...]:
    """Findings by their ids, each with its level."""
    return tuple(Claim("audit", f.id, f.level) for f in audit.findings)
