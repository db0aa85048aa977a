"""What a tokenizer file delivers (`Listing`), what callers get (`Vocabulary`), and the registry of formats.

Enters: tokens as a file spells them.  Leaves: one row per canonical key, one key per row.  Spelling: `spelling.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from begat.errors import InputError
from begat.registry import Registry
from begat.source.tokens.spelling import OPENERS, PLAIN, Spelling, is_special, is_unused

_MAX_TOKENS = 1 << 20  # XLM-V has 902 thousand
_MAX_ID = 1 << 31
_OPENERS, _OPENING_BYTES = tuple(OPENERS), tuple(c.encode() for c in OPENERS)
_AGAIN = "download the file again"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one model by canonical spelling (see the package).

    Attributes:
        path: the file it was read from.
        format: a name of `TOKEN_FORMATS`.
        tokens: canonical bytes → id. One-to-one: no id and no key is there twice.
        special: control, unknown and padding tokens as the file spells them → id.
        unused: placeholders and byte tokens that are never produced, as the file spells them → id.
        size: one more than the largest id.
        notes: what was left out and why, in words.
    """

    path: Path
    format: str
    tokens: Mapping[bytes, int]
    special: Mapping[str, int]
    unused: Mapping[str, int]
    size: int
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Listing:
    """Tokens as a file lists them, by what they are. The same string in a later list takes the token out of `texts`.

    Attributes:
        spelling: how `texts` are spelled.
        texts: (token, id). raw: (bytes, id), spelled as they are. byte: (byte, spelled, id).
        added: text tokens written as plain text, whatever `spelling` says of the others.
        special, unused: (token, id).
        notes: caveats.
    """

    spelling: Spelling = PLAIN
    texts: list[tuple[str, int]] = field(default_factory=list)
    raw: list[tuple[bytes, int]] = field(default_factory=list)
    byte: list[tuple[int, str, int]] = field(default_factory=list)
    added: list[tuple[str, int]] = field(default_factory=list)
    special: list[tuple[str, int]] = field(default_factory=list)
    unused: list[tuple[str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, path: Path, content: Any, number: Any, special: Any = False) -> None:
        """One added token; refuses what is no string."""
        content = token_text(path, content)
        (self.special if special is True else self.added).append((content, number))


class TokenFormat(Protocol):
    """A tokenizer file format. Never executes, never trusts a count."""

    @property
    def completed(self) -> bool:
        """Does the file lack added tokens, so that the files beside it are asked for them?"""
        ...

    def find(self, folder: Path) -> Path | None:
        """The folder's file of this format, or None."""
        ...

    def recognises(self, file: Path) -> bool:
        """Is this file of this format, by name (and first bytes, where names are shared)?"""
        ...

    def parse(self, path: Path) -> Listing | None:
        """The tokens listed; None where a weight file carries no tokenizer. Raises InputError (one line, naming the file)."""
        ...


TOKEN_FORMATS: Registry[TokenFormat] = Registry("tokenizer format")


def token_text(path: Path, token: Any) -> str:
    """`token`, when it is a string; raises InputError."""
    if not isinstance(token, str):
        raise InputError("a token is not a string", file=path, found=type(token).__name__, fix=_AGAIN)
    return token


def check_count(path: Path, count: int) -> None:
    """Raises InputError when there are more tokens than any vocabulary has."""
    if count > _MAX_TOKENS:
        raise InputError(
            "lists implausibly many tokens",
            file=path,
            expected=f"at most {_MAX_TOKENS}",
            found=count,
            fix="do not trust this file",
        )


def vocabulary(path: Path, format_name: str, listing: Listing) -> Vocabulary:
    """Spell, sort out, and make one-to-one. Raises InputError on ids that are no row numbers and on no tokens at all."""
    special: dict[str, int] = {}
    unused = dict(listing.unused)
    for token, number in listing.special:  # Llama 3 flags the rows it keeps for later as special
        (unused if is_unused(token) else special)[token] = number
    taken = {token for group in (listing.added, listing.special, listing.unused) for token, _ in group}
    texts = [pair for pair in listing.texts if pair[0] not in taken] if taken else listing.texts
    texts = _sort_out(texts, special, unused)
    added = _sort_out(listing.added, special, unused)
    raw = _sort_out_bytes(listing.raw, special, unused)
    spell = listing.spelling
    pairs = [*spell.spell_all(texts), *((spell.spell_added(token), number) for token, number in added), *raw]
    size = _size(path, [n for _, n in pairs] + [n for *_, n in listing.byte] + [*special.values(), *unused.values()])
    tokens, notes = _one_to_one(pairs)
    for byte, spelled, number in listing.byte:
        if tokens.setdefault(bytes((byte,)), number) != number:
            unused[spelled] = number
    ids = [*tokens.values(), *special.values(), *unused.values()]
    if len(set(ids)) < len(ids):
        claims = Counter(ids)
        before = len(tokens)
        tokens = {key: number for key, number in tokens.items() if claims[number] == 1}
        if before > len(tokens):
            notes.append(f"{before - len(tokens)} tokens share their id with another and are left out")
    return Vocabulary(path, format_name, tokens, special, unused, size, (*listing.notes, *notes))


def _sort_out(tokens: list[tuple[str, int]], special: dict[str, int], unused: dict[str, int]) -> list[tuple[str, int]]:
    """The tokens that are text; those that are special or unused by their name go there."""
    named = [pair for pair in tokens if pair[0].startswith(_OPENERS) and (is_unused(pair[0]) or is_special(pair[0]))]
    for token, number in named:
        (unused if is_unused(token) else special)[token] = number
    out = {token for token, _ in named}
    return [pair for pair in tokens if pair[0] not in out] if out else tokens


def _sort_out_bytes(tokens: list[tuple[bytes, int]], special: dict[str, int], unused: dict[str, int]) -> list[tuple[bytes, int]]:
    """The same for tokens that are bytes."""
    marked = [(token.decode("utf-8", "replace"), number) for token, number in tokens if token.startswith(_OPENING_BYTES)]
    left = {number for _, number in _sort_out(marked, special, unused)}
    named = {number for _, number in marked} - left
    return [pair for pair in tokens if pair[1] not in named] if named else tokens


def _one_to_one(pairs: list[tuple[bytes, int]]) -> tuple[dict[bytes, int], list[str]]:
    """Key → id, the first of equal keys kept; and what was left out."""
    tokens: dict[bytes, int] = dict(reversed(pairs))
    notes = []
    if twice := len(pairs) - len(tokens):
        notes.append(f"{twice} tokens spell a text that another token spells; the first is kept")
    if tokens.pop(b"", None) is not None:
        notes.append("an empty token is left out")
    return tokens, notes


def _size(path: Path, ids: list[Any]) -> int:
    """One more than the largest id, all of them checked."""
    if not ids:
        raise InputError("lists no tokens", file=path, fix=_AGAIN)
    check_count(path, len(ids))
    for number in ids:
        if type(number) is not int or not 0 <= number < _MAX_ID:
            raise InputError("a token's id is no row number", file=path, expected=f"0 to {_MAX_ID - 1}", found=number, fix=_AGAIN)
    return 1 + int(max(ids))
