"""The tokenizer of every lab model: token id = byte. Written as a Hugging Face `tokenizer.json` (byte-level BPE without merges).

Enters: a folder and a vocabulary size.  Leaves: `tokenizer.json` and `tokenizer_config.json`; ids above 255 are added tokens
`<extra_256>`, ….  Text as bytes: `text.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BYTES = 256


def byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte: itself where it prints, else the next letter from 256 on."""
    prints = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in prints else chr(next(others)) for byte in range(BYTES)]


def write_tokenizer(folder: Path, vocab_size: int) -> None:
    """Write the tokenizer of a model with `vocab_size` rows; a model of fewer rows than bytes gets the first ones."""
    vocab = {letter: byte for byte, letter in enumerate(byte_letters()[:vocab_size])}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    added = [{"id": row, "content": f"<extra_{row}>", **flags} for row in range(BYTES, vocab_size)]
    level: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}  # fmt: skip
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": level,
             "post_processor": None, "decoder": level, "model": model}  # fmt: skip
    _write(folder / "tokenizer.json", whole)
    _write(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    )


def _write(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
