"""References that nobody named: relatives of the release's weights in an index of known models.

Enters: the release's folder, an index.  Leaves: what lies at hand as references of their own, to be compared like any other, and for the rest a party and what
its fingerprint says. The search is `begat.index.search`'s; nothing is judged again here.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from begat.audit.licences.table import TABLE
from begat.audit.party import Named
from begat.audit.types import Party, WeightsResult
from begat.errors import InputError
from begat.index.ask import ask
from begat.index.search import Relative, SearchResult
from begat.types import Progress

#: relatives that are followed up, the nearest first
MOST = 5
#: the verdict that an order shared by two fingerprints supports
_VERDICT = "derived-or-shared-initialisation"


@dataclass(frozen=True, slots=True)
class Known:
    """at_hand: relatives whose folder lies where the index says; parties, weights: those of which there is only the fingerprint; said: for the report;
    searched: how many known models; unread: why the release's weights could not be searched for, "" when they were.
    """

    at_hand: tuple[Named, ...]
    parties: tuple[Party, ...]
    weights: tuple[WeightsResult, ...]
    said: tuple[str, ...]
    searched: int = 0
    unread: str = ""


def known_relatives(release: Path, index: str | os.PathLike[str], taken: Collection[str], progress: Progress | None = None) -> Known:
    """Search the index for the release's weights.

    Args:
        taken: names of references given already, which are not added again.

    Raises:
        InputError: no index there.
    """
    try:
        found = ask(release, index, progress=progress)
    except InputError as err:
        if err.file is None or not Path(err.file).resolve().is_relative_to(release.resolve()):
            raise
        return Known((), (), (), (), unread=err.line())
    at_hand, parties, weights = [], [], []
    names = set(taken)
    for r in found.relatives[:MOST]:
        name = r.entry.name
        if name in names:
            continue
        names.add(name)
        place = Path(r.entry.source)
        if place.is_dir() and place.resolve() != release.resolve():
            at_hand.append(Named(place, name, ""))
            continue
        parties.append(_party(r))
        weights.append(_result(r, found))
    return Known(tuple(at_hand), tuple(parties), tuple(weights), _said(found, os.fspath(index)), found.candidates)


def _party(r: Relative) -> Party:
    model = TABLE.of_model(r.entry.name, "")
    licence, source = (model.licence, f"begat's table, by repository id ({model.source})") if model is not None else ("", "")
    return Party(
        id=r.entry.name, path=r.entry.source, version="", sha256=r.entry.id, files=0, skipped=(), licence=licence, licence_source=source, code_licence="",
        has=("weights",),
    )  # fmt: skip


def _result(r: Relative, found: SearchResult) -> WeightsResult:
    arrow = {"ancestor": "from-reference", "descendant": "to-reference"}.get(r.relation, "")
    where = ", ".join(r.parts) or "its sampled units"
    sentence = (
        f"by fingerprint, {where} of the release were not made independently of {r.entry.name} (one of {found.candidates} known models, the search paid for); "
        "one was made from the other, or both from a common ancestor or the same initial weights."
    )
    return WeightsResult(
        reference=r.entry.name, version="", part="", verdict=_VERDICT, sentence=sentence, log10_e=r.log10_e, log10_p=min(0.0, -r.log10_e),
        relation="open", arrow=arrow, exact=False,
    )  # fmt: skip


def _said(found: SearchResult, index: str) -> tuple[str, ...]:
    out = [f"An index of {found.candidates} known models ({index}) was searched for the release's weights: {len(found.relatives)} relatives."]
    if len(found.relatives) > MOST:
        out.append(f"The nearest {MOST} of {len(found.relatives)} relatives in the index were followed up; begat search lists all.")
    if found.leads:
        names = ", ".join(x.entry.name for x in found.leads[:3])
        out.append(f"The index has leads without exact evidence ({names}); begat compare on the weights decides them.")
    return tuple(out)
