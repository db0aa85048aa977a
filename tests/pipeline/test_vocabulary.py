"""Vocabularies of unlike size: rows that only one side has are no reason to stop, and no reason to
pass over the others. Every table, cut and extended by one and by many, head and embedding together
and apart, tied, transposed, in several architectures; every way in which begat reads two models.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.index.family import family_tree
from begat.pipeline.inherit import full_map, sampled_map
from begat.source import open_checkpoint
from begat_lab.cases.architectures import ARCHITECTURES
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Toy
from begat_lab.cases.write import write

DEPENDENT = {
    "derived", "derived-or-shared-initialisation", "partly-derived", "re-encoded", "identical",
}  # fmt: skip
COUNT = itertools.count()


def tables(toy: Toy) -> list[str]:
    return [n for n, p in toy.pieces.items() if p.axes and p.axes[0] == "token"]


def resized(toy: Toy, sizes: dict[str, int], tokens: int) -> Toy:
    """Tables cut, or extended by rows near their mean; `tokens`: entries of the tokenizer."""
    rng, out = np.random.default_rng(5), dict(toy.pieces)
    for name, size in sizes.items():
        w = toy.pieces[name].values
        more = w.mean(0) + 0.01 * rng.standard_normal((max(0, size - len(w)), *w.shape[1:]))
        out[name] = replace(toy.pieces[name], values=np.vstack([w[:size], more]).astype(w.dtype))
    vocab = max(len(p.values) for n, p in out.items() if n in tables(toy))
    return replace(toy, pieces=out, tokens=tokens, config={**toy.config, "vocab_size": vocab})


def edits(toy: Toy) -> Iterator[tuple[dict[str, int], int]]:
    """(sizes of tables, entries of the tokenizer)."""
    names = tables(toy)
    n = len(toy.pieces[names[0]].values)
    yield from ((dict.fromkeys(names, n + by), n + by if with_words else 0) for by, with_words in (
        (-40, True), (-1, False), (1, True), (64, False)))  # fmt: skip
    yield dict.fromkeys(names, n - 30), n
    yield dict.fromkeys(names, n + 3), n + 200
    if len(names) > 1:
        first, last = names[0], names[-1]
        yield from (({last: n - 7}, n), ({first: n - 7}, n), ({first: n + 9, last: n - 9}, n + 9))
        yield from (({last: n + 7}, 0), ({first: n - 9}, 0))


KINDS = {
    "llama": ARCHITECTURES["llama"],
    "tied": lambda seed: ARCHITECTURES["llama"](seed, tied=True),
    "gpt2": ARCHITECTURES["gpt2"],
    "bert": ARCHITECTURES["bert"],
    "t5": ARCHITECTURES["t5"],
    "qwen-moe": ARCHITECTURES["qwen-moe"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_size_of_every_table_is_read(kind: str, tmp_path: Path) -> None:
    """Some edits of each architecture, half of them with noise; all in the test below."""
    _hold(kind, tmp_path, slice(list(KINDS).index(kind) % 4, None, 4))


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_all_sizes_of_all_tables(kind: str, tmp_path: Path) -> None:
    _hold(kind, tmp_path, slice(None))


def _hold(kind: str, root: Path, some: slice) -> None:
    toy = KINDS[kind](700)
    bare, full = write(root / "bare", replace(toy, tokens=0)), write(root / "full", toy)
    stranger = write(root / "stranger", KINDS[kind](701))
    for i, (sizes, words) in enumerate(list(edits(toy))[some]):
        child = resized(toy, sizes, words)
        folder = write(root / str(next(COUNT)), finetuned(child, 3, 0.1) if i % 2 else child)
        a = full if words else bare
        for x, y in ((a, folder), (folder, a)):
            v = begat.compare(x, y, published=True, map="sampled" if i % 3 == 2 else "auto")
            assert v.verdict in DEPENDENT, (sizes, words, v.sentence)
            assert begat.decompose(x, [y], full=bool(i % 2)).method not in (
                "unexplained",
                "cannot-test",
            )
        begat.decompose(folder, [stranger], a)
        begat.decompose(stranger, [folder], a)
        assert begat.compare(stranger, folder).verdict in ("no-evidence", "cannot-test")
        begat.inspect(folder)
        assert family_tree([a, folder, stranger]).tested > 0


def test_rows_of_transposed_tables_of_unlike_size(tmp_path: Path) -> None:
    """Stored [in, out], as ONNX and some exports have them, a longer vocabulary has longer rows."""
    rng = np.random.default_rng(2)
    toy = ARCHITECTURES["llama"](702)
    a, b = (
        resolve(open_checkpoint(write(tmp_path / n, t)))
        for n, t in (("a", toy), ("b", resized(toy, dict.fromkeys(tables(toy), 300), 0)))
    )
    turned = []
    for model in (a, b):
        tensors = dict(model.tensors)
        for key in [k for k in tensors if k.role in ("head.weight", "embed.tokens")]:
            t = tensors[key]
            entry = model.checkpoint.entries[t.name]
            values = model.read(key).T.copy()
            file = tmp_path / f"{len(turned)}-{key.role}"
            file.write_bytes(values.astype("<f4").tobytes())
            entries = dict(model.checkpoint.entries)
            entries[t.name] = replace(
                entry, shape=values.shape, dtype="F32", file=file, offset=0, nbytes=values.nbytes
            )
            model = replace(model, checkpoint=replace(model.checkpoint, entries=entries))
            tensors[key] = replace(t, rows=range(values.shape[0]), cols=None, transposed=True)
            model = replace(model, tensors=tensors)
        turned.append(model)
    a, b = turned
    for cells in (full_map(a, b), sampled_map(a, b, int(rng.integers(9)))):
        tables_cells = [c for c in cells if c.role in ("head.weight", "embed.tokens")]
        assert len(tables_cells) == 2 and all(c.identical and c.cosine == 1.0 for c in tables_cells)
