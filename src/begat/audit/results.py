"""What single comparisons of an audit deliver: weights, tokenizers, notices, licence texts.

All frozen, all plain. They are computed in `weights.py`, `tokenizers/`, `attribution.py` and `licences/`, travel inside an `Audit`
(`types.py`), and are what findings are drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass

#: how the release's weights stand to a reference's: "same" (equal, or one rounded), "trained" (trained weights are shared), "open" (not made
#: independently; whether trained weights were taken over is open), "initial" (grown apart from the same initial weights), "none" (tested,
#: nothing found), "untested"
RELATIONS = ("same", "trained", "open", "initial", "none", "untested")
#: which of two models was made from the other, where the weights show it; "" where they do not
ARROWS = ("from-reference", "to-reference", "")
#: why a comparison did not take place
REASONS = (
    "no-reference", "switched-off", "release-lacks", "reference-lacks", "archive", "models-below", "several", "format", "link", "damaged",
    "cannot-test", "too-many", "not-comparable",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """What `begat.pipeline.compare` said of the release and one reference; never judged again here.

    Attributes:
        reference, version: as the reference is named. part: folder or file of the release, "" = its weights as a whole.
        verdict, sentence, log10_e, log10_p: the verdict's own; sentence says why where nothing was compared.
        relation: one of RELATIONS; arrow: one of ARROWS.
        exact: dependence rests on equality or on a test whose false alarms are bounded, not on calibration or a fingerprint.
        parts: the parts that are dependent, where the verdict speaks of parts alone; () = of the whole.
        equal: how many single tensors are equal in both where nothing else was found (copied, or computed alike by both programs).
        unread: share of the release's parameters in this part that the comparison does not speak of, in [0, 1]; unread_why: why.
        not_run: why nothing was compared, in words, None where something was; reason: the same as one of REASONS, "" where something was.
    """

    reference: str
    version: str
    part: str
    verdict: str | None
    sentence: str
    log10_e: float | None
    log10_p: float | None
    relation: str
    arrow: str
    exact: bool
    parts: tuple[str, ...] = ()
    equal: int = 0
    unread: float = 0.0
    unread_why: tuple[str, ...] = ()
    not_run: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Uncompared:
    """A question that was not answered for one reference, or for all.

    Attributes:
        question: "weights", "code" or "tokenizer".
        reference, version: "" where it is about no single reference.
        part: folder or file of the release, "" = the whole.
        reason: one of REASONS; why: in words.
        required: the audit may not end well without it.
    """

    question: str
    reference: str
    version: str
    part: str
    reason: str
    why: str
    required: bool

    @property
    def id(self) -> str:
        """The id of the finding that says it."""
        return ":".join(("uncompared." + self.question, *filter(None, (self.reference, self.version, self.part))))


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
