"""What begat says of a case, statement by statement.

Enters: results of the library.  Leaves: `Statement`s: every claim that a report makes of itself
(`begat.claims`), and what its words and numbers say beyond (scope of the headline, a chance figure,
coefficients layer by layer).  Are they true: `checks/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from begat.claims import Claim
from begat.inspection import Inspection
from begat.recipes import Decomposition
from begat.types import Verdict

_CHANCE = re.compile(r"([\d,]+) of ([\d,]+) sampled units[^.]*?chance explains about ([\d,]+)")
_EXPERTS = re.compile(r"experts: ([\d, ]+)")
#: words that tell a reader that a headline speaks of a part of the models
_NAMED = re.compile(r"embedding|tower|projection|projector|vision|encoder|decoder|layers? \d|this is said of|parts of", re.I)
#: no evidence, but the headline names tensors that are equal in both
BUT_EQUAL = "no-evidence but for equal tensors"
_WHOLE = ("derived", "derived-or-shared-initialisation", "shared-initialisation")


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that is said. Fields as in `begat.claims.Claim`; a, b: names of the models it is
    said of, "" where there is one.
    """

    command: str
    about: str
    subject: str
    value: str
    a: str = ""
    b: str = ""
    tower: str = ""
    layer: int = -1
    source: int = -1
    experts: tuple[int, ...] = ()
    number: float | None = None
    withheld: bool = False

    @property
    def words(self) -> str:
        """Short, for tables."""
        number = "" if self.number is None else f" {self.number:.3g}"
        return f"{self.about}: {self.subject} {self.value}{number}".replace("  ", " ")


def _plain(command: str, claims: Iterable[Claim], a: str = "", b: str = "") -> Iterator[Statement]:
    for c in claims:
        yield Statement(command, c.about, c.subject, c.value, a, b, c.tower, c.layer, c.source, c.experts, c.number, c.withheld)


def of_comparison(v: Verdict, a: str, b: str) -> list[Statement]:
    """Claims of a comparison, the scope of its headline, its chance figures."""
    experts = {
        p.part: tuple(int(n) for n in m[1].replace(" ", "").strip(",").split(","))
        for p in v.parts
        if (m := _EXPERTS.search(p.why))
    }
    out = []
    equal = any(c.about == "equal-tensor" for c in v.claims)
    for s in _plain("compare", v.claims, a, b):
        if s.about == "relation" and s.value == "no-evidence" and equal:
            s = Statement("compare", "relation", s.subject, BUT_EQUAL, a, b)
        if s.about == "part" and s.subject in experts and not s.experts:
            s = Statement(
                s.command, s.about, s.subject, s.value, a, b, s.tower, s.layer, s.source, experts[s.subject], s.number, s.withheld
            )
        out.append(s)
    if v.verdict in _WHOLE and not _NAMED.search(v.sentence):
        out.append(Statement("compare", "scope", "A and B", "whole", a, b))
    if found := _CHANCE.search(v.sentence):
        hits, _, expected = (float(n.replace(",", "")) for n in found.groups())
        out.append(
            Statement(
                "compare",
                "chance",
                f"{hits:.0f} hits",
                f"where chance explains {expected:.0f}",
                a,
                b,
                number=hits / max(expected, 1.0),
            )
        )
    for axis in v.axes:
        if axis.not_run in ("A has none", "B has none"):
            out.append(Statement("compare", "absent", axis.not_run[0], axis.axis, a, b))
    if v.trained is not None and v.verdict not in ("derived", "shared-initialisation"):
        out.append(Statement("compare", "trained", "A and B", v.trained.state, a, b, withheld=v.trained.state == "unknown"))
    return out


def of_decomposition(d: Decomposition, child: str, parents: tuple[str, ...]) -> list[Statement]:
    """Claims of a recipe, its coefficients part by part, and whether it speaks of unknown sources."""
    from begat.pipeline.claims import claims_of_decomposition

    out = list(_plain("decompose", claims_of_decomposition(d), b=child))
    if d.method not in ("unexplained", "partial", "adapter", "copy", "low-rank"):
        for part in d.parts:
            for parent, c in zip(parents, part.coefficients, strict=True):
                out.append(
                    Statement(
                        "decompose",
                        "part-coefficient",
                        parent,
                        part.group,
                        b=child,
                        tower=part.tower,
                        layer=part.layer,
                        number=c.value,
                        withheld=not c.identified,
                    )
                )
    if "not given" in d.sentence:
        out.append(Statement("decompose", "sources", child, "not given", b=child))
    return out


def of_inspection(found: Inspection, model: str) -> list[Statement]:
    """Claims of an inspection, each row range of the vocabulary, and whether it speaks of earlier
    weights.
    """
    from begat.pipeline.claims import claims_of_inspection

    out = list(_plain("inspect", claims_of_inspection(found), b=model))
    for finding in found.findings:
        for item in finding.found.items if finding.name == "vocabulary" else ():
            if rows := re.search(r"rows? (\d+)(?:–(\d+))?", item.where):
                first = int(rows[1])
                out.append(
                    Statement(
                        "inspect",
                        "rows",
                        f"{first}-{rows[2] or first}",
                        item.what,
                        b=model,
                        layer=first,
                        source=int(rows[2] or first),
                    )
                )
    out.append(
        Statement(
            "inspect", "descent", model, "earlier weights" if found.descent else "no trace", b=model, withheld=not found.descent
        )
    )
    return out


def of_search(found: Any) -> list[Statement]:
    """Claims of a search; the query is A."""
    from begat.index.claims import claims_of_search

    return [
        Statement("search", s.about, s.subject, s.value, found.query, s.subject)
        for s in _plain("search", claims_of_search(found))
    ]


def of_tree(tree: Any) -> list[Statement]:
    """Claims of a tree, and its mixtures and equal weights."""
    from begat.tree.claims import claims_of_tree

    out = [Statement("tree", s.about, s.subject, s.value, s.subject, s.value) for s in _plain("tree", claims_of_tree(tree))]
    given = {i: n.name for i, n in enumerate(tree.nodes) if n.kind == "given"}
    for e in tree.edges:
        if e.a in given and e.b in given and (e.kind == "same" or e.mixture):
            about = "same" if e.kind == "same" else "mixed"
            out.append(Statement("tree", about, given[e.a], given[e.b], given[e.a], given[e.b], number=e.weight))
    starts = {i for i, n in enumerate(tree.nodes) if n.kind == "start"}
    for s in starts:
        around = sorted({x for e in tree.edges for x in (e.a, e.b) if s in (e.a, e.b)} & set(given))
        out += [Statement("tree", "start", given[x], given[y], given[x], given[y]) for x in around for y in around if x < y]
    return out or [Statement("tree", "none", "models", "no kin")]


def of_audit(found: Any) -> list[Statement]:
    """How the weights stand to the reference's and by which arrow, what the card is said to contradict,
    named ancestors, answers to the questions.
    """
    from begat.audit.claims import claims_of_audit

    out = list(_plain("audit", claims_of_audit(found), "a", "b"))
    out += [
        Statement("audit", "ancestor", a.reference, "weights", a.reference, "b")
        for a in found.ancestors
        if "weights" in a.established and (a.arrow == "from-reference" or a.declared)
    ]
    out += [Statement("audit", "answer", a.question, a.status, "a", "b") for a in found.answers]
    return out
