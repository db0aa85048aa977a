"""Three public disputes re-enacted with synthetic releases, and what `begat audit` says about each.

    python benchmarks/audit/precedents.py FOLDER [--out benchmarks/audit/results/precedents.md]

- **kept-notice** (Pangu Pro MoE, July 2025): code reused under its licence with the notice kept, weights trained apart, own tokenizer.
- **renamed-tensors** (Yi-34B, November 2023): a common architecture with tensors renamed; once with weights trained apart, once with
  weights that are another's.
- **renamed-everything** (Llama3-V, June 2024): weights of another model with noise, its code with every name changed and the notice gone,
  its tokenizer with tokens
  added, released under other terms without a word.

Nothing here is anybody's model: the weights are begat's demonstration family, the code was written for begat's tests, the tokenizers are
trained here on files of the
Python standard library.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
import random
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks" / "audit"), str(ROOT / "tests" / "audit" / "code")]

from begat.audit.run import audit  # noqa: E402
from begat.audit.types import Audit  # noqa: E402
from begat.demo.family import data_folder  # noqa: E402
from begat.report.audit_text import render_audit  # noqa: E402
from begat.source.tokens.spelling import byte_letters  # noqa: E402

TEXTS = ROOT / "src" / "begat" / "audit" / "licences" / "texts"
HEADER = """# Copyright 2024 The Ruda team, Example Group and the Exemplar Inc. team. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
"""
NAME = "example/Ruda-14B"


def train_bpe(seed: int, merges: int = 900) -> dict[str, object]:
    """A byte-level BPE `tokenizer.json` trained on one half of the standard library's modules, the other half for another parity of `seed`."""
    files = sorted(f for f in Path(json.__file__).parents[1].glob("*.py") if f.stat().st_size < 60_000)
    words = collections.Counter(
        w for f in files[seed % 2 :: 2] for w in f.read_text("utf-8", "replace").split() if w.isascii() and w.isalpha()
    )
    letters = byte_letters()
    vocab = {letter: i for i, letter in enumerate(sorted(letters))}
    pieces = [[("Ġ", *w), n] for w, n in words.most_common(2500)]
    pairs: collections.Counter[tuple[str, str]] = collections.Counter()
    where: dict[tuple[str, str], set[int]] = collections.defaultdict(set)

    def count(at: int, sign: int) -> None:
        for pair in itertools.pairwise(pieces[at][0]):
            pairs[pair] += sign * pieces[at][1]
            where[pair].add(at)

    for at in range(len(pieces)):
        count(at, 1)
    learnt: list[str] = []
    while len(learnt) < merges:
        best = max(pairs, key=lambda p: (pairs[p], p))
        if not pairs[best]:
            break
        learnt.append(" ".join(best))
        vocab.setdefault("".join(best), len(vocab))
        for at in sorted(where.pop(best)):
            count(at, -1)
            pieces[at][0] = _merged(pieces[at][0], best)
            count(at, 1)
    return {
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True},
        "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": vocab, "merges": learnt},
    }  # fmt: skip


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    i = 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def weights(member: str, folder: Path, renames: dict[str, str] | None = None) -> None:
    """Copy a member of the demonstration family, tensors renamed by rewriting the header."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data_folder() / member / "config.json", folder / "config.json")
    data = (data_folder() / member / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for old, new in (renames or {}).items():
        header = {k.replace(old, new): v for k, v in header.items()}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


def upstream(folder: Path) -> Path:
    """The model that others are said to have reused: trained weights, code under Apache-2.0 with a header, a tokenizer, a model licence."""
    from written import PACKAGE

    weights("parent", folder)
    code = next(text for path, text in PACKAGE.items() if "ruda" in path)
    (folder / "modeling_ruda.py").write_text(HEADER + code)
    (folder / "tokenizer.json").write_text(json.dumps(train_bpe(1)))
    shutil.copyfile(TEXTS / "llama-3.1.txt", folder / "LICENSE")
    (folder / "README.md").write_text("---\nlicense: llama3.1\n---\n# Ruda\n")
    return folder


def package(folder: Path) -> Path:
    """The package that the upstream code is also in: source only, Apache-2.0."""
    from written import PACKAGE

    for path, text in PACKAGE.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEADER + text)
    shutil.copyfile(TEXTS / "apache-2.0.txt", folder / "LICENSE")
    return folder


def kept_notice(folder: Path) -> Path:
    """Code reused with its notice, everything else one's own."""
    from written import PACKAGE

    weights("stranger", folder)
    code = next(text for path, text in PACKAGE.items() if "ruda" in path)
    (folder / "modeling_panther.py").write_text(
        HEADER
        + "# Modified by the Panther team: router noise off by default.\n"
        + code.replace("noise=0.1", "noise=0.0").replace("Ruda", "Panther")
    )
    (folder / "tokenizer.json").write_text(json.dumps(train_bpe(2)))
    shutil.copyfile(TEXTS / "apache-2.0.txt", folder / "LICENSE")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Panther\nTrained from scratch.\n")
    return folder


