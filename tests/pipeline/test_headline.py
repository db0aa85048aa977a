"""Headlines name what was found, where, and what was not read; claims say the same as values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import begat
from begat.pipeline.claims import claims_of_inspection
from begat.pipeline.inspect import inspect
from begat.types import Verdict
from begat.verdict.policy import POLICY
from builders import llama, noisy, write


def _claims(v: Verdict, about: str) -> list[str]:
    return [c.value for c in v.claims if c.about == about]


def _unknown(rng: np.random.Generator, n: int, size: int = 200) -> dict[str, np.ndarray]:
    return {f"side.{i}.mystery": rng.standard_normal((size, size)).astype(np.float32) for i in range(n)}


@pytest.mark.parametrize(("depth", "width"), [(5, 160), (5, 224), (7, 160), (3, 96)])
def test_a_shared_embedding_is_named_and_no_more_is_said(tmp_path: Path, depth: int, width: int) -> None:
    a, c = llama(np.random.default_rng(1))
    b, d = llama(np.random.default_rng(2), num_hidden_layers=depth, intermediate_size=width)
    b["model.embed_tokens.weight"] = a["model.embed_tokens.weight"]
    v = begat.compare(write(tmp_path / "a", a, c), write(tmp_path / "b", b, d))
    assert v.verdict == "partly-derived"
    assert "the embedding in common" in v.sentence and "said of the embedding only" in v.sentence
    assert "made from the other" not in v.sentence
    layers = [x for x in v.claims if x.about == "part" and x.layer >= 0]
    assert layers and all(x.value != "dependent" for x in layers)


def test_a_child_whose_units_moved_is_no_component(tmp_path: Path) -> None:
    a, c = llama(np.random.default_rng(1))
    b = noisy(a, np.random.default_rng(2), 0.1)
    rng = np.random.default_rng(3)
    for i in range(5):
        order = rng.permutation(160)
        for name in ("gate", "up"):
            b[f"model.layers.{i}.mlp.{name}_proj.weight"] = b[f"model.layers.{i}.mlp.{name}_proj.weight"][order]
        down = f"model.layers.{i}.mlp.down_proj.weight"
        b[down] = np.ascontiguousarray(b[down][:, order])
    v = begat.compare(write(tmp_path / "a", a, c), write(tmp_path / "b", b, c), align=False)
    assert v.verdict != "no-evidence" and "in common" not in v.sentence


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("n", [0, 2, 30])
def test_what_was_not_read_is_in_the_headline(tmp_path: Path, n: int, relative: bool) -> None:
    a, c = llama(np.random.default_rng(1))
    b = noisy(a, np.random.default_rng(2), 0.1) if relative else llama(np.random.default_rng(9))[0]
    folders = []
    for name, weights, seed in (("a", a, 20), ("b", b, 21)):
        folders.append(write(tmp_path / name, weights | _unknown(np.random.default_rng(seed), n), c))
    v = begat.compare(*folders)
    missing = [x.missing for x in v.coverage]
    assert all((m > POLICY.unread_share) == (n > 0) for m in missing)
    assert ("Not covered by this" in v.sentence) == (n > 0)
    assert len(_claims(v, "unread")) == (2 if n else 0)
    if relative:
        assert v.verdict == "derived-or-shared-initialisation"
    else:
        assert v.verdict == ("cannot-test" if n == 30 else "no-evidence")
        assert v.power is not None and ("that were tested" in v.power.sentence) == (n > 0)


def test_an_equal_tensor_of_unknown_name_is_named(tmp_path: Path) -> None:
    (a, c), (b, _) = llama(np.random.default_rng(1)), llama(np.random.default_rng(9))
    fixed = np.random.default_rng(5).standard_normal((40, 8)).astype(np.float32)
    same = {"random_projection.table": fixed, "ones": np.ones(500, np.float32), "few": fixed[:1]}
    v = begat.compare(write(tmp_path / "a", a | same, c), write(tmp_path / "b", b | same, c))
    assert v.verdict == "no-evidence"
    assert [x.subject for x in v.claims if x.about == "equal-tensor"] == ["random_projection.table"]
    assert "random_projection.table holds equal values" in v.sentence
    other = same | {"random_projection.table": fixed + np.float32(1e-6)}
    v = begat.compare(tmp_path / "a", write(tmp_path / "c", b | other, c))
    assert "equal values" not in v.sentence


def test_claims_repeat_the_verdict(tmp_path: Path) -> None:
    a, c = llama(np.random.default_rng(1))
    b = noisy(a, np.random.default_rng(2), 0.1)
    v = begat.compare(write(tmp_path / "a", a, c), write(tmp_path / "b", b, c))
    assert _claims(v, "relation") == [v.verdict] and _claims(v, "direction") == [v.direction]
    assert [(x.subject, x.value) for x in v.claims if x.about == "part"] == [(p.part, p.status) for p in v.parts]
    v = begat.compare(tmp_path / "a", write(tmp_path / "copy", a, c))
    assert _claims(v, "equality") == ["identical"] and _claims(v, "unread") == []


@pytest.mark.parametrize("n", [0, 30])
def test_inspect_says_what_it_did_not_look_at(tmp_path: Path, n: int) -> None:
    a, c = llama(np.random.default_rng(1))
    found = inspect(write(tmp_path / "a", a | _unknown(np.random.default_rng(3), n), c))
    assert ("Not looked at" in found.sentence) == (n > 0) == bool(found.unread)
    said = [x.number for x in claims_of_inspection(found) if x.about == "unread"]
    assert said == ([pytest.approx(1_200_000 / (1_200_000 + sum(w.size for w in a.values())))] if n else [])


def _tokenizer(folder: Path, ids: list[int]) -> Path:
    vocab = {f"word{i}": at for at, i in enumerate(ids)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": vocab}}))
    return folder


@pytest.mark.parametrize("beside", ["none", "same", "reordered"])
def test_a_table_in_another_order_is_never_called_new(tmp_path: Path, beside: str) -> None:
    a, c = llama(np.random.default_rng(1))
    b = noisy(a, np.random.default_rng(2), 0.05)
    order = np.random.default_rng(4).permutation(200)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        fresh = (0.05 * np.random.default_rng(8).standard_normal(a[name].shape)).astype(np.float32)
        b[name] = fresh if beside == "same" else np.ascontiguousarray(b[name][order])
    folders = write(tmp_path / "a", a, c), write(tmp_path / "b", b, c)
    if beside != "none":
        _tokenizer(folders[0], list(range(200)))
        _tokenizer(folders[1], list(range(200)) if beside == "same" else order.tolist())
    v = begat.compare(*folders)
    assert v.verdict in ("derived-or-shared-initialisation", "partly-derived")
    table = next(p.status for p in v.parts if p.part == "embedding")
    assert table == "no-evidence" if beside == "same" else table != "no-evidence"
