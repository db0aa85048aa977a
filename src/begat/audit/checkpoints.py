"""Which checkpoints a release or a reference holds, and which files look like weights and are none that begat opens.

Enters: a `Tree`.  Leaves: `Held`: parts that can be handed to `compare`, and what cannot. Nothing is left out in silence: weights may lie
in folders below, in several files beside one another, in formats begat does not read, behind links. What one folder's files
are together is `begat.source`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from begat.audit.folder import Tree
from begat.errors import InputError
from begat.source import open_checkpoint
from begat.source.formats import FORMATS

#: endings of weight files that begat opens
ENDINGS = tuple(dict.fromkeys(suffix for _, f in FORMATS.items() for suffix in f.suffixes))
#: endings by which other programs' weights go; the value is what they are called
FOREIGN = {
    ".msgpack": "Flax", ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras", ".ckpt": "a training checkpoint", ".tflite": "TensorFlow Lite",
    ".mlmodel": "Core ML", ".nemo": "NeMo", ".pdparams": "Paddle", ".pdiparams": "Paddle", ".distcp": "a distributed checkpoint",
    ".tensors": "tensorizer", ".ot": "rust-bert", ".mnn": "MNN", ".caffemodel": "Caffe", ".llamafile": "llamafile", ".ggml": "GGML",
    ".engine": "TensorRT", ".npz": "NumPy", ".mindir": "MindSpore", ".ort": "ONNX Runtime", ".pte": "ExecuTorch", ".params": "MXNet",
}  # fmt: skip
#: files of training and of tools that are no weights of the model
_NOT_MODELS = re.compile(r"^(?:optimizer|scheduler|training_args|rng_state|non_lora_trainables|trainer_state|scaler|random_states)", re.IGNORECASE)
_INDEX = (".safetensors.index.json", ".bin.index.json")
_SHARD = re.compile(r"^(?P<stem>.*?)-?\d{5}-of-(?P<of>\d{5})(?P<suffix>\.[a-z]+)$")
#: most parts of one release that are compared, each with every reference
MOST = 12
_HEAD = 64


@dataclass(frozen=True, slots=True)
class Part:
    """A checkpoint of a tree: `name` is its folder or file inside the tree, "" for the folder itself; `path` is what `compare` is given."""

    name: str
    path: Path
    folder: str


@dataclass(frozen=True, slots=True)
class Unopened:
    """A file that holds or may hold weights and is not opened: its name, one of `results.REASONS`, why in words."""

    name: str
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """The checkpoints of a tree, what is not opened, and folders below that hold weights."""

    parts: tuple[Part, ...]
    unopened: tuple[Unopened, ...]
    below: tuple[str, ...]


def any_weights(tree: Tree) -> bool:
    """Is there anything that looks like weights, wherever and in whatever format?"""
    return any(True for _ in weight_files(tree)) or any(True for _ in _foreign(tree))


def weight_files(tree: Tree) -> Iterable[str]:
    """Files whose names, and for `.bin` whose first bytes, are those of weights; an index of shards counts, because they may be missing."""
    for name in tree.sizes:
        last = name.rsplit("/", 1)[-1]
        weights = last.casefold().endswith(ENDINGS) and not _NOT_MODELS.match(last)
        if last.casefold().endswith(_INDEX) or (weights and _recognised(tree, name)):
            yield name


def held(tree: Tree) -> Held:
    """The checkpoints of a folder (an archive's are not opened)."""
    folders: dict[str, list[str]] = {}
    for name in weight_files(tree):
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    unopened = list(_foreign(tree))
    if tree.root is None:
        inside = "lies inside an archive, whose weights are not compared; unpack it"
        unopened += [Unopened(n, "archive", f"{n} {inside}") for names in folders.values() for n in names]
        return Held((), tuple(unopened), ())
    parts = [p for folder in sorted(folders, key=lambda f: (f.count("/") + bool(f), f)) for p in _parts(tree, folder, folders[folder])]
    left = parts[MOST:]
    unopened += [Unopened(p.name, "too-many", f"more than {MOST} checkpoints, {p.name} among the rest; audit its folder alone") for p in left]
    return Held(tuple(parts[:MOST]), tuple(unopened), tuple(sorted(f for f in folders if f)))


def _parts(tree: Tree, folder: str, names: list[str]) -> list[Part]:
    """The folder's own checkpoint first, then whatever weight files it does not take in."""
    root = tree.path
    where = root / folder if folder else root
    whole = Part(folder, where, folder)
    groups: dict[str, str] = {}
    for name in sorted(names):
        last = name.rsplit("/", 1)[-1]
        if last.casefold().endswith(_INDEX):
            continue
        shard = _SHARD.match(last)
        groups.setdefault(f"{shard['stem']}-{shard['of']}{shard['suffix']}" if shard else last, name)
    if len(groups) <= 1:
        return [whole]
    taken = _taken(where)
    rest = [Part(n, root / n, folder) for n in groups.values() if taken is None or (root / n).resolve() not in taken]
    return rest if taken is None else [whole, *rest]


def _taken(folder: Path) -> frozenset[Path] | None:
    """The files that the folder's own checkpoint is made of; None where they do not say which is the model."""
    try:
        checkpoint = open_checkpoint(folder)
    except InputError:
        return None
    checkpoint.reader.close()
    return frozenset(f.resolve() for f in checkpoint.files)


def _foreign(tree: Tree) -> Iterable[Unopened]:
    for name in sorted(tree.sizes):
        ending = Path(name).suffix.casefold()
        if ending in FOREIGN and ending not in ENDINGS and tree.sizes[name] and not _NOT_MODELS.match(name.rsplit("/", 1)[-1]):
            yield Unopened(name, "format", f"{name} is in a format that begat does not read ({FOREIGN[ending]})")
    for name, why in tree.skipped:
        if Path(name).suffix.casefold() in (*ENDINGS, *FOREIGN) and not name.endswith(".bin"):
            yield Unopened(name, "link" if "link" in why else "damaged", f"{name} was not read: {why}")


def _recognised(tree: Tree, name: str) -> bool:
    """A `.bin` may be anything; it counts where a format knows its first bytes, or nothing else does (an empty or damaged file of that name)."""
    if not name.casefold().endswith(".bin") or re.match(r"(?:pytorch_model|model|adapter_model)\b", name.rsplit("/", 1)[-1]):
        return True
    try:
        head = tree.head(name, _HEAD)
    except (OSError, InputError):
        return True
    return any(f.recognises(head) for _, f in FORMATS.items())
