"""A pedigree: which members a family has, of what descent, from which seeds. Read strictly from TOML; nothing is grown here.

Enters: a TOML file, or the name of a shipped one (`pedigrees/`).  Leaves: a `Family`, its members sorted so that parents come first.
Kinds of descent and what they may be asked: `descent/`.  Whether members fit their parents: `lineage.py`.  Who grows it: `grow.py`.
Who is whose relative: `kinship.py`.

    name = "small"                     about = "…"
    architecture = "dense"             # one of models.ARCHITECTURES; of members with fresh weights, others have their parents'
    text = "library"                   # which corpus of text.py, unless a member says otherwise
    dtype = "bfloat16"                 # of stored floats
    threads = 1                        # torch threads of one member; the last bits depend on it
    [shape]     fields of its config   # of members with fresh weights; a member of another architecture gives all of its own
    [training]  fields of Recipe       # of members that train; a member's own table overrides single fields
    [[member]]
    name = "stranger"                  kind = "scratch"
    count = 80                         # "stranger-00" … "stranger-79"; seeds named in `vary` count up from those given,
                                       # and "{i}" in a parent's name is the number of the copy: parents = ["stranger-{i:02d}"]
    vary = ["initial_seed"]            initial_seed = 100            window_seed = 1
    [[member]]
    name = "pruned"                    kind = "prune-unstructured"   parents = ["parent"]
    options = { share = 0.5 }          # fields of the kind's options
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from begat import InputError
from begat_lab.descent import KINDS, SEEDS, Kind
from begat_lab.lineage import sorted_members
from begat_lab.models import ARCHITECTURES
from begat_lab.tables import fill, refuse_unknown
from begat_lab.training import Recipe

DTYPES = ("bfloat16", "float16", "float32")
_FAMILY = ("name", "about", "architecture", "text", "dtype", "threads", "shape", "training", "member")
_MEMBER = ("name", "kind", "parents", "count", "vary", "architecture", "text", "dtype", "shape", "training", "options", *SEEDS)
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One model to grow. What its kind does not use is None."""

    name: str
    kind: str
    parents: tuple[str, ...]
    architecture: str
    shape: Any  # the config of its architecture
    dtype: str
    seeds: Mapping[str, int]
    options: Any
    training: Recipe | None
    text: str | None

    @property
    def descent(self) -> Kind:
        """Its kind of descent."""
        return KINDS[self.kind]

    def recipe(self) -> dict[str, Any]:
        """Everything that decides what the member becomes, but its parents' weights and the text: for `truth.json`."""
        return {
            "kind": self.kind,
            "parents": list(self.parents),
            "architecture": self.architecture,
            "shape": None if self.parents and self.descent.inherits else asdict(self.shape),
            "dtype": self.dtype,
            "seeds": dict(self.seeds),
            "options": _given(self.options),
            "training": asdict(self.training) if self.training else None,
            "text": self.text,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A pedigree, checked: names are unique, parents exist and come before their children."""

    name: str
    about: str
    threads: int
    members: tuple[Member, ...]
    source: str  # the TOML, verbatim

    @property
    def by_name(self) -> dict[str, Member]:
        """The members by name."""
        return {member.name: member for member in self.members}


def shipped() -> list[str]:
    """Names of the pedigrees that come with the lab."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in resources.files("begat_lab.pedigrees").iterdir()
        if file.name.endswith(".toml")
    )


def read_pedigree(where: str | Path) -> Family:
    """The pedigree in the file `where`, or the shipped one of that name."""
    path = Path(where)
    if path.is_file():
        return parse_pedigree(path.read_text(encoding="utf-8"), str(path))
    if str(where) in shipped():
        return parse_pedigree(
            (resources.files("begat_lab.pedigrees") / f"{where}.toml").read_text(encoding="utf-8"), f"{where}.toml"
        )
    raise InputError("no such pedigree", file=path, fix=f"name a TOML file, or a shipped pedigree: {', '.join(shipped())}")


def parse_pedigree(source: str, where: str) -> Family:
    """The `Family` that this TOML describes; `where` names it in errors."""
    try:
        raw = tomllib.loads(source)
    except tomllib.TOMLDecodeError as err:
        raise InputError(f"no TOML: {err}", file=where) from None
    try:
        return _family(raw, source)
    except InputError as err:
        raise InputError(
            err.problem, file=where, tensor=err.tensor, expected=err.expected, found=err.found, fix=err.fix
        ) from None


def _given(options: Any) -> dict[str, Any]:
    """Options by name; those that came late only where they say something, so that older members keep their recipe."""
    late = {f.name: f.default for f in fields(options) if f.metadata.get("late")}
    return {name: value for name, value in asdict(options).items() if name not in late or value != late[name]}


# --- from tables to members -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Head:
    """The plain values of a family."""

    name: str
    about: str
    architecture: str = "dense"
    text: str = "library"
    dtype: str = "bfloat16"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class _Row:
    """The plain values of one `[[member]]`."""

    name: str
    kind: str
    parents: tuple[str, ...] = ()
    count: int = 1
    vary: tuple[str, ...] = ()
    architecture: str | None = None
    text: str | None = None
    dtype: str | None = None
    initial_seed: int | None = None
    window_seed: int | None = None
    chance_seed: int | None = None


