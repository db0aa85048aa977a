"""What a tokenizer is made of beside its vocabulary: merges, special tokens, pre-tokenizer, normaliser, chat template, added tokens.

Enters: a folder.  Leaves: a `Parts`. Nothing is compiled or run: a pre-tokenizer is compared as the text it is, a chat template as its source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.tokens.json_file import read_bytes, read_object

_MAX_MERGES = 1 << 21


@dataclass(frozen=True, slots=True)
class Parts:
    """`merges`: pair → rank, {} where there are none. The others are text to be compared; None where a tokenizer has no such part."""

    merges: Mapping[str, int]
    special: str | None
    pre_tokenizer: str | None
    normaliser: str | None
    chat_template: str | None
    added: str | None

    def named(self) -> tuple[tuple[str, str | None], ...]:
        """(what it is called in a report, its text)."""
        return (
            ("special tokens", self.special), ("pre-tokenizer", self.pre_tokenizer), ("normaliser", self.normaliser),
            ("chat template", self.chat_template), ("added tokens", self.added),
        )  # fmt: skip


def read_parts(path: Path) -> Parts:
    """The parts of the tokenizer at `path`, a folder or a file in one. What is damaged is treated as absent."""
    folder = path if path.is_dir() else path.parent
    raw = _object(folder / "tokenizer.json")
    config = _object(folder / "tokenizer_config.json")
    model = raw.get("model")
    merges = _merges(model.get("merges") if isinstance(model, dict) else None) or _merges_txt(folder / "merges.txt")
    added = [e for e in raw.get("added_tokens") or [] if isinstance(e, dict)] if isinstance(raw.get("added_tokens"), list) else []
    if not added and isinstance(config.get("added_tokens_decoder"), dict):
        added = [e for e in config["added_tokens_decoder"].values() if isinstance(e, dict)]
    special = sorted({str(e.get("content")) for e in added if e.get("special") is True})
    plain = sorted({str(e.get("content")) for e in added if e.get("special") is not True})
    return Parts(
        merges=merges,
        special=_canonical(special) if special else None,
        pre_tokenizer=_canonical(raw["pre_tokenizer"]) if raw.get("pre_tokenizer") else None,
        normaliser=_canonical(raw["normalizer"]) if raw.get("normalizer") else None,
        chat_template=_template(folder, config),
        added=_canonical(plain) if plain else None,
    )


def _object(file: Path) -> dict[str, Any]:
    try:
        return read_object(file) if file.is_file() else {}
    except InputError:
        return {}


def _canonical(value: Any) -> str | None:
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=True)
    except (ValueError, RecursionError):
        return None


def _merges(value: Any) -> dict[str, int]:
    """Pair → rank from a list of "a b" or [a, b]."""
    out: dict[str, int] = {}
    for rank, entry in enumerate(value[:_MAX_MERGES] if isinstance(value, list) else ()):
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(x, str) for x in entry):
            out.setdefault(f"{entry[0]} {entry[1]}", rank)
        elif isinstance(entry, str):
            out.setdefault(entry, rank)
    return out


def _merges_txt(file: Path) -> dict[str, int]:
    try:
        text = read_bytes(file).decode("utf-8", "replace") if file.is_file() else ""
    except InputError:
        return {}
    return _merges([line for line in text.split("\n") if line.strip() and not line.startswith("#version")])


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    for name in ("chat_template.jinja", "chat_template.json"):
        file = folder / name
        try:
            if file.is_file():
                text = read_bytes(file, 4 << 20).decode("utf-8", "replace")
                if name.endswith(".json"):
                    value = json.loads(text)
                    text = value.get("chat_template", "") if isinstance(value, dict) else ""
                if isinstance(text, str) and text.strip():
                    return text.strip()
        except (InputError, ValueError, RecursionError):
            continue
    value = config.get("chat_template")
    if isinstance(value, str) and value.strip():
        return value.strip()
    return _canonical(value) if isinstance(value, list) and value else None
