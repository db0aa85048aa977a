"""The situations: importing this package registers all of them."""

from begat_lab.cases.situations import (
    architectures,
    configs,
    disguises,
    drawn,
    encoded,
    experts,
    heads,
    layers,
    lineages,
    merges,
    names,
    releases,
    towers,
    training,
    vocabulary,
    widths,
)

__all__ = [
    "architectures",
    "configs",
    "disguises",
    "drawn",
    "encoded",
    "experts",
    "heads",
    "layers",
    "lineages",
    "merges",
    "names",
    "releases",
    "towers",
    "training",
    "vocabulary",
    "widths",
]
