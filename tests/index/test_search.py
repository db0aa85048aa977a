"""Search: relatives ranked, the price of many candidates paid, strangers never listed, by any engine."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.fingerprint import Fingerprint
from begat.index.entries import record_of
from begat.index.search import SearchResult, parts, screen, search
from begat.index.store import Store, open_store
from begat.pipeline.fingerprints import compare_fingerprints
from begat.pipeline.sketch import sketch
from builders import Tensors, llama, noisy, reordered_units, stitched, write
from disguises import reordered_heads, rotation, some_layers, turned

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
RNG = np.random.default_rng(77)
BASE, CONFIG = llama(RNG, **SHAPE)
OTHER, _ = llama(RNG, **SHAPE)
CHILD = noisy(BASE, RNG, 0.1)
GRANDCHILD = noisy(CHILD, RNG, 0.1)
MODELS: dict[str, Tensors] = {
    "base": BASE, "child": CHILD, "other": OTHER, "half": stitched(BASE, OTHER, range(2, 4)),
    **{f"stranger{i}": llama(np.random.default_rng(900 + i), **SHAPE)[0] for i in range(12)},
}  # fmt: skip


def made(folder: Path, tensors: Tensors, layers: int = 4) -> Fingerprint:
    write(folder, tensors, CONFIG | {"num_hidden_layers": layers})
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(160)}}}))
    return sketch(folder)


@pytest.fixture(scope="module", params=["sqlite", "lance"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    with open_store(folder / "index", "create", engine=request.param) as opened:
        opened.add([record_of(made(folder / name, tensors), name) for name, tensors in MODELS.items()])
    with open_store(folder / "index", "read") as opened:
        yield opened


def ask(store: Store, folder: Path, tensors: Tensors, **more: Any) -> SearchResult:
    return search(made(folder / "query", tensors, more.pop("layers", 4)), store, **more)


def test_the_parent_is_first_and_the_price_is_paid(store: Store, tmp_path: Path) -> None:
    found = ask(store, tmp_path, GRANDCHILD)
    assert [r.entry.name for r in found.relatives][:2] == ["child", "base"]
    assert {r.entry.name for r in found.relatives} == {"child", "base", "half"}
    assert found.candidates == len(MODELS)
    for r in found.relatives:
        assert r.match.log10_e is not None
        assert r.log10_e == pytest.approx(r.match.log10_e - math.log10(len(MODELS)))
    assert found.relatives[1].via == "child" and found.relatives[1].relation in ("related", "ancestor")
    assert found.leads == () and found.unreadable == ()


@pytest.mark.parametrize("seed", range(4))
def test_a_stranger_has_no_relatives(store: Store, tmp_path: Path, seed: int) -> None:
    found = ask(store, tmp_path, llama(np.random.default_rng(seed), **SHAPE)[0])
    assert found.relatives == () and found.leads == () and found.tree is None


def test_parts_are_named(store: Store, tmp_path: Path) -> None:
    found = ask(store, tmp_path, stitched(GRANDCHILD, llama(RNG, **SHAPE)[0], range(1, 2)))
    child = next(r for r in found.relatives if r.entry.name == "child")
    assert "MLP of layers 0, 2-3" in child.parts


def test_a_rotated_child_and_one_with_layers_left_out(store: Store, tmp_path: Path) -> None:
    assert ask(store, tmp_path / "a", turned(GRANDCHILD, rotation(RNG, 64))).relatives[0].entry.name == "child"
    short = some_layers(GRANDCHILD, [1, 3])
    assert ask(store, tmp_path / "b", short, layers=2).relatives[0].entry.name == "child"


def test_full_disguise_is_a_lead_and_no_relative(store: Store, tmp_path: Path) -> None:
    hidden = turned(reordered_heads(reordered_units(noisy(OTHER, RNG, 0.02), RNG), CONFIG, RNG), rotation(RNG, 64))
    found = ask(store, tmp_path, hidden)
    assert found.relatives == ()
    assert found.leads[0].entry.name == "other" and found.leads[0].p == pytest.approx(1 / (found.leads[0].pairs + 1))


def test_the_query_itself_is_not_its_own_relative(store: Store, tmp_path: Path) -> None:
    found = search(sketch_of(store, "child"), store)
    assert len(found.same) == 1 and "child" not in {r.entry.name for r in found.relatives}


def test_more_candidates_cost_more(store: Store, tmp_path: Path) -> None:
    """The same match beside a thousand times as many models loses three orders of magnitude."""

    class Larger:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def count(self) -> int:
            return 1000 * store.count()

    query = made(tmp_path, GRANDCHILD)
    few, many = search(query, store), search(query, Larger())  # type: ignore[arg-type]
    assert few.relatives[0].log10_e - many.relatives[0].log10_e == pytest.approx(3.0)


def test_weak_evidence_is_lost_to_the_price(store: Store, tmp_path: Path) -> None:
    """A child that two models could still tell from chance is not listed where a billion could have been it."""
    faint = noisy(BASE, RNG, 8.0)
    query = made(tmp_path, faint)
    alone = compare_fingerprints(query, sketch_of(store, "base")).log10_e
    assert alone is not None

    class Huge:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def count(self) -> int:
            return int(10 ** max(1.0, alone - 5.0))

    assert "base" not in {r.entry.name for r in search(query, Huge()).relatives}  # type: ignore[arg-type]


def test_screening_puts_the_relatives_first(store: Store, tmp_path: Path) -> None:
    names = {e.id: e.name for e in store.manifest()}
    ranked = [names[i] for i in screen(made(tmp_path, GRANDCHILD), store)]
    assert set(ranked[:3]) == {"child", "base", "half"}


def test_what_was_left_out_still_counts(store: Store, tmp_path: Path) -> None:
    ids = {e.name: e.id for e in store.manifest()}
    found = search(made(tmp_path, GRANDCHILD), store, leave_out=[ids["child"]])
    assert found.relatives[0].entry.name == "base" and found.candidates == len(MODELS)


def test_a_damaged_entry_is_named_and_the_rest_is_searched(store: Store, tmp_path: Path) -> None:
    ids = {e.name: e.id for e in store.manifest()}

    class Damaged:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def get(self, id: str) -> bytes:
            blob = store.get(id)
            return blob[:100] if id == ids["child"] else blob

    found = search(made(tmp_path, GRANDCHILD), Damaged())  # type: ignore[arg-type]
    assert [i for i, _ in found.unreadable] == [ids["child"]] and "\n" not in found.unreadable[0][1]
    assert found.relatives[0].entry.name == "base"


def test_parts_in_words(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a", BASE), made(tmp_path / "b", CHILD)
    match = compare_fingerprints(a, b)
    assert parts(match) == ("MLP of layers 0-3", "attention of layers 0-3", "residual")
    one = dataclasses.replace(match, sites=tuple(s for s in match.sites if s.axis == "mlp-units" and s.layer_a in (0, 3)))
    assert parts(one) == ("MLP of layers 0, 3",)


def sketch_of(store: Store, name: str) -> Fingerprint:
    from begat.fingerprint_file import loads

    return loads(store.get(next(e.id for e in store.manifest() if e.name == name)))
