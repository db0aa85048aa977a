"""Copyright and licence headers of one source file, and what became of an upstream file's header in a release.

Enters: texts.  Leaves: a `Header`, a label.  Which upstream file and version a release's file was matched to is the business of `begat.audit.attribution`;
without that match nothing is said, because upstream's own notices come and go between versions.

A header is what stands before the first statement: comments and the module's docstring. Its elements are copyright statements, each cut into years and
holders, and the licence it names. Labels:

- **kept**: every element of the upstream header is there (years may be widened, own lines may be added, wording reformatted); `place` says whether in the
  file itself or elsewhere in the release (NOTICE, README and the like);
- **partial**: some are there, some not; **replaced**: no upstream copyright statement is left and others stand in its place;
- **removed**: none is left and nothing stands in its place; **upstream-had-none**: there was nothing to keep;
- **not-determinable**: the upstream file or version is not known, or candidates for it disagree.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

_MAX_HEADER = 20_000
_MAX_LINE = 500
_MAX_TOKENIZED = 400_000
_MAX_STATEMENTS = 500
_MARK = re.compile(r"copyright|\(c\)|©|&copy;", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?:copyright\s*(?:\(c\)|©|&copy;)?|(?:\(c\)|©)\s*(?:copyright)?)\s*[:,]?\s*(?P<rest>.{1,300})",
    re.IGNORECASE,
)
_YEARS = re.compile(r"(?:(?:19|20)\d\d)(?:\s*[-–—]\s*(?:(?:19|20)\d\d|present|today|now|\d\d)?)?", re.IGNORECASE)
_NOT_HOLDERS = re.compile(r"all rights reserved|\(c\)|©|licensed under.*|this file.*|and/or its affiliates", re.IGNORECASE)
#: words after "copyright" that show that a sentence, not a statement, is being read
_PROSE = re.compile(
    r"(?:holders?|owners?|notices?|laws?|licen[cs]es?|and|or|interests?|statements?|infringement|in|is|protection|of the)\b",
    re.IGNORECASE,
)
_SPLIT = re.compile(r"\s*(?:,|;|/|&|\band\b|\bet al\b)\s*", re.IGNORECASE)
_FILLERS = {
    "inc",
    "llc",
    "ltd",
    "co",
    "corp",
    "corporation",
    "gmbh",
    "limited",
    "company",
    "the",
    "team",
    "group",
    "authors",
    "its",
    "contributors",
    "by",
}
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+\-() ]{2,120})")
#: phrases by which headers name a licence
_LICENCES = (
    ("apache-2.0", re.compile(r"licensed\s+under\s+the\s+apache\s+license,?\s+version\s+2\.0|apache\.org/licenses/license-2\.0", re.IGNORECASE)),
    ("mit", re.compile(r"permission\s+is\s+hereby\s+granted,\s+free\s+of\s+charge|licensed\s+under\s+the\s+mit\b|\bmit\s+license\b", re.IGNORECASE)),
    ("BSD", re.compile(
        r"redistribution\s+and\s+use\s+in\s+source\s+and\s+binary\s+forms|bsd-style\s+license|\bbsd(?:[- ]\d-clause)?\s+licen[cs]e", re.IGNORECASE
    )),
    ("GPL", re.compile(r"gnu\s+(?:lesser\s+|affero\s+)?general\s+public\s+license", re.IGNORECASE)),
    ("llama", re.compile(r"llama\s+[\d.]*\s*community\s+license", re.IGNORECASE)),
    ("cc-by-nc-4.0", re.compile(r"creativecommons\.org/licenses/by-nc/4\.0|\bcc[- ]by[- ]nc[- ]4\.0\b", re.IGNORECASE)),
)  # fmt: skip
#: what a statement of change looks like, in a header or a comment
_CHANGE = re.compile(
    r"\b(?:modified|modifications?|changed|changes?\s+(?:made|from|to|by)|adapted|adaptation|derived|ported|based\s+on)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Copyright:
    """One copyright statement: as written, its years and its holders as sets of lower-case names."""

    line: int
    text: str
    years: frozenset[int]
    holders: frozenset[str]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file's header says; `licences` are names as above or SPDX expressions in lower case, `last` the header's last line."""

    copyrights: tuple[Copyright, ...]
    licences: tuple[str, ...]
    last: int

    @property
    def empty(self) -> bool:
        """Nothing to keep?"""
        return not self.copyrights and not self.licences

    @property
    def elements(self) -> tuple[str, ...]:
        """Copyright statements as written, then licences."""
        return (*(c.text for c in self.copyrights), *(f"licence: {x}" for x in self.licences))


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a header: the label, where it was found, what was not, and copyright statements that upstream does not have."""

    label: str
    place: str
    missing: tuple[str, ...]
    own: tuple[str, ...]


def read_header(text: str) -> Header:
    """The header of a Python file, or of any text where `python` syntax does not apply: its leading comments."""
    head, last = _leading(text)
    return _header_of(head, last)


def read_anywhere(text: str) -> Header:
    """Copyright statements and licences anywhere in a text such as NOTICE or README."""
    return _header_of(text[: 50 * _MAX_HEADER], text.count("\n") + 1)


def _header_of(head: str, last: int) -> Header:
    copyrights: list[Copyright] = []
    for number, line in enumerate(head.split("\n"), 1):
        short = line[:_MAX_LINE]  # a line of megabytes is no notice and would keep the patterns busy
        if _MARK.search(short) and len(copyrights) < _MAX_STATEMENTS:
            copyrights += [c for m in _STATEMENT.finditer(short) if (c := _copyright(m, number)) is not None]
    flat = " ".join(head.split())
    licences = {name for name, pattern in _LICENCES if pattern.search(flat)}
    for match in _SPDX.finditer(head):
        key = match[1].strip().casefold()
        licences.add({"bsd-3-clause": "BSD", "bsd-2-clause": "BSD"}.get(key, key))
    return Header(tuple(copyrights), tuple(sorted(licences)), last)


def change_statements(text: str) -> frozenset[str]:
    """Lines of the header and comments that say that something was changed or adapted. What upstream says itself is no statement of the release."""
    head, _ = _leading(text)
    lines = {" ".join(line.split()) for line in head.split("\n") if _CHANGE.search(line)}
    try:
        if len(text) > _MAX_TOKENIZED:
            raise ValueError("too long to be cut into tokens")
        comments = [t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        comments = [line for line in text.split("\n") if line.lstrip().startswith("#")]
    return frozenset(lines | {" ".join(c.lstrip("# ").split()) for c in comments if _CHANGE.search(c)})


def _leading(text: str) -> tuple[str, int]:
    """Comments and docstring before the first statement, without comment marks; and the last line of them."""
    out: list[str] = []
    lines = text[: 4 * _MAX_HEADER].split("\n")
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if line.startswith("#"):
            out.append(line.lstrip("#! ").rstrip())
        elif not line:
            out.append("")
        else:
            break
        at += 1
    quoted = re.match(r"[rRuU]{0,2}(\"\"\"|'''|\"|')", lines[at].strip()) if at < len(lines) else None
    if quoted:
        rest = "\n".join(lines[at:])
        doc, used = _docstring(rest, quoted[1])
        out.append(doc)
        at += used
        while at < len(lines) and (not lines[at].strip() or lines[at].strip().startswith("#")):
            out.append(lines[at].strip().lstrip("#! "))
            at += 1
    return "\n".join(out)[:_MAX_HEADER], at


def _docstring(rest: str, quote: str) -> tuple[str, int]:
    start = rest.index(quote) + len(quote)
    end = rest.find(quote, start)
    if end < 0:
        return "", 0
    try:
        doc = ast.literal_eval(rest[: end + len(quote)].strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        doc = rest[start:end]
    return (doc if isinstance(doc, str) else ""), rest[:end].count("\n") + 1


def _copyright(match: re.Match[str], line: int) -> Copyright | None:
    rest = match["rest"].strip()
    if _PROSE.match(rest):
        return None
    years = frozenset(y for m in _YEARS.finditer(rest) for y in _range(m[0]))
    names = _NOT_HOLDERS.sub(" ", _YEARS.sub(" ", rest))
    holders = frozenset(h for part in _SPLIT.split(names) if (h := _holder(part)))
    if not years and not holders:
        return None
    if not years and not re.match(r"copyright\b", match[0], re.IGNORECASE):
        return None  # "(c) You must …" is an item of a list
    return Copyright(line, " ".join(match[0].split())[:200], years, holders)


def _range(text: str) -> range:
    found = [int(y) for y in re.findall(r"(?:19|20)\d\d", text)]
    if not found:
        return range(0)
    if len(found) == 2 and 0 <= found[1] - found[0] < 60:
        return range(found[0], found[1] + 1)
    return range(found[0], found[0] + 1)


def _holder(part: str) -> str:
    """A holder's name without its legal form and fillers; a name of nothing else keeps them."""
    words = re.findall(r"[^\W_]+", re.sub(r"<[^>]*>|https?://\S+|\S+@\S+", " ", part).casefold())
    kept = [w for w in words if w not in _FILLERS and not w.isdigit()]
    return " ".join(kept)


