"""Which stored tensor claims which canonical key: prefixes, towers, exceptions and collisions of one checkpoint.

Enters: the stored names.  Leaves: `Claims`: one `Claim` (key, stored name) per tensor a rule knows, the drops with their reasons
and the names no rule knows.  The single name is judged in `rules.py`; un-fusing comes later, in `layout.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace

from begat.canon.copies import second_copies
from begat.canon.roles import role_of
from begat.canon.rules import Drop, Match, Rules, template_of
from begat.types import TensorKey

#: a prefix of unknown words counts when at least this share of the templates under it are known …
_KNOWN_SHARE = 0.6
#: … and at least so many
_KNOWN_LEAST = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """The stored tensor `name` says it is `key`; `key.role` may be a fused pseudo-role, `stacked` experts have no index yet."""

    key: TensorKey
    name: str
    module: str

    @property
    def stacked(self) -> bool:
        """All experts of a layer in one tensor."""
        return self.key.role.startswith("expert.") and self.key.expert < 0


@dataclass(slots=True)
class Claims:
    """What the names of a checkpoint say; every stored name is in exactly one of the three.

    Attributes:
        modules: tower → modules seen in it, for recognising the family.
        copies: tower → the tower whose names it repeats under a prefix of its own (`copies.py`).
    """

    claims: list[Claim] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    modules: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    copies: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    """Templates that share a prefix."""

    prefix: tuple[str, ...]
    tower: str
    unknown: tuple[str, ...]
    templates: list[tuple[str, Match]] = field(default_factory=list)


def collect(names: Iterable[str], rules: Rules) -> Claims:
    """Judge all names together; names that repeat others under a prefix apart from these."""
    names, second = second_copies(list(names), rules)
    out = _collect(names, rules)
    for prefix, stripped in second.items():
        again = _collect(stripped, rules)
        tower = {t: prefix if t == "text" else f"{prefix}.{t}" for t in {c.key.tower for c in again.claims}}
        out.claims += [Claim(replace(c.key, tower=tower[c.key.tower]), f"{prefix}.{c.name}", c.module) for c in again.claims]
        out.dropped += [(f"{prefix}.{name}", reason) for name, reason in again.dropped]
        out.unmapped += [f"{prefix}.{name}" for name in again.unmapped]
        out.modules |= {tower[t]: seen for t, seen in again.modules.items() if t in tower}
        out.copies |= {new: t for t, new in tower.items()}
    return out


def _collect(names: Iterable[str], rules: Rules) -> Claims:
    out = Claims()
    named: dict[str, list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    for name in names:
        if "#" in name:
            out.unmapped.append(name)
            continue
        template, numbers = template_of(name)
        named[template].append((name, numbers))
    groups: dict[tuple[str, ...], _Group] = {}
    strangers: list[str] = []
    for template, members in named.items():
        found = rules.match(template)
        if isinstance(found, Drop):
            out.dropped.extend((name, found.reason) for name, _ in members)
        elif found is None:
            strangers.append(template)
        else:
            group = groups.setdefault(found.prefix, _Group(found.prefix, found.tower, found.unknown))
            group.templates.append((template, found))
    _reject_strangers(groups, strangers)
    for template in strangers:
        out.unmapped.extend(name for name, _ in named[template])
    _claim(groups, named, rules, out)
    return out


def _reject_strangers(groups: dict[tuple[str, ...], _Group], strangers: list[str]) -> None:
    """Groups under unknown words stay only where layers under those words are mostly known; the rest become strangers."""
    accepted: set[tuple[str, ...]] = set()
    for group in groups.values():
        if group.unknown and any(m.layer >= 0 for _, m in group.templates):
            head = ".".join(group.prefix) + "."
            others = sum(t.startswith(head) for t in strangers)
            known = len(group.templates)
            if known >= _KNOWN_LEAST and known >= _KNOWN_SHARE * (known + others):
                accepted.add(group.unknown)
    for prefix, group in list(groups.items()):
        if group.unknown and group.unknown not in accepted:
            strangers.extend(t for t, _ in group.templates)
            del groups[prefix]


def _lone_tower(groups: dict[tuple[str, ...], _Group]) -> None:
    """A tower that is all there is, is the trunk: a vision model by itself is "text" like any other."""
    towers = {g.tower for g in groups.values() if any(m.layer >= 0 for _, m in g.templates)}
    if len(towers) == 1 and "text" not in towers:
        for group in groups.values():
            if group.tower in towers:
                group.tower = "text"


def _claim(
    groups: dict[tuple[str, ...], _Group],
    named: dict[str, list[tuple[str, tuple[int, ...]]]],
    rules: Rules,
    out: Claims,
) -> None:
    """Largest group first; a group whose layers are taken becomes a tower of its own, a lone second claim is unmapped."""
    taken: dict[TensorKey, str] = {}
    _lone_tower(groups)
    order = sorted(groups.values(), key=lambda g: (-sum(len(named[t]) for t, _ in g.templates), g.prefix))
    for group in order:
        modules = {m.module for _, m in group.templates}
        members = [
            (_key(_except(match, modules, rules), group.tower, numbers), name, match, template)
            for template, match in sorted(group.templates, key=lambda tm: tm[0])
            for name, numbers in sorted(named[template])
        ]
        tower = group.tower
        if any(key.layer >= 0 and key in taken for key, _, _, _ in members):
            tower = _own_tower(group, rules, {k.tower for k in taken})
        above = order[0].prefix[: len(group.prefix)] == group.prefix
        for key, name, match, template in members:
            if tower != key.tower and (key.layer >= 0 or not above):  # a head beside the model stays with the model
                key = replace(key, tower=tower)
            if key not in taken:
                taken[key] = name
                out.claims.append(Claim(key, name, match.module))
                out.modules[key.tower].add(match.module)
            elif (alias := _alias(template, group.prefix, rules, named)) is not None:
                out.dropped.append((name, f"a second name of {alias}"))
            else:
                out.unmapped.append(name)


def _key(match: Match, tower: str, numbers: tuple[int, ...]) -> TensorKey:
    layer = numbers[match.layer] if match.layer >= 0 else -1
    return TensorKey(tower, layer, match.role, numbers[match.expert] if match.expert >= 0 else -1)


def _except(match: Match, modules: set[str], rules: Rules) -> Match:
    """The match, with the role that applies next to the other modules of these layers."""
    for exception in rules.exceptions:
        if match.layer >= 0 and match.module == exception.name and exception.beside & modules:
            role = role_of(exception.role, match.leaf)
            return match if role is None else replace(match, role=role)
    return match


def _alias(template: str, prefix: tuple[str, ...], rules: Rules, stored: Container[str]) -> str | None:
    """The other name of a tensor that is a known second name, when that one is stored."""
    head = ".".join(prefix)
    short = template[len(head) + 1 :] if head else template
    for other in rules.aliases.get(short, ()):
        full = f"{head}.{other}" if head else other
        if full in stored:
            return full
    return None


def _own_tower(group: _Group, rules: Rules, used: set[str]) -> str:
    """A tower name from the prefix: without plain wrappers where that is still unique."""
    loud = [w for w in group.prefix if w not in rules.wrappers or w in ("encoder", "decoder")]
    for name in (".".join(loud), ".".join(group.prefix)):
        if name and name not in used:
            return name
    n = 2
    while f"text.{n}" in used:
        n += 1
    return f"text.{n}"
