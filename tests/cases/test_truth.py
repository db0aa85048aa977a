"""The truth of cases is what their models are: checked by hand where it matters, and by values
everywhere.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from begat.source import open_checkpoint
from begat_lab.cases import Place, cases
from begat_lab.cases.architectures import ARCHITECTURES, llama, qwen_moe
from begat_lab.cases.edits import encoded, experts, layers, merging, training, units, vocabulary
from begat_lab.cases.model import Toy, as_stored, model_truth, pair_truth
from begat_lab.cases.registry import truth_of
from begat_lab.cases.truth import RELATIONS
from begat_lab.cases.write import write

SOME = [c.name for c in cases()][::9]


def test_the_package_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from begat_lab.cases import cases; cases()[0].scene(); import begat_lab.cases.ask"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_there_are_at_least_200_and_half_are_strangers() -> None:
    found = cases()
    assert len(found) >= 200
    assert len({c.name for c in found}) == len(found)
    assert sum(c.strangers for c in found) * 2 >= len(found)


@pytest.mark.parametrize("name", SOME)
def test_strangers_share_nothing_and_relatives_do(name: str) -> None:
    case = next(c for c in cases() if c.name == name)
    truth = truth_of(case.scene())
    first, second = list(truth.models)[:2]
    pair = truth.pairs[first, second]
    assert pair.relation in RELATIONS
    assert (pair.relation == "independent") == case.strangers
    assert bool(pair.links) == pair.related
    back = truth.pairs[second, first]
    assert {(b, a) for a, b in back.links} == set(pair.links)
    assert back.direction == {"A → B": "B → A", "B → A": "A → B", "": ""}[pair.direction]


def test_swapped_layers_are_linked_crosswise() -> None:
    a = llama(1, layers=3, width=32, units=48)
    b = training.finetuned(layers.ordered(a, [2, 1, 0], "layers-reordered"), 2)
    t = pair_truth(a, b)
    assert (t.relation, t.direction, t.operations) == ("descended", "A → B", {"layers-reordered", "finetuned"})
    assert {(x.layer, y.layer) for x, y in t.links if y.layer >= 0} == {(2, 0), (1, 1), (0, 2)}
    assert not t.equal
    assert pair_truth(a, layers.ordered(a, [2, 1, 0], "layers-reordered")).equal


def test_an_identity_layer_is_linked_by_vectors_only() -> None:
    a = llama(1, layers=3, width=32, units=48)
    t = pair_truth(a, layers.with_new_layer(a, 0, 5, drop_last=True))
    behind = {y.layer: x.layer for x, y in t.links if y.layer >= 0}
    assert behind == {1: 0, 2: 1}


def test_experts_keep_their_sources() -> None:
    a = qwen_moe(1, layers=2, width=32, units=48)
    t = pair_truth(a, experts.chosen(a, [[2, 0], [1, 3]], "experts-left-out"))
    assert {(x.layer, x.expert, y.expert) for x, y in t.links if y.expert >= 0} == {(0, 2, 0), (0, 0, 1), (1, 1, 0), (1, 3, 1)}
    both = pair_truth(a, experts.averaged_in_pairs(a))
    assert {(x.expert, y.expert) for x, y in both.links if y.expert >= 0 and y.layer == 0} == {(0, 0), (1, 0), (2, 1), (3, 1)}
    anew = pair_truth(a, experts.drawn_anew(a, [1], 3))
    assert Place("text", 0, 1) not in {y for _, y in anew.links}
    assert Place("text", 0) in {y for _, y in anew.links}  # the router and attention


def test_relations_follow_the_history() -> None:
    parent = llama(1, layers=2, width=32, units=48)
    x, y = (training.finetuned(parent, s) for s in (2, 3))
    start = training.initialised(parent, 4)
    assert pair_truth(x, y).relation == "common-ancestor"
    assert pair_truth(x, y).direction == ""
    assert pair_truth(y, parent).direction == "B → A"
    assert pair_truth(training.grown(start, 5), training.grown(start, 6)).relation == "shared-initialisation"
    assert pair_truth(parent, encoded.cast(parent, "float32")).relation == "same-weights"
    assert pair_truth(parent, encoded.fp8(parent)).relation == "re-encoded"
    assert pair_truth(parent, merging.linear((x, y), lambda n, p: (0.5, 0.5))).operations == {"finetuned", "merged"}
    assert pair_truth(parent, llama(2, layers=2, width=32, units=48)).relation == "independent"
    taken = pair_truth(parent, vocabulary.of_other(llama(3, layers=2, width=32, units=48), parent))
    assert (taken.relation, taken.component) == ("descended", "embedding")


def test_disguises_keep_the_function() -> None:
    """The MLP of a layer computes the same, in the turned basis, after units, heads and the
    residual stream were disguised.
    """
    toy = llama(7, layers=1, width=32, heads=4, kv_heads=2, units=48, dtype="float32")
    out = units.turned(units.heads_reordered(units.units_reordered(toy, 1), 2), 3)
    q_DD = np.linalg.lstsq(
        toy.pieces["model.embed_tokens.weight"].values, out.pieces["model.embed_tokens.weight"].values, rcond=None
    )[0]
    x_D = np.random.default_rng(0).standard_normal(32)

    def mlp(t: Toy, x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        gate, up, down = (
            t.pieces[f"model.layers.0.mlp.{n}_proj.weight"].values.astype(np.float64) for n in ("gate", "up", "down")
        )
        return down @ (np.tanh(gate @ (gain * x)) * (up @ (gain * x)))

    def attention(t: Toy, x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        v, o = (t.pieces[f"model.layers.0.self_attn.{n}_proj.weight"].values.astype(np.float64) for n in ("v", "o"))
        return o @ np.repeat((v @ (gain * x)).reshape(2, 1, 8), 2, 1).ravel()

    for function, norm in ((mlp, "post_attention_layernorm"), (attention, "input_layernorm")):
        gain = toy.pieces[f"model.layers.0.{norm}.weight"].values.astype(np.float64)
        np.testing.assert_allclose(function(out, x_D @ q_DD, np.ones(32)), function(toy, x_D, gain) @ q_DD, rtol=1e-3, atol=1e-5)


def test_split_units_keep_the_function() -> None:
    toy = llama(8, layers=1, width=32, units=48, dtype="float32")
    wide = units.units_split(toy, 1)
    x_D = np.random.default_rng(0).standard_normal(32)
    outputs = []
    for t in (toy, wide):
        gate, up, down = (
            t.pieces[f"model.layers.0.mlp.{n}_proj.weight"].values.astype(np.float64) for n in ("gate", "up", "down")
        )
        outputs.append(down @ (np.tanh(gate @ x_D) * (up @ x_D)))
    assert len(wide.pieces["model.layers.0.mlp.up_proj.weight"].values) == 96
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_written_is_what_is_read(name: str, tmp_path: Path) -> None:
    toy = ARCHITECTURES[name](11)
    folder = write(tmp_path / "m", toy, shards=2)
    checkpoint = open_checkpoint(folder)
    assert set(checkpoint.entries) == set(toy.pieces)
    for tensor, values in as_stored(toy).items():
        read = checkpoint.read(tensor).reshape(values.shape)
        np.testing.assert_array_equal(read, values.astype(np.float32))
        assert np.array_equal(values.astype(np.float32), toy.pieces[tensor].values)  # what edits see is what is stored
    checkpoint.reader.close()


def test_weights_look_trained() -> None:
    """Rows and columns of unlike sizes, large directions, outlier dims; and strangers agree on
    which tokens are alike.
    """
    a, b = llama(1, vocabulary=512), llama(2, vocabulary=512)
    w = a.pieces["model.layers.1.mlp.up_proj.weight"].values
    assert np.linalg.norm(w, axis=1).std() / np.linalg.norm(w, axis=1).mean() > 0.15
    singular = np.linalg.svd(w, compute_uv=False)
    assert singular[0] > 1.2 * singular[5]
    embeddings = [t.pieces["model.embed_tokens.weight"].values for t in (a, b)]
    assert np.linalg.norm(embeddings[0], axis=0).max() > 2.5 * np.median(np.linalg.norm(embeddings[0], axis=0))
    alike = [np.corrcoef(e / np.linalg.norm(e, axis=0))[np.triu_indices(512, 1)] for e in embeddings]
    assert np.corrcoef(alike)[0, 1] > 0.2
    assert abs(np.corrcoef(embeddings[0].ravel(), embeddings[1].ravel())[0, 1]) < 0.05


def test_what_one_model_alone_could_say() -> None:
    toy = llama(1, layers=4, width=32, units=48)
    twice = model_truth(layers.ordered(toy, [0, 1, 1, 2], "layers-repeated"))
    assert twice.copied_layers == {frozenset({("text", 1), ("text", 2)})}
    assert model_truth(toy).copied_layers == frozenset()
    assert model_truth(vocabulary.resized(toy, 260, "mean")).new_rows == ((256, 259),)
    assert model_truth(encoded.written_back(toy, 4, 16)).rounded
    assert not model_truth(training.finetuned(encoded.written_back(toy, 4, 16), 1)).rounded
    assert model_truth(encoded.cast(toy, "float32")).rounded  # bf16 values in a wide type
    assert not model_truth(llama(1, dtype="float32", layers=2, width=32, units=48)).rounded


def test_a_fine_tune_does_not_look_like_white_noise() -> None:
    """Its change has few large directions and uneven rows; noise has neither."""
    toy = llama(1, dtype="float32")
    shapes = []
    for child in (training.finetuned(toy, 2, 0.1), training.noised(toy, 2, 0.1)):
        name = "model.layers.1.mlp.up_proj.weight"
        change = child.pieces[name].values - toy.pieces[name].values
        singular = np.linalg.svd(change, compute_uv=False)
        rows = np.linalg.norm(change, axis=1)
        shapes.append((singular[0] / np.median(singular), rows.std() / rows.mean()))
    assert shapes[0][0] > 2 * shapes[1][0]
    assert shapes[0][1] > 2 * shapes[1][1]
