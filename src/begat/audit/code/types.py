"""What code ancestry takes and delivers.

Enters: nothing; these are the types of `begat.audit.code`.  Leaves: `CodeReference` for callers, `CodeReport` for reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["established", "tie", "indicated", "not found", "too generic"]


@dataclass(frozen=True, slots=True)
class CodeReference:
    """Source code that a release may have been made from.

    Attributes:
        name: of the package or repository, "transformers".
        version: of the package, or a revision; "" where there is none.
        files: path inside the reference → source text. Only Python is compared; other files are named in the notes.
    """

    name: str
    version: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of the release beside the lines of a source that say the same, both 1-based and inclusive."""

    lines: tuple[int, int]
    source_lines: tuple[int, int]
    text: str = ""
    source_text: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One unit of a reference that a unit of the release resembles.

    Attributes:
        reference, version, file, unit: where it is. One source is listed for each version that fits equally well.
        lines: first and last line of the unit in `file`, 1-based.
        score: mean of the scores of the three views, for this source.
    """

    reference: str
    version: str
    file: str
    unit: str
    lines: tuple[int, int]
    score: float


@dataclass(frozen=True, slots=True)
class UnitMatch:
    """One class, function or method of the release and what the references say about it.

    Attributes:
        unit: dotted name inside the file, "Attention.forward".
        file: path inside the release.
        lines: first and last line, 1-based, decorators included.
        status: "established": reused, and one file of one reference fits better than all others (`sources` lists its versions);
            "tie": reused, and no single file may be named: several fit alike, or the best explains too little of the unit, so that the source may be
            missing; `family` may be named;
            "indicated": more alike than independent code mostly was in calibration; `family` at most;
            "not found": no more alike than independent code; "too generic": too short or too common to say anything.
        score: in [0, 1): weight of the unit's features that the best source holds, over the weight of all of them plus a prior (so that a short unit
            cannot score high), in the view `view`.
        threshold: what `score` had to reach in that view for "established" or "tie"; from `thresholds.toml`.
        sources: best first. Empty for "not found" and "too generic". For "tie" and "indicated" they illustrate; they are not named as origin.
        kind: "class", "function" or "method".
        view: which features decided: "names" (statements and expressions, identifiers kept), "trees" (the same, identifiers anonymised), "shape"
            (k-grams of tokens, identifiers anonymised).
        share: of the unit's weight that the best source holds in that view, without the prior.
        scores: view → score of the best source.
        family: reference whose files tie, "" where nothing is claimed.
        group: files of the references that fit alike.
        spans: lines side by side with the first source, where its text is at hand.
        why: one sentence for a reader.
    """

    unit: str
    file: str
    lines: tuple[int, int]
    status: Status
    score: float
    threshold: float
    sources: tuple[Source, ...]
    kind: str = "function"
    view: str = "shape"
    share: float = 0.0
    scores: Mapping[str, float] | None = None
    family: str = ""
    group: int = 0
    spans: tuple[Span, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class FileMatch:
    """One file of the release and the file of a reference that explains most of it.

    Attributes:
        file: path inside the release.
        status: as for units: "established" names `source_file`; "tie" lists `ties`; "indicated" and "not found" name no file.
        score: mean of the scores that units of the best file reach, over the functions and methods that are reused, by their weight.
        reference, source_file: the best, "" where none is named.
        versions: every version whose `source_file` fits best, in the order of the references; several where versions do not differ in what was reused.
        version_scores: version → score, of all versions that hold `source_file`.
        ties: "reference:path" of other files that fit as well.
    """

    file: str
    status: Status
    score: float
    reference: str
    source_file: str
    versions: tuple[str, ...]
    version_scores: Mapping[str, float]
    ties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeReport:
    """What `code_ancestry` delivers.

    Attributes:
        units: every class, function and method of the release, in order of file and line.
        references: "name version", as passed in.
        digest: SHA-256 of the reference set (names, versions, paths, texts): what was compared with.
        calibration: where the thresholds come from, one line.
        files: one line for each Python file of the release.
        notes: one line for each file that could not be compared, and why.
    """

    units: tuple[UnitMatch, ...]
    references: tuple[str, ...]
    digest: str
    calibration: str
    files: tuple[FileMatch, ...] = ()
    notes: tuple[str, ...] = ()
