"""`tokenizer.json` of Hugging Face's tokenizers: BPE, Unigram, WordPiece and WordLevel models with their added tokens.

Format: huggingface/tokenizers, `tokenizers/src/models/*/serialization.rs` and `tokenizer/added_vocabulary.rs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.tokens.base import TOKEN_FORMATS, Listing, token_text
from begat.source.tokens.json_file import items, read_object
from begat.source.tokens.spelling import MARKED, SPACE_MARK, WORDPIECE, WORDS, Spelling, guess

_AGAIN = "download the file again"


class TokenizerJson:
    """`tokenizer.json`."""

    completed = False

    def find(self, folder: Path) -> Path | None:
        """By its name."""
        file = folder / "tokenizer.json"
        return file if file.is_file() else None

    def recognises(self, file: Path) -> bool:
        """By its name."""
        return file.name == "tokenizer.json"

    def parse(self, path: Path) -> Listing:
        """Vocabulary and added tokens; merges and everything that cuts text are passed over."""
        raw = read_object(path)
        model = raw.get("model")
        if not isinstance(model, dict):
            raise InputError("has no model", file=path, found=type(model).__name__, fix=_AGAIN)
        texts = _vocab(path, model.get("vocab"))
        listing = Listing()
        for entry in items(path, raw.get("added_tokens"), "added_tokens"):
            if not isinstance(entry, dict):
                raise InputError("an added token is not an object", file=path, found=type(entry).__name__, fix=_AGAIN)
            listing.add(path, entry.get("content"), entry.get("id"), entry.get("special"))
        listing.texts, listing.byte = _byte_tokens(texts) if model.get("byte_fallback") is True else (texts, [])
        listing.spelling = _spelling(raw, model, texts)
        return listing


TOKEN_FORMATS.add("tokenizer.json")(TokenizerJson())


def _vocab(path: Path, vocab: Any) -> list[tuple[str, int]]:
    """(token, id) from an object of token → id, or a list of [token, score] in the order of ids."""
    if isinstance(vocab, dict):
        return list(vocab.items())
    if not isinstance(vocab, list):
        raise InputError("vocab is neither an object nor a list", file=path, found=type(vocab).__name__, fix=_AGAIN)
    out = []
    for number, entry in enumerate(vocab):
        if not isinstance(entry, list) or len(entry) != 2:
            raise InputError("an entry of vocab is not [token, score]", file=path, found=type(entry).__name__, fix=_AGAIN)
        out.append((token_text(path, entry[0]), number))
    return out


def _byte_tokens(texts: list[tuple[str, int]]) -> tuple[list[tuple[str, int]], list[tuple[int, str, int]]]:
    """Text tokens, and those spelled <0x00> to <0xFF>."""
    names = {f"<0x{byte:02X}>": byte for byte in range(256)}
    return [t for t in texts if t[0] not in names], [(names[t], t, number) for t, number in texts if t in names]


def _spelling(raw: dict[str, Any], model: dict[str, Any], texts: list[tuple[str, int]]) -> Spelling:
    """How the vocabulary is spelled: the model's kind says it for words, the steps around the model for the rest."""
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    prefix, suffix = prefix if isinstance(prefix, str) else "", suffix if isinstance(suffix, str) else ""
    kind = model.get("type")
    if kind == "WordLevel":
        return WORDS
    if kind == "WordPiece" or prefix:
        return Spelling("words", prefix=prefix or WORDPIECE.prefix)
    steps = {step for part in ("normalizer", "pre_tokenizer", "decoder") for step in _steps(raw.get(part))}
    if "ByteLevel" in steps:
        return Spelling("letters", suffix=suffix)
    if steps & {"Metaspace", SPACE_MARK}:
        return MARKED
    known = guess(token for token, _ in texts)
    return Spelling(known.kind, suffix=suffix or known.suffix)


def _steps(part: Any, depth: int = 0) -> list[str]:
    """The types of a step and the steps inside it, and ▁ where a `Replace` puts or takes it."""
    if not isinstance(part, dict) or depth > 8:
        return []
    out = [part["type"]] if isinstance(part.get("type"), str) else []
    if out == ["Replace"] and SPACE_MARK in (part.get("content"), *_values(part.get("pattern"))):
        out.append(SPACE_MARK)
    for key in ("normalizers", "pretokenizers", "decoders"):
        inner = part.get(key)
        for step in inner[:64] if isinstance(inner, list) else ():
            out += _steps(step, depth + 1)
    return out


def _values(pattern: Any) -> list[Any]:
    return list(pattern.values()) if isinstance(pattern, dict) else [pattern]
