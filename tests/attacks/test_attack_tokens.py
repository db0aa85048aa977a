"""Tokenizer files that lie, swell or break. Numbers refer to README.md."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.errors import InputError
from begat.source import read_vocabulary


def refused(path: Path, problem: str, seconds: float = 60.0) -> str:
    start = time.monotonic()
    with pytest.raises(InputError, match=problem) as caught:
        read_vocabulary(path)
    assert time.monotonic() - start < seconds
    assert str(caught.value).isprintable()
    assert path.name in str(caught.value)
    return str(caught.value)


def model(vocab: Any, added: Any = None, **more: Any) -> bytes:
    return json.dumps({"model": {"type": "BPE", "vocab": vocab} | more, "added_tokens": added}).encode()


JSON = [
    (model({"a": -1}), "no row number"),
    (model({"a": 1.0}), "no row number"),
    (model({"a": True}), "no row number"),
    (model({"a": "0"}), "no row number"),
    (model({"a": None}), "no row number"),
    (model({"a": [0]}), "no row number"),
    (model({"a": 1 << 31}), "no row number"),
    (model({"a": 10**4000}), "no row number"),
    (b'{"model": {"vocab": {"a": ' + b"1" * 5000 + b"}}}", "not JSON"),
    (b'{"model": {"vocab": {"a": 1, "a": 2}}}', "there twice"),
    (b'{"model": {"vocab": {"a": NaN}}}', "no row number"),
    (model({}), "lists no tokens"),
    (model(None), "neither an object nor a list"),
    (model("a"), "neither an object nor a list"),
    (model([["a", 1, 2]]), "not .token, score."),
    (model(["a"]), "not .token, score."),
    (model([[7, 0.5]]), "not a string"),
    (model([[["a"], 0.5]]), "not a string"),
    (model({"a": 0}, {"b": 1}), "added_tokens is not a list"),
    (model({"a": 0}, ["b"]), "not an object"),
    (model({"a": 0}, [{"content": "b"}]), "no row number"),
    (model({"a": 0}, [{"content": ["b"], "id": 1}]), "not a string"),
    (b'{"model": []}', "has no model"),
    (b"{}", "has no model"),
    (b"[]", "not a JSON object"),
    (b"", "not JSON"),
    (b"\xff\xfe{}", "not JSON"),
    (b'{"a":' * 100_000, "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[" + b"[]," * 3_100_000 + b"[]]", "implausibly nested"),
    (b"[" + b"1," * 12_100_000 + b"1]", "implausibly nested"),
]


@pytest.mark.parametrize(("blob", "problem"), JSON, ids=range(len(JSON)))
def test_60_lying_tokenizer_json(tmp_path: Path, blob: bytes, problem: str) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(blob)
    refused(file, problem)


def test_60_odd_but_harmless_tokenizer_json(tmp_path: Path) -> None:
    nested: dict[str, Any] = {"type": "Sequence"}
    for _ in range(200):
        nested = {"type": "Sequence", "normalizers": [nested] * 3}
        nested = {"type": "Sequence", "normalizers": [nested]} if len(json.dumps(nested)) < 4000 else {"type": "Sequence"}
    whole = json.loads(model({"\ud800": 0, "\x00": 1, "a\x1b[2J": 2}, None, continuing_subword_prefix=7, end_of_word_suffix=[]))
    whole |= {"normalizer": nested, "pre_tokenizer": 7, "decoder": {"type": ["ByteLevel"], "decoders": "x"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    found = read_vocabulary(tmp_path)
    assert found is not None
    assert sorted(found.tokens.values()) == [0, 1, 2]


def test_60_names_that_would_keep_a_pattern_busy(tmp_path: Path) -> None:
    start = time.monotonic()
    for token in ("<" + "reserved" * 1_000_000, "<|" + "a" * 8_000_000, "[unused" + "1" * 8_000_000):
        (tmp_path / "tokenizer.json").write_bytes(model({token: 0}))
        found = read_vocabulary(tmp_path)
        assert found is not None
        assert list(found.tokens) == [token.encode()]
    assert time.monotonic() - start < 60


def test_61_files_too_large_or_no_files(tmp_path: Path) -> None:
    for name, limit in (("tokenizer.json", 128 << 20), ("toy.tiktoken", 64 << 20), ("tokenizer.model", 64 << 20), ("vocab.txt", 32 << 20)):
        file = tmp_path / name
        with file.open("wb") as f:
            f.truncate(limit + 1)
        refused(file, "too large")
        file.unlink()
    (tmp_path / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    (tmp_path / "vocab.txt").mkdir()
    assert read_vocabulary(tmp_path) is None


@pytest.mark.parametrize(
    "line", [b"!!!! 1", b"YQ== x", b"YQ==", b"YQ== 1 2", b"YQ= 1", b"YQ==" * 3 + b" 1", b"YQ== " + b"1" * 5000, b"\xff\xfe 1", b"YQ== -"]
)
def test_62_lying_tiktoken(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "toy.tiktoken"
    file.write_bytes(b"YQ== 0\n" + line + b"\n")
    assert "line 2" in refused(file, "not a token in base64")


def test_62_tiktoken_ids(tmp_path: Path) -> None:
    file = tmp_path / "toy.tiktoken"
    file.write_bytes(b"YQ== -1\n")
    refused(file, "no row number")
    file.write_bytes(b"YQ== 0\nYQ== 1\nYg== 0\nYw== 2\n")
    found = read_vocabulary(file)
    assert found is not None
    assert dict(found.tokens) == {b"c": 2}
    assert len(found.notes) == 2


def tekken(**change: Any) -> dict[str, Any]:
    config = {"default_vocab_size": 4, "default_num_special_tokens": 1}
    return {"config": config, "vocab": [{"rank": 0, "token_bytes": "YQ=="}], "special_tokens": [{"rank": 0, "token_str": "<s>"}]} | change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"config": None}, "no default_vocab_size"),
        ({"config": {"default_vocab_size": -1}}, "no default_vocab_size"),
        ({"config": {"default_vocab_size": 4, "default_num_special_tokens": 1.0}}, "no default_num_special_tokens"),
        ({"vocab": {}}, "vocab is not a list"),
        ({"vocab": [7]}, "no rank"),
        ({"vocab": [{"rank": True, "token_bytes": "YQ=="}]}, "no rank"),
        ({"vocab": [{"rank": -1, "token_bytes": "YQ=="}]}, "no rank"),
        ({"vocab": [{"rank": 0, "token_bytes": "YQ"}]}, "not base64"),
        ({"vocab": [{"rank": 0, "token_bytes": "\u00e9"}]}, "not base64"),
        ({"vocab": [{"rank": 0, "token_bytes": 7}]}, "not a string"),
        ({"special_tokens": [{"rank": 0}]}, "not a string"),
        ({"special_tokens": [{"rank": 1 << 40, "token_str": "a"}]}, "no row number"),
        ({"config": {"default_vocab_size": 10**30, "default_num_special_tokens": 10**20}}, "no row number"),
        ({"vocab": [], "special_tokens": []}, "lists no tokens"),
    ],
)
def test_62_lying_tekken(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = tmp_path / "tekken.json"
    file.write_text(json.dumps(tekken(**change)))
    refused(file, problem)


PROTO = [
    (b"\x0a\xff\xff\xff\xff\x0f", "longer than its message"),
    (b"\x0a\x05\x0a\x7fabc", "longer than its message"),
    (b"\x0a", "number without end"),
    (b"\x0b\x01", "protobuf is damaged"),
    (b"\x08\x01", "protobuf is damaged"),
    (b"\x0a\x04\x0a\x02\xff\xfe", "not UTF-8"),
    (b"\x0a\x05\x0a\x01a\x18\x09", "unknown kind"),
    (b"\x0a\x05\x0a\x01a\x18\x06", "names no byte"),
    (b"\x0a\x0a\x0a\x06<0xZZ>\x18\x06", "names no byte"),
    (b"\x12\x00", "lists no tokens"),
    (b"", "lists no tokens"),
    (b"\x0a\x00" * 1_100_000, "implausibly many"),
]


@pytest.mark.parametrize(("blob", "problem"), PROTO, ids=range(len(PROTO)))
def test_63_lying_sentencepiece(tmp_path: Path, blob: bytes, problem: str) -> None:
    file = tmp_path / "tokenizer.model"
    file.write_bytes(blob)
    refused(file, problem)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(file: Path, tokens: bytes, types: bytes = b"", name: bytes = b"") -> Path:
    keys = [text("tokenizer.ggml.tokens") + tokens]
    keys += [text("tokenizer.ggml.token_type") + types] if types else []
    keys += [text("tokenizer.ggml.model") + name] if name else []
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + b"".join(keys))
    return file


def strings(*values: str) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def ints(*values: int) -> bytes:
    return struct.pack(f"<IIQ{len(values)}i", 9, 5, len(values), *values)


def test_64_lying_gguf_tokens(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    refused(gguf(file, struct.pack("<II", 4, 7)), "not a list of strings")
    refused(gguf(file, ints(1, 2)), "not a list of strings")
    refused(gguf(file, strings("a", "b"), ints(1)), "types do not fit")
    refused(gguf(file, strings("a", "b"), struct.pack("<II", 4, 7)), "types do not fit")
    refused(gguf(file, strings("a"), ints(9)), "unknown type")
    refused(gguf(file, strings("a"), strings("1")), "unknown type")
    refused(gguf(file, strings("a"), ints(6)), "names no byte")
    refused(gguf(file, strings()), "lists no tokens")
    refused(gguf(file, struct.pack("<IIQ", 9, 8, 1 << 60)), "does not fit the file")
    refused(gguf(file, struct.pack("<IIQ", 9, 8, 1) + struct.pack("<Q", 1 << 40)), "file ends inside")
    found = read_vocabulary(gguf(file, strings("a", "b"), b"", struct.pack("<II", 4, 7)))
    assert found is not None
    assert any("does not know" in note for note in found.notes)


def test_65_files_beside_a_vocabulary_that_lie(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    for name, blob, problem in (
        ("added_tokens.json", '{"b": -1}', "no row number"),
        ("added_tokens.json", "[1]", "not a JSON object"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"-1": {"content": "b"}}}', "under its id"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": "b"}}', "under its id"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": {"content": 7}}}', "not a string"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"²": {"content": "b"}}}', "under its id"),
    ):
        (tmp_path / name).write_text(blob, encoding="utf-8")
        with pytest.raises(InputError, match=problem):
            read_vocabulary(tmp_path)
        (tmp_path / name).unlink()


def test_66_compare_does_not_stumble_over_a_broken_tokenizer(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(3)
    weights = {f"model.layers.0.mlp.{n}_proj.weight": rng.normal(size=(96, 64)).astype(np.float32) for n in ("gate", "up")}
    weights["model.layers.0.mlp.down_proj.weight"] = rng.normal(size=(64, 96)).astype(np.float32)
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        safetensors.save_file(weights, folder / "model.safetensors")
        for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "added_tokens.json", "tokenizer_config.json"):
            (folder / name).write_bytes(b"\x00[[[")
    assert begat.compare(tmp_path / "a", tmp_path / "b").verdict == "identical"
