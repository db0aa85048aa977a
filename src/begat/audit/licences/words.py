"""Licence texts as words: how two wordings are compared.

Enters: a text.  Leaves: its words with their lines, and their hashes. Case, punctuation, line breaks, list letters, link schemes and the copyright line,
which every licensor fills in anew, do not make two texts differ; every other word does.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:[.,][0-9]+)*")
#: words of form and not of content: list numerals, schemes of links, entities; single letters are list letters or ends like "Meta's"
_FORM = frozenset(
    ("ii", "iii", "iv", "vi", "vii", "viii", "ix", "http", "https", "www", "quot", "amp", "nbsp", "gt", "lt", "ldquo", "rdquo", "rsquo", "lsquo")
)
_SIGN = re.compile(r"\(c\)|©", re.IGNORECASE)
_COPYRIGHT = re.compile(r"^\s*(?:copyright|©)\s.{0,200}$", re.IGNORECASE)
#: longest text compared; the longest licence in the table has 3,000 words
MAX_WORDS = 20_000


@dataclass(frozen=True, slots=True)
class Words:
    """Words as written, their lines (from 1), their hashes, and sha256 over the normalised text."""

    words: tuple[str, ...]
    lines: tuple[int, ...]
    hashes: tuple[str, ...]
    sha256: str


def word_hash(word: str) -> str:
    """Six hexadecimal digits of a word's sha256: enough to tell the words of one text apart."""
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def words_of(text: str) -> Words:
    """The words of a licence text, at most `MAX_WORDS`."""
    words: list[str] = []
    lines: list[int] = []
    source = text.split("\n")
    own = _own_paragraphs(source)
    for number, line in enumerate(source, 1):
        if number in own:
            continue
        for word in _WORD.findall(_SIGN.sub(" ", line)):
            if word.isdigit() or (len(word) > 1 and word.casefold() not in _FORM):
                words.append(word)
                lines.append(number)
        if len(words) >= MAX_WORDS:
            break
    hashes = tuple(word_hash(w.casefold()) for w in words)
    return Words(tuple(words), tuple(lines), hashes, digest_of(hashes))


def digest_of(hashes: tuple[str, ...]) -> str:
    """sha256 over a normalised text."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _own_paragraphs(source: list[str]) -> set[int]:
    """Numbers of copyright lines that are paragraphs of their own; inside a sentence such a line is part of the text."""
    out: set[int] = set()
    for number, line in enumerate(source, 1):
        before = number == 1 or not source[number - 2].strip() or number - 1 in out
        if before and _COPYRIGHT.match(line):
            out.add(number)
    for number in sorted(out, reverse=True):
        if number < len(source) and source[number].strip() and number + 1 not in out:
            out.discard(number)
    return out
