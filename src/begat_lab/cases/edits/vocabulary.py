"""Token rows: added, padded with zeros, cut, reordered, taken from another model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from begat_lab.cases.model import Array, Piece, Toy


def _tables(toy: Toy) -> list[str]:
    return [n for n, p in toy.pieces.items() if p.axes[0] == "token"]


def resized(toy: Toy, size: int, how: str, seed: int = 0, tokens: int | None = None) -> Toy:
    """`size` rows. More: "mean" (about the mean of the others, as `resize_token_embeddings` draws
    them) or "zero" (padding). Fewer: the first rows ("first"), or some of all, in order ("some").
    tokens: entries of the tokenizer afterwards.
    """
    old, rng, out = int(toy.config["vocab_size"]), np.random.default_rng(seed), dict(toy.pieces)
    kept = np.arange(min(old, size)) if how != "some" else np.sort(rng.permutation(old)[:size])
    for name in _tables(toy):
        w = toy.pieces[name].values[kept]
        more = np.zeros((max(size - old, 0), w.shape[1]))
        if how == "mean":
            more = w.mean(0) + 0.01 * w.std() * rng.standard_normal(more.shape)
        out[name] = replace(toy.pieces[name], values=np.vstack([w, more]).astype(np.float32))
    grown = size > old
    words = tokens if tokens is not None else size if how == "mean" or not grown else toy.tokens
    return toy.derive(
        "vocabulary-extended" if grown else "vocabulary-pruned",
        out,
        key=(size, how, seed),
        config={"vocab_size": size},
        tokens=words,
        new_rows=((old, size - 1),) if grown else (),
    )


def reordered(toy: Toy, seed: int) -> Toy:
    """Every token at another row: a tokenizer of one's own over the same words."""
    order = np.random.default_rng(seed).permutation(int(toy.config["vocab_size"]))
    return toy.derive("vocabulary-reordered", _rows(toy, order), key=seed)


def _rows(toy: Toy, order: Array) -> dict[str, Piece]:
    return {
        n: replace(p, values=np.ascontiguousarray(p.values[order])) if p.axes[0] == "token" else p for n, p in toy.pieces.items()
    }


def of_other(toy: Toy, other: Toy) -> Toy:
    """The other model's tables of tokens, the rest its own: a transplanted vocabulary."""
    out = {n: other.pieces[n] if n in other.pieces and p.axes[0] == "token" else p for n, p in toy.pieces.items()}
    return toy.derive("embedding-taken", out, other, tokens=other.tokens, config={"vocab_size": other.config["vocab_size"]})
