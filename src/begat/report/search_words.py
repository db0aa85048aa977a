"""A search in words, the same in every presenter.

Enters: a `SearchResult`.  Leaves: sentences and frozen rows of strings.  Nothing is computed but units (radians as degrees),
rounding and places. Placed by `search_text.py`, `search_html.py` and the pages of `begat.web`.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from begat.errors import printable
from begat.report import words

if TYPE_CHECKING:
    from begat.index.search import Lead, Relative, SearchResult
    from begat.pipeline.fingerprints import FingerprintMatch

#: relation → what it says of the listed model, beside its name
RELATIONS = {"ancestor": "ancestor", "descendant": "descendant", "nearest": "adjacent: no model found lies between", "related": "related"}
#: what a reader must know of every search
CAVEATS = (
    "“Not independent” means that weights have a common past: derivation either way, a third model, or one initialisation trained twice. "
    "Fingerprints do not tell these apart; begat compare on the weights does.",
    "A search sees the models of this index and no others. What screening overlooks is missed, never accused.",
)
_NAME = 120


@dataclass(frozen=True, slots=True)
class Row:
    """A relative in words.

    relation: with "via" where one is known; e: log10 of the corrected e-value; p: bound on the chance that any independent model of
    the index reaches it; angle, cosine: of corresponding units, where they match; direction: which was made from which, or
    "undetermined"; why: the evidence for that, or what lacks.
    """

    id: str
    name: str
    source: str
    relation: str
    e: str
    p: words.Power
    angle: str
    cosine: str
    parts: str
    direction: str
    why: str


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A lead in words; command: what decides it."""

    id: str
    name: str
    source: str
    agreeing: str
    p: str
    command: str


def headline(r: SearchResult) -> str:
    """What was searched, what was found and what that is worth, in sentences that can be quoted."""
    name = quoted(r.query)
    if not r.candidates:
        return f"The index is empty: {name} was compared with nothing."
    if r.untestable and not r.relatives:
        return f"{name} could not be tested: {r.untestable}."
    among = "the one model of this index" if r.candidates == 1 else f"{r.candidates:,} models of this index"
    if not r.relatives:
        leads = f" {_leads(len(r.leads))}" if r.leads else ""
        return f"No known relative of {name} was found by exact evidence among {among}.{leads}"
    if r.candidates == 1:
        what = f"{name} was not made independently of {quoted(r.relatives[0].entry.name)}, the one model of this index."
    else:
        what = f"{name} was not made independently of {len(r.relatives):,} of {among}."
    if r.candidates == 1:
        return what
    parents = [
        quoted(x.entry.name) for x in r.relatives if x.match.direction == "b → a" and x.relation in ("ancestor", "nearest")
    ]
    if parents:
        return f"{what} One-way evidence says that it was made from {parents[0]}, or from a model close to that."
    return f"{what} {_nearest(r)}"


def _nearest(r: SearchResult) -> str:
    """The relatives most like the query; more than one where the bits kept cannot tell them apart."""
    tied = [quoted(x.entry.name) for x in r.relatives if x.tied]
    if len(tied) < 2:
        return f"Most like it is {quoted(r.relatives[0].entry.name)}."
    named = ", ".join(tied[:2]) + f" and {len(tied) - 2:,} more" if len(tied) > 3 else f"{', '.join(tied[:-1])} and {tied[-1]}"
    return f"Most like it are {named}; their fingerprints do not tell which is nearest."


def price(r: SearchResult) -> str:
    """What the search cost and what that buys."""
    if not r.candidates:
        return "Add models with begat index add."
    if r.untestable and not r.relatives:
        return "Nothing was tested, so nothing is cleared."
    bound = words.p_bound(-r.needed_log10_e)
    head = (
        f"Every e-value is divided by {r.candidates:,}, the number of models searched: "
        f"the chance that even one independent model is listed as a relative is at most {bound}."
    )
    if r.relatives:
        return head
    return f"{head} Nothing found is no clearance: a relative outside the index, or changed beyond what a fingerprint keeps, is not seen."


def effort(r: SearchResult) -> str:
    """How many were looked at, how closely."""
    out = f"{words.plural(r.candidates, 'model')} in the index, {r.screened:,} passed the screen, {r.tested:,} tested exactly, in {words.duration(r.seconds)}"
    return out + (f"; {len(r.unreadable):,} could not be read" if r.unreadable else "")


def row(r: Relative) -> Row:
    """One relative."""
    m = r.match
    direction, why = direction_words(m, r.why)
    relation = RELATIONS.get(r.relation, r.relation) + (f" via {printable(r.via, _NAME)}" if r.via else "")
    relation += "; as near as the first, by the bits kept" if r.tied else ""
    return Row(
        id=r.entry.id, name=printable(r.entry.name, _NAME), source=r.entry.source, relation=relation, e=words.log10_words(r.log10_e),
        p=words.p_bound(min(0.0, -r.log10_e)), angle=angle(m), cosine=cosine(m), parts=parts(r), direction=direction, why=why,
    )  # fmt: skip


def parts(r: Relative) -> str:
    """What of the query is found in it, with how many of the layers where not all match."""
    named = "; ".join(r.parts)
    if r.match.share is None or r.match.share >= 1.0:
        return named
    return f"{words.percent(r.match.share)} of layers match" + (f": {named}" if named else "")


def direction_words(m: FingerprintMatch, why: str) -> tuple[str, str]:
    """Direction between the query (A) and a model of the index (B), and its evidence."""
    told = {"a → b": "it was made from the query", "b → a": "the query was made from it"}.get(m.direction, "undetermined")
    if m.direction:
        return told, m.direction_why
    return told, "no one-way evidence" if not why or why.startswith("no one-way evidence") else why


def lead(x: Lead, asked: str) -> LeadRow:
    """One lead; asked: path of the query, "" where there is none."""
    return LeadRow(
        id=x.entry.id, name=printable(x.entry.name, _NAME), source=x.entry.source, agreeing=f"{x.slots} of {_slots()} units agree",
        p=f"calibrated p {x.p:.2g} from {words.plural(x.pairs, 'pair')} of strangers", command=compare_command(asked, x.entry.source),
    )  # fmt: skip


def compare_command(asked: str, source: str) -> str:
    """The command that looks at the weights."""
    return words.rerun(asked, source, {}) if asked else f"begat compare MODEL {shlex.quote(printable(source, 400))}"


def angle(m: FingerprintMatch) -> str:
    """Angle between corresponding units, in degrees with its standard error."""
    return "–" if m.angle is None else f"{math.degrees(m.angle):.1f}° ± {math.degrees(m.angle_sd):.1f}°"


def cosine(m: FingerprintMatch) -> str:
    """The cosine of that angle."""
    return "–" if m.angle is None else words.ratio(math.cos(m.angle))


def same(r: SearchResult) -> str:
    """That the query itself is in the index, "" when it is not."""
    return f"The query itself is in the index ({', '.join(id[:12] for id in r.same)}); it is not listed." if r.same else ""


def quoted(name: str) -> str:
    """A model's name in a sentence."""
    return f"“{printable(name, _NAME)}”"


def _leads(n: int) -> str:
    return (
        "One model is a lead: its weights should be compared."
        if n == 1
        else f"{n:,} models are leads: their weights should be compared."
    )


def _slots() -> int:
    from begat.fingerprint import SLOTS

    return SLOTS
