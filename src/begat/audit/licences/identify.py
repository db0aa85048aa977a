"""Which licence a text is, and whether it was edited.

Enters: text of a file.  Leaves: `LicenceText`s. First the hash of the normalised text; then, where it is close to a published wording, a word-level
diff against it, because a licence with "100 million" changed into "10 million" is still recognised by any tool that only scores. Whose text it is, the
text's own heading says (`titles.py`): under another name, version or date it is another licence. Texts outside begat's table go to `licenseclassifier`
(SPDX texts, by coverage).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher

from begat.audit.licences.table import TABLE, Licence
from begat.audit.licences.titles import Title, read_title
from begat.audit.licences.words import Words, digest_of, words_of
from begat.audit.types import LicenceText, TextEdit

_SHINGLE = 5
#: share of a licence's five-word runs that a text must hold to be compared with it word by word
_CLOSE = 0.5
#: words of a heading ("MIT License") that may stand before a text without counting as an edit
_HEADING = 12
#: inserted runs of words that may be another licence
_LONG = 80
_EDITS = 40
_SHOWN = 40  # words of one edit that are shown
#: words that agree in a row where a text's body begins
_BODY = 8
#: words of a line that is no heading any more
_LONG_LINE = 60
#: words of a published text in which it names itself
_OPENING = 16
#: share of the published words from which a text that does not say whose it is may be called an edited one: two editions of one licence
#: share .9954 (Gemma's of 2024 and 2025)
_SURE = 0.998

#: (start in the published text, start in the found one, length)
_Block = tuple[int, int, int]


def identify(file: str, text: str) -> tuple[LicenceText, ...]:
    """Every licence text in `text`; one of state "unknown" when none is recognised."""
    sha = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    found = tuple(_in_words(file, text.split("\n"), words_of(text), sha, 4))
    if len(found) == 1 and found[0].state in ("other", "alike"):
        named = _by_classifier(file, text, sha)
        return (named if named.licence not in ("", found[0].like) else found[0],)
    return found or (_by_classifier(file, text, sha),)


def _in_words(file: str, source: list[str], words: Words, sha: str, left: int) -> Iterator[LicenceText]:
    exact = TABLE.by_sha256.get(words.sha256)
    if exact is not None:
        yield LicenceText(file, exact.id, "unedited", 1.0, (), sha)
        return
    runs = set(_runs(words.hashes))
    scores = [(len(r & runs) / len(r), one) for one in TABLE.licences.values() if (r := one.runs)]
    close = sorted((s for s in scores if s[0] >= _CLOSE), key=lambda s: -s[0])[:4]
    if not close or not left:
        return
    found = []
    for _, x in close:
        blocks = _blocks(x, words)
        found.append((x, blocks, _title(x, blocks, words, source)))
    one, blocks, title = max(found, key=lambda m: (m[2].stands == "own", sum(b[2] for b in m[1]) / len(m[0].words)))
    others = [o for run in _inserted(blocks, words) if len(run.words) >= _LONG for o in _in_words(file, source, run, sha, left - 1)]
    yield _named(_compared(file, one, words, blocks, sha, bool(others)), one, blocks, title)
    yield from others


def _title(one: Licence, blocks: list[_Block], words: Words, source: list[str]) -> Title:
    """What the text calls itself above its body, which begins with the first long run that agrees behind the published opening."""
    opening = _OPENING if one.titled else 0
    a, b, size = next((x for x in blocks if x[0] + x[2] >= opening + _BODY <= opening + x[2]), (0, 0, 0))
    until = b + max(0, opening - a) if size else min(len(words.words), 2 * _OPENING)
    head = source[words.lines[0] - 1 : words.lines[max(0, min(until, len(words.lines)) - 1)]] if until else []
    inserted: list[str] = []
    if head and len(head[0].split()) > _LONG_LINE:  # no line breaks: what stands among the published opening's words is the heading
        kept = {i for _, start, length in blocks for i in range(start, start + length)}
        inserted = [w for i, w in enumerate(words.words[:until]) if i not in kept]
    found = read_title(head, one, inserted)
    if found.stands in ("none", "edition") and a == 0 and size > opening and one.titled:
        return Title("own", found.words)  # it begins with the published opening, name and date in it
    return found


def _named(text: LicenceText, one: Licence, blocks: list[_Block], title: Title) -> LicenceText:
    """The text under the name it gives itself: an edited text, or one with words added, only where it calls itself by the published name."""
    whole = text.state == "appended" and one.titled
    if text.state == "unedited" or title.stands == "own" or (whole and text.same == 1.0):
        return text
    if title.stands != "other":
        start = next((a for a, _, size in blocks if size >= _BODY), 0)
        body = sum(size for a, _, size in blocks if a >= start) / max(1, len(one.words) - start)
        if not one.titled or body >= _SURE:
            return text
    state = "other" if title.stands == "other" else "alike"
    return replace(text, licence="", state=state, like=one.id, title=title.words)


def _runs(hashes: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (hashes[i : i + _SHINGLE] for i in range(len(hashes) - _SHINGLE + 1))


def _blocks(one: Licence, words: Words) -> list[_Block]:
    """Runs that agree: (start in the published text, start in the found one, length); in order, the last of length 0 at both ends."""
    return [(m.a, m.b, m.size) for m in SequenceMatcher(None, one.words, words.hashes, autojunk=False).get_matching_blocks()]


def _inserted(blocks: list[_Block], words: Words) -> Iterator[Words]:
    """Runs of found words before and behind the published text."""
    real = [b for b in blocks if b[2]]
    if not real:
        return
    for start, end in ((0, real[0][1]), (real[-1][1] + real[-1][2], len(words.words))):
        part = slice(start, end)
        yield Words(words.words[part], words.lines[part], words.hashes[part], digest_of(words.hashes[part]))


def _compared(file: str, one: Licence, words: Words, blocks: list[_Block], sha: str, others: bool) -> LicenceText:
    edits: list[TextEdit] = []
    removed = 0
    outside = True  # so far, everything that differs stands before or behind the published text
    at_a = at_b = 0
    for number, (a, b, size) in enumerate(blocks):
        gone, new = slice(at_a, a), slice(at_b, b)
        first, last = at_a == 0 and number == 0, size == 0
        at_a, at_b = a + size, b + size
        if gone.start == gone.stop and new.start == new.stop:
            continue
        if gone.start == gone.stop and first and new.stop - new.start <= _HEADING:
            continue  # a heading
        if gone.start == gone.stop and words.words[new.start].casefold() == "copyright" and new.stop - new.start <= _HEADING:
            continue  # a copyright line that ran into a paragraph
        if gone.start == gone.stop and (first or last) and others:
            continue  # another licence, listed on its own
        if last and new.start == new.stop and one.optional_from is not None and gone.start >= one.optional_from:
            continue  # an appendix that may be left out
        removed += gone.stop - gone.start
        outside = outside and gone.start == gone.stop and (first or last)
        line = words.lines[min(new.start, len(words.lines) - 1)] if words.lines else 0
        edits.append(TextEdit(line, one.show(gone), _cut(words.words[new])))
    same = sum(b[2] for b in blocks) / len(one.words)
    state = "unedited" if not edits else "appended" if outside else "edited"
    return LicenceText(file, one.id, state, 1.0 if state == "unedited" else min(same, 1.0), tuple(edits[:_EDITS]), sha)


def _cut(words: tuple[str, ...]) -> str:
    return " ".join(words[:_SHOWN]) + (" …" if len(words) > _SHOWN else "")


def _by_classifier(file: str, text: str, sha: str) -> LicenceText:
    from licenseclassifier import identify_license

    ids = sorted({m.id for m in identify_license(text[:200_000])})
    if len(ids) != 1:
        return LicenceText(file, "", "unknown", 0.0, (), sha)
    known = TABLE.of_spdx(ids[0])
    return LicenceText(file, known or ids[0], "spdx", 0.0, (), sha)
