"""The units of MLPs and experts in three views (gate rows, up rows, down columns; two where there is no gate), folded and in one frame.

Enters: canonical models, a frame's map.  Leaves: `Block`s (which MLPs there are) and their views.  Who matches them: `views.py`, `aligned_map.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.pose import Features
from begat.pipeline.sampling import check_finite
from begat.types import F32, I64, TensorKey

# Shape suffixes: M units, D residual width of the model (of the other one after mapping)

#: experts of a layer that are looked at
EXPERTS = 4
#: layers of B whose units are compared in three views
LAYERS = 8
#: of gate, up and down, which may not change a unit's sign: up and down may be flipped together, gate may not (SwiGLU)
SIGNED = (True, False, False)
#: of up and down where there is no gate: neither may
PLAIN_SIGNED = (True, True)


@dataclass(frozen=True, slots=True)
class Block:
    """One MLP: of a layer (kind "mlp"), a shared expert ("shared") or a routed one ("expert")."""

    layer: int
    expert: int
    kind: str
    units: int
    gated: bool = True

    @property
    def inner(self) -> tuple[str, ...]:
        """The matrices that read the residual stream."""
        return ("gate", "up") if self.gated else ("up",)

    def key(self, role: str) -> TensorKey:
        """Key of its gate, up or down matrix."""
        return TensorKey("text", self.layer, f"{self.kind}.{role}.weight", self.expert)


    @property
    def signed(self) -> tuple[bool, ...]:
        """Per view, whether a unit may not change its sign in it."""
        return SIGNED if self.gated else PLAIN_SIGNED


def blocks_of(model: Canonical, experts: int | None = EXPERTS, plain: bool = False) -> list[Block]:
    """All gated MLPs of the text tower (`plain`: those without a gate too), of every layer at most so many routed ones (None: all)."""
    out = []
    for key in sorted(model.tensors):
        kind = key.role.removesuffix(".down.weight")
        if key.tower == "text" and kind in ("mlp", "shared", "expert") and (experts is None or key.expert < experts):
            gated = replace(key, role=f"{kind}.gate.weight") in model.tensors
            block = Block(key.layer, key.expert, kind, model.tensors[key].shape[1], gated)
            fits = all(block.key(r) in model.tensors and model.tensors[block.key(r)].shape[0] == block.units for r in block.inner)
            if fits and (gated or plain):
                out.append(block)
    return out


def chosen_layers(layers: Iterable[int]) -> set[int]:
    """At most `LAYERS` of them, evenly spread."""
    at = sorted(set(layers))
    return {at[i] for i in np.linspace(0, len(at) - 1, min(LAYERS, len(at))).round().astype(int)}


def views_of(model: Canonical, block: Block, units: I64 | None, q_DE: F32 | None, features: Features) -> list[F32]:
    """[gate rows, up rows, down columns] of these units (all if None; no gate rows where there is no gate), each [M, D]. Raises InputError on NaN."""
    out: list[F32] = []
    for role in block.inner:
        key = block.key(role)
        x_MD = model.read(key, units)
        check_finite(model, key, x_MD)
        gain_D = features.gain(model, key)
        out.append(x_MD if gain_D is None else np.asarray(x_MD * gain_D, dtype=np.float32))
    key = block.key("down")
    if model.tensors[key].transposed:
        x_MD = model.read_columns(key, np.arange(block.units) if units is None else units)
    else:
        whole_DF = model.read(key)
        x_MD = whole_DF.T if units is None else np.ascontiguousarray(whole_DF[:, units].T)  # all of them are not copied
    check_finite(model, key, x_MD)
    out.append(x_MD)
    if q_DE is None:
        return out
    mapped: list[F32] = [x @ q_DE for x in out]
    return mapped


def router_rows(model: Canonical, layer: int, experts: Sequence[int], q_DE: F32 | None, features: Features) -> F32 | None:
    """The router's rows of some experts, folded and mapped, [E, D]; None where the layer has no router that speaks of all of them."""
    key = TensorKey("text", layer, "moe.router.weight")
    if key not in model.tensors or max(experts, default=0) >= model.tensors[key].shape[0]:
        return None
    x_ED = model.read(key, np.asarray(experts, dtype=np.int64))
    check_finite(model, key, x_ED)
    gain_D = features.gain(model, key)
    x_ED = x_ED if gain_D is None else np.asarray(x_ED * gain_D, dtype=np.float32)
    return x_ED if q_DE is None else np.asarray(x_ED @ q_DE, dtype=np.float32)


def likest(one_D: F32, all_ED: F32, most: int) -> list[int]:
    """The `most` rows with the greatest cosine with one, in their order."""
    cosine_E = (all_ED @ one_D) / np.maximum(np.linalg.norm(all_ED, axis=1), 1e-30)
    return sorted(np.argsort(-cosine_E, kind="stable")[:most].tolist())
