"""A small index of models of known descent, for the tests of searching and serving.

Enters: an empty folder.  Leaves: model folders, and an index of them whose names and notes are hostile where that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from begat.index.entries import record_of
from begat.index.store import open_store
from begat.pipeline.sketch import sketch
from builders import llama, noisy, stitched, write

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
CONTROL = "\x1b[31mred\x07\nline\u202egnp.exe"
LONG = "long" * 200


@dataclass(frozen=True)
class Family:
    """models: folder by name; index: where the index lies; ids: id by name."""

    root: Path
    models: dict[str, Path]
    index: Path
    ids: dict[str, str]


def family(root: Path, *, hostile: bool = False) -> Family:
    """A parent, its child, a model with two of its layers, and two strangers, one of them under hostile names."""
    rng = np.random.default_rng(5)
    parent, config = llama(rng)
    other, _ = llama(rng)
    models = {
        "parent": write(root / "models" / "parent", parent, config),
        "child": write(root / "models" / "child", noisy(parent, rng, 0.1), config),
        "stitched": write(root / "models" / "stitched", stitched(other, parent, range(2)), config),
        "stranger": write(root / "models" / "stranger", llama(rng)[0], config),
    }
    ids = {}
    with open_store(root / "index", "create") as store:
        for name, folder in models.items():
            ids[name] = store.add([record_of(sketch(folder), str(folder))]).added[0]
        for i, name in enumerate((SCRIPT, IMAGE, CONTROL, LONG) if hostile else ()):
            made = sketch(write(root / "models" / f"evil-{i}", noisy(parent, rng, 0.2), config), name=name)
            ids[name] = store.add([record_of(made, f"/evil/{name}"[:900], note=name)]).added[0]
    return Family(root, models, root / "index", ids)
