"""Whether the members of a pedigree fit each other: parents exist and come first, and can be read by the kind that wants them.

Enters: members as their rows say.  Leaves: the same, parents first, each with the architecture of its parents, or an error.
Rows to members: `pedigree.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from begat import InputError

if TYPE_CHECKING:
    from begat_lab.pedigree import Member


def sorted_members(members: list[Member]) -> tuple[Member, ...]:
    """Parents first, else in the order of the file; names, parents, seeds and architectures checked.

    A child has the architecture of its parents, whatever the head of the pedigree says.
    """
    _check_lotteries(members)
    names = {member.name: member for member in members}
    if len(names) < len(members):
        seen = [member.name for member in members]
        raise InputError("two members have one name", found=next(name for name in seen if seen.count(name) > 1))
    for member in members:
        _check_parents(member, names)
    try:
        order = list(TopologicalSorter({member.name: member.parents for member in members}).static_order())
    except CycleError as err:
        raise InputError("members descend from each other in a circle", found=" ← ".join(err.args[1])) from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[parent] for parent in names[name].parents), default=-1)
    heirs: dict[str, Member] = {}
    for member in sorted(members, key=lambda member: depth[member.name]):
        heirs[member.name] = _heir(member, [heirs[parent] for parent in member.parents])
    return tuple(heirs.values())


def _heir(member: Member, parents: list[Member]) -> Member:
    """The member with the architecture of its parents."""
    kind, where = member.descent, f"member '{member.name}'"
    for parent in parents:
        if parent.architecture not in kind.knows:
            raise InputError(f"{where}: kind {kind.name} does not know the architecture of its parent {parent.name}",
                             expected=" / ".join(kind.knows), found=parent.architecture)  # fmt: skip
        if parent.architecture != parents[0].architecture:
            raise InputError(f"{where}: parents {parents[0].name} and {parent.name} have different architectures",
                             expected=parents[0].architecture, found=parent.architecture)  # fmt: skip
    return replace(member, architecture=parents[0].architecture) if parents and kind.inherits else member


def _check_parents(member: Member, names: Mapping[str, Member]) -> None:
    kind, where = member.descent, f"member '{member.name}'"
    least, most = kind.parents
    if not least <= len(member.parents) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise InputError(f"{where}: kind {kind.name} has other parents", expected=wanted, found=len(member.parents))
    if len(set(member.parents)) < len(member.parents):
        raise InputError(f"{where} names a parent twice", found=", ".join(member.parents))
    for number, parent in enumerate(member.parents):
        if parent not in names:
            raise InputError(
                f"{where} has a parent that is not in the pedigree", found=parent, fix="add the parent or correct its name"
            )
        wanted = kind.takes[min(number, len(kind.takes) - 1)]
        if names[parent].descent.stores != wanted:
            raise InputError(f"{where}: parent {parent} cannot be read by kind {kind.name}", expected=f"a member that stores a {wanted}",
                             found=f"{names[parent].kind}, which stores a {names[parent].descent.stores}")  # fmt: skip


def _check_lotteries(members: list[Member]) -> None:
    """One initial seed in two shapes would give weights that are alike in part; kinship could not name that."""
    drawn: dict[int, Member] = {}
    for member in members:
        seed = member.seeds.get("initial_seed")
        if seed is not None and drawn.setdefault(seed, member).shape != member.shape:
            raise InputError(f"members '{drawn[seed].name}' and '{member.name}' have different shapes but one initial_seed", found=seed,
                             fix="give the second another initial_seed")  # fmt: skip
