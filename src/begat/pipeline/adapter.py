"""Which of several candidate bases was an adapter trained on?

Enters: an adapter folder opened without its base, opened candidate bases.  Leaves: a `Decomposition` of method "adapter".  Numbers: `begat.signals.adapter`.

Shapes rule bases out; the permutation test rules one in. The name in adapter_config.json decides nothing. An adapter fits every relative of its base nearly
as well as its base: relatives share the order of their units.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.errors import InputError, printable
from begat.pipeline.sampling import generator
from begat.recipes import BaseMatch, Decomposition
from begat.signals.adapter import SHUFFLES, OrderLean, lean, unit_parts, value_parts
from begat.types import F64, Checkpoint, TensorKey

_LORA = re.compile(r"^(?:base_model\.)?(?:model\.)?(?P<module>.*)\.lora_(?P<part>[AB])(?:\.[^.]+)?\.weight$")
_LN10 = 2.302585092994046
#: units of a layer, rows of down, and layers looked at
_UNITS, _ROWS, _LAYERS = 384, 256, 16
#: log10 of the e-value from which a base fits, after paying for the number of candidates
FITS = 3.0
_UNTESTED = "the adapter changes no layer whose units or value dims can be tested"

Factors = dict[str, dict[str, str]]


def match_adapter(
    adapter: Checkpoint, bases: list[Checkpoint], base: Checkpoint | None, nonce: str, start: float
) -> Decomposition:
    """Compare the adapter with every candidate."""
    from begat.pipeline.decompose import replay, seed_of

    if base is not None:
        raise InputError(
            "an adapter is matched with candidate bases alone",
            file=adapter.path,
            fix="name the candidates with --parents, drop --base",
        )
    factors = _factors(adapter)
    if not factors:
        raise InputError("adapter holds no LoRA factors", file=adapter.path, expected="….lora_A.weight and ….lora_B.weight",
                         found=", ".join(list(adapter.entries)[:2]), fix="give a LoRA adapter")  # fmt: skip
    everyone = [adapter, *bases]
    seed = seed_of(everyone, nonce)
    found = tuple(_match(adapter, factors, resolve(b), i, len(bases), seed) for i, b in enumerate(bases))
    tested = any(m.why != _UNTESTED for m in found)
    return Decomposition(
        child=printable(adapter.path, 400), parents=tuple(printable(b.path, 400) for b in bases), base=None,
        method="adapter" if tested else "cannot-test",
        sentence=_sentence(found, [printable(b.path.name) for b in bases], printable(adapter.path.name), _ranks(adapter, factors)), form="plain",
        coefficients=(), spread=(), residual=0.0, condition=1.0, parts=(), low_rank=(), arc=None, sparse=None, adapter=found,
        matched=len(factors), unmatched=(), mode="sampled", caveats=(
            "An adapter fits relatives of its base (fine-tunes, earlier and later versions) nearly as well as the base itself.",
            "Assumed: training treated the units of a layer, and the value dims of a head, alike.",
        ), bytes_read=sum(c.reader.bytes_read for c in everyone), seconds=time.perf_counter() - start,
        replay=replay(everyone, seed, nonce, False, False),
    )  # fmt: skip


def _factors(adapter: Checkpoint) -> Factors:
    """Module name → {"A": entry name, "B": entry name}."""
    out: Factors = {}
    for name in adapter.entries:
        match = _LORA.match(name)
        if match:
            out.setdefault(match["module"], {})[match["part"]] = name
    return {m: f for m, f in out.items() if set(f) == {"A", "B"}}


def _ranks(adapter: Checkpoint, factors: Factors) -> str:
    ranks = sorted({adapter.entries[f["A"]].rows for f in factors.values()})
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"


def _sentence(found: tuple[BaseMatch, ...], names: list[str], adapter: str, ranks: str) -> str:
    if all(m.why == _UNTESTED for m in found):
        return f"The adapter “{adapter}” ({ranks}) could not be tested: it changes no layer whose units or value dims can be tested."
    fitting = sorted((m for m in found if m.fits), key=lambda m: -m.z)
    if not fitting:
        return f"None of the candidates is shown to be the base of the adapter “{adapter}” ({ranks})."
    best = fitting[0]
    others = ", ".join(f"“{names[m.parent]}”" for m in fitting[1:])
    rest = f"; {others} fit too, as relatives of one base do" if others else ""
    return f"The adapter “{adapter}” ({ranks}) was trained on “{names[best.parent]}” or a relative of it (e-value 10^{best.log10_e:.0f}){rest}."


@dataclass(frozen=True, slots=True)
class _Adapter:
    """The adapter's factors under the base's canonical keys."""

    checkpoint: Checkpoint
    at: dict[TensorKey, dict[str, str]]

    def get(self, key: TensorKey) -> tuple[F64, F64] | None:
        """(B [out, r], A [r, in])."""
        f = self.at.get(key)
        return (
            None
            if f is None
            else (self.checkpoint.read(f["B"]).astype(np.float64), self.checkpoint.read(f["A"]).astype(np.float64))
        )


def _match(adapter: Checkpoint, factors: Factors, base: Canonical, number: int, candidates: int, seed: int) -> BaseMatch:
    keys = {t.name: k for k, t in base.tensors.items()}
    at: dict[TensorKey, dict[str, str]] = {}
    for module, f in factors.items():
        name = next(
            (
                n
                for n in keys
                if n == module + ".weight" or n.endswith("." + module + ".weight") or (module + ".weight").endswith("." + n)
            ),
            None,
        )
        if name is None:
            return BaseMatch(number, False, 0.0, None, 0, f"the base has no tensor for {printable(module)}")
        shape = (adapter.entries[f["B"]].rows, adapter.entries[f["A"]].cols)
        if shape != base.tensors[keys[name]].shape:
            return BaseMatch(number, False, 0.0, None, 0, f"shapes differ: {printable(module)} is {list(shape)}, the base has "
                             f"{list(base.tensors[keys[name]].shape)}")  # fmt: skip
        at[keys[name]] = f
    tests = list(_tests(_Adapter(adapter, at), base, seed))
    if not tests:
        return BaseMatch(number, False, 0.0, None, 0, _UNTESTED)
    log10_e = sum(t.log_e for t in tests) / _LN10
    paid = log10_e - float(np.log10(candidates))
    z = sum(t.z for t in tests) / len(tests) ** 0.5
    why = (f"e-value 10^{log10_e:.1f} over {len(tests)} independent shuffles of units and value dims, {z:.1f} standard deviations from "
           "shuffled orders")  # fmt: skip
    return BaseMatch(number, paid >= FITS, z, log10_e, len(tests), why)


def _tests(adapter: _Adapter, base: Canonical, seed: int) -> Iterator[OrderLean]:
    layers = sorted({(k.tower, k.layer) for k in adapter.at if k.layer >= 0})
    pick = np.sort(generator(seed, "adapter layers").permutation(len(layers))[:_LAYERS])
    for tower, layer in (layers[i] for i in pick):
        yield from _units(adapter, base, tower, layer, seed)
        yield from _values(adapter, base, tower, layer, seed)


def _units(adapter: _Adapter, base: Canonical, tower: str, layer: int, seed: int) -> Iterator[OrderLean]:
    gate, up, down = (TensorKey(tower, layer, f"mlp.{n}.weight") for n in ("gate", "up", "down"))
    symmetric = tower in base.geometry and "mlp-units" in base.geometry[tower].symmetric
    if (
        not symmetric
        or not all(k in base.tensors for k in (gate, up, down))
        or not any(k in adapter.at for k in (gate, up, down))
    ):
        return
    rng = generator(seed, "adapter units", tower, layer)
    at = np.sort(rng.permutation(base.tensors[up].shape[0])[:_UNITS])
    rows = np.sort(rng.permutation(base.tensors[down].shape[0])[:_ROWS])
    weights = (
        base.read(gate, at).astype(np.float64),
        base.read(up, at).astype(np.float64),
        base.read(down, rows)[:, at].astype(np.float64),
    )
    factors = [None if (f := adapter.get(k)) is None else (f[0][at], f[1]) for k in (gate, up)]
    own_down = adapter.get(down)
    parts = unit_parts(factors[0], factors[1], None if own_down is None else (own_down[0][rows], own_down[1][:, at]), weights)
    if parts:
        yield lean(parts, [np.arange(len(at)), *(rng.permutation(len(at)) for _ in range(SHUFFLES))])


def _values(adapter: _Adapter, base: Canonical, tower: str, layer: int, seed: int) -> Iterator[OrderLean]:
    """One test a layer: value dims shuffled inside every head at once."""
    v, o = TensorKey(tower, layer, "attn.v.weight"), TensorKey(tower, layer, "attn.o.weight")
    g = base.geometry.get(tower)
    if (
        g is None
        or "value-dims" not in g.symmetric
        or v not in adapter.at
        or o not in base.tensors
        or not g.kv_heads
        or not g.value_dim
        or not g.heads
    ):
        return
    factors = adapter.get(v)
    assert factors is not None
    rng = generator(seed, "adapter values", tower, layer)
    rows = np.sort(rng.permutation(base.tensors[o].shape[0])[:_ROWS])
    # o's columns are query heads; those of one key/value head share its value dims
    out_DHV = base.read(o, rows).astype(np.float64).reshape(len(rows), g.kv_heads, g.heads // g.kv_heads, g.value_dim)
    out_NV = out_DHV.transpose(0, 2, 1, 3).reshape(-1, g.kv_heads * g.value_dim)
    orders = [np.arange(out_NV.shape[1])]
    starts = np.arange(g.kv_heads)[:, None] * g.value_dim
    for _ in range(SHUFFLES):
        orders.append((starts + np.stack([rng.permutation(g.value_dim) for _ in range(g.kv_heads)])).ravel())
    yield lean(value_parts(factors[0], out_NV), orders)
