"""How long reading a vocabulary takes in each of the large formats, beside what parsing its JSON alone takes.

    python benchmarks/speed/vocabularies.py [--tokens 150000]

Random byte-level tokens, most of them not ASCII (the slow case). CPU seconds, best of five.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from begat.source import read_vocabulary, shared_tokens
from begat.source.tokens.spelling import byte_letters


def words(count: int, seed: int = 1) -> list[str]:
    """Distinct tokens of 1 to 10 of GPT-2's letters, the 256 single ones first."""
    rng, letters = random.Random(seed), byte_letters()
    found = dict.fromkeys(letters)
    while len(found) < count:
        found.setdefault("".join(rng.choices(letters, k=rng.randint(2, 10))))
    return list(found)[:count]


def write(folder: Path, tokens: list[str]) -> dict[str, Path]:
    """The same tokens as tokenizer.json, tiktoken ranks, sentencepiece model and GGUF metadata."""
    import gguf

    merges = [f"{t[:1]} {t[1:]}" for t in tokens[256:]]
    files = {"tokenizer.json": folder / "tokenizer.json", "tiktoken": folder / "toy.tiktoken", "sentencepiece": folder / "tokenizer.model",
             "gguf": folder / "toy.gguf"}  # fmt: skip
    model = {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}
    whole = {"model": model, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": []}
    files["tokenizer.json"].write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    files["tiktoken"].write_bytes(b"".join(base64.b64encode(t.encode()) + b" %d\n" % i for i, t in enumerate(tokens)))
    pieces = [b"\x0a" + bytes((len(t),)) + t + b"\x15\0\0\x80\xbf" for t in (t.encode() for t in tokens)]
    files["sentencepiece"].write_bytes(b"".join(b"\x0a" + bytes((len(p),)) + p for p in pieces))
    writer = gguf.GGUFWriter(files["gguf"], "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(merges)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return files


def best(run: Callable[[], object], times: int = 5) -> float:
    """CPU seconds of the fastest of `times` runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print one line a format."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=150_000)
    count = parser.parse_args().tokens
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), words(count))
        blob = files["tokenizer.json"].read_bytes()
        print(f"json.loads of tokenizer.json  {best(lambda: json.loads(blob)):.2f} s")
        for name, file in files.items():
            print(f"{name:28}  {best(lambda file=file: read_vocabulary(file)):.2f} s")
        found = read_vocabulary(files["tokenizer.json"])
        assert found is not None
        print(f"shared_tokens                 {best(lambda: shared_tokens(found, found, count, count)):.2f} s")


if __name__ == "__main__":
    main()
