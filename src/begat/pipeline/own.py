"""What one model's own weights say about its orders: fixed by the index, or tied to one another?

Enters: one canonical model and the sites that were tested.  Leaves: a pattern in words, or None.
The scores and their null: `begat.signals.ownorder`; samples of scattered units:
`begat.signals.indexed`; what is left out because of it: `by_index.py`.

Nothing here sees two models. Of every site the first units are read side by side, since what an
index fixes shows between neighbours and between layers, and is lost in scattered samples. How much
is read depends on what has to be seen: a pattern that makes half of all units match shows in 64
units of three layers; one that makes a few match in each of eighty layers needs them all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.sampling import read_view
from begat.signals.alike import log10_p_normal, row_ties
from begat.signals.axes import AXES, Site, View
from begat.signals.order import unit_rows
from begat.signals.ownorder import CERTAIN, Score, alike_scores, own_scores, shown
from begat.types import F32, TensorKey

#: sites and units of each that are read: where half of all units match, where few do, and for a
#: fingerprint, whose bits show no faint likeness
QUICK, FULL, SKETCH = (3, 64), (96, 512), (16, 64)
#: features that are read, and numbers of all sites together from which fewer units are read
_COLUMNS, _NUMBERS = 4096, 1 << 23
#: neighbouring rows of a table that show its columns, and key dims of a head
_TOKENS, _DIMS = 512, 4
#: rows that are held against the rows of other matrices, and MLPs that are
_ROWS, _MLPS = 512, 2
_NONE = np.empty(0, dtype=np.int64)
#: why nothing is read from tokens or from the units of a layer, in words
ONE_DRAW = (
    "in both models rows of unlike matrices at one index are alike, as if all tensors were drawn"
    " from one random key, so that no order is independent of another"
)


def fixed_by_index(model: Canonical, sites: Sequence[Site], effort: tuple[int, int] = FULL) -> Score | None:
    """The pattern that the units of these sites (one axis of one tower) follow, None without.

    Args:
        effort: how many sites, and units of each, are read at most: `QUICK`, `FULL` or `SKETCH`.
    """
    most, units = effort
    scores: list[Score] = []
    together: dict[tuple[int, int, int], list[F32]] = defaultdict(list)
    for group in _groups(model, sites):
        chosen = _consecutive(group, most)
        width = min(_COLUMNS, _width(model, chosen[0][1]))
        m = max(64, min(units, _NUMBERS // (len(chosen) * width)))
        m = min(m, chosen[0][0].units)
        blocks = [_read(model, view, m) for _, view in chosen]
        layers = [site.layer for site, _ in chosen]
        scores += own_scores(blocks, layers, one_order=max(layers) < 0)
        for (site, _), block in zip(chosen, blocks, strict=True):
            together[site.layer, site.expert, len(block)].append(block)
    scores += _side_by_side(together)
    for block in _vectors(model, sites, units):
        scores += own_scores([block], [-1])
    return shown(scores)


def _side_by_side(together: dict[tuple[int, int, int], list[F32]]) -> list[Score]:
    """Scores of sites with several matrices (gate and up) of one shape each."""
    kinds: dict[tuple[object, ...], list[tuple[int, F32]]] = defaultdict(list)
    for (layer, _, units), found in together.items():
        if len(found) > 1 and layer >= 0:
            kinds[units, *(x.shape[1] for x in found)].append((layer, np.concatenate(found, axis=1)))
    return [s for found in kinds.values() for s in alike_scores([x for _, x in found], [i for i, _ in found])]


def _groups(model: Canonical, sites: Sequence[Site]) -> Iterator[list[tuple[Site, View]]]:
    """Wide views of one kind, over sites of one size, each once."""
    out: dict[tuple[object, ...], dict[tuple[TensorKey, int], tuple[Site, View]]] = defaultdict(dict)
    for site in sorted(sites, key=lambda s: (s.layer, s.expert)):
        for view in site.views:
            if view.take != "elements":
                kind = (view.take, view.key.role, site.units, _width(model, view))
                out[kind][view.key, view.start] = (site, view)
    yield from (list(group.values()) for group in out.values())


def _consecutive(group: list[tuple[Site, View]], most: int) -> list[tuple[Site, View]]:
    """At most so many sites: the same number of every layer, of neighbouring layers."""
    by_layer: dict[int, list[tuple[Site, View]]] = defaultdict(list)
    for site, view in group:
        by_layer[site.layer].append((site, view))
    layers = sorted(by_layer)
    first = max(0, (len(layers) - most) // 2)
    layers = layers[first : first + most]
    each = max(1, most // len(layers))
    return [x for layer in layers for x in by_layer[layer][:each]]


def _width(model: Canonical, view: View) -> int:
    shape = model.tensors[view.key].shape
    wide = {"rows": shape[-1] * len(view.offsets), "columns": shape[0], "tokens": min(shape[0], _TOKENS)}
    return wide[view.take]


def _read(model: Canonical, view: View, units: int) -> F32:
    """The first units, and of a table neighbouring rows from its middle."""
    rows = _NONE
    if view.take == "tokens":
        n = model.tensors[view.key].shape[0]
        start = n // 2 // 64 * 64 if n >= 2 * _TOKENS else 0
        rows = np.arange(start, min(n, start + _TOKENS), dtype=np.int64)
    return read_view(model, view, np.arange(units, dtype=np.int64), rows)[:, :_COLUMNS]


def _vectors(model: Canonical, sites: Sequence[Site], units: int) -> Iterator[F32]:
    """Norm gains and biases of the residual stream side by side."""
    views = {v.key: v for s in sites if s.layer < 0 for v in s.views if v.take == "elements"}
    if len(views) > 1:
        m = min(units, min(s.units for s in sites))
        at = np.arange(m, dtype=np.int64)
        yield np.concatenate([read_view(model, v, at, _NONE) for v in views.values()], axis=1)


def rows_are_fixed(model: Canonical, keys: Sequence[TensorKey]) -> bool:
    """The rows of these matrices stand by index, so that their columns show it too."""
    sites: dict[str, list[Site]] = defaultdict(list)
    for key in keys:
        rows, part = model.tensors[key].shape[0], key.role.split(".")[1]
        if key.role.startswith("mlp."):
            sites[part].append(Site(key.tower, key.layer, -1, rows, (View(key, "rows"),)))
            continue
        g = model.geometry[key.tower]
        heads, size = (g.heads, g.head_dim) if part == "q" else (g.kv_heads, g.head_dim)
        if heads and size and heads * size == rows:
            dims = tuple(sorted({i * size // _DIMS for i in range(_DIMS)}))
            sites[part].append(Site(key.tower, key.layer, -1, heads, (View(key, "rows", 0, size, dims),)))
    sites["value"] = [s for s in AXES["value-dims"].sites(model, model) if any(v.key in keys for v in s.views)]
    return any(found and fixed_by_index(model, found) is not None for found in sites.values())


# --- drawn from one random key ------------------------------------------------------------------


def one_draw(model: Canonical) -> Score | None:
    """Rows of unlike matrices are alike at one index (or one shift of it), None where not.

    Null: the order of the units of an MLP is uniform given the embedding and all other matrices.
    Gate rows are never held against up rows, nor units of one layer against those of another:
    units have one order in both, and layers may be copies.
    """
    tables = [k for r in ("embed.tokens", "head.weight") if (k := TensorKey("text", -1, r)) in model.tensors]
    sites = [
        site for name in ("mlp-units", "expert-units", "chain-units")
        for site in AXES[name].sites(model, model) if site.tower == "text"
    ]  # fmt: skip
    best = Score("rows of unlike matrices alike", 0.0, 0.0)
    for site in _unlike(model, sites):
        units = np.arange(min(_ROWS, site.units), dtype=np.int64)
        for view in site.views:
            if view.take == "elements":
                continue
            x_MD = read_view(model, view, units, _NONE)
            for key in (*tables, *_attention(model, site.layer)):
                rows = model.tensors[key].shape
                if rows[-1] == x_MD.shape[1] and not model.tensors[key].transposed:
                    found = _tie(x_MD, model.read(key, np.arange(min(_ROWS, rows[0]))))
                    best = min(best, found, key=lambda s: s.log10_p)
    return best if best.log10_p <= CERTAIN else None


def _attention(model: Canonical, layer: int) -> list[TensorKey]:
    keys = [TensorKey("text", layer, f"attn.{r}.weight") for r in ("q", "k", "v")]
    return [k for k in (*keys, TensorKey("text", layer, "moe.router.weight")) if k in model.tensors]


def _unlike(model: Canonical, sites: Sequence[Site]) -> list[Site]:
    """The first and the middle one."""
    return [sites[i] for i in sorted({0, len(sites) // 2})][:_MLPS] if sites else []


def _tie(x_MD: F32, y_ND: F32) -> Score:
    m = min(len(x_MD), len(y_ND))
    x, y = unit_rows([x_MD]), unit_rows([y_ND])
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or m < 8:
        return Score("", 0.0, 0.0)
    z, looks = row_ties(x, y)
    return Score("rows of unlike matrices alike", z, log10_p_normal(z, looks))
