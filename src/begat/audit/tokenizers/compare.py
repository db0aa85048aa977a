"""One tokenizer against another.

Enters: two paths.  Leaves: a `TokenizerResult`: order agreement of shared tokens and merges, which judge; overlap, parts and where tokens were added,
pruned or moved, which describe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from begat.audit.tokenizers.order import ESTABLISHED, INDICATED, LEAST, agreement, arranged, chance_agreement, learnt, threshold
from begat.audit.tokenizers.parts import Parts, read_parts
from begat.audit.types import Segment, TokenizerResult
from begat.errors import InputError
from begat.source.tokens import Vocabulary, read_vocabulary

_SEGMENTS = 12


@dataclass(frozen=True, slots=True)
class Order:
    """Shared tokens or merges, how many stand in one order, and what that is worth."""

    of: str
    shared: int
    in_order: int

    @property
    def agreement(self) -> float:
        """Share in one order."""
        return self.in_order / self.shared

    @property
    def chance(self) -> float:
        """What independent uniform orders reach at most (p ≤ 10^-6)."""
        return chance_agreement(self.shared)

    @property
    def needed(self) -> float:
        """The agreement asked for."""
        return threshold(ESTABLISHED, self.chance)

    @property
    def level(self) -> str:
        """One of "established", "indicated" and "not-found"."""
        if self.agreement >= self.needed:
            return "established"
        return "indicated" if self.agreement >= threshold(INDICATED, self.chance) else "not-found"


def compare_tokenizers(release: Path, reference: Path, name: str) -> TokenizerResult | None:
    """Was the tokenizer at `release` made from the one at `reference`, called `name`? None where one of them has no tokenizer."""
    try:
        ours, theirs = read_vocabulary(release), read_vocabulary(reference)
    except InputError as err:
        return _not_run(name, str(err))
    if ours is None or theirs is None:
        return None
    return judge(ours, theirs, read_parts(release), read_parts(reference), name)


def judge(ours: Vocabulary, theirs: Vocabulary, our_parts: Parts, their_parts: Parts, name: str) -> TokenizerResult:
    """The result for two vocabularies and their parts."""
    a, b = learnt(ours.tokens), learnt(theirs.tokens)
    shared, in_order = agreement(a, b)
    sorted_alike = arranged(a, b)
    merges_shared, merges_in_order = agreement(our_parts.merges, their_parts.merges)
    found = [] if sorted_alike else [Order("tokens", shared, in_order)]
    found = [o for o in (*found, Order("merges", merges_shared, merges_in_order)) if o.shared >= LEAST]
    best = max(found, key=lambda o: o.agreement / o.needed, default=None)
    level = "not-determinable" if best is None else best.level
    kept = len(ours.tokens.keys() & theirs.tokens.keys())
    segments, added_at = _places(ours, theirs)
    return TokenizerResult(
        reference=name,
        file=ours.path.name,
        level=level,
        sentence=_sentence(level, name, best, shared, sorted_alike),
        shared=shared,
        in_order=in_order,
        agreement=in_order / shared if shared else 0.0,
        judged="" if best is None else best.of,
        threshold=threshold(ESTABLISHED, chance_agreement(shared)) if best is None else best.needed,
        chance=chance_agreement(shared) if best is None else best.chance,
        merges_shared=merges_shared,
        merges_in_order=merges_in_order,
        containment=(kept / len(theirs.tokens), kept / len(ours.tokens)),
        kept=kept,
        added=len(ours.tokens) - kept,
        pruned=len(theirs.tokens) - kept,
        segments=segments,
        added_at=added_at,
        parts=_parts(our_parts, their_parts),
    )


def _sentence(level: str, name: str, best: Order | None, shared: int, sorted_alike: str) -> str:
    if best is None and sorted_alike:
        return (
            f"Nothing can be said of {name}: both list their tokens {sorted_alike}, and would do so without knowing each other."
        )
    if best is None:
        return f"Too few tokens are shared with {name} to compare their order ({shared:,}; {LEAST} are needed)."
    numbers = f"{best.agreement:.1%} of {best.shared:,} shared {best.of} stand in one order"
    if level == "established":
        return f"The tokenizer was made from that of {name}, or both from a third: {numbers}. Sharing a tokenizer is common and says nothing about weights."
    if level == "indicated":
        return f"Part of the tokenizer may come from that of {name}: {numbers}, more than tokenizers trained apart show."
    return f"The tokenizer was not found to come from that of {name}: {numbers}, as among tokenizers trained apart."


def _places(ours: Vocabulary, theirs: Vocabulary) -> tuple[tuple[Segment, ...], tuple[tuple[int, int], ...]]:
    """Where shared tokens stand, as runs of constant shift, largest first; and id ranges of ours without a shared token."""
    shared = sorted((number, theirs.tokens[key]) for key, number in ours.tokens.items() if key in theirs.tokens)
    runs: list[list[int]] = []  # start, end, shift, tokens
    for number, other in shared:
        shift = number - other
        if runs and runs[-1][2] == shift:
            runs[-1][1], runs[-1][3] = number, runs[-1][3] + 1
        else:
            runs.append([number, number, shift, 1])
    by_size = sorted(runs, key=lambda r: (-r[3], r[0]))[:_SEGMENTS]
    ids = sorted(number for key, number in ours.tokens.items() if key not in theirs.tokens)
    return tuple(Segment(*r) for r in by_size if r[3] > 1), _ranges(ids, {n for n, _ in shared})


def _ranges(ids: list[int], shared: set[int]) -> tuple[tuple[int, int], ...]:
    """Ids in ranges that no shared id interrupts, the longest first."""
    out: list[list[int]] = []
    for number in ids:
        if (
            out
            and not any(n in shared for n in range(out[-1][1] + 1, number) if number - out[-1][1] < 64)
            and number - out[-1][1] < 64
        ):
            out[-1][1] = number
        else:
            out.append([number, number])
    out.sort(key=lambda r: (r[0] - r[1], r[0]))
    return tuple((r[0], r[1]) for r in out[:_SEGMENTS])


def _parts(ours: Parts, theirs: Parts) -> tuple[tuple[str, str], ...]:
    out = []
    for (name, mine), (_, other) in zip(ours.named(), theirs.named(), strict=True):
        if mine is None and other is None:
            state = "in neither"
        elif other is None:
            state = "only in the release"
        elif mine is None:
            state = "only in the reference"
        else:
            state = "same" if mine == other else "different"
        out.append((name, state))
    return tuple(out)


def _not_run(name: str, why: str) -> TokenizerResult:
    return TokenizerResult(
        reference=name, file="", level="not-determinable", sentence=f"The tokenizers were not compared: {why}", shared=0, in_order=0,
        agreement=0.0, judged="", threshold=ESTABLISHED[0], chance=1.0, merges_shared=0, merges_in_order=0, containment=(0.0, 0.0), kept=0, added=0,
        pruned=0, segments=(), added_at=(), parts=(), not_run=why,
    )  # fmt: skip
