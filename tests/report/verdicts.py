"""Verdicts of many kinds, made by hand: what the presenters must be able to show."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from begat.alignment import AlignedCell, Alignment, LayerMatch, PairTest, RouteResult, ThreeViews
from begat.types import (
    Accounting,
    AxisResult,
    EqualityResult,
    MapCell,
    OrderTest,
    PartResult,
    PowerStatement,
    SideResult,
    TrainedState,
    Verdict,
)

ROLES = (
    "attn.norm.gain",
    "attn.q.weight",
    "attn.k.weight",
    "attn.v.weight",
    "attn.o.weight",
    "mlp.norm.gain",
    "mlp.gate.weight",
    "mlp.up.weight",
    "mlp.down.weight",
)
OUTSIDE = ("embed.tokens", "final.norm.gain", "head.weight")
TITLES = {
    "residual": "residual stream",
    "latent-dims": "latent dims (MLA)",
    "kv-heads": "KV heads",
    "value-dims": "value dims in a head",
    "experts": "routed experts",
    "mlp-units": "MLP units",
    "expert-units": "units inside experts",
    "chain-units": "hidden units of a layer chain",
}
NULL = (
    "The order of the hidden units of an MLP layer is drawn at initialisation, alike and independently of the other model "
    "and of the "
    "other layers, and training treats all units alike; so a sampled unit matches its own index with chance at most 1 in the "
    "sample."
)
ASSUMED = (
    "Assumed: training treated all units of an axis alike. Optimisers that depend on the index (8-bit block-wise states, sharded "
    "random numbers) or weights initialised by index break this."
)
TWINS = (
    "The order of units is drawn at initialisation: two models trained apart from the same initial weights share it too. The "
    "test says "
    "they are not independent; it does not say which came first."
)
BESIDE = (
    SideResult(
        "std-correlation",
        "correlation of per-layer standard deviations (the 0.927 of the Pangu dispute)",
        0.941,
        "arXiv 2507.03014, withdrawn 2026",
        "Depth trends are common to all trained transformers, so independent models of one recipe "
        "correlate too; it has no null and no error rate.",
    ),
    SideResult(
        "gain-cosine",
        "raw cosine of norm gains (the 0.989 of the Solar dispute)",
        0.9872,
        "sionic-ai/solar-vs-glm, retracted 2026",
        "Norm gains are positive and nearly constant, so strangers reach 0.9 and more; centred, the same pair had 0.01.",
    ),
)


def order_tests(
    axis: str, layers: range, m: int, hits: Callable[[int], int], tower: str = "text", experts: int = 0
) -> tuple[OrderTest, ...]:
    where = [(layer, e) for layer in layers for e in (range(experts) if experts else (-1,))]
    return tuple(OrderTest(axis, tower, layer, e, m, hits(layer), 0.0156, 4096) for layer, e in where)


def log10_e_of(hits: int, tests: int) -> float:
    """About what an e-value of so many hits is; presenters only copy it, so it need not be exact."""
    return round((hits * math.log(hits / tests) - hits + tests) / math.log(10) - 1, 3) if hits > tests else -0.5


def axis_of(tests: tuple[OrderTest, ...]) -> AxisResult:
    name, title = tests[0].axis, TITLES[tests[0].axis]
    shown = (max(tests, key=lambda t: t.hits),) if name == "residual" else tests
    hits, m, n = sum(t.hits for t in shown), sum(t.m for t in shown), len(shown)
    log10_e = log10_e_of(hits, n)
    return AxisResult(name, title, tests, m, hits, float(n), log10_e, min(0.0, -log10_e - 1) if log10_e > 0 else 0.0, NULL)


def absent(name: str, reason: str) -> AxisResult:
    return AxisResult(name, TITLES[name], (), 0, 0, 0.0, None, None, NULL, reason)


def cell(tower: str, layer: int, role: str, cosine: float, expert: int = -1, identical: bool = False) -> MapCell:
    cosine = 1.0 if identical else cosine
    change = 0.0 if identical else (2 - 2 * cosine) ** 0.5
    return MapCell(
        tower, layer, role, expert, cosine, cosine * cosine, round(cosine, 4), change, 0.02, 0.021, identical, 16384, 4 << 20
    )


def cells_of(
    layers: range,
    cosine: Callable[[int, str], float],
    same: Callable[[int], bool] = lambda _: False,
    tower: str = "text",
    roles: tuple[str, ...] = ROLES,
    outside: tuple[str, ...] = OUTSIDE,
) -> list[MapCell]:
    out = [cell(tower, layer, role, cosine(layer, role), identical=same(layer)) for layer in layers for role in roles]
    return out + [cell(tower, -1, role, cosine(0, role)) for role in outside]


def account(path: str, **changes: Any) -> Accounting:
    values: dict[str, Any] = {
        "path": path,
        "format": "safetensors",
        "family": "llama",
        "stored": 147,
        "parameters": 1_235_814_400,
        "mapped": 146,
        "dropped": (("rotary_emb.inv_freq", "computed from the config, not learned"),),
        "unmapped": (),
        "only_here": (),
        "files": ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        "header_digest": "3f" * 32,
    }
    return Accounting(**{**values, **changes})


def verdict_of(name: str, sentence: str, axes: tuple[AxisResult, ...], **changes: Any) -> Verdict:
    ran = [x for x in axes if x.log10_e is not None]
    a, b = changes.pop("a", "models/meadow-1b"), changes.pop("b", "models/heron-1b-chat")
    replay = {
        "tool": "begat",
        "version": "0.1.0",
        "public_seed": "begat order test, version 1",
        "seed": "8c1f0e5d2b6a4973a0e4d21f5b7c9860",
        "nonce": "",
        "map": "auto",
        "published": False,
        "align": True,
        "base": None,
        "a": {"path": a, "header_digest": "3f" * 32, "sample_digest": "5c" * 32, "bytes": 2_471_645_608},
        "b": {"path": b, "header_digest": "a7" * 32, "sample_digest": "0d" * 32, "bytes": 2_471_645_608},
        "rounds": 1,
    }
    values: dict[str, Any] = {
        "verdict": name,
        "sentence": sentence,
        "a": a,
        "b": b,
        "log10_e": sum(x.log10_e for x in ran if x.log10_e is not None) if ran else None,
        "log10_p": min(x.log10_p for x in ran if x.log10_p is not None) if ran else None,
        "direction": "undetermined",
        "direction_why": "an order shared by two models carries no arrow",
        "kind": "",
        "axes": axes,
        "parts": (),
        "cells": (),
        "map_mode": "sampled",
        "equality": None,
        "trained": None,
        "beside": BESIDE,
        "power": None,
        "accounting": (account(a), account(b, header_digest="a7" * 32)),
        "caveats": (ASSUMED,),
        "bytes_read": 31_457_280,
        "bytes_total": 4_943_291_216,
        "seconds": 0.4183,
        "replay": replay,
        "alignment": None,
        "signs": (),
    }
    return Verdict(**{**values, **changes})


def part(
    layer: int, status: str, hits: int, sampled: int, cosine: float | None, tower: str = "text", why: str = ""
) -> PartResult:
    whys = {
        "dependent": "units sit at the same index",
        "no-evidence": "units match no better than chance",
        "undetermined": "norm gains agree, units do not: the units may have been reordered",
        "not-tested": "no symmetric axis in common",
    }
    name = f"layer {layer}" if layer >= 0 else "embedding"
    name = name if tower == "text" else f"{tower} {name}"
    return PartResult(name, tower, layer, status, hits * 1.1, hits, sampled, cosine, why or whys[status])


def power(cosine: float = 0.08) -> PowerStatement:
    return PowerStatement(
        "mlp-units",
        cosine,
        0.99,
        6.0,
        f"Had the MLP units of one kept a mean cosine of {cosine:.2f} or more with the other's, "
        "in the same order, this would have been seen with probability 0.99.",
    )


MISSING = (
    absent("latent-dims", "A has none"),
    absent("experts", "A has none"),
    absent("expert-units", "A has none"),
    absent("chain-units", "A has none"),
)


def derived() -> Verdict:
    """A 16-layer Llama and its fine-tune: 64 of 64 in every layer."""
    rng, layers = random.Random(1), range(16)
    axes = (
        axis_of(
            order_tests("residual", range(-1, 0), 256, lambda _: 256) + order_tests("residual", range(-1, 0), 256, lambda _: 231)
        ),
        axis_of(order_tests("kv-heads", layers, 8, lambda _: 8)),
        axis_of(order_tests("value-dims", layers, 32, lambda _: 32)),
        axis_of(order_tests("mlp-units", layers, 64, lambda _: 64)),
        *MISSING,
    )
    return verdict_of(
        "derived",
        "“meadow-1b” and “heron-1b-chat” share trained weights: 1,920 of 1,920 sampled units sit at the same index, where chance "
        "explains about 49 (probability below 10^-1820), and training shaped both alike: their norm gains, which all start from one value, "
        "correlate at 0.97, where those of models grown apart from the same initial weights and trained as far correlate at most at 0.64. "
        "One was made from the other, or both from a common trained ancestor.",
        axes,
        parts=(*(part(i, "dependent", 104, 104, 0.97 - 0.004 * i) for i in layers), part(-1, "dependent", 231, 256, 0.995)),
        cells=tuple(cells_of(layers, lambda i, r: 0.998 - 0.004 * i - rng.random() * (0.12 if "mlp" in r and i > 9 else 0.02))),
        power=power(),
        caveats=(ASSUMED,),
        trained=TrainedState(
            "trained",
            "more of what training added is shared than twins of one initialisation share",
            0.984,
            0.97,
            2.31,
            2.46,
            0.02,
            112,
            120,
            0.142,
            0.641,
            ranks=0.96,
            moved_a=0.112,
            moved_b=0.118,
            starts=9,
            relative_gains=0.76,
        ),
        equality=EqualityResult("different", False, 4_718_592, 0.0, "", "", ()),
    )


def twins() -> Verdict:
    """Two models grown apart from the same initial weights."""
    layers = range(16)
    return verdict_of(
        "shared-initialisation",
        "“meadow-1b” and “heron-1b” started from the same initial weights and were trained apart: 1,010 of 1,024 sampled units sit at "
        "the same index, where chance explains about 16 (probability below 10^-900), but training shaped them apart: their norm gains "
        "correlate at 0.40, where those of relatives trained as far correlate at least at 0.76.",
        (axis_of(order_tests("mlp-units", layers, 64, lambda i: 63 + i % 2)), *MISSING),
        parts=tuple(part(i, "dependent", 63, 64, 0.55) for i in layers),
        cells=tuple(cells_of(layers, lambda i, r: 0.6 - 0.01 * i)),
        trained=TrainedState(
            "initial",
            "less of what training added is shared than relatives share that were trained about as far",
            -0.21,
            0.4,
            2.31,
            2.2,
            0.02,
            112,
            120,
            0.142,
            0.641,
            ranks=0.42,
            moved_a=0.112,
            moved_b=0.118,
            starts=9,
            relative_gains=0.76,
        ),
    )


def no_evidence() -> Verdict:
    """Strangers of one architecture."""
    rng, layers = random.Random(2), range(16)
    poisson = (0, 1, 0, 2, 1, 1, 0, 3, 1, 0, 2, 1, 0, 1, 4, 1)
    axes = (
        axis_of(
            order_tests("residual", range(-1, 0), 256, lambda _: 1) + order_tests("residual", range(-1, 0), 256, lambda _: 2)
        ),
        axis_of(order_tests("kv-heads", layers, 8, lambda i: poisson[-1 - i] % 3)),
        axis_of(order_tests("value-dims", layers, 32, lambda i: poisson[(i * 5) % 16])),
        axis_of(order_tests("mlp-units", layers, 64, lambda i: poisson[i])),
        *MISSING,
    )
    return verdict_of(
        "no-evidence",
        "No evidence that “meadow-1b” and “stranger-1b” share weights: 51 of 1,920 sampled units sit at the same index, "
        "where chance explains "
        "about 49. " + power().sentence,
        axes,
        b="models/stranger-1b",
        direction_why="no dependence was found",
        parts=(*(part(i, "no-evidence", poisson[i] + 1, 104, 0.01) for i in layers), part(-1, "no-evidence", 1, 256, 0.02)),
        cells=tuple(cells_of(layers, lambda i, r: rng.gauss(0.0, 0.02))),
        power=power(),
    )


def partly() -> Verdict:
    """Half of the layers inherited, four frozen, one reordered, one without a test; a role that only B has."""
    rng, layers = random.Random(3), range(24)
    poisson = (0, 1, 0, 2, 1, 1, 0, 3, 1, 0, 2, 1, 0, 1, 4, 1)
    status = ["dependent"] * 12 + ["undetermined", "not-tested"] + ["no-evidence"] * 10
    axes = (
        axis_of(order_tests("residual", range(-1, 0), 256, lambda _: 128)),
        axis_of(order_tests("mlp-units", layers, 64, lambda i: 64 - i if i < 12 else poisson[i % 16])),
        absent("kv-heads", "A and B have none of equal shape"),
        absent("value-dims", "B: one value head per layer"),
        *MISSING,
    )
    cells = cells_of(
        layers, lambda i, r: (0.99 - 0.03 * i - 0.05 * rng.random()) if i < 12 else rng.gauss(0, 0.03), lambda i: i < 4
    )
    cells = [c for c in cells if not (c.layer == 13 or (c.role == "attn.k.weight" and c.layer > 17))]
    only = tuple(f"layer {i} · attn.k.weight" for i in range(18, 24))
    return verdict_of(
        "partly-derived",
        "Parts of “meadow-1b” and “mosaic” were not made independently: 839 of 1,792 sampled units sit at the same index, "
        "where chance explains "
        "about 25 (probability below 10^-690). The dependence is in layers 0–11; layers 14–23 show none.",
        axes,
        b="models/mosaic",
        parts=(
            *(
                part(
                    i,
                    s,
                    64 - i if i < 12 else 1,
                    0 if s == "not-tested" else 64,
                    None if s == "not-tested" else 0.9 if i < 12 else 0.01,
                )
                for i, s in enumerate(status)
            ),
            part(-1, "dependent", 128, 256, 0.7),
        ),
        cells=tuple(cells),
        map_mode="full",
        accounting=(account("models/meadow-1b"), account("models/mosaic", only_here=only)),
        caveats=(TWINS, ASSUMED),
        power=power(0.11),
        equality=EqualityResult("different", True, 1_235_814_400, 0.1667, "", "", ()),
    )


def identical() -> Verdict:
    """A copy under another name."""
    v = derived()
    cells = tuple(cells_of(range(16), lambda i, r: 1.0, lambda i: True, outside=())) + tuple(
        cell("text", -1, r, 1.0, identical=True) for r in OUTSIDE
    )
    return verdict_of(
        "identical",
        "“heron-1b-chat” holds the same weights as “meadow-1b”: all 1,235,814,400 stored values are equal.",
        v.axes,
        parts=v.parts,
        cells=cells,
        map_mode="full",
        direction_why="identical weights carry no arrow",
        kind="copy",
        equality=EqualityResult("identical", True, 1_235_814_400, 1.0, "", "", ()),
        bytes_read=4_943_291_216,
        seconds=7.31,
    )


def reencoded() -> Verdict:
    """A 4-bit quantisation."""
    rng, v = random.Random(4), derived()
    return verdict_of(
        "re-encoded",
        "“meadow-1b-Q4_K” holds the weights of “meadow-1b”, re-encoded: 99.97% of the compared values are “meadow-1b”'s values "
        "rounded to Q4_K, runs of 32.",
        v.axes,
        b="models/meadow-1b-Q4_K.gguf",
        parts=v.parts,
        direction="A → B",
        direction_why="B's values lie on a coarser grid, onto which A's values round",
        kind="quantised or converted copy",
        cells=tuple(cells_of(range(16), lambda i, r: 1.0 if "norm" in r else 0.995 - 0.002 * rng.random())),
        equality=EqualityResult("on-grid", False, 2_359_296, 0.9997, "Q4_K, runs of 32", "B", ("layer 3 · attn.v.weight",)),
        caveats=("Grid equality was checked on sampled rows of every matrix (2,359,296 values).", ASSUMED),
        beside=(),
    )


def cannot_test() -> Verdict:
    """An adapter without its base: nothing ran, nothing was compared."""
    axes = ()
    return verdict_of(
        "cannot-test",
        "“meadow-1b” and “adapter” could not be tested: B is an adapter without its base model; name the base with --base.",
        axes,
        b="models/adapter",
        direction_why="nothing was tested",
        map_mode="none",
        beside=(),
        caveats=(),
        accounting=None,
        bytes_read=0,
        seconds=0.02,
        log10_e=None,
        log10_p=None,
    )


def too_small() -> Verdict:
    """Axes are there, none could run."""
    axes = tuple(absent(n, "A and B have none of equal shape" if n == "mlp-units" else "A has none") for n in TITLES)
    return verdict_of(
        "cannot-test",
        "“meadow-1b” and “tiny” could not be tested: A and B have none of equal shape.",
        axes,
        parts=tuple(part(i, "not-tested", 0, 0, None) for i in range(2)),
        beside=(
            SideResult(
                "std-correlation",
                "correlation of per-layer standard deviations",
                None,
                "arXiv 2507.03014",
                "No null.",
                "needs Q, K, V and O in at least three layers",
            ),
        ),
    )


def mixture(layers: int = 27, experts: int = 2) -> Verdict:
    """A mixture of experts with a dense first layer, routing groups and shared experts."""
    rng, every = random.Random(5), range(layers)
    axes = (
        axis_of(order_tests("residual", range(-1, 0), 256, lambda _: 250)),
        axis_of(order_tests("latent-dims", every, 64, lambda i: 64 - i % 5)),
        axis_of(order_tests("experts", range(1, layers), 8, lambda i: 8 - i % 2, experts=4)),
        axis_of(order_tests("mlp-units", every, 64, lambda i: 60 - i % 9)),
        axis_of(order_tests("expert-units", range(1, layers), 64, lambda i: 58 - i % 7, experts=2)),
        absent("kv-heads", "A: heads share one latent"),
        absent("value-dims", "A: heads share one latent"),
        absent("chain-units", "A has none"),
    )
    attention = (
        "attn.norm.gain",
        "attn.q_a.weight",
        "attn.q_a_norm.gain",
        "attn.q_b.weight",
        "attn.kv_a.weight",
        "attn.kv_a_norm.gain",
        "attn.kv_b.weight",
        "attn.o.weight",
        "mlp.norm.gain",
    )
    dense = ("mlp.gate.weight", "mlp.up.weight", "mlp.down.weight")
    sparse = ("moe.router.weight", "moe.router.bias", "shared.gate.weight", "shared.up.weight", "shared.down.weight")
    inner = ("expert.gate.weight", "expert.up.weight", "expert.down.weight")
    cells = cells_of(every, lambda i, r: 0.96 - 0.2 * rng.random(), roles=attention)
    cells += cells_of(range(1), lambda i, r: 0.97, roles=dense, outside=()) + cells_of(
        range(1, layers), lambda i, r: 0.9 - 0.3 * rng.random(), roles=sparse, outside=()
    )
    cells += [
        cell("text", i, r, 0.95 if rng.random() < 0.9 else 0.1, e)
        for i in range(1, layers)
        for e in range(experts)
        for r in inner
    ]
    return verdict_of(
        "derived-or-shared-initialisation",
        "“meadow-moe” and “heron-moe” were not made independently: 5,000 of 6,000 sampled units sit at the same "
        "index, where chance explains about 200 (probability below 10^-9000).",
        axes,
        a="models/meadow-moe",
        b="models/heron-moe",
        parts=tuple(part(i, "dependent", 180, 200, 0.9) for i in every),
        cells=tuple(cells),
        power=power(0.05),
        caveats=(TWINS, ASSUMED, "A: 2 tensors have names begat does not know and were not compared (listed below)."),
        accounting=(
            account(
                "models/meadow-moe",
                family="deepseek",
                unmapped=("mtp.0.eh_proj.weight", "mtp.0.hnorm.weight", "extra.a", "extra.b"),
            ),
            account("models/heron-moe", family="deepseek"),
        ),
    )


def towers() -> Verdict:
    """A vision tower taken over unchanged on a language model of its own."""
    rng = random.Random(6)
    axes = (
        axis_of(
            order_tests("residual", range(-1, 0), 256, lambda _: 256, "vision")
            + order_tests("residual", range(-1, 0), 256, lambda _: 1)
        ),
        axis_of(
            order_tests("mlp-units", range(12), 64, lambda i: 64, "vision")
            + order_tests("mlp-units", range(28), 64, lambda i: i % 3)
        ),
        *MISSING,
    )
    cells = cells_of(
        range(12), lambda i, r: 1.0, lambda i: True, "vision", ROLES[:5] + ROLES[5:6] + ROLES[7:], ("embed.patch.weight",)
    )
    cells += cells_of(range(28), lambda i, r: rng.gauss(0, 0.02))
    return verdict_of(
        "partly-derived",
        "Parts of “meadow-vl” and “heron-vl” were not made independently: 1,052 of 3,072 sampled units sit at the same index, "
        "where chance explains about 41 (probability below 10^-950). The dependence is in vision layers 0–11; layers 0–27 "
        "show none.",
        axes,
        a="models/meadow-vl",
        b="models/heron-vl",
        cells=tuple(cells),
        parts=(
            *(part(i, "no-evidence", i % 3, 64, 0.01) for i in range(28)),
            *(part(i, "dependent", 64, 64, 1.0, "vision") for i in range(12)),
        ),
    )


def chains() -> Verdict:
    """Many small towers, as in a neural potential."""
    names = [f"{e} net {i}" for i in range(3) for e in ("H", "C", "N", "O")]
    tests = tuple(t for n in names for t in order_tests("chain-units", range(3), 64, lambda i: 64 - 9 * i, n))
    cells = [
        c
        for n in names
        for c in cells_of(range(4), lambda i, r: 0.9 - 0.2 * i, tower=n, roles=("chain.weight", "chain.bias"), outside=())
    ]
    return verdict_of(
        "derived-or-shared-initialisation",
        "“ani-a” and “ani-b” were not made independently: 1,980 of 2,304 sampled units sit at the "
        "same index, where chance explains about 36.",
        (axis_of(tests),),
        a="models/ani-a",
        b="models/ani-b",
        cells=tuple(cells),
        parts=tuple(part(i, "dependent", 60, 64, 0.8, n) for n in names for i in range(3)),
    )


EVIL = "<script>alert(1)</script>\"' onload=x\u202egnp.exe\nline two\r\x1b[31mred\x07\x9b2J\x7f & {{ 7*7 }} \ud800</style>]]>"


def hostile() -> Verdict:
    """Every word that can come from a model folder is an attack."""
    why = f"A: {EVIL}"
    axes = (
        axis_of(order_tests("mlp-units", range(4), 64, lambda i: 64, EVIL)),
        absent("kv-heads", why),
        absent("value-dims", why),
    )
    evil = account(
        EVIL,
        format=EVIL,
        family=EVIL,
        dropped=((EVIL, why),),
        unmapped=(EVIL,) * 5,
        only_here=(EVIL, f"layer 1 · {EVIL}"),
        files=(EVIL,),
        header_digest=EVIL,
    )
    replay = {
        "tool": "begat",
        "version": "0.1.0",
        "public_seed": EVIL,
        "seed": EVIL,
        "nonce": EVIL,
        "map": "full",
        "published": True,
        "align": False,
        "base": EVIL,
        "a": {"path": EVIL, "header_digest": EVIL, "sample_digest": EVIL, "bytes": 1},
        "b": {"path": EVIL, "header_digest": EVIL, "sample_digest": EVIL, "bytes": 1},
        "rounds": 8,
    }
    return verdict_of(
        "re-encoded",
        f"“{EVIL}” holds the weights of “{EVIL}”.",
        axes,
        a=f"-x/{EVIL}",
        b=EVIL,
        direction_why=why,
        kind=EVIL,
        signs=(EVIL, why),
        parts=(part(0, "dependent", 64, 64, 0.5, EVIL, why), part(-1, "not-tested", 0, 0, None, EVIL, why)),
        cells=(cell(EVIL, 0, "mlp.up.weight", 0.5), cell(EVIL, -1, EVIL, 0.5), cell(EVIL, 1, EVIL, -0.2)),
        map_mode="full",
        equality=EqualityResult("on-grid", False, 10, 0.999, EVIL, "B", (EVIL,)),
        trained=TrainedState("unknown", EVIL, None, None, None, None, None, 0, 1, 0.6, 0.5),
        beside=(SideResult(EVIL, EVIL, 0.5, EVIL, EVIL), SideResult(EVIL, EVIL, None, EVIL, EVIL, EVIL)),
        power=PowerStatement("mlp-units", None, 0.99, 6.0, EVIL),
        accounting=(evil, evil),
        caveats=(EVIL, why),
        replay=replay,
    )


def disguised() -> Verdict:
    """Units, heads and the residual stream behind a disguise: nothing exact is left, three views agree."""
    routes = (
        RouteResult(
            "same-basis",
            "layers and experts searched",
            "",
            NULL,
            (),
            None,
            "equal depth and kind: the plain order test has done it",
        ),
        RouteResult(
            "embedding",
            "aligned on shared tokens",
            "the embeddings of 256 tokens",
            NULL,
            (PairTest("mlp-units", 0, -1, 0, -1, 64, 1),),
            -0.8,
        ),
    )
    layers = tuple(LayerMatch(i, i, "three views", None, 0.9 - 0.1 * i) for i in range(4))
    cells = tuple(AlignedCell(i, i, role, 0.5 - 0.1 * i, 0.04) for i in range(4) for role in ("mlp.gate", "attn.q"))
    views = ThreeViews(820, 1024, 820 / 1024, 3240, 0.021, 0.01, 1 / 3241, True, "the embeddings of 256 tokens")
    return verdict_of(
        "derived-or-shared-initialisation",
        "“a” and “b” look made from one another behind a disguise.",
        (axis_of(order_tests("mlp-units", range(4), 64, lambda _: 1)),),
        alignment=Alignment("the order tests at equal index found nothing", routes, -0.9, views, layers, cells),
    )


def reshaped() -> Verdict:
    """A deeper child: layers found by a search; a hostile word wherever a word may stand."""
    tests = tuple(
        PairTest("mlp-units", a, -1, b, -1, 64, 60 if a == held else 1)
        for b, held in enumerate((0, 1, 2, 1, 2, 3))
        for a in range(4)
    )
    routes = (RouteResult(EVIL, EVIL, EVIL, EVIL, tests, 400.0), RouteResult(EVIL, EVIL, EVIL, EVIL, (), None, EVIL))
    layers = tuple(LayerMatch(b, a, EVIL, 90.0, 60 / 64) for b, a in enumerate((0, 1, 2, 1, 2, 3)))
    cells = (AlignedCell(1, 3, EVIL, 0.5, 0.04),)
    views = ThreeViews(0, 0, 0.0, 3240, 0.021, 0.0, 1.0, False, EVIL, EVIL)
    return verdict_of(
        "derived-or-shared-initialisation", "“a” and “b” were not made independently.", (axis_of(order_tests("mlp-units", range(4), 64, lambda _: 1)),),
        alignment=Alignment(EVIL, routes, 399.0, views, layers, cells),
    )  # fmt: skip


VERDICTS: dict[str, Callable[[], Verdict]] = {
    f.__name__: f
    for f in (
        derived,
        twins,
        no_evidence,
        partly,
        identical,
        reencoded,
        cannot_test,
        too_small,
        mixture,
        towers,
        chains,
        hostile,
        disguised,
        reshaped,
    )
}