def renamed_tensors(folder: Path, member: str) -> Path:
    """A common architecture whose tensors have other names; `member` says whose weights."""
    weights(member, folder, {"input_layernorm": "ln1", "post_attention_layernorm": "ln2"})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Yes\n")
    shutil.copyfile(TEXTS / "apache-2.0.txt", folder / "LICENSE")
    return folder


def renamed_everything(folder: Path) -> Path:
    """Another model's weights trained on, its code laundered, its tokenizer extended, its notice and licence gone."""
    from code_launder import launder
    from written import PACKAGE

    weights("fine-tune", folder, {"input_layernorm": "ln1", "post_attention_layernorm": "ln2"})
    code = next(text for path, text in PACKAGE.items() if "ruda" in path)
    (folder / "modeling_vision.py").write_text(
        "# Copyright 2024 The Vision authors.\n" + launder(code, "rename+reorder", random.Random(5)).text + "\n"
    )
    tokenizer = train_bpe(1)
    size = len(tokenizer["model"]["vocab"])  # type: ignore[index]
    tokenizer["added_tokens"] = [{"id": size + i, "content": f"<|slice_{i}|>", "special": True} for i in range(20)]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    shutil.copyfile(TEXTS / "apache-2.0.txt", folder / "LICENSE")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Vision\nThe first of its kind.\n")
    return folder


#: case → (what it re-enacts, release, its name)
CASES = {
    "kept-notice": ("code reused, notice kept (Pangu Pro MoE)", lambda f: kept_notice(f), "Panther"),
    "renamed-tensors, own weights": (
        "tensors renamed, weights trained apart (Yi-34B)",
        lambda f: renamed_tensors(f, "stranger"),
        "Yes-34B",
    ),
    "renamed-tensors, others' weights": (
        "tensors renamed, weights another's",
        lambda f: renamed_tensors(f, "fine-tune"),
        "Yes-34B",
    ),
    "renamed-everything": (
        "weights, code and tokenizer another's, all renamed (Llama3-V)",
        lambda f: renamed_everything(f),
        "Vision",
    ),
}


def enact(case: str, folder: Path) -> Audit:
    """Build a case's release and references below `folder`, and audit it."""
    release = CASES[case][1](folder / case.replace(" ", "-").replace(",", "").replace("'", ""))
    up = upstream(folder / "upstream") if not (folder / "upstream").exists() else folder / "upstream"
    pack = package(folder / "package") if not (folder / "package").exists() else folder / "package"
    return audit(f"{CASES[case][2]}={release}", [f"{NAME}={up}", f"pack@1.0={pack}"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = ["# Three precedents, re-enacted", "", "Printed by `python benchmarks/audit/precedents.py FOLDER`."]
    for case, (words, *_) in CASES.items():
        result = enact(case, args.folder)
        text = (
            render_audit(dataclasses.replace(result, seconds=0.0), width=110)
            .replace(str(args.folder.resolve()), "…")
            .replace(str(args.folder), "…")
        )
        print(f"=== {case}: {words}\n{text}")
        out += ["", f"## {case}: {words}", "", "```text", text.rstrip(), "```"]
    if args.out:
        args.out.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
