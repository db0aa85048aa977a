"""An in-toto statement over an audit's evidence.

Enters: an `Audit`.  Leaves: JSON text: an in-toto Statement v1 whose subjects are the evidence file (what `begat audit --json` prints,
byte for byte) and the release.
It is unsigned; whoever vouches for it wraps it in an envelope. Format: in-toto/attestation, spec/v1/statement.md.
"""

from __future__ import annotations

import hashlib
import json

from begat.audit.types import Audit
from begat.errors import printable
from begat.report.audit_json import dumps, to_json

PREDICATE = "urn:begat:audit:v1"


def statement_text(audit: Audit) -> str:
    """The statement as JSON text."""
    evidence = dumps(audit) + "\n"
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "audit.json", "digest": {"sha256": hashlib.sha256(evidence.encode("utf-8", "surrogatepass")).hexdigest()}},
            {"name": printable(audit.release.id), "digest": {"sha256": audit.release.sha256}},
        ],
        "predicateType": PREDICATE,
        "predicate": to_json(audit),
    }
    return json.dumps(statement, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