def _family(raw: dict[str, Any], source: str) -> Family:
    refuse_unknown(raw, _FAMILY, "the pedigree")
    head = fill(_Head, _without(raw, "shape", "training", "member"), "the pedigree")
    _one_of(head.architecture, tuple(ARCHITECTURES), "the pedigree, architecture")
    _name(head.name)
    if head.threads < 1:
        raise InputError("the pedigree, threads", expected="1 or more", found=head.threads)
    for key, kind in (("shape", dict), ("training", dict), ("member", list)):
        if not isinstance(raw.get(key), kind):
            raise InputError(f"the pedigree lacks {'[[member]]' if kind is list else f'[{key}]'}", fix="add it")
    shape: Any = fill(ARCHITECTURES[head.architecture].config, raw["shape"], "[shape]")
    training = fill(Recipe, raw["training"], "[training]")
    members = [member for row in raw["member"] for member in _members(row, head, shape, training)]
    return Family(name=head.name, about=head.about, threads=head.threads, members=sorted_members(members), source=source)


def _members(raw: dict[str, Any], head: _Head, usual: Any, training: Recipe) -> list[Member]:
    where = f"member '{raw.get('name', '?')}'"
    refuse_unknown(raw, _MEMBER, where)
    row = fill(_Row, _without(raw, "shape", "training", "options"), where)
    if row.kind not in list(KINDS):
        raise InputError(f"{where} has an unknown kind", found=row.kind, fix="begat-lab kinds lists them")
    kind = KINDS[row.kind]
    fresh = kind.parents[1] == 0 or not kind.inherits
    for key, allowed in (("architecture", fresh), ("shape", fresh), ("training", kind.trains), ("text", kind.trains)):
        if key in raw and not allowed:
            raise InputError(f"{where}: {key} means nothing for kind {kind.name}", fix=f"remove {key}")
    dtype, text, architecture = row.dtype or head.dtype, row.text or head.text, row.architecture or head.architecture
    _one_of(architecture, kind.knows if fresh else tuple(ARCHITECTURES), f"{where}, architecture for kind {kind.name}")
    base = usual if architecture == head.architecture else None
    shape: Any = fill(ARCHITECTURES[architecture].config, raw.get("shape", {}), f"{where}, shape", base)
    _one_of(dtype, DTYPES, f"{where}, dtype")
    return [
        Member(
            name=name,
            kind=row.kind,
            parents=parents,
            architecture=architecture,
            shape=shape,
            dtype=dtype,
            seeds=seeds,
            options=fill(kind.options, raw.get("options", {}), f"{where}, options"),
            training=fill(Recipe, raw.get("training", {}), f"{where}, training", training) if kind.trains else None,
            text=text if kind.trains else None,
        )
        for name, parents, seeds in _copies(row, kind, where)
    ]


def _copies(row: _Row, kind: Kind, where: str) -> list[tuple[str, tuple[str, ...], dict[str, int]]]:
    """(name, parents, seeds) of every member a row stands for."""
    given = {name: getattr(row, name) for name in SEEDS if getattr(row, name) is not None}
    for name in SEEDS:
        if (name in given) != (name in kind.seeds):
            problem = "lacks" if name in kind.seeds else "has a seed that its kind never draws from:"
            raise InputError(
                f"{where} {problem} {name} ({SEEDS[name]})", fix=f"{'add' if name in kind.seeds else 'remove'} {name}"
            )
    if row.count < 1 or any(seed < 0 for seed in given.values()):
        raise InputError(f"{where}: count must be 1 or more, seeds 0 or more")
    for name in row.vary:
        _one_of(name, tuple(given), f"{where}, vary")
    numbered = any("{" in parent for parent in row.parents)
    if (row.count > 1) != bool(row.vary or numbered):
        raise InputError(
            f"{where}: count above 1 needs something to vary, and only it", fix='write for example vary = ["initial_seed"]'
        )
    _name(row.name)
    if row.count == 1:
        return [(row.name, row.parents, given)]
    digits = len(str(row.count - 1))
    try:
        parents = [tuple(parent.format(i=i) for parent in row.parents) for i in range(row.count)]
    except (ValueError, LookupError, AttributeError) as err:
        raise InputError(f"{where}: parent's name with braces", expected="{i} or {i:02d}", found=str(err)) from None
    seeds = [{name: seed + i * (name in row.vary) for name, seed in given.items()} for i in range(row.count)]
    return [(f"{row.name}-{i:0{digits}d}", parents[i], seeds[i]) for i in range(row.count)]


def _without(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def _one_of(value: str, allowed: tuple[str, ...], where: str) -> None:
    if value not in allowed:
        raise InputError(where, expected=" / ".join(allowed) or "nothing", found=value)


def _name(name: str) -> None:
    """Names become folders, on every system."""
    if not name or not set(name) <= _SAFE or not name[0].isalnum() or not name[-1].isalnum():
        raise InputError("a name becomes a folder", expected="a to z, 0 to 9, inner dots and hyphens", found=name)
