"""A model as the published methods see it: canonical weights by role, token strings, and what a forward pass leaves.

Enters: a checkpoint folder or file, and probe token ids for methods that run it.  Leaves: a `Model`.  Weights come through begat's public
API; forward passes through `begat_lab.models` (`trace.py`), loaded only when a method asks.  Nothing here is part of a method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import begat
from begat import source
from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.errors import InputError
from begat.signals.published import Summaries
from begat.source import Vocabulary, read_vocabulary
from begat.types import F64, I64, TensorKey
from begat_lab.methods.trace import Trace, run_trace

# Shape suffixes: W_OD is a matrix [O, D].
#   L layers    D residual width    V tokens    S shared tokens    N probe sentences    T positions    O any output axis
T = TypeVar("T")
ATTENTION = ("attn.q.weight", "attn.k.weight", "attn.v.weight", "attn.o.weight")


class NotFiniteError(ValueError):
    """A tensor holds infinities or NaN; `Method.score` makes a reason of it."""


class Model:
    """One model. Weights are read when asked for and not kept."""

    def __init__(self, canonical: Canonical, probe_NT: I64 | None = None) -> None:
        """`probe_NT`: token ids of N sentences, equally long, which forward methods run."""
        self.canonical = canonical
        self.path: Path = canonical.checkpoint.path
        self.probe_NT = probe_NT
        self._once: dict[str, Any] = {}

    @cached_property
    def layers(self) -> int:
        """L, layers of the text tower."""
        return 1 + max((k.layer for k in self.canonical.tensors if k.tower == "text"), default=-1)

    def shape(self, role: str, layer: int = -1) -> tuple[int, ...] | None:
        """Canonical shape of a tensor of the text tower; None when there is none."""
        t = self.canonical.tensors.get(TensorKey("text", layer, role))
        return None if t is None else t.shape

    def shapes(self, roles: tuple[str, ...]) -> tuple[tuple[int, ...] | None, ...]:
        """Shapes of these roles over all layers, to compare two models by."""
        return tuple(self.shape(role, layer) for layer in range(self.layers) for role in roles)

    def has(self, roles: tuple[str, ...]) -> bool:
        """There are layers, and all of them have all these roles."""
        return self.layers > 0 and all(s is not None for s in self.shapes(roles))

    def weight(self, role: str, layer: int = -1) -> F64:
        """A tensor of the text tower, float64, [out, in]."""
        return self.read(TensorKey("text", layer, role))

    def read(self, key: TensorKey) -> F64:
        """Any canonical tensor, float64."""
        out = self.canonical.read(key).astype(np.float64)
        if not np.isfinite(out).all():
            raise NotFiniteError(f"{key} of {self.path.name} holds values that are not finite")
        return out

    def per_query_head(self, role: str, layer: int) -> F64:
        """Key or value rows, each KV head repeated for the query heads it serves, so that rows pair with those of q (columns of o)."""
        w_OD, (kv_heads, times) = self.weight(role, layer), self._grouping
        return np.repeat(w_OD.reshape(kv_heads, -1, w_OD.shape[1]), times, axis=0).reshape(-1, w_OD.shape[1])

    @property
    def _grouping(self) -> tuple[int, int]:
        """KV heads, and how many query heads each serves; (1, 1) when that is unknown."""
        g = self.canonical.geometry["text"]
        return (g.kv_heads, g.heads // g.kv_heads) if g.heads and g.kv_heads else (1, 1)

    @cached_property
    def misfit(self) -> str:
        """Why attention products in token space cannot be formed: Q, K, V or O is missing or does not fit; "" when all fit."""
        if not self.has(ATTENTION):
            return "needs Q, K, V and O in every layer"
        kv_heads, times = self._grouping
        table = self.shape("embed.tokens")
        for layer in range(self.layers):
            q, k, v, o = (self.shape(role, layer) or () for role in ATTENTION)
            widths = {q[1], k[1], v[1], o[0]} | ({table[1]} if table else set())
            if len(widths) > 1 or (k[0] * times, v[0] * times) != (q[0], o[1]) or k[0] % kv_heads or v[0] % kv_heads:
                return f"layer {layer}: Q, K, V, O and the embedding do not fit one residual width and the known head counts"
        return ""

    @cached_property
    def layer_matrices(self) -> Mapping[TensorKey, tuple[int, ...]]:
        """Matrices of the text tower's layers by key, with their shapes."""
        return {k: t.shape for k, t in self.canonical.tensors.items() if k.tower == "text" and k.layer >= 0 and len(t.shape) == 2}

    @cached_property
    def gains(self) -> Mapping[TensorKey, F64]:
        """Norm gains of the text tower by key."""
        keys = [k for k in sorted(self.canonical.tensors) if k.tower == "text" and k.role.endswith("norm.gain")]
        return {k: self.read(k) for k in keys}

    @cached_property
    def summaries(self) -> Summaries:
        """What begat's own published statistics look at."""
        sd = {r: np.array([self.weight(r, i).std() for i in range(self.layers) if self.shape(r, i)]) for r in ATTENTION}
        gains = list(self.gains.values())
        return Summaries({r: v for r, v in sd.items() if len(v)}, np.concatenate(gains) if gains else np.zeros(0))

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """Which row of the embedding stands for which string; None when the model has no tokenizer."""
        return read_vocabulary(self.path)

    @cached_property
    def can_run(self) -> bool:
        """A forward pass is possible."""
        return self.why_not_run == ""

    @cached_property
    def why_not_run(self) -> str:
        """Why no forward pass is possible, "" when it is."""
        if self.probe_NT is None:
            return "needs a forward pass, and no probe tokens were given"
        return self._trace if isinstance(self._trace, str) else ""

    @property
    def trace(self) -> Trace:
        """What the probe left; only where `can_run`."""
        assert not isinstance(self._trace, str)
        return self._trace

    @cached_property
    def _trace(self) -> Trace | str:
        assert self.probe_NT is not None
        return run_trace(self.path, self.probe_NT)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """An intermediate result of a method that this model alone decides: made when first asked for, then kept."""
        if name not in self._once:
            self._once[name] = make()
        out: T = self._once[name]
        return out

    def close(self) -> None:
        """Close the files."""
        self.canonical.checkpoint.reader.close()


def open_model(path: Path, probe_NT: I64 | None = None) -> Model:
    """Open a checkpoint as the methods see it.

    Raises:
        InputError: unreadable or damaged input.
    """
    return Model(resolve(begat.open_checkpoint(path)), probe_NT)


def shared_tokens(a: Model, b: Model) -> tuple[I64, I64] | str:
    """Ids in A and in B of the tokens both know by the same string, in the order of A's ids; as text, why there are none.

    Without a tokenizer on either side, equally many rows are taken for the same tokens.
    """
    sizes = [m.shape("embed.tokens") for m in (a, b)]
    if sizes[0] is None or sizes[1] is None:
        return "needs token embeddings"
    try:
        va, vb = a.vocabulary, b.vocabulary
    except InputError as error:
        return f"the tokenizer cannot be read: {error}"
    if va is None or vb is None:
        if va is not vb or sizes[0][0] != sizes[1][0]:
            return "which tokens the two share is unknown: no tokenizer"
        shared = source.same_rows(sizes[0][0])
    else:
        shared = source.shared_tokens(va, vb, sizes[0][0], sizes[1][0])
    return (shared.ids_a, shared.ids_b) if shared.count else "no token in common"
