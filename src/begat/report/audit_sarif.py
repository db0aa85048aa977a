"""An audit's findings as SARIF 2.1.0, for code scanning in CI.

Enters: an `Audit`.  Leaves: JSON text. Findings against the release are results of kind "fail" (error, warning or note by severity); everything else is
"pass", "review" or "informational", which code scanning shows without failing. What had to be compared and was not fails the rule that
asks for it, and is a notification of a run that did not succeed: never an empty, clean run. Format: OASIS, SARIF Version 2.1.0.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

import begat
from begat.audit.types import Audit, Finding, Span
from begat.errors import printable

_LEVELS = {"high": "error", "medium": "warning", "low": "note", "none": "note"}
_KINDS = {
    "established": "informational",
    "indicated": "informational",
    "not-determinable": "review",
    "not-found": "informational",
}
#: first part of a finding's id → what the rule looks at
RULES = {
    "reuse": "What was reused: weights, code, tokenizer", "uncompared": "Whether what had to be compared was compared",
    "notice": "What became of upstream copyright and licence headers",
    "licence": "What the licences ask, and whether it is seen to be done", "disclosure": "Whether measured reuse is said",
}  # fmt: skip


def sarif_text(audit: Audit) -> str:
    """The findings as SARIF text."""
    rules = sorted({_rule(f) for f in audit.findings})
    missing = {u.id for u in audit.missing()}
    run = {
        "tool": {
            "driver": {
                "name": "begat audit", "version": begat.__version__,
                "rules": [{"id": r, "shortDescription": {"text": RULES[r.split(".", 1)[0]]}} for r in rules],
            }
        },
        "invocations": [_invocation(audit)],
        "originalUriBaseIds": {"RELEASE": {"description": {"text": "the audited release folder"}}},
        "results": [_result(f, rules.index(_rule(f)), f.id in missing) for f in audit.findings],
        "columnKind": "unicodeCodePoints",
        "properties": {"sentence": audit.sentence, "releaseSha256": audit.release.sha256, "referencesSha256": audit.references_digest},
    }  # fmt: skip
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _rule(f: Finding) -> str:
    return f.id.split(":", 1)[0]


def _invocation(audit: Audit) -> dict[str, Any]:
    """A run that left out what had to be compared did not succeed."""
    missing = {u.id for u in audit.missing()}
    out: dict[str, Any] = {"executionSuccessful": not missing}
    if missing:
        said = " ".join(dict.fromkeys(f.sentence for f in audit.findings if f.id in missing)) or audit.sentence
        out["toolExecutionNotifications"] = [{"level": "error", "message": {"text": printable(said, 4000)}, "descriptor": {"id": "uncompared"}}]
    return out


def _result(f: Finding, rule: int, missing: bool) -> dict[str, Any]:
    kind = "fail" if f.bearing == "against" or missing else "pass" if f.bearing == "for" else _KINDS[f.level]
    text = f.sentence
    if f.clause is not None:
        text += f" {f.clause.licence}, {f.clause.clause}: " + (
            f"“{f.clause.text}”" if f.clause.quoted else f"(paraphrased) {f.clause.text}"
        )
    properties: dict[str, Any] = {"axis": f.axis, "about": f.about, "claim": f.value, "level": f.level, "bearing": f.bearing, "severity": f.severity,
                                  "measure": f.evidence.measure, "value": f.evidence.value}  # fmt: skip
    if f.remedy:
        properties["remedy"] = f.remedy
    if f.reference is not None:
        properties["reference"] = {"id": f.reference.id, "version": f.reference.version, "sha256": f.reference.sha256}
    return {
        "ruleId": _rule(f), "ruleIndex": rule, "kind": kind,
        "level": "warning" if missing else _LEVELS[f.severity] if kind == "fail" else "none",
        "message": {"text": printable(text, 4000)}, "locations": [_location(f.subject)],
        "relatedLocations": [_location(s) | {"id": n} for n, s in enumerate(f.evidence.spans, 1)],
        "partialFingerprints": {"begat/v1": hashlib.sha256(f.id.encode("utf-8", "surrogatepass")).hexdigest()},
        "properties": properties,
    }  # fmt: skip


def _location(span: Span) -> dict[str, Any]:
    uri = quote(span.file.encode("utf-8", "surrogatepass"), safe="/._-~") or "."
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri, "uriBaseId": "RELEASE"}}
    if span.start:
        physical["region"] = {"startLine": span.start, "endLine": max(span.start, span.end)}
    return {"physicalLocation": physical}
