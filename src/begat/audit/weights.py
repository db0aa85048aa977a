"""Were weights reused? What `begat.pipeline.compare` says of every checkpoint of the release and every reference, passed on.

Enters: two trees with their checkpoints (`checkpoints.py`).  Leaves: `WeightsResult`s, at least one a reference. Nothing is judged again here: the verdict
says what was found and its own sentence is quoted; what is not compared, and why, is a result too. Only input errors are caught: a fault of begat's own
ends the audit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from begat.audit.checkpoints import Held, Part
from begat.audit.folder import Tree
from begat.audit.types import WeightsResult
from begat.errors import InputError
from begat.pipeline.compare import compare
from begat.types import Progress, Verdict
from begat.verdict import POLICY

#: verdict → how the weights stand to each other; any other that finds dependence leaves its kind open
_RELATIONS = {
    "identical": "same", "re-encoded": "same", "derived": "trained", "siblings": "trained", "shared-initialisation": "initial",
    "no-evidence": "none", "cannot-test": "untested",
}  # fmt: skip
#: what an audit says of an adapter, which `compare` would merge
_ADAPTER = ", which an audit does not merge; begat decompose --parents says which base it fits, begat compare --base what it makes of that"
#: directions of `compare(reference, release)`
_ARROWS = {"A→B": "from-reference", "B→A": "to-reference"}


@dataclass(frozen=True, slots=True)
class Side:
    """The release or a reference as weights are compared: its name, its files, its checkpoints."""

    name: str
    version: str
    tree: Tree
    held: Held


def compare_weights(release: Side, reference: Side, nonce: str, progress: Progress | None) -> Iterator[WeightsResult]:
    """Compare every checkpoint of the release with the reference."""
    if not release.held.parts:
        why, reason = _nothing(release, "the release")
        yield not_run(reference, why, reason)
        return
    if not reference.held.parts:
        why, reason = _nothing(reference, "the reference")
        yield not_run(reference, why, reason)
        return
    for part in release.held.parts:
        partner, why = _partner(part, release, reference)
        if partner is None:
            yield not_run(reference, why, "models-below", part.name)
        else:
            yield _compared(part, partner, reference, nonce, progress)


def without_copies(side: Side, progress: Progress | None) -> tuple[Side, tuple[str, ...]]:
    """The release without checkpoints that hold the same weights as its first (another format, another precision), and what was left out, in words."""
    parts = side.held.parts
    if len(parts) < 2 or parts[0].folder:
        return side, ()
    kept, said = [parts[0]], []
    for part in parts[1:]:
        try:
            verdict = compare(parts[0].path, part.path, align=False, progress=progress)
        except InputError:
            kept.append(part)
            continue
        if _RELATIONS.get(verdict.verdict) == "same" and not any(c.missing > POLICY.unread_share for c in verdict.coverage):
            said.append(f"{part.name} holds the same weights as the release's own checkpoint and was not compared once more.")
        else:
            kept.append(part)
    return replace(side, held=replace(side.held, parts=tuple(kept))), tuple(said)


def between(a: Side, b: Side, nonce: str, progress: Progress | None) -> str:
    """The level at which weights of two references depend on each other; "not-determinable" where they were not compared."""
    found = [level_of(w) for w in compare_weights(a, b, nonce, progress)]
    return min(found, key=("established", "indicated", "not-determinable", "not-found").index, default="not-determinable")


def _nothing(side: Side, who: str) -> tuple[str, str]:
    """Why a side has no checkpoint: (words, reason)."""
    reason = "release-lacks" if who == "the release" else "reference-lacks"
    if not side.held.unopened:
        empty = "" if side.tree.sizes else " (it is empty)"
        return f"{who} holds no weights{empty}", reason
    first = side.held.unopened[0]
    more = f" and {len(side.held.unopened) - 1} more" if len(side.held.unopened) > 1 else ""
    return f"{who}'s {first.why}{more}", first.reason


def _partner(part: Part, release: Side, reference: Side) -> tuple[Path | None, str]:
    """The checkpoint of the reference that a part of the release is held against: of the same folder, else the reference's own."""
    of_folder = {p.folder: p.path for p in reversed(reference.held.parts)}
    if part.folder in of_folder:
        return (of_folder[part.folder], "") if _single(part.folder, reference) else (None, _several(part.folder, reference))
    if "" in of_folder:
        return (of_folder[""], "") if _single("", reference) else (None, _several("", reference))
    below = ", ".join(reference.held.below[:4]) + (" …" if len(reference.held.below) > 4 else "")
    return None, f"the reference holds weights only in folders below ({below}); name each as a reference of its own"


