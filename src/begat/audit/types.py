"""What an audit finds, as it travels from `begat.audit.run` to the reports.

All frozen, all plain: strings, numbers and tuples. Every result echoes what it was computed from. What the words mean:

- **axis**: which question a finding answers: "reuse", "notice", "licence" or "disclosure".
- **level**: "established" (a measurement whose false alarms were bounded or that is exact), "indicated" (shown, not bounded), "not-determinable"
  (looked at, cannot be said), "not-found" (looked for, not there).
- **bearing**: "against" (something a person has to decide or mend), "for" (a duty is seen to be kept), "fact" (neither: reuse alone is no breach).
- **severity**: "high", "medium", "low", "none"; only findings against the release have one.
- **about** and **value**: what is claimed, of what, as data (`ABOUTS`): the sentence says no more than they, the level, the reference and the subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from begat.audit.code.types import CodeReport
from begat.audit.results import LicenceText, NoticeResult, Segment, TextEdit, TokenizerResult, Uncompared, WeightsResult
from begat.verdict import VERDICTS

__all__ = [
    "ABOUTS", "AXES", "BEARINGS", "LEVELS", "QUESTIONS", "SEVERITIES", "Ancestor", "Answer", "Audit", "Clause", "Declared", "Evidence", "Finding",
    "LicenceText", "NoticeResult", "Party", "Reference", "Segment", "Signature", "Span", "TextEdit", "TokenizerResult", "Uncompared",
    "WeightsResult",
]  # fmt: skip

AXES = ("reuse", "notice", "licence", "disclosure")
LEVELS = ("established", "indicated", "not-determinable", "not-found")
BEARINGS = ("against", "for", "fact")
SEVERITIES = ("high", "medium", "low", "none")
QUESTIONS = ("weights", "code", "tokenizer", "notices", "licences", "disclosure")
#: what a finding may be about, and what it may claim of it
ABOUTS: Mapping[str, tuple[str, ...]] = {
    "weights": (*VERDICTS, "not-compared"),
    "code": ("shared", "shared-source-open", "alike", "none", "not-compared"),
    "tokenizer": ("one-order", "partly-one-order", "none", "undetermined", "not-compared"),
    "notice": ("kept", "partial", "replaced", "removed", "upstream-had-none", "not-determinable"),
    "change-statement": ("found", "none"),
    "licence-text": ("absent", "unedited", "edited", "appended", "other", "alike", "spdx", "scancode", "unknown"),
    "card": ("unreadable", "licence-differs", "licence-unknown", "header-differs"),
    "reference-licence": ("unknown",),
    "duty": ("seen", "not-seen", "undetermined"),
    "limits": ("kept", "dropped", "undetermined"),
    "disclosure": ("said", "not-said", "through-declared-base", "scratch-contradicted", "scratch-fits", "base-contradicted", "base-open",
                   "base-not-found", "base-not-given"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a file of the release or of a reference: lines from `start` to `end`, counted from 1; (0, 0) is the whole file."""

    file: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured: a value, the threshold or null it stands against (None: it is a plain fact), and where."""

    measure: str
    value: float | str | None
    threshold: float | None = None
    null: str = ""
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Clause:
    """The duty a finding is about. `quoted` says whether `text` is the licence's own wording; if not, it is a paraphrase."""

    licence: str
    clause: str
    text: str
    quoted: bool
    source: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference as a finding names it."""

    id: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; see the module for what `axis`, `level`, `bearing` and `severity` mean.

    Attributes:
        id: stable name of the rule and its subject, such as "notice.removed:modeling_x.py".
        about, value: the claim, a key of `ABOUTS` and one of its values.
        sentence: what was found, in words that draw no legal conclusion.
        subject: the place in the release.
        reference: what it was compared with, None where the release stands alone.
        clause: the duty it is about, None where there is none.
        remedy: what would settle it.
    """

    id: str
    axis: str
    about: str
    value: str
    level: str
    bearing: str
    severity: str
    sentence: str
    subject: Span
    reference: Reference | None
    evidence: Evidence
    clause: Clause | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one of the questions that the audit keeps apart.

    `level` is that of what was found (for notices, licences and disclosure: of what a person has to decide); `status` answers the question in a word or
    two: "shared", "not found", "kept", "not all kept", "to decide", "said", …
    """

    question: str
    level: str
    status: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Party:
    """The release, or a reference.

    Attributes:
        id: repository id or package name as given or found; version: as given or found, "" = unknown.
        sha256: over the sorted (path, sha256) of every text; of every other file the size stands for the content.
        files: how many were read; skipped: (path, why) of those that were not.
        licence: id of the licence that it is under as far as known, "" = unknown; licence_source: how that is known. code_licence: that of its code,
            where a licence file of its own says so, else the same.
        named: the user gave the id, or a cache's or archive's name says it; False: it is only what the folder happens to be called.
        has: which of "weights", "code", "tokenizer", "licence", "card", "notice" are there; weights count wherever they lie and in whatever format.
    """

    id: str
    path: str
    version: str
    sha256: str
    files: int
    skipped: tuple[tuple[str, str], ...]
    licence: str
    licence_source: str
    code_licence: str
    has: tuple[str, ...]
    named: bool = True


@dataclass(frozen=True, slots=True)
class Declared:
    """What the release says of itself: model card front matter and `config.json`. Shown, never measured.

    Attributes:
        licence: card `license`, names and link beside it; base_models: card `base_model`; relation: `base_model_relation`; base_file: where the
            bases are named.
        expression: the card's licence as an SPDX expression, "" when it is none; name: the model's name as the user or the card gives it, "" when neither does.
        note: why the card could not be read, "" when it could or there is none.
        scratch: the card's sentence that says the model was trained from scratch, "" where none does or it is not sure (`origin.py`).
    """

    licence: tuple[str, ...]
    licence_name: str
    licence_link: str
    licence_id: str
    expression: str
    base_models: tuple[str, ...]
    relation: str
    name: str
    config_base: str
    note: str
    base_file: str = "README.md"
    scratch: str = ""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A reference with everything that ties the release to it: measured parts beside what the card declares.

    No ancestor in the sense of descent unless `arrow` says so. `relation`, `arrow`, `parts`: of the weights, as in `WeightsResult`.
    `code_licences`: licences of the matched upstream files, by their own headers; the reference's own where they name none.
    """

    reference: str
    version: str
    established: tuple[str, ...]
    indicated: tuple[str, ...]
    declared: bool
    licence: str
    licence_source: str
    code_licences: tuple[str, ...]
    relation: str = "untested"
    arrow: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """Did a model-signing signature verify? Integrity only. status: "verified", "failed", "none" or "not-run"."""

    status: str
    why: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit; `findings` is what a person acts on, `answers` keeps the questions apart, `uncompared` is what no answer speaks of.

    `required`: the questions that had to be answered, as the user named them; () = weights, where the release or a reference holds any, else anything.
    """

    sentence: str
    release: Party
    references: tuple[Party, ...]
    answers: tuple[Answer, ...]
    weights: tuple[WeightsResult, ...]
    code: CodeReport | None
    code_not_run: str | None
    tokenizers: tuple[TokenizerResult, ...]
    notices: tuple[NoticeResult, ...]
    licence_texts: tuple[LicenceText, ...]
    headers: tuple[tuple[str, str], ...]
    declared: Declared
    ancestors: tuple[Ancestor, ...]
    signature: Signature
    findings: tuple[Finding, ...]
    coverage: str
    references_digest: str
    caveats: tuple[str, ...]
    not_asked: tuple[str, ...]
    seconds: float
    required: tuple[str, ...] = ()
    uncompared: tuple[Uncompared, ...] = ()
    replay: Mapping[str, Any] = field(default_factory=dict)

    def to_decide(self) -> tuple[Finding, ...]:
        """Findings against the release, established or indicated."""
        return tuple(f for f in self.findings if f.bearing == "against" and f.level in ("established", "indicated"))

    def missing(self) -> tuple[Uncompared, ...]:
        """Comparisons that were required and not made."""
        return tuple(u for u in self.uncompared if u.required)

    def exit_code(self, fail_on: str = "indicated", allow_uncompared: bool = False) -> int:
        """1 when there is a finding to decide of level `fail_on` ("indicated" or "established") or stronger ("never": none counts); else 3 when a
        required comparison was not made, unless that is allowed; else 0.
        """
        if fail_on != "never" and any(f.level == "established" or fail_on == "indicated" for f in self.to_decide()):
            return 1
        return 3 if self.missing() and not allow_uncompared else 0
