"""What an audit finds, as it travels from `begat.audit.run` to the reports.

All frozen, all plain: strings, numbers and tuples. Every result echoes what it was computed from. What the words mean:

- **axis**: which question a finding answers: "reuse", "notice", "licence" or "disclosure".
- **level**: "established" (a measurement whose false alarms were bounded or that is exact), "indicated" (shown, not bounded), "not-determinable"
  (looked at, cannot be said), "not-found" (looked for, not there).
- **bearing**: "against" (something a person has to decide or mend), "for" (a duty is seen to be kept), "fact" (neither: reuse alone is no breach).
- **severity**: "high", "medium", "low", "none"; only findings against the release have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from begat.audit.code.types import CodeReport

AXES = ("reuse", "notice", "licence", "disclosure")
LEVELS = ("established", "indicated", "not-determinable", "not-found")
BEARINGS = ("against", "for", "fact")
SEVERITIES = ("high", "medium", "low", "none")


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
        sentence: what was found, in words that draw no legal conclusion.
        subject: the place in the release.
        reference: what it was compared with, None where the release stands alone.
        clause: the duty it is about, None where there is none.
        remedy: what would settle it.
    """

    id: str
    axis: str
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
        sha256: over the sorted (path, sha256) of every file that was read; weights by their headers' digest.
        files: how many were read; skipped: (path, why) of those that were not.
        licence: id of the licence that it is under as far as known, "" = unknown; licence_source: how that is known. code_licence: that of its code,
            where a licence file of its own says so, else the same.
        has: which of "weights", "code", "tokenizer", "licence", "card", "notice" are there.
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


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """What `begat.pipeline.compare` said of the release and one reference; never judged again here."""

    reference: str
    verdict: str | None
    sentence: str
    log10_e: float | None
    log10_p: float | None
    direction: str
    derived: bool
    not_run: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens of the release that stand at a constant distance from the reference's: ids `start` to `end` of the release, shifted by `shift`."""

    start: int
    end: int
    shift: int
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenizerResult:
    """Release tokenizer against one reference tokenizer.

    Attributes:
        level: "established", "indicated", "not-found" or "not-determinable".
        shared: shared tokens of several bytes; in_order: longest increasing subsequence of their ids; agreement: their quotient.
        judged: "tokens" or "merges": whose order the level rests on, "" when neither could be judged; threshold: the agreement asked of it.
        chance: what independent uniform orders of that many reach at most (p ≤ 10^-6).
        merges_shared, merges_in_order: the same for BPE merges, 0 where one has none.
        containment: share of the reference's tokens that the release has, and the other way round: overlap, shown and never judged.
        kept, added, pruned: tokens in both, only in the release, only in the reference.
        segments: where shared tokens lie (largest first); added_at: id ranges of the release with no token of the reference.
        parts: (part, "same" | "different" | "only in the release" | "only in the reference" | "in neither") for special tokens, pre-tokenizer,
            normaliser, chat template, added tokens.
    """

    reference: str
    file: str
    level: str
    sentence: str
    shared: int
    in_order: int
    agreement: float
    judged: str
    threshold: float
    chance: float
    merges_shared: int
    merges_in_order: int
    containment: tuple[float, float]
    kept: int
    added: int
    pruned: int
    segments: tuple[Segment, ...]
    added_at: tuple[tuple[int, int], ...]
    parts: tuple[tuple[str, str], ...]
    not_run: str | None = None


@dataclass(frozen=True, slots=True)
class NoticeResult:
    """One file of the release whose code was matched to one upstream file, and what became of that file's notice.

    Attributes:
        label: "kept", "partial", "replaced", "removed", "upstream-had-none" or "not-determinable".
        place: file of the release where the notice was found ("" = nowhere).
        candidates: every upstream file that fits equally well, "ID VERSION, FILE"; reference, version and upstream_file name the first.
        upstream: elements of the upstream notice; missing: those elements of it that were not found; own: copyright lines of the release's file that
            the upstream file does not have.
        changed: the file differs from the upstream file; change_notice: a statement of change was found.
    """

    file: str
    reference: str
    version: str
    upstream_file: str
    candidates: tuple[str, ...]
    label: str
    place: str
    why: str
    upstream: tuple[str, ...]
    missing: tuple[str, ...]
    own: tuple[str, ...]
    changed: bool
    change_notice: bool
    lines: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TextEdit:
    """One word-level difference between a licence text as published and as found: `before` (published) became `after` (found), near line `line`."""

    line: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class LicenceText:
    """A licence text found in a file.

    Attributes:
        licence: id in begat's table, or an SPDX id, or "" when not identified.
        state: "unedited", "edited", "appended" (text added, nothing else), "other" (its own heading names another licence, version or date than
            the published one its wording is nearest to), "alike" (near to a published wording, without a heading that says whose it is),
            "spdx" (identified by licenseclassifier, not compared word by word), "scancode" (named by ScanCode), "unknown".
        same: share of the published words found in order; edits: the differences, at most 40.
        like: of "other" and "alike": id of the licence whose wording is nearest; title: the heading as found.
    """

    file: str
    licence: str
    state: str
    same: float
    edits: tuple[TextEdit, ...]
    sha256: str
    like: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the release says of itself: model card front matter and `config.json`. Shown, never measured.

    Attributes:
        licence: card `license`, names and link beside it; base_models: card `base_model`; relation: `base_model_relation`.
        expression: the card's licence as an SPDX expression, "" when it is none; name: the model's name as the user or the card gives it, "" when neither does.
        note: why the card could not be read, "" when it could or there is none.
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


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A reference with everything that ties the release to it: measured parts beside what the card declares.

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


@dataclass(frozen=True, slots=True)
class Signature:
    """Did a model-signing signature verify? Integrity only. status: "verified", "failed", "none" or "not-run"."""

    status: str
    why: str


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit; `findings` is what a person acts on, `answers` keeps the questions apart."""

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
    replay: Mapping[str, Any] = field(default_factory=dict)

    def to_decide(self) -> tuple[Finding, ...]:
        """Findings against the release, established or indicated."""
        return tuple(f for f in self.findings if f.bearing == "against" and f.level in ("established", "indicated"))

    def exit_code(self, fail_on: str = "indicated") -> int:
        """1 when there is a finding to decide of level `fail_on` ("indicated" or "established") or stronger, else 0; "never" gives 0."""
        if fail_on == "never":
            return 0
        return int(any(f.level == "established" or fail_on == "indicated" for f in self.to_decide()))
