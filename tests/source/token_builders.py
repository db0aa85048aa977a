"""One toy vocabulary in every tokenizer format, each with the ids in another order. Spelled by hand; GGUF by the gguf package.

`TEXTS` is what it must read as, whatever the format: a new format adds one builder and is held to `test_token_contract.py`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

#: text → (byte-level letters, sentencepiece, WordPiece)
SPELT = {
    " the": ("Ġthe", "▁the", "the"),
    " cat": ("Ġcat", "▁cat", "cat"),
    " été": ("ĠÃ©tÃ©", "▁été", "été"),
    "ing": ("ing", "ing", "##ing"),
    "s": ("s", "s", "##s"),
    ",": (",", ",", ","),
    ".": (".", ".", "."),
    "中": ("ä¸Ń", "中", "中"),
}
TEXTS = tuple(text.encode() for text in SPELT)
SPECIAL = ("<|im_start|>", "</s>")
UNUSED = ("<unused7>", "<|reserved_special_token_3|>", "[unused5]")
ADDED = "ship it"  # an added token that is text
LETTERS, MARKED, WORDS = range(3)


def order(column: int, turn: int) -> dict[str, int]:
    """Token → id: special tokens first, the text tokens turned by `turn`, unused rows last."""
    texts = [forms[column] for forms in SPELT.values()]
    return {token: i for i, token in enumerate((*SPECIAL, *texts[turn:], *texts[:turn], *UNUSED))}


def end() -> int:
    return len(SPELT) + len(SPECIAL) + len(UNUSED)


def flags(token: str, number: int, special: bool) -> dict[str, object]:
    return {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}


def tokenizer_json(folder: Path, model: dict[str, object], pre: dict[str, object] | None) -> Path:
    """As the tokenizers package writes it; special tokens are in the vocabulary and flagged."""
    added = [flags(t, i, True) for i, t in enumerate(SPECIAL)] + [flags(ADDED, end(), False)]
    whole = {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": pre, "decoder": pre, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder / "tokenizer.json"


def bpe(folder: Path) -> Path:
    model = {"type": "BPE", "vocab": order(LETTERS, 1), "merges": ["s s"]}
    pre = {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "."}}, {"type": "ByteLevel"}]}
    return tokenizer_json(folder, model, pre)


def unigram(folder: Path) -> Path:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[token, -1.5] for token in order(MARKED, 2)]}
    return tokenizer_json(folder, model, {"type": "Metaspace", "replacement": "▁"})


def wordpiece_json(folder: Path) -> Path:
    model = {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": order(WORDS, 3)}
    return tokenizer_json(folder, model, {"type": "BertPreTokenizer"})


def tiktoken(folder: Path) -> Path:
    """Ranks count from 0, so the special tokens come after them, from the config beside the file."""
    texts = [text.encode() for text in SPELT]
    ranks = texts[4:] + texts[:4]
    lines = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(ranks))
    (folder / "toy.tiktoken").write_bytes(lines)
    beside(folder, len(ranks), [*SPECIAL, *UNUSED])
    return folder / "toy.tiktoken"


def tekken(folder: Path) -> Path:
    """Three ranks too many, as Mistral ships them; unused rows are named among the special ones."""
    ranks = [text.encode() for text in SPELT]
    ranks = [*ranks[2:], *ranks[:2], ADDED.encode(), b"too", b" many", b" ranks"]
    special = [*SPECIAL, *UNUSED]
    whole = {
        "config": {"default_vocab_size": end() + 1, "default_num_special_tokens": len(special), "version": "v7"},
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for i, t in enumerate(ranks)],
        "special_tokens": [{"rank": i, "token_str": t, "is_control": True} for i, t in enumerate(special)],
    }
    (folder / "tekken.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder / "tekken.json"


def llama3(folder: Path) -> Path:
    """The same file under the name that sentencepiece uses."""
    tiktoken(folder).rename(folder / "tokenizer.model")
    return folder / "tokenizer.model"


def beside(folder: Path, start: int, special: list[str]) -> None:
    """tokenizer_config.json with special tokens, added_tokens.json with all of them and a text."""
    table = {str(start + i): {"content": t, "special": True} for i, t in enumerate(special)}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": table}), encoding="utf-8")
    added = {t: start + i for i, t in enumerate(special)} | {ADDED: start + len(special)}
    (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field of up to 16383 bytes."""
    size = len(payload)
    return bytes((number << 3 | 2,)) + (bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))) + payload


def piece(token: str, kind: int) -> bytes:
    return field(1, field(1, token.encode()) + b"\x15\x00\x00\x80\xbf" + (b"" if kind == 1 else bytes((0x18, kind))))


def sentencepiece(folder: Path) -> Path:
    """Pieces by kind: 3 control, 1 normal, 5 unused, 4 user-defined."""
    kinds = dict.fromkeys(SPECIAL, 3) | dict.fromkeys(UNUSED, 5)
    pieces = [piece(token, kinds.get(token, 1)) for token in order(MARKED, 5)] + [piece(ADDED, 4)]
    (folder / "tokenizer.model").write_bytes(b"".join(pieces) + field(2, b"\x18\x02"))
    return folder / "tokenizer.model"


def vocab_json(folder: Path) -> Path:
    (folder / "vocab.json").write_text(json.dumps(order(LETTERS, 6)), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\ns s\n", encoding="utf-8")
    (folder / "added_tokens.json").write_text(json.dumps({ADDED: end()}), encoding="utf-8")
    return folder / "vocab.json"


def vocab_txt(folder: Path) -> Path:
    (folder / "vocab.txt").write_text("\n".join(order(WORDS, 7)) + "\n", encoding="utf-8")
    (folder / "added_tokens.json").write_text(json.dumps({ADDED: end()}), encoding="utf-8")
    return folder / "vocab.txt"


def by_gguf(model: str, column: int, respell: Callable[[str], str] = str) -> Callable[[Path], Path]:
    """As llama.cpp's converter writes it: types 3 control, 1 normal, 5 unused, 4 user-defined."""

    def build(folder: Path) -> Path:
        gguf = pytest.importorskip("gguf")
        kinds = dict.fromkeys(SPECIAL, 3) | dict.fromkeys(UNUSED, 5)
        tokens = order(column, 1 + column)
        writer = gguf.GGUFWriter(folder / "toy.gguf", "llama")
        writer.add_tokenizer_model(model)
        writer.add_token_list([*(t if t in kinds else respell(t) for t in tokens), respell(ADDED)])
        writer.add_token_types([*(kinds.get(t, 1) for t in tokens), 4])
        writer.add_uint32("after.the.lists", 7)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return folder / "toy.gguf"

    return build


def phantom(token: str) -> str:
    """WordPiece as llama.cpp has it."""
    return token[2:] if token.startswith("##") else "▁" + token


TOKEN_BUILDERS: dict[str, Callable[[Path], Path]] = {
    "tokenizer.json bpe": bpe,
    "tokenizer.json unigram": unigram,
    "tokenizer.json wordpiece": wordpiece_json,
    "tekken": tekken,
    "tiktoken": tiktoken,
    "tiktoken tokenizer.model": llama3,
    "sentencepiece": sentencepiece,
    "vocab.json": vocab_json,
    "vocab.txt": vocab_txt,
    "gguf gpt2": by_gguf("gpt2", LETTERS),
    "gguf llama": by_gguf("llama", MARKED),
    "gguf bert": by_gguf("bert", WORDS, phantom),
}
