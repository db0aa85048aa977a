"""The roles a tensor can play, with their axes named, so that which axes may be permuted is data.

Enters: nothing.  Leaves: `ROLES`, role name → `Role`, and `FUSED`, what a fused tensor holds.  Names become roles in `rules.py`
(by `rules.toml`); which axes are symmetries of a given model is said in `families.toml`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """What a tensor does.

    Attributes:
        axes: the names of its axes, (out, in) for matrices, one name for vectors. `a*b` is a product of two axes, a major.
        kind: "matrix", "gain", "bias", "table" (rows are looked up, not multiplied) or "other".
    """

    axes: tuple[str, ...]
    kind: str

    @property
    def residual(self) -> tuple[int, ...]:
        """Which axes are the residual stream."""
        return tuple(i for i, a in enumerate(self.axes) if a == "residual")


_MATRICES = {
    "embed.projection": ("residual", "embedding"),
    "embed.patch2": ("patch-rows", "patch-cols"),
    "embed.patch": ("patch-rows", "patch-cols"),
    "head": ("token", "residual"),
    "head.transform": ("residual", "residual"),
    "head.projection": ("embedding", "residual"),
    "attn.q": ("head*head_dim", "residual"),
    "attn.k": ("kv_head*head_dim", "residual"),
    "attn.v": ("kv_head*value_dim", "residual"),
    "attn.o": ("residual", "head*value_dim"),
    "attn.q_a": ("q_latent", "residual"),
    "attn.q_b": ("head*head_dim", "q_latent"),
    "attn.kv_a": ("kv_latent+rope", "residual"),
    "attn.kv_b": ("head*key_value_dim", "kv_latent"),
    "attn.k_b": ("head*kv_latent", "key_dim"),
    "attn.v_b": ("head*value_dim", "kv_latent"),
    "attn.gate": ("head*value_dim", "residual"),
    "attn.kv": ("kv_dim", "residual"),
    "attn.o_a": ("o_group*o_latent", "heads_of_group*value_dim"),
    "attn.o_b": ("residual", "o_group*o_latent"),
    "compressor.kv": ("compressed", "residual"),
    "compressor.gate": ("compressed", "residual"),
    "indexer.q_b": ("index_head*index_dim", "q_latent"),
    "indexer.kv": ("index_compressed", "residual"),
    "indexer.gate": ("index_compressed", "residual"),
    "indexer.weights": ("index_head", "residual"),
    "cross.q": ("head*head_dim", "residual"),
    "cross.k": ("kv_head*head_dim", "memory"),
    "cross.v": ("kv_head*value_dim", "memory"),
    "cross.o": ("residual", "head*value_dim"),
    "mlp.gate": ("unit", "residual"),
    "mlp.up": ("unit", "residual"),
    "mlp.down": ("residual", "unit"),
    "expert.gate": ("unit", "residual"),
    "expert.up": ("unit", "residual"),
    "expert.down": ("residual", "unit"),
    "shared.gate": ("unit", "residual"),
    "shared.up": ("unit", "residual"),
    "shared.down": ("residual", "unit"),
    "shared.router": ("one", "residual"),
    "moe.router": ("expert", "residual"),
    "mtp.projection": ("residual", "residual*2"),
    "mtp.head": ("token", "residual"),
    "classifier": ("class", "residual"),
    "classifier.dense": ("residual", "residual"),
    "classifier.sequence": ("class", "residual"),
    "pooler": ("residual", "residual"),
    "projection.vision": ("shared", "residual"),
    "projection.text": ("shared", "residual"),
    "pooler.qkv": ("three*residual", "residual"),
    "pooler.o": ("residual", "residual"),
    "pooler.up": ("unit", "residual"),
    "pooler.down": ("residual", "unit"),
    "projector.1": ("unit", "memory"),
    "projector.2": ("residual", "unit"),
    "ssm.in": ("ssm", "residual"),
    "ssm.out": ("residual", "ssm"),
    "ssm.x": ("ssm-rank", "ssm"),
    "ssm.dt": ("ssm", "ssm-rank"),
    "ssm.conv": ("ssm", "tap"),
    "chain": ("unit", "unit-in"),
}

_NORMS = {
    "embed.norm": "residual",
    "final.norm": "residual",
    "head.norm": "residual",
    "attn.norm": "residual",
    "attn.post_norm": "residual",
    "cross.norm": "residual",
    "mlp.norm": "residual",
    "mlp.post_norm": "residual",
    "attn.q_norm": "head_dim",
    "attn.k_norm": "head_dim",
    "attn.q_a_norm": "q_latent",
    "attn.kv_a_norm": "kv_latent",
    "attn.kv_norm": "kv_dim",
    "compressor.norm": "kv_dim",
    "indexer.norm": "index_dim",
    "attn.sub_norm": "head*value_dim",
    "mlp.sub_norm": "unit",
    "mtp.embed_norm": "residual",
    "mtp.hidden_norm": "residual",
    "mtp.head_norm": "residual",
    "projector.norm": "memory",
    "pooler.norm": "residual",
    "ssm.norm": "ssm",
    "ssm.dt_norm": "ssm-rank",
    "ssm.b_norm": "ssm-state",
    "ssm.c_norm": "ssm-state",
}

_OTHERS = {
    "embed.tokens": Role(("token", "residual"), "table"),
    "embed.positions": Role(("position", "residual"), "table"),
    "embed.types": Role(("type", "residual"), "table"),
    "embed.class": Role(("residual",), "table"),
    "pooler.probe": Role(("residual",), "table"),
    "mtp.embed": Role(("token", "residual"), "table"),
    "moe.router_scale": Role(("expert",), "other"),
    "attn.relative": Role(("bucket", "head"), "table"),
    "attn.sinks": Role(("head",), "other"),
    "attn.layer_scale": Role(("residual",), "other"),
    "mlp.layer_scale": Role(("residual",), "other"),
    "ssm.a": Role(("ssm",), "other"),
    "ssm.d": Role(("ssm",), "other"),
    "layer.scale": Role(("one",), "other"),
    "compressor.positions": Role(("window", "compressed"), "table"),
    "indexer.positions": Role(("window", "index_compressed"), "table"),
    **{f"hyper.{place}.map": Role(("stream_weight", "stream*residual"), "table") for place in ("attn", "mlp", "head")},
    **{f"hyper.{place}.base": Role(("stream_weight",), "other") for place in ("attn", "mlp", "head")},
    **{f"hyper.{place}.scale": Role(("three",), "other") for place in ("attn", "mlp", "head")},
}


def _all_roles() -> dict[str, Role]:
    roles = dict(_OTHERS)
    for name, axes in _MATRICES.items():
        roles[name + ".weight"] = Role(axes, "matrix")
        roles[name + ".bias"] = Role(axes[:1], "bias")
    for name, axis in _NORMS.items():
        roles[name + ".gain"] = Role((axis,), "gain")
        roles[name + ".bias"] = Role((axis,), "bias")
    return roles


#: role name → role
ROLES: dict[str, Role] = _all_roles()

#: fused tensor → the roles it holds, in stored order
FUSED: dict[str, tuple[str, ...]] = {
    "attn.qkv": ("attn.q", "attn.k", "attn.v"),
    "mlp.gate_up": ("mlp.gate", "mlp.up"),
    "shared.gate_up": ("shared.gate", "shared.up"),
    "expert.gate_up": ("expert.gate", "expert.up"),
}


def role_of(base: str, leaf: str) -> str | None:
    """The role a parameter `leaf` ("weight" or "bias") of a module that plays `base` has; None when there is none.

    Fused modules have the pseudo-roles `attn.qkv.weight`, `attn.qkv.bias`, ….
    """
    if base in FUSED:
        return f"{base}.{leaf}"
    for name in (f"{base}.{leaf}", f"{base}.gain", base) if leaf == "weight" else (f"{base}.{leaf}",):
        if name in ROLES:
            return name
    return None
