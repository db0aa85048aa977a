"""A model card as sentences: what is prose, what is a table row, and what is no statement of the release at all.

Enters: Markdown.  Leaves: `Sentence`s. Front matter, code, HTML comments and quotations are left out: what stands there was said by
somebody else, or by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_CARD = 1 << 20
_MAX_SENTENCE = 600
_FRONT = re.compile(r"\A---[ \t]*\n.*?^---[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LEFT_OUT = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style|pre|code|blockquote)\b.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(r"<[^>\n]{1,300}>|!\[[^\]\n]{0,300}\]\([^)\n]{0,500}\)|\]\([^)\n]{0,500}\)|https?://\S+|[*_`\[\]]{1,3}")
_BLOCK = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)、])\s+")
_END = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])|(?<=[。！？；])|\s*;\s+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of prose, a heading or a table row; `line` is where its block begins."""

    text: str
    line: int
    row: bool = False
    heading: bool = False


def sentences(card: str) -> Iterator[Sentence]:
    """The statements of a card, in order."""
    text = card[:_MAX_CARD]
    for pattern in (_FRONT, _FENCE, _LEFT_OUT):
        text = pattern.sub(lambda m: "\n" * m[0].count("\n"), text)
    block: list[str] = []
    start = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        bare = line.strip()
        alone = not bare or bare.startswith((">", "#", "|")) or bare.count("|") > 1 or _BLOCK.match(line) or line.startswith(("    ", "\t"))
        if alone and block:
            yield from _split(" ".join(block), start)
            block = []
        if not bare or bare.startswith(">") or (line.startswith(("    ", "\t")) and not _BLOCK.match(line)):
            continue
        if bare.startswith("#"):
            yield from (Sentence(s.text, s.line, heading=True) for s in _split(bare.lstrip("# "), number))
        elif bare.startswith("|") or bare.count("|") > 1:
            yield Sentence(_clean(bare.replace("|", " ")), number, row=True)
        else:
            start = start if block else number
            block.append(_BLOCK.sub("", bare))


def _split(block: str, line: int) -> Iterator[Sentence]:
    for part in _END.split(_clean(block)):
        if part.strip():
            yield Sentence(part.strip()[:_MAX_SENTENCE], line)


def _clean(text: str) -> str:
    return " ".join(_MARKUP.sub(" ", text).split())