def fate(upstream: Header, own: Header, elsewhere: Mapping[str, Header]) -> Fate:
    """What became of the header `upstream` in a release.

    Args:
        upstream: header of the matched upstream file and version.
        own: header of the release's file.
        elsewhere: headers of the texts that may carry notices instead (NOTICE, README, …), by path.

    """
    extra = tuple(c.text for c in own.copyrights if not any(_same_or_wider(c, u) for u in upstream.copyrights))
    if upstream.empty:
        return Fate("upstream-had-none", "", (), extra)
    missing, left = _compare(upstream, own)
    if not missing:
        return Fate("kept", "file", (), extra)
    for place, header in elsewhere.items():
        together = Header(own.copyrights + header.copyrights, (*own.licences, *header.licences), own.last)
        if not _compare(upstream, together)[0] and _compare(upstream, header)[1] - _compare(upstream, own)[1]:
            return Fate("kept", place, (), extra)
    notice_left = any(kind != "licence" for kind, _ in left)
    if not notice_left and extra and (upstream.copyrights or not left):
        return Fate("replaced", "", _words(missing), extra)
    if not left:
        return Fate("replaced" if own.licences else "removed", "", _words(missing), extra)
    return Fate("partial", "file", _words(missing), extra)


#: ("holder" or "year" or "licence", which)
_Element = tuple[str, str]


def _compare(upstream: Header, own: Header) -> tuple[set[_Element], set[_Element]]:
    """(elements of `upstream` that `own` lacks, those it has). A year only counts in a statement that is upstream's."""
    missing: set[_Element] = set()
    left: set[_Element] = set()
    for one in upstream.copyrights:
        alike = [
            c for c in own.copyrights if c.holders & one.holders or (c.years & one.years and not (c.holders and one.holders))
        ]
        holders = {h for c in alike for h in c.holders}
        years = {y for c in alike for y in c.years}
        for element, there in [(("holder", h), h in holders) for h in one.holders] + [
            (("year", str(y)), y in years) for y in one.years
        ]:
            (left if there else missing).add(element)
    for licence in upstream.licences:
        (left if licence in own.licences else missing).add(("licence", licence))
    return missing, left


def _same_or_wider(own: Copyright, upstream: Copyright) -> bool:
    return bool(own.holders & upstream.holders) or (not (own.holders and upstream.holders) and bool(own.years & upstream.years))


def _words(missing: set[_Element]) -> tuple[str, ...]:
    return tuple(f"{kind} {what}" for kind, what in sorted(missing))
