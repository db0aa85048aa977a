"""rules.toml and families.toml are strict data: an unknown key, role, axis or value raises, and no entry is dead."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from begat.canon import ROLES
from begat.canon.families import AXES, Families
from begat.canon.families import load as load_families
from begat.canon.roles import FUSED
from begat.canon.rules import Drop, Rules, template_of
from begat.canon.rules import load as load_rules


def table(name: str) -> dict[str, Any]:
    return tomllib.loads(files("begat.canon").joinpath(name).read_text("utf-8"))


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        here: Any = data
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("extra", value=1),
        put("layer", "attn.nose", value=["a.b"]),
        put("layer_bare", "attn.q", value=["a.b"]),
        put("top", "head", value="lm_head"),
        put("top", "pooler", value=["lm_head"]),
        put("exception", 0, "why", value="because"),
        put("exception", 0, "role", value="attn.nose"),
        put("wrappers", value=[1]),
    ],
)
def test_rules_are_strict(change: Callable[[dict[str, Any]], None]) -> None:
    data = table("rules.toml")
    Rules(data)
    change(data)
    with pytest.raises(ValueError, match=r"rules\.toml"):
        Rules(data)


@pytest.mark.parametrize(
    "change",
    [
        put("extra", value=1),
        put("symmetry", "noses", value="x"),
        put("profile", "plain", "symmetric", value=["noses"]),
        put("profile", "alibi", "asymmetric", "noses", value="x"),
        put("profile", "alibi", "asymmetric", "mlp-units", value="both"),
        put("profile", "alibi", "why", value="x"),
        put("family", 0, "typo", value=1),
        put("family", 0, "qkv", value="sideways"),
        put("family", 0, "profile", value="nose"),
        put("family", 0, "expert_groups", value="many"),
    ],
)
def test_families_are_strict(change: Callable[[dict[str, Any]], None]) -> None:
    data = table("families.toml")
    Families(data)
    change(data)
    with pytest.raises(ValueError, match=r"families\.toml"):
        Families(data)


def test_every_axis_is_named_the_same_everywhere() -> None:
    assert set(load_families().symmetry) == set(AXES)
    assert {r for wanted in AXES.values() for r in wanted} <= set(ROLES)


def test_tells_are_modules_some_rule_knows() -> None:
    """A tell no rule produces would never be seen."""
    rules = load_rules()
    known = set(rules.layer) | set(rules.top) | set(rules.layer_bare) | set(rules.top_bare)
    for family in load_families().families:
        # a word that only ever excludes may be a module we do not map
        assert family.tells <= known, (family.name, sorted(family.tells - known))
        assert family.conv1d <= known


def test_no_wrapper_hides_a_rule() -> None:
    """Each listed module, under each way to write it, gives its own role."""
    rules = load_rules()
    for module, base in rules.layer.items():
        found = rules.match(f"model.layers.#.{module}.weight")
        assert not isinstance(found, Drop)
        assert found is not None
        assert found.role.startswith(base), module
        assert (found.expert >= 0) == ("#" in module)
    for module, base in rules.top.items():
        found = rules.match(f"{module}.weight")
        assert found is not None
        assert not isinstance(found, Drop)
        assert found.role.startswith(base), module


def test_numbers_become_templates() -> None:
    assert template_of("model.layers.3.mlp.experts.7.w1.weight") == ("model.layers.#.mlp.experts.#.w1.weight", (3, 7))
    assert template_of("h.12.ln_1.weight") == ("h.#.ln_1.weight", (12,))
    assert template_of("decoder.block.3.layer.1.EncDecAttention.q.weight") == (
        "decoder.block.#.layer.1.EncDecAttention.q.weight",
        (3,),
    )
    assert template_of("encoder.layer.1.output.dense.weight") == ("encoder.layer.#.output.dense.weight", (1,))


def test_roles_name_their_axes() -> None:
    """Matrices have two axes, vectors one; what is fused is made of roles."""
    for name, role in ROLES.items():
        assert role.kind in ("matrix", "gain", "bias", "table", "other")
        assert len(role.axes) == (2 if role.kind == "matrix" else len(role.axes))
        assert len(role.axes) == 1 or role.kind in ("matrix", "table")
        assert name == name.lower()
    for parts in FUSED.values():
        assert all(p + ".weight" in ROLES and p + ".bias" in ROLES for p in parts)
    assert ROLES["mlp.gate.weight"].axes == ("unit", "residual")
    assert ROLES["attn.o.weight"].axes == ("residual", "head*value_dim")
