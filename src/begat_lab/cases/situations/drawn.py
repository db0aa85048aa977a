"""Strangers whose weights were drawn in unlucky ways: from one key, over a pattern fixed by index,
all of one text.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from begat_lab.cases.architectures import ARCHITECTURES, llama, qwen_moe
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Array, Piece, Toy, rounded
from begat_lab.cases.registry import STRANGER, Case, Scene, pairs, situation

_ASKED = ("compare", "inspect", "decompose")


@situation("drawn")
def build() -> Iterator[Case]:
    """Pairs of strangers only, but for controls."""
    makers: tuple[tuple[str, Callable[..., Toy]], ...] = (("llama", llama), ("qwen-moe", qwen_moe))
    for name, make in makers:
        for noise in (0.0, 1.0):
            yield Case(
                f"drawn/one-key-{name}-{noise:g}{STRANGER}",
                "drawn",
                f"every tensor drawn from one key, {noise:g} of own noise on top",
                _ASKED,
                partial(_two, partial(one_key, make, noise=noise), 1500),
            )
    for name, pattern in PATTERNS.items():
        for strength, layers in ((0.1, 16), (0.25, 16), (1.0, 4)):
            yield Case(
                f"drawn/{name}-{strength:g}{STRANGER}",
                "drawn",
                f"MLPs over {name}, {strength:g} of the weights' deviation, {layers} layers",
                ("compare",),
                partial(_two, partial(patterned, pattern=pattern, strength=strength, layers=layers), 1510),
            )
    yield from pairs(
        "drawn/patterned-child",
        "a fine-tune of a model over a pattern",
        lambda: patterned(1512, PATTERNS["identity"], 0.25, 4),
        lambda t: finetuned(t, 1513),
    )
    for i, (a, b) in enumerate(
        (
            ("llama", "qwen-moe"),
            ("llama", "mamba"),
            ("bert", "gpt2"),
            ("cnn", "llama"),
            ("cnn", "chain"),
            ("t5", "bert"),
            ("llava", "llama"),
            ("mixtral", "qwen-moe"),
        )
    ):
        yield Case(f"drawn/{a}-{b}{STRANGER}", "drawn", f"a {a} and a {b} of one text", _ASKED, partial(_unlike, a, b, i))


def _two(make: Callable[[int], Toy], seed: int) -> Scene:
    return Scene({"a": make(seed), "b": make(seed + 1)})


def _unlike(a: str, b: str, seed: int) -> Scene:
    return Scene({"a": ARCHITECTURES[a](1520 + seed), "b": ARCHITECTURES[b](1540 + seed)})


def one_key(make: Callable[..., Toy], seed: int, noise: float) -> Toy:
    """Every tensor from a generator that starts anew with the same seed: a slip seen in JAX code."""
    toy = make(seed, layers=3, width=128, heads=4, kv_heads=2, vocabulary=512)

    def draw(name: str, piece: Piece) -> Piece:
        values = 0.02 * np.random.default_rng(seed).standard_normal(piece.values.shape)
        values = values if piece.is_matrix else 0.5 + 1.5 * values
        own = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(piece.values.shape)
        return replace(piece, values=(values + noise * values.std() * own).astype(np.float32), origin=frozenset({f"key:{seed}"}))

    fresh = ((0, int(toy.config["vocab_size"]) - 1),) if not noise else ()
    return rounded(replace(toy, pieces=toy.map(draw), new_rows=fresh))


def patterned(seed: int, pattern: Callable[[int, int], Array], strength: float, layers: int) -> Toy:
    """A Llama whose MLPs were started from a pattern of the index alone, which training covered but
    for `strength`.
    """
    toy = llama(seed, layers=layers, units=256, vocabulary=100)

    def start(name: str, piece: Piece) -> Piece:
        shape = pattern(*piece.values.shape)
        shape = np.roll(shape, piece.place.layer, axis=1)
        return replace(piece, values=(piece.values + strength * piece.values.std() * shape / shape.std()).astype(np.float32))

    return rounded(replace(toy, pieces=toy.map(start, lambda n, p: n.endswith(("gate_proj.weight", "up_proj.weight")))))


def _identity(rows: int, cols: int) -> Array:
    return np.tile(np.eye(cols), (-(-rows // cols), 1))[:rows]


def _cosines(rows: int, cols: int) -> Array:
    return np.cos(np.pi * (np.arange(cols) + 0.5) * np.arange(rows)[:, None] / rows)


def _hadamard(rows: int, cols: int) -> Array:
    bits = np.arange(rows)[:, None] & np.arange(cols)
    return np.array(1 - 2 * (np.vectorize(lambda n: n.bit_count())(bits) % 2), float)


def _golden(rows: int, cols: int) -> Array:
    return np.asarray(np.outer(1 + np.arange(rows), 1 + np.arange(cols)) * 0.6180339887498949 % 1 - 0.5)


def _chirp(rows: int, cols: int) -> Array:
    return np.sin(np.outer((1 + np.arange(rows)) ** 2, 1 + np.arange(cols)) * np.pi / rows)


PATTERNS: dict[str, Callable[[int, int], Array]] = {
    "identity": _identity,
    "cosines": _cosines,
    "hadamard": _hadamard,
    "golden": _golden,
    "chirp": _chirp,
}
