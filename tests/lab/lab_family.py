"""The shipped pedigrees made smaller, so that tests can grow every kind of descent in seconds."""

from __future__ import annotations

import re

from begat_lab.pedigree import Family, parse_pedigree, read_pedigree

_SMALLER = [
    (r"steps = \d+", "steps = 12"),
    (r"warmup = \d+", "warmup = 2"),
    (r"\nbatch = \d+\ncontext = \d+", "\nbatch = 4\ncontext = 32\nwarmup = 2"),
    (r"count = \d+", "count = 2"),
]


def small_family(name: str = "quick") -> Family:
    source = read_pedigree(name).source
    for old, new in _SMALLER:
        source, n = re.subn(old, new, source)
        assert n, old
    return parse_pedigree(source, "small")
