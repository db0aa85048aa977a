"""Vocabularies: the spelling against what real tokenizers do with text, and which file of a folder is believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError
from begat.source import Vocabulary, read_vocabulary, same_rows, shared_tokens
from source.token_builders import TOKEN_BUILDERS, field

FIXTURES = Path(__file__).parent / "fixtures" / "tokens"
ENCODED = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))


def read(path: Path) -> Vocabulary:
    found = read_vocabulary(path)
    assert found is not None
    return found


def as_json(folder: Path, model: object, added: object = (), **steps: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": added, **steps}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", list(ENCODED))
def test_the_keys_of_an_encoded_text_spell_that_text(name: str) -> None:
    """The packages that own the formats cut a text into ids; the canonical bytes of those ids, in order, are the text again."""
    found = read(FIXTURES / name)
    back = {number: token for token, number in found.tokens.items()}
    assert ENCODED[name]
    for text, ids in ENCODED[name]:
        spelt = b"".join(back[number] for number in ids)
        assert spelt in (text.encode(), b" " + text.encode())


def test_real_formats_share_what_both_can_write() -> None:
    """Two tokenizers of different make agree on what the word " the" is, and on characters."""
    bpe, *others = (read(FIXTURES / name) for name in ("bpe", "sp-bpe", "wordpiece", "tiktoken"))
    for other in others:
        got = shared_tokens(bpe, other, bpe.size, other.size)
        texts = {number: token for token, number in bpe.tokens.items()}
        shared = {texts[i] for i in got.ids_a.tolist()}
        assert {b" the", b",", b"g"} <= shared
        assert [other.tokens[texts[i]] for i in got.ids_a.tolist()] == got.ids_b.tolist()


def test_the_installed_tokenizers_package_agrees() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="oracle only")
    for name in ("bpe", "unigram", "wordpiece", "wordlevel"):
        whole = tokenizers.Tokenizer.from_file(str(FIXTURES / name / "tokenizer.json")).get_vocab()
        found = read(FIXTURES / name)
        assert sorted(whole.values()) == sorted([*found.tokens.values(), *found.special.values(), *found.unused.values()])


def test_the_installed_sentencepiece_package_agrees() -> None:
    sentencepiece = pytest.importorskip("sentencepiece", reason="oracle only")
    for name in ("sp-bpe", "sp-unigram"):
        model = sentencepiece.SentencePieceProcessor(model_file=str(FIXTURES / name / "tokenizer.model"))
        found = read(FIXTURES / name)
        assert found.size == model.get_piece_size()
        assert {i for i in range(found.size) if model.is_control(i) or model.is_unknown(i)} == set(found.special.values())


def test_byte_tokens_stand_for_their_byte_unless_a_piece_does() -> None:
    found = read(FIXTURES / "sp-bpe")
    assert b"\n" in found.tokens
    assert "<0x0A>" not in found.unused
    assert "<0x65>" in found.unused  # "e" is a piece
    assert found.tokens[b"e"] != found.unused["<0x65>"]
    assert b"\xe4" in found.tokens


def test_a_piece_reads_the_same_in_any_order_of_its_fields(tmp_path: Path) -> None:
    score, normal = b"\x15\x00\x00\x80\xbf", b"\x18\x01"
    forms = [field(1, b"a") + score, score + field(1, b"b"), field(1, b"c"), normal + field(1, b"d") + score, field(1, b"e") + score + normal,
             field(1, b"f" * 200) + score, field(1, b"g") + score + b"\x98\x01\x01", field(1, b"h") + score + b"\x18\x81\x00"]  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(b"".join(field(1, form) for form in forms))
    texts = [b"a", b"b", b"c", b"d", b"e", b"f" * 200, b"g", b"h"]
    assert read(tmp_path).tokens == {text: i for i, text in enumerate(texts)}


def test_llama_style_json_is_spelled_as_its_sentencepiece_model_is(tmp_path: Path) -> None:
    vocab = {"<unk>": 0, "<0x0A>": 1, "<0x61>": 2, "▁the": 3, "a": 4}
    steps = {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}}
    found = read(as_json(tmp_path, {"type": "BPE", "byte_fallback": True, "vocab": vocab}, **steps))
    assert found.tokens == {b"\n": 1, b" the": 3, b"a": 4}
    assert dict(found.unused) == {"<0x61>": 2}


def test_words_that_end_with_a_mark(tmp_path: Path) -> None:
    model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"cat</w>": 0, "cat": 1, "Ã©</w>": 2}}
    assert read(as_json(tmp_path, model, pre_tokenizer={"type": "ByteLevel"})).tokens == {b"cat ": 0, b"cat": 1, "é ".encode(): 2}


def test_an_added_token_is_plain_text_and_takes_its_id_over(tmp_path: Path) -> None:
    model = {"type": "BPE", "vocab": {"Ġa": 0, "  ": 1, "b": 2}}
    added = [{"id": 5, "content": "  ", "special": False}, {"id": 6, "content": "Ġ", "special": False}, {"id": 2, "content": "<eot>", "special": True}]
    found = read(as_json(tmp_path, model, added, decoder={"type": "ByteLevel"}))
    assert found.tokens == {b" a": 0, b"  ": 5, "Ġ".encode(): 6}
    assert found.special == {"<eot>": 2}
    assert any("share their id" in note for note in found.notes)


def test_two_tokens_of_one_id_and_two_ids_of_one_text(tmp_path: Path) -> None:
    found = read(as_json(tmp_path, {"type": "BPE", "vocab": {"a": 0, "b": 0, "c": 1, "▁d": 2, " d": 3, "": 4}}))
    assert found.tokens == {b"c": 1, b" d": 2}
    assert found.size == 5
    assert len(found.notes) == 3


def test_word_starts_punctuation_and_characters_that_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\nthe\n##the\n,\n##,\n中\n##中\n42\n##\n", encoding="utf-8")
    found = read(tmp_path)
    assert found.tokens == {b" the": 1, b"the": 2, b",": 3, "中".encode(): 5, b" 42": 7, b"##": 8}


def test_tokenizer_json_wins_and_disagreement_is_named(tmp_path: Path) -> None:
    as_json(tmp_path, {"type": "BPE", "vocab": {"a": 0, "b": 1}})
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "vocab.txt").write_bytes(b"\xff")
    found = read(tmp_path)
    assert found.format == "tokenizer.json"
    assert len(found.tokens) == 2
    assert any("vocab.json has 1" in note for note in found.notes)
    assert any("vocab.txt" in note and "not read" in note for note in found.notes)
    (tmp_path / "tokenizer.json").unlink()
    assert read(tmp_path).format == "vocab.json"


def test_a_broken_winner_is_not_replaced_by_another(tmp_path: Path) -> None:
    as_json(tmp_path, {"type": "BPE", "vocab": 7})
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(InputError, match=r"tokenizer\.json: vocab is neither"):
        read_vocabulary(tmp_path)


def test_a_gguf_file_speaks_for_itself(tmp_path: Path) -> None:
    file = TOKEN_BUILDERS["gguf gpt2"](tmp_path)
    as_json(tmp_path, {"type": "BPE", "vocab": {"a": 0}})
    assert read(file).format == "gguf"
    assert read(tmp_path).format == "tokenizer.json"


def test_a_long_gguf_list_is_read_whole_and_its_parts_have_one_tokenizer(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    words = [f"t{i}" for i in range(9000)]
    writer = gguf.GGUFWriter(tmp_path / "m-00001-of-00002.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([1] * len(words))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    second = tmp_path / "m-00002-of-00002.gguf"
    gguf.GGUFWriter(second, "llama").write_header_to_file()
    found = read(second)
    assert found.tokens == {word.encode(): i for i, word in enumerate(words)}


def test_no_tokenizer_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert read_vocabulary(tmp_path) is None
    assert read_vocabulary(tmp_path / "model.safetensors") is None
    assert read_vocabulary(tmp_path / "nowhere") is None


def test_ids_beyond_the_embedding_are_left_out_and_counted(tmp_path: Path) -> None:
    a = read(as_json(tmp_path / "a", {"type": "BPE", "vocab": {"x": 0, "y": 3, "z": 500}}))
    b = read(as_json(tmp_path / "b", {"type": "Unigram", "vocab": [["y", 0.1], ["x", 0.2], ["z", 0.1]]}))
    got = shared_tokens(a, b, 10, 3)
    assert got.ids_a.tolist() == [0, 3]
    assert got.ids_b.tolist() == [1, 0]
    assert got.count == 2
    assert (got.rows_a, got.rows_b) == (10, 3)
    assert got.notes == ("1 shared tokens have an id beyond the embedding",)
    assert shared_tokens(a, b, 0, 3).count == 0


def test_special_and_unused_tokens_are_not_shared_but_counted(tmp_path: Path) -> None:
    vocab = {"<s>": 0, "<unused1>": 1, "<unused2>": 2, "x": 3}
    a = read(as_json(tmp_path / "a", {"type": "BPE", "vocab": vocab}))
    got = shared_tokens(a, a, 4, 4)
    assert got.ids_a.tolist() == [3]
    assert got.notes == ("1 special tokens of the same name left out", "2 unused tokens of the same name left out")


def test_same_rows_pairs_each_row_with_itself() -> None:
    got = same_rows(4)
    assert got.ids_a.tolist() == got.ids_b.tolist() == [0, 1, 2, 3]
    assert got.ids_a.dtype == np.int64
    assert "row number" in got.how


@pytest.mark.parametrize(
    ("token", "unused"),
    [("<unused12>", True), ("[unused5]", True), ("<|reserved_special_token_3|>", True), ("<|extra_7|>", True), ("[UNUSED_TOKEN_9]", True),
     ("<SPECIAL_20>", True), ("<｜place▁holder▁no▁1｜>", True), ("<|placeholder2|>", True), ("<|dummy_8|>", True), ("[PAD151700]", True),
     (">>UNUSED_7<<", True), ("<|vision_reserved_special_token_4|>", True),
     ("<extra_300>", False), ("<extra_id_3>", False), ("unused", False), ("<|im_start|>", False)],
)  # fmt: skip
def test_which_rows_are_kept_for_later(tmp_path: Path, token: str, unused: bool) -> None:
    found = read(as_json(tmp_path, {"type": "BPE", "vocab": {"x": 0, token: 1}}))
    assert (token in found.unused) is unused


@pytest.mark.parametrize("text", ["token 12\nother 7\nthird 3\n", "▁a 1\n▁b 2\n"])
def test_a_list_of_counts_is_no_list_of_ids(tmp_path: Path, text: str) -> None:
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="counts, not ids"):
        read_vocabulary(tmp_path)
