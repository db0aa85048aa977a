"""The bank of twins that ships with begat: how much models trained apart from one initialisation agree, and how much relatives do.

Enters: grown families.  Leaves: `begat/stats/data/twins.json`: one row per pair, with the recipe, its digest and the versions.
Who reads it: `begat.stats.twins`.  The numbers: `begat.signals.trained`.  The family it is measured on: `pedigrees/twins.toml`.
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
from begat.signals.trained import trained_agreement
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, parse_pedigree
from begat_lab.truth import FAMILY, read_truth

#: kinds whose weights are those of an ordinary checkpoint
KINDS = ("scratch", "fine-tune", "continued", "lora-merged", "merge-linear", "merge-slerp", "merge-ties", "merge-dare")
#: relations worth a row
RELATIONS = ("shared-initialisation", "descended", "common-ancestor")


@dataclass(frozen=True, slots=True)
class Row:
    """Agreement of one pair; `lottery` is the draw of initial weights it goes back to."""

    family: str
    a: str
    b: str
    relation: str
    lottery: int
    energy_a: float
    energy_b: float
    share: float | None
    gains: float | None


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
    """Pairs of plain, undisguised members of one shape."""
    kin = Kinship(family)
    plain = [m.name for m in family.members if m.descent.stores == "model" and m.kind in KINDS]
    for a, b in combinations(plain, 2):
        relation = kin.relation(a, b)
        if relation in RELATIONS and read_truth(folder / a) and read_truth(folder / b):
            yield a, b, relation


def _row(folder: Path, family: Family, a: str, b: str, relation: str) -> Row | None:
    verdict = begat.compare(folder / a, folder / b, map="full")
    layers = {(part.tower, part.layer) for part in verdict.parts if part.status == "dependent" and part.layer >= 0}
    root = next(m for m in family.members if m.name in Kinship(family).sources(a) and not m.parents)
    found = trained_agreement(verdict.cells, layers, root.shape.initializer_range)
    if found.energy_a is None or found.energy_b is None:
        return None
    lottery = root.seeds["initial_seed"]
    return Row(family.name, a, b, relation, lottery, found.energy_a, found.energy_b, found.share, found.gains)


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
