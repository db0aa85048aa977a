"""Names → roles, by the table in `rules.toml`.

Enters: a name with its numbers replaced by `#` (a *template*: a checkpoint of 10,000 tensors has a few dozen).  Leaves: a `Match`
(role, prefix, which number is the layer), a `Drop` (with its reason) or None.  What the matches of one checkpoint mean together
is decided in `claims.py`; families in `families.py`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from begat.canon.roles import FUSED, ROLES, role_of

#: a whole path word of digits; T5's `block.3.layer.1.` keeps its 1, which says attention or feed-forward
_NUMBER = re.compile(
    r"(?<![^.])(?!(?<=\.layer\.)[0-9]\.(?:SelfAttention|EncDecAttention|DenseReluDense|layer_norm)\.)[0-9]{1,6}(?![^.])"
)
_LEAVES = {"weight": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
_KEYS = {
    "wrappers", "infixes", "containers", "towers", "top", "top_bare", "layer", "layer_bare", "exception", "alias", "drop",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """What a template says.

    Attributes:
        role: a role, or a fused pseudo-role (`attn.qkv.weight`).
        module: the name without prefix and parameter ("self_attn.q_proj").
        leaf: "weight" or "bias"; "" for a bare parameter.
        prefix: the path words before it, without the container.
        tower: the tower those words name ("text" when none does).
        layer: which number of the name is the layer, -1 outside the layers.
        expert: which number is the expert, -1 for none.
        unknown: prefix words that are no known wrapper or tower.
    """

    role: str
    module: str
    leaf: str
    prefix: tuple[str, ...]
    tower: str
    layer: int = -1
    expert: int = -1
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Not used, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exception_:
    """`name` plays `role` when one of `beside` is in the same layers."""

    name: str
    beside: frozenset[str]
    role: str


def template_of(name: str) -> tuple[str, tuple[int, ...]]:
    """`model.layers.3.mlp.experts.7.w1.weight` → (`model.layers.#.mlp.experts.#.w1.weight`, (3, 7))."""
    numbers = _NUMBER.findall(name)
    return (_NUMBER.sub("#", name), tuple(map(int, numbers))) if numbers else (name, ())


class Rules:
    """The parsed table.

    Raises:
        ValueError: an unknown key or role, a name listed twice, a value of the wrong type.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        _only(data, _KEYS, "rules.toml")
        self.wrappers = frozenset(_strings(data["wrappers"]))
        self.containers = frozenset(_strings(data["containers"]))
        self.infixes = frozenset(_strings(data["infixes"]))
        self.towers: dict[str, str] = dict(data["towers"])
        self.top, self.layer = _modules(data["top"], "top"), _modules(data["layer"], "layer")
        self.top_bare, self.layer_bare = _bare(data["top_bare"], "top_bare"), _bare(data["layer_bare"], "layer_bare")
        self.aliases: dict[str, tuple[str, ...]] = {k: tuple(_strings(v)) for k, v in data["alias"].items()}
        self.exceptions = tuple(_exception(e) for e in data["exception"])
        self.drops = _invert(data["drop"], "drop")
        self._memo: dict[str, Match | Drop | None] = {}

    def match(self, template: str) -> Match | Drop | None:
        """What the table says about a template."""
        if template not in self._memo:
            if len(self._memo) > 50_000:
                self._memo.clear()
            self._memo[template] = self._match(tuple(template.split(".")))
        return self._memo[template]

    def _match(self, words: tuple[str, ...]) -> Match | Drop | None:
        for n in (1, 2, 3):
            reason = self.drops.get(".".join(words[-n:]))
            if reason is not None:
                return Drop(reason)
        return self._layer_match(words) or self._top_match(words)

    def _layer_match(self, words: tuple[str, ...]) -> Match | None:
        number = -1
        for i, word in enumerate(words):
            number += word == "#"
            if word != "#" or i == 0 or words[i - 1] not in self.containers:
                continue
            if "#" in words[1 : i - 1]:
                break  # a layer inside a numbered stage: which stage would be lost
            found = self._module(words[i + 1 :], self.layer, self.layer_bare)
            if found is not None:
                role, module, leaf = found
                prefix = words[: i - 1]
                tower, unknown = self._place(prefix)
                expert = number + 1 if "#" in module.split(".") else -1
                return Match(role, module, leaf, prefix, tower, number, expert, unknown)
        return None

    def _top_match(self, words: tuple[str, ...]) -> Match | None:
        for i in range(len(words)):
            if "#" in words[1:i]:
                break
            found = self._module(words[i:], self.top, self.top_bare)
            if found is not None:
                role, module, leaf = found
                tower, unknown = self._place(words[:i])
                return Match(role, module, leaf, words[:i], tower, unknown=unknown)
        return None

    def _module(self, words: tuple[str, ...], modules: dict[str, str], bare: dict[str, str]) -> tuple[str, str, str] | None:
        """(role, module, leaf) of a name without its prefix."""
        name = ".".join(words)
        if name in bare:
            return bare[name], name, ""
        if len(words) < 2 or words[-1] not in _LEAVES:
            return None
        path = words[:-2] if words[-2] in self.infixes else words[:-1]
        module, leaf = ".".join(path), _LEAVES[words[-1]]
        role = role_of(modules[module], leaf) if module in modules else None
        return None if role is None else (role, module, leaf)

    def _place(self, prefix: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """(tower, unknown words) of a prefix; the last word that names a tower wins."""
        tower, unknown = "text", []
        for i, word in enumerate(prefix):
            if word in self.towers and (len(word) > 1 or i == 0):
                tower = self.towers[word]
            elif word not in self.wrappers and not (word == "#" and i == 0):
                unknown.append(word)
        return tower, tuple(unknown)


@lru_cache(maxsize=1)
def load() -> Rules:
    """The shipped table, parsed once."""
    return Rules(tomllib.loads(files("begat.canon").joinpath("rules.toml").read_text("utf-8")))


def _only(data: dict[str, Any], allowed: set[str], where: str) -> None:
    wrong = sorted(set(data) ^ allowed)
    if wrong:
        raise ValueError(f"{where}: unknown or missing key: {', '.join(wrong)}")


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"rules.toml: a list of names is wanted, not {value!r}")
    return value


def _invert(table: dict[str, Any], where: str) -> dict[str, str]:
    """Role → names as name → role; a name listed twice is an error."""
    out: dict[str, str] = {}
    for role, names in table.items():
        for name in _strings(names):
            if name in out:
                raise ValueError(f"rules.toml [{where}]: '{name}' is listed twice")
            out[name] = role
    return out


def _modules(table: dict[str, Any], where: str) -> dict[str, str]:
    for base in table:
        if role_of(base, "weight") is None:
            raise ValueError(f"rules.toml [{where}]: '{base}' is no role")
    return _invert(table, where)


def _bare(table: dict[str, Any], where: str) -> dict[str, str]:
    for role in table:
        base, _, leaf = role.rpartition(".")
        if role not in ROLES and not (base in FUSED and leaf in ("weight", "bias")):
            raise ValueError(f"rules.toml [{where}]: '{role}' is no role")
    return _invert(table, where)


def _exception(entry: dict[str, Any]) -> Exception_:
    _only(entry, {"name", "beside", "role"}, "rules.toml [[exception]]")
    if role_of(entry["role"], "weight") is None:
        raise ValueError(f"rules.toml [[exception]]: '{entry['role']}' is no role")
    return Exception_(entry["name"], frozenset(_strings(entry["beside"])), entry["role"])