def _single(folder: str, reference: Side) -> bool:
    """Does the folder say which of its files is the model? (Then its own checkpoint stands first.)"""
    return next(p for p in reference.held.parts if p.folder == folder).name == folder


def _several(folder: str, reference: Side) -> str:
    names = [p.name.rsplit("/", 1)[-1] for p in reference.held.parts if p.folder == folder]
    shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return f"the reference holds several models side by side ({shown}); put each into a folder of its own"


def _compared(part: Part, partner: Path, reference: Side, nonce: str, progress: Progress | None) -> WeightsResult:
    try:
        verdict = compare(partner, part.path, nonce=nonce, progress=progress)
    except InputError as err:
        return not_run(reference, err.line(), "damaged", part.name)
    if POLICY.exit_codes[verdict.verdict] == 3:
        why = verdict.sentence.rstrip(".").replace("; name the base with --base", _ADAPTER)
        return not_run(reference, why, "cannot-test", part.name, verdict.verdict)
    return WeightsResult(
        reference=reference.name, version=reference.version, part=part.name, verdict=verdict.verdict, sentence=verdict.sentence,
        log10_e=verdict.log10_e, log10_p=verdict.log10_p, relation=relation_of(verdict.verdict), arrow=_arrow(verdict.direction),
        exact=_exact(verdict), parts=_parts(verdict), equal=sum(c.about == "equal-tensor" for c in verdict.claims),
        unread=_unread(verdict), unread_why=tuple(g.why for c in verdict.coverage[1:] for g in c.gaps),
    )  # fmt: skip


def relation_of(verdict: str) -> str:
    """One of `results.RELATIONS`."""
    return _RELATIONS.get(verdict) or ("open" if POLICY.exit_codes[verdict] == 1 else "none")


def _arrow(direction: str) -> str:
    return _ARROWS.get(re.sub(r"\s|-(?=>)", "", direction).replace(">", "→"), "")


def _exact(verdict: Verdict) -> bool:
    """Equality, or an e-value at the policy's threshold; what is calibrated alone leaves the e-value below it."""
    return _RELATIONS.get(verdict.verdict) == "same" or (verdict.log10_e is not None and verdict.log10_e >= POLICY.dependence_log10_e)


def _parts(verdict: Verdict) -> tuple[str, ...]:
    """What a verdict that speaks of parts alone is said of: the dependent parts, else the kinds of units whose order is shared."""
    if verdict.verdict != "partly-derived":
        return ()
    named = tuple(p.part for p in verdict.parts if p.status == "dependent")
    sure = (x.title for x in verdict.axes if x.log10_e is not None and x.log10_e >= POLICY.dependence_log10_e)
    return named or tuple(sure)


def _unread(verdict: Verdict) -> float:
    """Share of the release's parameters that the verdict does not speak of, where that is more than the policy passes over."""
    missing = sum(c.missing for c in verdict.coverage[1:])
    return missing if missing > POLICY.unread_share else 0.0


def level_of(result: WeightsResult) -> str:
    """The level at which weights of the reference are in the release. "not-found" of models that only began alike, and where the reference was made
    from the release: then nothing came from it.
    """
    if result.relation == "untested":
        return "not-determinable"
    if result.relation in ("none", "initial") or result.arrow == "to-reference":
        return "not-found"
    return "established" if result.exact else "indicated"


def not_run(reference: Side, why: str, reason: str, part: str = "", verdict: str | None = None) -> WeightsResult:
    """A comparison that did not take place, or decided nothing."""
    sentence = f"Weights were not compared: {why}."
    return WeightsResult(
        reference.name, reference.version, part, verdict, sentence, None, None, "untested", "", False, not_run=why, reason=reason
    )
