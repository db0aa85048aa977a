"""The banks of independent pairs for the agreement of three views, which ship with begat.

Enters: a grown family.  Leaves: `begat/stats/data/views.json`, `invariants.json` or `searched.json`: the share of agreeing units of independent pairs, laid
over each other by shared tokens, by invariants of their units, or by invariants after a search for partners, with the recipe's digest.
Who reads it: `begat.stats.views`.  The statistic: `begat.signals.views`.  The neighbour for twins: `bank.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import begat
from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.pipeline.routes import Context
from begat.pipeline.sampling import seed_of
from begat.pipeline.views import largest_share
from begat.stats.views import INVARIANTS, SEARCHED, TOKENS
from begat_lab.bank import open_family
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, Member
from begat_lab.truth import read_truth

#: kinds after which a layer's partner is not the one at its index
_DEPTH, _EXPERTS = {"prune-depth", "up-scale"}, {"upcycled", "upcycled-split", "upcycled-moge"}
_LAID = {
    TOKENS: "",
    INVARIANTS: ", laid over each other by invariants of the units of other layers",
    SEARCHED: ", laid over each other by invariants of the units of one layer, whose partner was searched for",
}


def hard_strangers(family: Family) -> list[Member]:
    """Members from scratch that differ in the lottery of their initial weights only: the largest such set of the family."""
    kin = Kinship(family)
    groups: dict[str, list[Member]] = {}
    for member in family.members:
        if member.kind == "scratch":
            recipe = repr((member.architecture, member.shape, member.training, member.text, {k: v for k, v in member.seeds.items() if k != "initial_seed"}))
            group = groups.setdefault(recipe, [])
            if all(kin.relation(member.name, other.name) == "independent" for other in group):
                group.append(member)
    return max(groups.values(), key=len, default=[])


def reshaped_pairs(family: Family) -> list[tuple[str, str]]:
    """Independent pairs in which layers or experts have no partner known beforehand: hard strangers with members of another depth, and two reshaped ones."""
    kin = Kinship(family)
    kinds = {m.name: {family.by_name[n].kind for n in kin.sources(m.name)} for m in family.members}
    deep, mixed = ([n for n, found in kinds.items() if found & of] for of in (_DEPTH, _EXPERTS))
    pairs = [(x.name, y) for x in hard_strangers(family) for y in deep] + list(combinations([*deep, *mixed], 2))
    return [(x, y) for x, y in pairs if kin.relation(x, y) == "independent"]


def measure_views(
    folder: Path, tell: Callable[[int, int], None] = lambda done, of: None, *, family: Family | None = None, jobs: int = 1, way: str = TOKENS,
    most: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Shares over independent pairs of a family: of hard strangers; for `SEARCHED` those that have a reshaped member.

    Args:
        way: what the two are laid over each other by: one of the ways of `begat.stats.views`.
        most: so many pairs, evenly spread over all; None: all.
        tell: told how many pairs are done, of how many.
        family: its pedigree where it is still growing: the finished members are measured.
        jobs: processes; changes no number.

    Raises:
        InputError: the folder is no finished family, and no pedigree was given.
    """
    family = family or open_family(folder)
    pairs = [
        pair for pair in (reshaped_pairs(family) if way == SEARCHED else combinations([m.name for m in hard_strangers(family)], 2))
        if all((folder / name).is_dir() and read_truth(folder / name) for name in pair)
    ]  # fmt: skip
    if most is not None and most < len(pairs):
        pairs = [pairs[i * len(pairs) // most] for i in range(most)]
    shares: Counter[float] = Counter()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start, initargs=(folder,)) as pool:
        for done, share in enumerate(pool.map(partial(_share, way), pairs, chunksize=8), 1):
            if share is not None:
                shares[round(share, 6)] += 1
            tell(done, len(pairs))
    return {
        "about": "share of sampled MLP units whose gate, up and down weights name one partner, between independent models: the best layer of A for "
        "each layer of B" + _LAID[way],
        "made_by": f"begat-lab bank --{way}{'' if most is None else f' --pairs {most}'} {family.name}",
        "recipe": family.name,
        "digest": hashlib.sha256(family.source.encode()).hexdigest(),
        "versions": {"begat": begat.__version__, "torch": torch.__version__},
        "shares": sorted(shares.items()),
    }


_worker: dict[str, Any] = {}  # of one process of the pool: the family's folder, and the models it has opened


def _start(folder: Path) -> None:
    _worker.update(folder=folder, models={})


def _share(way: str, pair: tuple[str, str]) -> float | None:
    models: dict[str, Canonical] = _worker["models"]
    for name in pair:
        if name not in models:
            models[name] = resolve(begat.open_checkpoint(_worker["folder"] / name))
    a, b = (models[name] for name in pair)
    return largest_share(Context(a, b, seed_of(a, b, "")), way)


def views_text(bank: dict[str, Any]) -> str:
    """The bank as JSON, its shares on one line."""
    head = json.dumps({k: v for k, v in bank.items() if k != "shares"}, indent=1)[:-2]
    return head + ',\n "shares": ' + json.dumps(bank["shares"]) + "\n}\n"
