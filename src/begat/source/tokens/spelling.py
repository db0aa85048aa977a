"""The canonical spelling of a token, and which tokens are no text by their name. What it is and why: the package's docstring.

Enters: tokens as a file spells them.  Leaves: bytes of the text they stand for.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass

SPACE_MARK = "▁"  # sentencepiece's
CONTINUATION = "##"  # WordPiece's
_CJK = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def byte_letters() -> str:
    """GPT-2's printable letter for each byte: itself where it prints, else the next letter from 256 on (`bytes_to_unicode`)."""
    prints = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return "".join(chr(byte) if byte in prints else chr(next(others)) for byte in range(256))


_TO_BYTE = {ord(letter): byte for byte, letter in enumerate(byte_letters())}


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a format writes tokens.

    Attributes:
        kind: "letters" (GPT-2's letters for bytes), "marked" (▁ for a space), "words" (word starts and continuations), "plain".
        prefix: what a continuation starts with ("##"); word starts have none. "" = there are no continuations.
        suffix: what ends a word ("</w>"), "" = nothing does.
    """

    kind: str
    prefix: str = ""
    suffix: str = ""

    def spell_all(self, tokens: list[tuple[str, int]]) -> list[tuple[bytes, int]]:
        """(canonical bytes, id) of every token; of words, the starts first: a continuation that spells the same is never produced."""
        if self.kind == "words":
            inside = [bool(self.prefix) and token.startswith(self.prefix) and token != self.prefix for token, _ in tokens]
            starts = [(word_start(token), number) for (token, number), i in zip(tokens, inside, strict=True) if not i]
            cut = len(self.prefix)
            return starts + [(_utf8(token[cut:]), number) for (token, number), i in zip(tokens, inside, strict=True) if i]
        if self.suffix:
            return [(self._ended(token), number) for token, number in tokens]
        if self.kind == "letters":
            return [(letters_to_bytes(token), number) for token, number in tokens]
        if self.kind == "marked":
            return [(_utf8(token.replace(SPACE_MARK, " ")), number) for token, number in tokens]
        return [(_utf8(token), number) for token, number in tokens]

    def spell_added(self, token: str) -> bytes:
        """Canonical bytes of an added token, which is written as text in every format."""
        if self.kind == "words":
            return word_start(token)
        return _utf8(token.replace(SPACE_MARK, " ") if self.kind == "marked" else token)

    def _ended(self, token: str) -> bytes:
        ends = token.endswith(self.suffix)
        stem = token[: -len(self.suffix)] if ends else token
        return (letters_to_bytes(stem) if self.kind == "letters" else _utf8(stem)) + (b" " if ends else b"")


PLAIN = Spelling("plain")
LETTERS = Spelling("letters")
MARKED = Spelling("marked")
WORDPIECE = Spelling("words", prefix=CONTINUATION)
WORDS = Spelling("words")


def guess(tokens: Iterable[str]) -> Spelling:
    """The spelling of a vocabulary whose file does not say: by the marks its tokens carry."""
    text = "\n".join(tokens)
    suffix = "</w>" if "</w>" in text else ""
    marks, spaces = text.count(SPACE_MARK), text.count("Ġ") + text.count("Ċ")  # GPT-2's letters for space and line break
    if marks > spaces:
        return MARKED
    return Spelling("letters" if spaces else "plain", suffix=suffix)


def letters_to_bytes(token: str) -> bytes:
    """Bytes behind GPT-2's letters; a token with any other character is an added one, and is its own text."""
    if token.isascii():  # letters of ASCII stand for themselves, and its other characters are no letters
        return token.encode()
    try:
        return codecs.charmap_encode(token, "strict", _TO_BYTE)[0]
    except UnicodeEncodeError:
        return _utf8(token)


def word_start(token: str) -> bytes:
    """A token that starts a word follows a space; punctuation and CJK characters stand alone."""
    first = token[:1]
    alone = not first.isalnum() or any(low <= ord(first) <= high for low, high in _CJK)
    return _utf8(token if alone else " " + token)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_LONGEST = 80  # characters of a name; a stranger's megabytes would keep the patterns busy
#: what such names start with
OPENERS = "<[>"
#: tokens that no tokenizer produces: rows kept for later use, which training never touched
_UNUSED = re.compile(
    r"<\|?(?:un|not_?)used(?:_?token)?_?\d*\|?>|\[unused(?:_?token)?_?\d+\]|<\|?[a-z_]*reserved[a-z_]*\d*\|?>|<\|?extra_\d+\|>|"
    r"<\|?dummy_?(?:id_)?\d+\|?>|<\|?fake_\d+\|?>|<SPECIAL_\d+>|<\|?place_?holder[_a-z]*\d+\|?>|<｜place▁holder▁no▁\d+｜>|"
    r"<madeupword\d+>|>>UNUSED_\d+<<|\[PAD\d+\]|<pad_?\d+>",
    re.IGNORECASE,
)
#: tokens that steer a model instead of standing for text
_SPECIAL = re.compile(
    r"<\|[^|]{1,60}\|>|<｜[^｜]{1,60}｜>|</?(?:s|unk|pad|mask|bos|eos|cls|sep|start_of_turn|end_of_turn)>|"
    r"\[(?:PAD|UNK|CLS|SEP|MASK|BOS|EOS|gMASK|sMASK|INST|/INST)\]",
    re.IGNORECASE,
)


def is_unused(token: str) -> bool:
    """Is this a placeholder by its name?"""
    return len(token) <= _LONGEST and _UNUSED.fullmatch(token) is not None


def is_special(token: str) -> bool:
    """Is this a special token by its name?"""
    return len(token) <= _LONGEST and _SPECIAL.fullmatch(token) is not None
