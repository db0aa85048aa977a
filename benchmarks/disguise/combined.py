"""Everything at once: children reshaped, wholly disguised and given embeddings of their own, which no pedigree has.

    python benchmarks/disguise/combined.py FAMILY [--pedigree full] [--out benchmarks/disguise/results]

Enters: a family grown by `begat-lab grow full` (or the finished members of one).  Leaves: a table: every reshaped member and a parent from scratch,
behind every disguise of the lab and with embedding and head drawn anew, against the model that it goes back to and against strangers.

Disguises and embeddings are drawn from one seed a member, so that anybody makes the same children. Truth is the pedigree's.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy
import torch

import begat
from begat_lab.disguises import DISGUISES
from begat_lab.kinship import Kinship
from begat_lab.models.dense import DenseLM
from begat_lab.models.huggingface import load_folder, pack, save_folder
from begat_lab.pedigree import read_pedigree
from begat_lab.tokenizer import write_tokenizer
from begat_lab.truth import read_truth

sys.path.insert(0, str(Path(__file__).parent))
from run import Row, cell_of, compare, layers_of, root_of, table

KINDS = ("prune-depth", "up-scale", "prune-width")
ALL = ("residual-rotation", "residual-permutation", "unit-permutation", "head-transform", "head-permutation", "scaling-pairs")
#: strangers that each child is held against
STRANGERS = 3


def hide(source: Path, seed: int, folder: Path) -> None:
    """Write `source` behind every disguise, with embedding and head of its own."""
    chance = torch.Generator().manual_seed(seed)
    model = load_folder(source).model.double()
    assert isinstance(model, DenseLM)
    for name in ALL:
        model = DISGUISES[name].apply(model, chance)
    for weight in (model.model.embed_tokens.weight, model.lm_head.weight):
        weight.data = weight.std() * torch.randn(weight.shape, generator=chance, dtype=torch.float64)
    save_folder(pack(model.float(), torch.float32), folder)
    write_tokenizer(folder, model.config.vocab_size)


def rows_of(folder: Path, pedigree: str) -> list[Row]:
    """All comparisons, of every child with its root and with some strangers."""
    family = read_pedigree(pedigree)
    kin = Kinship(family)
    there = [m for m in family.members if (folder / m.name).is_dir() and read_truth(folder / m.name)]
    children = [m for m in there if m.kind in KINDS] + [m for m in there if m.kind == "scratch" and m.name.startswith("parent")]
    strangers = [m for m in there if m.name.startswith("stranger-") and m.kind == "scratch"]
    out = []
    for number, child in enumerate(children):
        root = root_of(family, child)
        apart = [s for s in strangers if s.shape == root.shape and kin.relation(s.name, child.name) == "independent"]
        apart = [apart[(number * STRANGERS + i) % len(apart)] for i in range(min(STRANGERS, len(apart)))]
        with tempfile.TemporaryDirectory() as scratch:
            hidden = Path(scratch) / "hidden"
            hidden.mkdir()
            hide(folder / child.name, number, hidden)
            for other in [root, *apart]:
                layers = layers_of(family, child) if other is root else None
                out.append(compare((folder, (cell_of(child.name), other.name, str(hidden), other is root, layers))))
        print(f"{number + 1}/{len(children)} {child.name}: {out[-1 - len(apart)].verdict}", file=sys.stderr)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", type=Path)
    parser.add_argument("--pedigree", default="full")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = rows_of(args.family, args.pedigree)
    lines = table(rows)
    print("\n".join(lines))
    if args.out:
        day = datetime.date.today().isoformat()
        command = f"python benchmarks/disguise/combined.py families/{args.pedigree} --out benchmarks/disguise/results"
        head = {"command": command, "date": day, "begat": begat.__version__, "python": platform.python_version(), "numpy": numpy.__version__,
                "torch": torch.__version__, "machine": platform.machine()}  # fmt: skip
        args.out.mkdir(parents=True, exist_ok=True)
        found = [asdict(r) | {"b": "hidden"} for r in rows]
        (args.out / f"combined_{day}.json").write_text(json.dumps({"header": head, "rows": found}) + "\n")
        title = "# Reshaped, wholly disguised and with embeddings of their own\n\n"
        (args.out / f"combined_{day}.md").write_text(title + "\n".join(f"- {k}: {v}" for k, v in head.items()) + "\n\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
