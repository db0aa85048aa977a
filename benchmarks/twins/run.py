"""Are twins ever called derived, relatives ever called twins, and how many children are still called derived?

    python benchmarks/twins/run.py families/starts-held [families/starts families/twins] [--out benchmarks/twins/results]

Enters: families grown by `begat-lab grow`, held-out ones first; `starts-held` is the one that no
threshold was chosen on.  Leaves: on stdout and, with --out, in `twins_<date>.{json,md}`, for each
family: verdicts of `begat compare --no-align --map none` by relation, twins by start, relatives by
kind of descent, and whatever was wrong, pair by pair. Wrong is a twin called derived or partly
derived, and a relative called shared-initialisation.

All pairs of plain members that go back to one draw of initial weights are asked. Pairs that share a
model, or a start, are not independent, so starts are counted beside them. Twins that saw the same
batches in the same order are one training and stand apart. Needs what begat needs, and the lab's
pedigrees.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import begat
from begat.verdict import POLICY
from begat_lab.bank import KINDS, RELATIONS, open_family, relation_of
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family

NEVER = {
    "shared-initialisation": ("derived", "partly-derived", "identical", "re-encoded", "no-evidence"),
    "descended": ("shared-initialisation", "no-evidence"),
    "common-ancestor": ("shared-initialisation", "no-evidence"),
    "same-order": (),
}
TITLES = {
    "shared-initialisation": "twins (and twins' descendants)", "same-order": "one training in two lengths or rates", "descended": "ancestor and descendant",
    "common-ancestor": "siblings and other relatives",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One pair with what begat said of it."""

    family: str
    a: str
    b: str
    relation: str
    start: str
    kind: str
    plain: bool
    verdict: str
    state: str
    moved: float
    gains: float | None
    ranks: float | None
    share: float | None
    initial_sd: float | None

    @property
    def wrong(self) -> bool:
        """A verdict that is false of such a pair."""
        return self.verdict in NEVER[self.relation]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [row for folder in args.families for row in _measured(folder)]
    text = _page(rows, [open_family(folder).name for folder in args.families])
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        stem = args.out / f"twins_{datetime.date.today()}"
        stem.with_suffix(".md").write_text(text, encoding="utf-8")
        stem.with_suffix(".json").write_text(
            "[\n" + ",\n".join(json.dumps(asdict(r)) for r in rows) + "\n]\n", encoding="utf-8"
        )
    return int(any(r.wrong for r in rows))


def _measured(folder: Path) -> Iterator[Row]:
    family = open_family(folder)
    names = [m.name for m in family.members if m.descent.stores == "model" and m.kind in KINDS]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    related = [(a, b, relation) for a, b in pairs if (relation := relation_of(family, a, b)) in RELATIONS]
    for done, (a, b, relation) in enumerate(related, 1):
        found = begat.compare(folder / a, folder / b, align=False, map="none")
        trained = found.trained
        yield Row(
            family.name, a, b, relation, _start(family, a), family.by_name[b].kind, not (family.by_name[a].parents or family.by_name[b].parents),
            found.verdict, trained.state if trained else "", round(min(trained.moved_a, trained.moved_b), 4) if trained else 0.0,
            *(_short(getattr(trained, name)) if trained else None for name in ("gains", "ranks", "share", "initial_sd")),
        )  # fmt: skip
        if done % 50 == 0 or done == len(related):
            print(f"{family.name}: {done} of {len(related)}", file=sys.stderr)


def _start(family: Family, name: str) -> str:
    """The first word of the models that a member goes back to: how they were drawn."""
    return next(m.name for m in family.members if m.name in Kinship(family).sources(name) and not m.parents).split("-")[
        0
    ]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _page(rows: Sequence[Row], families: Sequence[str]) -> str:
    out = [
        "# Twins, siblings and children", "",
        f"`python benchmarks/twins/run.py {' '.join(f'families/{f}' for f in families)}`, {datetime.date.today()}; begat {begat.__version__}, Python "
        f"{platform.python_version()}, numpy {np.__version__}; {platform.system()} {platform.machine()}.", "",
    ]  # fmt: skip
    for family in families:
        out += _family([r for r in rows if r.family == family], family)
    return "\n".join(out) + "\n"


def _family(rows: Sequence[Row], family: str) -> list[str]:
    out = [
        f"## {family}",
        "",
        "| pairs | number | starts | derived | both named | shared-initialisation | other | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for relation in RELATIONS:
        some = [r for r in rows if r.relation == relation]
        for title, group in ((TITLES[relation], some), ("— of them both from scratch", [r for r in some if r.plain])):
            if group and (title == TITLES[relation] or relation == "shared-initialisation"):
                out.append(f"| {title} | {len(group)} | {len({r.start for r in group})} | {_cells(group)} |")
    head = "| start | pairs | derived | both named | shared-initialisation | other | wrong | gains at most | share at most |"
    out += ["", "Twins from scratch, by start:", "", head,
            "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    twins = [r for r in rows if r.relation == "shared-initialisation" and r.plain]
    for start in dict.fromkeys(r.start for r in twins):
        some = [r for r in twins if r.start == start]
        gains, share = (
            max((x for r in some if (x := getattr(r, name)) is not None), default=None) for name in ("gains", "share")
        )
        out.append(f"| {start} | {len(some)} | {_cells(some)} | {_number(gains)} | {_number(share)} |")
    out += ["", "Ancestor and descendant, by the descendant's kind:", "", "| kind | pairs | derived | both named | shared-initialisation | other | wrong |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    children = [r for r in rows if r.relation == "descended"]
    for kind in dict.fromkeys(r.kind for r in children):
        some = [r for r in children if r.kind == kind]
        out.append(f"| {kind} | {len(some)} | {_cells(some)} |")
    sure = [r for r in children if r.initial_sd is not None and r.moved >= POLICY.trained_moved]
    called, surely = (sum(r.verdict == "derived" for r in some) for some in (children, sure))
    out += [
        "",
        f"Of {len(children)} descendants {called} are called derived; of the {len(sure)} whose gains have moved by "
        f"{POLICY.trained_moved} and whose weights do not contradict their config, {surely}.",
        "",
    ]
    wrong = [r for r in rows if r.wrong]
    out += [
        f"- wrong: {r.a} / {r.b} ({r.relation}): {r.verdict}, gains {r.gains}, share {r.share}, moved {r.moved}"
        for r in wrong
    ] or ["Nothing is wrong."]
    return [*out, ""]


def _cells(rows: Sequence[Row]) -> str:
    n = Counter(r.verdict for r in rows)
    named = ("derived", "derived-or-shared-initialisation", "shared-initialisation")
    other = ", ".join(f"{v} {n[v]}" for v in n if v not in named) or "0"
    return " | ".join([*(str(n[v]) for v in named), other, str(sum(r.wrong for r in rows))])


def _number(x: float | None) -> str:
    return "–" if x is None else f"{x:.2f}"


if __name__ == "__main__":
    sys.exit(main())
