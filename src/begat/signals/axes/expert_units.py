"""Hidden units inside routed experts (one order per expert).

Axis data of `begat.signals.axes`; the order of the experts themselves is `experts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, is_symmetric, layers
from begat.signals.axes.mlp_units import unit_views, units_of


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for key in layers(a, b, "expert.up.weight"):
        views = unit_views(a, b, key, "expert")
        units = units_of(a, b, views)
        if units > 1 and is_symmetric(a, b, key.tower, "expert-units"):
            yield Site(key.tower, key.layer, key.expert, units, views)


AXES.add("expert-units")(
    Axis(
        "expert-units",
        "units inside experts",
        "As for MLP units, inside each routed expert: its hidden units are drawn alike and trained alike, independently of other experts.",
        _sites,
        per_layer=4,
    )
)
