"""Equal weights under other names, in other files; and copies under other names that are not quite
equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from begat_lab.cases.architectures import ARCHITECTURES
from begat_lab.cases.edits import parts
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.registry import Case, pairs, situation


@situation("names")
def build() -> Iterator[Case]:
    """Architectures that begat knows, and nets that it does not."""
    for i, name in enumerate(("llama", "qwen-moe", "cnn", "bert", "chain")):
        make = ARCHITECTURES[name]
        first, other = partial(make, 1200 + i), partial(make, 1220 + i)
        yield from pairs(
            f"names/{name}-unknown",
            "every tensor under a name that says nothing",
            first,
            lambda t: parts.renamed(t, lambda k, n: f"x.{k}"),
            other,
        )
        if name in ("llama", "cnn"):
            yield from pairs(f"names/{name}-copied", "a copy, file by file", first, parts.copied, other)
            yield from pairs(f"names/{name}-sharded", "in three files", first, lambda t: t.derive("resharded"), other, shards=3)
        if name == "llama":
            yield from pairs(
                f"names/{name}-prefixed",
                "every name behind a prefix",
                first,
                lambda t: parts.renamed(t, lambda k, n: f"module.{n}"),
                other,
            )
            yield from pairs(
                f"names/{name}-unknown-tuned",
                "trained on, then every tensor under a name that says nothing",
                first,
                lambda t: parts.renamed(finetuned(t, 1240), lambda k, n: f"x.{k}"),
                other,
                detectable=False,
            )
