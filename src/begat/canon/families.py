"""Which family a tower belongs to, and which of its axes are symmetries.

Enters: the modules its tensors name, and what the config calls itself.  Leaves: a `Family` (from `families.toml`) and, with the
roles that are there, axis → why for symmetric and asymmetric axes.  Unknown means not tested.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

#: axis → a tower has it when one of these roles is there
AXES = {
    "mlp-units": ("mlp.down.weight", "shared.down.weight"),
    "expert-units": ("expert.down.weight",),
    "experts": ("expert.down.weight", "moe.router.weight"),
    "kv-heads": ("attn.v.weight",),
    "value-dims": ("attn.v.weight", "attn.kv_b.weight"),
    "residual": ("attn.o.weight", "mlp.down.weight", "expert.down.weight", "ssm.out.weight"),
    "latent-dims": ("attn.kv_a.weight", "attn.q_a.weight"),
    "chain-units": ("chain.weight",),
}
_QKV = ("concat", "grouped", "")
_GROUPS = ("one", "config", "pangu", "")
_FAMILY_KEYS = {
    "name", "model_types", "gguf", "tells", "not", "qkv", "conv1d", "profile", "expert_groups", "interleaved_gate_up",
    "rope_pairs",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """Axes that are symmetries, and why others are not."""

    symmetric: tuple[str, ...]
    asymmetric: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """How a family is recognised and laid out.

    Attributes:
        qkv: "concat" (all q rows, all k, all v), "grouped" (per key-value head its q heads, k, v), "" = never fused.
        conv1d: modules stored as [in, out].
        expert_groups: "one" (ungrouped), "config" (as the config says), "pangu" (8 groups of 8), "" = unknown.
        interleaved_gate_up: gate and up rows of stacked experts alternate.
        rope_pairs: q and k rows of a head are stored as neighbouring pairs (the original Llama files).
    """

    name: str
    profile: str
    model_types: tuple[str, ...] = ()
    gguf: tuple[str, ...] = ()
    tells: frozenset[str] = frozenset()
    nots: frozenset[str] = frozenset()
    qkv: str = ""
    conv1d: frozenset[str] = frozenset()
    expert_groups: str = ""
    interleaved_gate_up: bool = False
    rope_pairs: bool = False


UNKNOWN = Family("", "unknown")


class Families:
    """The parsed table.

    Raises:
        ValueError: an unknown key, axis, profile or value.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        _only(data, {"gguf_rope_pairs", "symmetry", "profile", "family"}, "families.toml")
        self.gguf_rope_pairs = frozenset(data["gguf_rope_pairs"])
        self.symmetry: dict[str, str] = data["symmetry"]
        _only(self.symmetry, set(AXES), "families.toml [symmetry]", exact=True)
        self.profiles = {name: _profile(name, p) for name, p in data["profile"].items()}
        self.families = tuple(self._family(f) for f in data["family"])

    def _family(self, data: dict[str, Any]) -> Family:
        _only(data, _FAMILY_KEYS, f"families.toml [[family]] {data.get('name')}")
        family = Family(
            data["name"], data.get("profile", "plain"), tuple(data.get("model_types", ())), tuple(data.get("gguf", ())),
            frozenset(data["tells"]), frozenset(data.get("not", ())), data.get("qkv", ""), frozenset(data.get("conv1d", ())),
            data.get("expert_groups", ""), data.get("interleaved_gate_up", False), data.get("rope_pairs", False),
        )  # fmt: skip
        if family.profile not in self.profiles or family.qkv not in _QKV or family.expert_groups not in _GROUPS:
            raise ValueError(f"families.toml [[family]] {family.name}: unknown profile, qkv or expert_groups")
        return family

    def recognise(self, modules: Set[str], model_type: str, gguf: bool) -> Family:
        """The family of a tower that names `modules`; `UNKNOWN` when none fits."""
        if gguf:
            return next((f for f in self.families if model_type in f.gguf), UNKNOWN)
        fits = [f for f in self.families if f.tells <= modules and not f.nots & modules]
        return next((f for f in fits if model_type in f.model_types), fits[0] if fits else UNKNOWN)

    def axes(self, family: Family, roles: Set[str], alibi: bool, grouped: bool) -> tuple[dict[str, str], dict[str, str]]:
        """(symmetric, asymmetric): axis → why, for the axes the tower has.

        Args:
            family: the tower's family.
            roles: the roles that are there.
            alibi: the config says that attention is biased per head.
            grouped: the number of expert groups is known.
        """
        profile = self.profiles[family.profile]
        present = [axis for axis, wanted in AXES.items() if any(r in roles for r in wanted)]
        symmetric = {a: self.symmetry[a] for a in present if a in profile.symmetric}
        asymmetric = {a: profile.asymmetric.get(a, "not known to be a symmetry") for a in present if a not in symmetric}
        if alibi and "kv-heads" in symmetric:
            del symmetric["kv-heads"]
            asymmetric["kv-heads"] = self.profiles["alibi"].asymmetric["kv-heads"]
        if not grouped and "experts" in symmetric:
            del symmetric["experts"]
            asymmetric["experts"] = "into how many groups routing is limited is unknown"
        return symmetric, asymmetric


@lru_cache(maxsize=1)
def load() -> Families:
    """The shipped table, parsed once."""
    return Families(tomllib.loads(files("begat.canon").joinpath("families.toml").read_text("utf-8")))


def _profile(name: str, data: dict[str, Any]) -> Profile:
    where = f"families.toml [profile.{name}]"
    _only(data, {"symmetric", "asymmetric"}, where)
    _only(dict.fromkeys(data["symmetric"]), set(AXES), where)
    asymmetric = data.get("asymmetric", {})
    _only(asymmetric, set(AXES) - set(data["symmetric"]), where)
    return Profile(tuple(data["symmetric"]), asymmetric)


def _only(data: Mapping[str, Any], allowed: set[str], where: str, exact: bool = False) -> None:
    wrong = sorted(set(data) ^ allowed if exact else set(data) - allowed)
    if wrong:
        raise ValueError(f"{where}: unknown or missing key: {', '.join(wrong)}")
