"""The bank of twins that ships with begat: how much models trained apart from one initialisation agree, and how much relatives do.

Enters: grown families.  Leaves: `begat/stats/data/twins.json`: one row per pair, with the recipe, its digest and the versions.
Who reads it: `begat.stats.twins`.  The numbers: `begat.signals.trained`.  The families it is measured on: `pedigrees/starts.toml` and
`pedigrees/twins.toml`; held out: `pedigrees/starts-held.toml` (benchmarks/twins).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

import begat
from begat import InputError
from begat.canon.resolve import resolve
from begat.pipeline.sampling import seed_of
from begat.pipeline.trained import agreement_of
from begat.signals.trained import Agreement
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, Member, parse_pedigree
from begat_lab.truth import FAMILY, read_truth

#: kinds whose weights are those of an ordinary checkpoint
KINDS = ("scratch", "fine-tune", "continued", "lora-merged", "merge-linear", "merge-slerp", "merge-ties", "merge-dare")
#: relations worth a row
RELATIONS = ("shared-initialisation", "same-order", "descended", "common-ancestor")


@dataclass(frozen=True, slots=True)
class Row:
    """Agreement of one pair; `lottery` is the draw of initial weights it goes back to."""

    family: str
    a: str
    b: str
    relation: str
    lottery: int
    moved_a: float
    moved_b: float
    gains: float
    ranks: float
    share: float


def measure_bank(folders: Sequence[Path], tell: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
    """The bank over all pairs of plain members of these families that share initial weights.

    Raises:
        InputError: a folder is no finished family.
    """
    families = [(folder, open_family(folder)) for folder in folders]
    todo = [(folder, family, pair) for folder, family in families for pair in _pairs(folder, family)]
    rows = []
    for done, (folder, family, (a, b, relation)) in enumerate(todo, 1):
        row = _row(folder, family, a, b, relation)
        if row is not None:
            rows.append(row)
        tell(done, len(todo))
    return {
        "about": "agreement of trained state between twins (trained apart from one draw of initial weights) and between relatives",
        "made_by": "begat-lab bank " + " ".join(family.name for _, family in families),
        "recipes": {family.name: hashlib.sha256(family.source.encode()).hexdigest() for _, family in families},
        "versions": {"begat": begat.__version__, "torch": torch.__version__},
        "columns": [field for field in Row.__dataclass_fields__ if field != "relation"],
        "pairs": {r: [[_short(getattr(row, f)) for f in Row.__dataclass_fields__ if f != "relation"] for row in rows if row.relation == r]
                  for r in RELATIONS},
    }  # fmt: skip


def bank_text(bank: dict[str, Any]) -> str:
    """The bank as JSON, one pair a line."""
    head = json.dumps({key: value for key, value in bank.items() if key != "pairs"}, indent=1)[:-2]
    tables = [
        f"  {json.dumps(relation)}: [\n" + ",\n".join(f"   {json.dumps(row)}" for row in rows) + "\n  ]"
        for relation, rows in bank["pairs"].items()
    ]
    return head + ',\n "pairs": {\n' + ",\n".join(tables) + "\n }\n}\n"


def open_family(folder: Path) -> Family:
    """The pedigree of a grown family; InputError when it is not finished."""
    try:
        about = json.loads((folder / FAMILY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no finished family", file=folder, expected=FAMILY, fix="begat-lab grow it first") from None
    return parse_pedigree(about["pedigree"], str(folder / FAMILY))


def _pairs(folder: Path, family: Family) -> Iterator[tuple[str, str, str]]:
    """Pairs of plain, undisguised members that share initial weights."""
    plain = [m.name for m in family.members if m.descent.stores == "model" and m.kind in KINDS]
    for a, b in combinations(plain, 2):
        relation = relation_of(family, a, b)
        if relation in RELATIONS and read_truth(folder / a) and read_truth(folder / b):
            yield a, b, relation


def agreement(a: Path, b: Path) -> Agreement:
    """Agreement of two models over all their layers, as `begat compare` computes it where all are dependent."""
    opened = [begat.open_checkpoint(path) for path in (a, b)]
    try:
        ma, mb = (resolve(checkpoint) for checkpoint in opened)
        layers = {(k.tower, k.layer) for k in ma.tensors if k.layer >= 0}
        return agreement_of(ma, mb, layers, seed_of(ma, mb, ""))
    finally:
        for checkpoint in opened:
            checkpoint.reader.close()


def relation_of(family: Family, a: str, b: str) -> str:
    """As `Kinship.relation`; twins that saw the same batches in the same order are "same-order": they are one training, not two."""
    kin = Kinship(family)
    relation = kin.relation(a, b)
    if relation != "shared-initialisation":
        return relation
    mine, theirs = ({_windows(m) for m in family.members if m.name in kin.sources(x) and not m.parents} for x in (a, b))
    return "same-order" if mine & theirs else relation


def _windows(root: Member) -> tuple[object, ...]:
    """What decides the batches of a model from scratch."""
    recipe = root.training
    assert recipe is not None
    return root.seeds["initial_seed"], root.seeds["window_seed"], root.text, recipe.batch, recipe.context


def _row(folder: Path, family: Family, a: str, b: str, relation: str) -> Row | None:
    found = agreement(folder / a, folder / b)
    if found.gains is None or found.ranks is None or found.share is None:
        return None
    root = next(m for m in family.members if m.name in Kinship(family).sources(a) and not m.parents)
    lottery = root.seeds["initial_seed"]
    return Row(family.name, a, b, relation, lottery, found.moved_a, found.moved_b, found.gains, found.ranks, found.share)


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
