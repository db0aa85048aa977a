"""What is known about a member and a family: `truth.json` and `family.json`.

Enters: a member just made.  Leaves: its truth: parents, kind, recipe, seeds, what it was made of, losses, distance from its first
parent, digests of its files, versions.  `family.json` names all members with their digests and holds the pedigree verbatim.
Everything outside `"made"` is decided by the pedigree and the text.  Who calls this: `grow.py`.  Relations: `kinship.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import torch

import begat
from begat import InputError
from begat_lab.descent import Child
from begat_lab.models import architecture_of
from begat_lab.models.architecture import LanguageModel
from begat_lab.models.huggingface import load_folder
from begat_lab.pedigree import Family, Member
from begat_lab.text import Corpus, unigram_entropy, within
from begat_lab.training import validation_loss

TRUTH, FAMILY = "truth.json", "family.json"
_WINDOWS, _CONTEXT = 64, 128  # of held-out text for the losses


def made_of(member: Member, out: Path, corpora: dict[str, Corpus], threads: int) -> dict[str, Any]:
    """All that decides the bytes of a member, as far as it can be named; parents by the digests of their files."""
    parents = {parent: _finished(out / parent)["sha256"] for parent in member.parents}
    versions = {"begat": begat.__version__, "torch": torch.__version__, "threads": threads}
    return {
        "recipe": json.loads(json.dumps(member.recipe())),  # tuples as the lists that a file gives back
        "parents": parents,
        "text": corpora[member.text].digest if member.text else None,
        "versions": {**versions, "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"},
    }


def describe_member(
    member: Member, folder: Path, out: Path, child: Child, source: dict[str, Any], corpora: dict[str, Corpus], seconds: float
) -> dict[str, Any]:
    """The truth about a member whose files are all written to `folder`; its parents are in `out`."""
    return {
        "name": member.name,
        "kind": member.kind,
        "title": member.descent.title,
        "stores": member.descent.stores,
        "inherits": member.descent.inherits,
        "parents": list(member.parents),
        "seeds": dict(member.seeds),
        "made_of": source,
        "details": child.details,
        "parameters": sum(weight.numel() for weight in child.model.parameters()),
        "validation_loss": {name: losses(child.model, corpus) for name, corpus in corpora.items()},
        "change": change_from(out / member.parents[0], child.model) if member.parents else None,
        "sha256": {file.name: digest(file) for file in sorted(folder.iterdir()) if file.is_file()},
        "made": {"seconds": round(seconds, 1), "python": platform.python_version()},
    }


def losses(model: LanguageModel, corpus: Corpus) -> float:
    """Nats per predicted token of held-out text, of those tokens that the model's vocabulary has; which are masked is fixed."""
    tokens_N = within(corpus.validation, model.config.vocab_size)
    measure = architecture_of(model.config).measure(torch.Generator().manual_seed(0))
    context = min(_CONTEXT, model.config.max_position_embeddings, len(tokens_N) - 1)
    return round(validation_loss(model, tokens_N, context, _WINDOWS, measure), 4)


def change_from(parent: Path, child: LanguageModel) -> float | None:
    """||child - parent|| / ||parent|| over all weights; None when the shapes differ."""
    before, after = load_folder(parent).model.state_dict(), child.state_dict()
    if {name: weight.shape for name, weight in before.items()} != {name: weight.shape for name, weight in after.items()}:
        return None
    moved = math.fsum(float((after[name] - weight).double().square().sum()) for name, weight in before.items())
    size = math.fsum(float(weight.double().square().sum()) for weight in before.values())
    return round(math.sqrt(moved / size), 4)


def write_family(family: Family, out: Path, corpora: dict[str, Corpus]) -> dict[str, Any]:
    """Write and return `family.json`."""
    members = {}
    for member in family.members:
        truth = _finished(out / member.name)
        members[member.name] = {
            key: truth[key] for key in ("kind", "parents", "stores", "inherits", "seeds", "validation_loss", "sha256")
        }
    texts = {
        name: {"train": len(corpus.train), "validation": len(corpus.validation), "sha256": corpus.digest,
               "unigram_entropy": round(unigram_entropy(corpus.validation), 4)}
        for name, corpus in corpora.items()
    }  # fmt: skip
    about = {"name": family.name, "about": family.about, "members": members, "texts": texts, "pedigree": family.source}
    _replace(out / FAMILY, about)
    return about


def read_truth(folder: Path) -> dict[str, Any] | None:
    """The truth of a finished member, None when it is not finished."""
    try:
        truth: dict[str, Any] = json.loads((folder / TRUTH).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return truth


def write_truth(folder: Path, truth: dict[str, Any]) -> None:
    """Declare a member finished, once its other files are on the disk."""
    for file in folder.iterdir():
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    _replace(folder / TRUTH, truth)


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _finished(folder: Path) -> dict[str, Any]:
    truth = read_truth(folder)
    if truth is None:
        raise InputError("member is not finished", file=folder, fix="grow the family again")
    return truth


def _replace(file: Path, value: dict[str, Any]) -> None:
    """Write the whole file or nothing: it appears by rename, after its bytes are on the disk."""
    part = file.with_name(file.name + ".part")
    with part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(json.dumps(value, indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
