"""Lines of a unit beside the lines of its source that say the same.

Enters: two texts and the names of their units.  Leaves: `Span`s, longest first. Equal are windows of the shape view, so renamed code lines up as well.
"""

from __future__ import annotations

from begat.audit.code.features import K, features
from begat.audit.code.parse import Parsed, parse
from begat.audit.code.types import Span

_MOST_SPANS = 5
_MOST_LINES = 12


def side_by_side(text: str, unit: str, source_text: str, source_unit: str) -> tuple[Span, ...]:
    """The longest runs of matching tokens, as line ranges with their text (at most twelve lines each)."""
    release, source = parse(text), parse(source_text)
    mine, theirs = _windows(release, unit), _windows(source, source_unit)
    runs: list[tuple[int, int, int]] = []  # first token here, first token there, tokens
    for h, here in sorted(mine.items(), key=lambda x: x[1]):
        there = theirs.get(h)
        if there is None:
            continue
        if runs and here - runs[-1][0] == there - runs[-1][1] and here <= runs[-1][0] + runs[-1][2]:
            runs[-1] = (runs[-1][0], runs[-1][1], here - runs[-1][0] + K)
        else:
            runs.append((here, there, K))
    runs.sort(key=lambda r: -r[2])
    lines, source_lines = text.splitlines(), source_text.splitlines()
    out = []
    for here, there, tokens in runs[:_MOST_SPANS]:
        a, b = _lines(release, here, tokens), _lines(source, there, tokens)
        out.append(Span(a, b, _excerpt(lines, a), _excerpt(source_lines, b)))
    return tuple(out)


def _windows(parsed: Parsed, unit: str) -> dict[int, int]:
    pieces = features(parsed)
    found = next((u for u in parsed.units if u.name == unit), None)
    out: dict[int, int] = {}
    for p in found.pieces if found is not None else ():
        shape = pieces[p].views["shape"]
        for h, at in zip(shape.hashes.tolist(), shape.at.tolist(), strict=True):
            out.setdefault(h, at)
    return out


def _lines(parsed: Parsed, first: int, tokens: int) -> tuple[int, int]:
    lines = parsed.stream.line[first : first + tokens]
    return min(lines), max(lines)


def _excerpt(lines: list[str], span: tuple[int, int]) -> str:
    return "\n".join(lines[span[0] - 1 : min(span[1], span[0] - 1 + _MOST_LINES)])
