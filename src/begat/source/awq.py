"""AWQ's packed layout (AutoAWQ, version "gemm"): `qweight` [inputs, outputs / 8], a word holding eight outputs of one input.

Enters: `Parts`.  Leaves: the weight as an entry [inputs, outputs], or None for what is not this layout.  `scales` float [groups, outputs];
`qzeros` [groups, outputs / 8] packed alike; four bits, always. The order inside a word is `words.AWQ_ORDER`. AWQ scales channels by
what flows through them and then rounds to nearest: inside a group it treats inputs alike.
"""

from __future__ import annotations

from begat.source.gptq import HELPERS
from begat.source.packed import LAYOUTS, Layout, Parts, group_size, plain, scale_of
from begat.types import Scaling, TensorEntry


def weight(parts: Parts) -> TensorEntry | None:
    """The weight, when it is in this layout."""
    scale = scale_of(parts, "scales")
    if not plain(parts.words, ("I32",)):
        return None
    inputs, columns = parts.words.shape
    if parts.method not in ("", "awq") or scale is None or not plain(parts.beside.get("qzeros"), ("I32",)):
        return None
    if str(parts.note.get("version") or "gemm").lower() != "gemm" or (parts.note.get("bits") or 4) != 4:
        return None
    groups, outputs = scale.shape
    if not parts.method and outputs != 8 * columns:
        return None
    parts.fits("scales", (groups, 8 * columns))
    parts.fits("qzeros", (groups, columns))
    group = group_size(inputs, groups, parts.note.get("group_size"))
    if not group:
        parts.fits("scales", (-(-inputs // 128), outputs))
    scaling = Scaling(scale, None, (group, 1))
    return parts.entry((inputs, outputs), "AWQ4", scaling, transposed=True, zero=("qzeros", "AWQ4"))


LAYOUTS.add("awq")(Layout(".qweight", ".weight", ("I32",), (".qzeros", ".scales"), HELPERS, weight))
