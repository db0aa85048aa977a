"""The family that `begat demo` compares: five tiny trained checkpoints of known ancestry, and `truth.json`, which says so.

    python -m begat_lab.demo_family OUT      five minutes on two idle cores

Leaves: OUT/<member>/{config.json, model.safetensors} and OUT/truth.json; `src/begat/demo/data` is the OUT that ships.  All is
seeded: the same Python, torch, kind of processor and number of threads give the same bytes; others another family, equally true.
Text: `text.py`.  Model: `models/dense.py`.  Ways of descent: `descent/`.

    member      initial weights   then trained on               so it is
    parent      lottery 1         library, windows 1            the parent
    fine-tune   parent's          internet, windows 3           derived, though a good part of every weight is new
    four-bit    parent's          nothing, rounded to a grid    the same weights re-encoded
    stranger    lottery 2         library, windows 1            independent: same shape, data, data order and recipe
    twin        lottery 1         internet, windows 2           not derived, but of the same initial weights
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from begat_lab.descent.finetune import finetune
from begat_lab.descent.four_bit import four_bit
from begat_lab.models.dense import DenseConfig, DenseLM, new_model
from begat_lab.models.huggingface import CONFIG, WEIGHTS, load_folder, pack, save_folder
from begat_lab.text import Corpus, standard_library, unigram_entropy
from begat_lab.training import Recipe, Say, silent, train, validation_loss

SHAPE = DenseConfig(
    vocab_size=256,  # bytes
    hidden_size=64,
    intermediate_size=160,  # five models must fit in 3 MB
    num_hidden_layers=6,  # enough for a correlation over depth, the kind of statistic the demo warns of, to mean something
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    initializer_range=0.05,
    max_position_embeddings=128,
)


RECIPES = {
    "scratch": Recipe(steps=1500),  # parent, stranger, twin
    "finetune": Recipe(
        steps=1000
    ),  # at the rate of training from scratch, far above a usual fine-tune's, to move the weights far
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """How one member came to be: the row of `truth.json`."""

    name: str
    relation: str  # to the parent; what a perfect examiner would say
    story: str
    parents: tuple[str, ...] = ()
    initial_seed: int | None = None  # the lottery of the initial weights; None: they were the parent's
    text: str | None = None  # which corpus it was trained on; None: none
    window_seed: int | None = None  # which windows of the text, in which order
    dtype: torch.dtype = torch.bfloat16


MEMBERS = (
    Member(
        name="parent",
        relation="self",
        story="Trained from scratch.",
        initial_seed=1,
        text="library",
        window_seed=1,
    ),
    Member(
        name="fine-tune",
        relation="derived",
        story="Starts from the parent's stored weights and trains on, at the rate of training from scratch, on another text.",
        parents=("parent",),
        text="internet",
        window_seed=3,
    ),
    Member(
        name="four-bit",
        relation="same weights re-encoded",
        story="The parent's matrices rounded to a four-bit grid (groups of 32 inputs), kept as F16; embedding and gains stay.",
        parents=("parent",),
        dtype=torch.float16,
    ),
    Member(
        name="stranger",
        relation="independent",
        story="As the parent, window for window; only the lottery of the initial weights differs.",
        initial_seed=2,
        text="library",
        window_seed=1,
    ),
    Member(
        name="twin",
        relation="shared initialisation",
        story="The parent's lottery of initial weights, but another text; it never saw a trained weight of the parent's.",
        initial_seed=1,
        text="internet",
        window_seed=2,
    ),
)


def make_family(out: Path, texts: dict[str, Corpus], recipes: dict[str, Recipe], say: Say = silent) -> dict[str, Any]:
    """Make every member in order, write it, and write and return the truth about them."""
    began = time.monotonic()
    for member in MEMBERS:
        say(f"{member.name}: {member.story}")
        save_folder(pack(make_member(member, out, texts, recipes, say), member.dtype), out / member.name)
    truth = {
        "about": "The family of begat demo; begat_lab/demo_family.py explains it. Losses are nats per byte of held-out files.",
        "made": {**versions(), "seconds": round(time.monotonic() - began)},
        "texts": {name: describe_text(text) for name, text in texts.items()},
        "shape": asdict(SHAPE),
        "recipes": {name: asdict(recipe) for name, recipe in recipes.items()},
        "members": {member.name: describe_member(member, out, texts) for member in MEMBERS},
    }
    (out / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8", newline="\n")
    return truth


def make_member(member: Member, out: Path, texts: dict[str, Corpus], recipes: dict[str, Recipe], say: Say = silent) -> DenseLM:
    """One member. Children start from the parent's *file*, rounded as it was stored, as anybody's would."""
    windows = torch.Generator().manual_seed(member.window_seed or 0)
    if member.initial_seed is not None:
        model = new_model(SHAPE, torch.Generator().manual_seed(member.initial_seed))
        train(model, texts[str(member.text)].train, recipes["scratch"], windows, say)
        return model
    parent = load_folder(out / member.parents[0]).model
    if member.text is None:
        return four_bit(parent)
    return finetune(parent, texts[member.text].train, recipes["finetune"], windows, say)


# --- the truth ----------------------------------------------------------------------------------------------


def describe_member(member: Member, out: Path, texts: dict[str, Corpus]) -> dict[str, Any]:
    """What is known about a member as stored: origin, losses on both texts, distance from the parent, digests."""
    folder = out / member.name
    stored, parent = load_folder(folder).model, load_folder(out / "parent").model
    return {
        "relation_to_parent": member.relation,
        "story": member.story,
        "parents": list(member.parents),
        "initial_seed": member.initial_seed,
        "text": member.text,
        "window_seed": member.window_seed,
        "stored_as": str(member.dtype).removeprefix("torch."),
        "validation_loss": {name: round(validation_loss(stored, text.validation), 4) for name, text in texts.items()},
        "relative_change": relative_change(parent, stored),
        "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)},
    }


def relative_change(a: DenseLM, b: DenseLM) -> dict[str, Any]:
    """||B - A|| / ||A||: of all weights, of each role, and of each layer's matrices."""
    squares: dict[str, list[float]] = {}
    other = b.state_dict()
    for name, weight in a.state_dict().items():
        parts = name.split(".")
        keys = ["all", parts[-2]]
        if parts[1] == "layers" and weight.dim() == 2:
            keys.append(f"layer {parts[2]}")
        for key in keys:
            total = squares.setdefault(key, [0.0, 0.0])
            total[0] += float((other[name] - weight).square().sum())
            total[1] += float(weight.square().sum())
    change = {key: round((moved / size) ** 0.5, 4) for key, (moved, size) in squares.items()}
    layers = [change.pop(f"layer {i}") for i in range(a.config.num_hidden_layers)]
    return {"all": change.pop("all"), "by_layer": layers, "by_role": change}


def describe_text(text: Corpus) -> dict[str, Any]:
    """What a text was, as far as a digest and a few numbers can say."""
    return {
        "source": f"source files of the Python {platform.python_version()} standard library (PSF licence), see begat_lab/text.py",
        "train_bytes": len(text.train),
        "validation_bytes": len(text.validation),
        "sha256": text.digest,
        "unigram_entropy": round(unigram_entropy(text.validation), 4),
    }


def versions() -> dict[str, Any]:
    """What the bytes depend on besides the seeds."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "python -m begat_lab.demo_family OUT",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """The command line: where to write, and how many cores to use."""
    parser = argparse.ArgumentParser(prog="python -m begat_lab.demo_family", description="Make the family of `begat demo`.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; members that lie there are replaced")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default: 2); the last bits may depend on it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make_family(options.out, standard_library(), RECIPES, lambda line: print(line, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
