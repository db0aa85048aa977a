"""Checkpoints for these tests: header-only ones from names and shapes, and real files from arrays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from begat.canon import Canonical, resolve
from begat.source import open_checkpoint
from begat.types import Checkpoint, TensorEntry

DATA = Path(__file__).parent / "data"


class NoReader:
    """Fails when a test that only looks at names reads a byte."""

    bytes_read = 0

    def rows(self, *_: object) -> Any:
        raise AssertionError("resolve must not read weights")

    raw = rows

    def close(self) -> None: ...


def header(
    tensors: Iterable[tuple[str, Iterable[int]]], config: Mapping[str, Any] | None = None, kind: str = "safetensors"
) -> Checkpoint:
    """A checkpoint with names and shapes and no bytes."""
    file = Path("model")
    entries = {n: TensorEntry(n, tuple(s), "F32", file, 0, 0) for n, s in tensors}
    return Checkpoint(file, kind, entries, dict(config or {}), "", (file,), NoReader())


def stored(
    folder: Path, tensors: Mapping[str, np.ndarray], config: Mapping[str, Any] | None = None, turned: Iterable[str] = ()
) -> Checkpoint:
    """A real safetensors checkpoint; names in `turned` are stored transposed and flagged so, as ONNX files have them."""
    folder.mkdir(parents=True, exist_ok=True)
    turned = set(turned)
    save_file({n: np.ascontiguousarray(a.T if n in turned else a) for n, a in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config or {}))
    checkpoint = open_checkpoint(folder)
    entries = {n: replace(e, transposed=n in turned) for n, e in checkpoint.entries.items()}
    return replace(checkpoint, entries=entries)


def accounted(canonical: Canonical) -> None:
    """Every stored tensor is in exactly one list, and what is mapped is what the tensors point at."""
    lists = [*canonical.mapped, *(n for n, _ in canonical.dropped), *canonical.unmapped]
    assert sorted(lists) == sorted(canonical.checkpoint.entries)
    assert {t.name for t in canonical.tensors.values()} == set(canonical.mapped)
    assert all(reason for _, reason in canonical.dropped)
    assert all(t.key == k for k, t in canonical.tensors.items())


def resolved(*args: Any, **kwargs: Any) -> Canonical:
    """resolve(header(…)) with its accounting checked."""
    out = resolve(header(*args, **kwargs))
    accounted(out)
    return out
