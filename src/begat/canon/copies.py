"""Two copies of one model in one file: averaged weights beside raw ones (`ema.`), a teacher beside
its student.

Enters: stored names.  Leaves: the names of one copy, and of the others without the prefix that they
stand under. Which copy is compared is chosen as among towers (`begat.canon.pair`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from begat.canon.rules import Rules

#: names a copy has at least, and share of them that must be names of the other
_LEAST, _SAME = 8, 0.9
#: first words that name sides of one model, not copies
_SIDES = ("encoder", "decoder", "generator", "discriminator")


def second_copies(names: Sequence[str], rules: Rules) -> tuple[list[str], dict[str, list[str]]]:
    """(names of the first copy, prefix of every other copy → its names without it).

    A prefix makes a copy when nearly all names under it are also names without it, or under another
    prefix.
    """
    under: dict[str, list[str]] = defaultdict(list)
    for name in names:
        word, _, tail = name.partition(".")
        if tail:
            under[word].append(tail)
    stored: set[str] = set(names)
    second: dict[str, list[str]] = {}
    words = sorted(under, key=lambda w: (w not in rules.wrappers, w))
    for word in words:
        rest = under[word]
        if len(rest) < _LEAST or word in rules.towers or word in _SIDES or word in rules.containers:
            continue
        bare = sum(r in stored for r in rest)
        twin = any(
            len(set(rest) & set(under[w])) >= _SAME * len(rest)
            for w in words[: words.index(word)]
            if w not in _SIDES and w not in rules.towers
        )
        if bare >= _SAME * len(rest) or twin:
            second[word] = rest
    kept = [n for n in names if n.partition(".")[0] not in second or "." not in n]
    return (kept, second) if kept else (list(names), {})
