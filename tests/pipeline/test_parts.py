"""Parts of a model: some of its experts, layers that moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import begat
from builders import Tensors, llama, noisy, write

EXPERTS, LAYERS, HIDDEN = 16, 3, 64
SHAPE = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 80}
CONFIG = llama(np.random.default_rng(0), **SHAPE)[1] | {
    "model_type": "qwen3_moe",
    "num_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
}


def mixture(rng: np.random.Generator) -> Tensors:
    model = {n: w for n, w in llama(rng, **SHAPE)[0].items() if ".mlp." not in n}
    for i in range(LAYERS):
        model[f"model.layers.{i}.mlp.gate.weight"] = rng.standard_normal((EXPERTS, HIDDEN)).astype(np.float32)
        for e in range(EXPERTS):
            for name, shape in (("gate_proj", (48, HIDDEN)), ("up_proj", (48, HIDDEN)), ("down_proj", (HIDDEN, 48))):
                model[f"model.layers.{i}.mlp.experts.{e}.{name}.weight"] = rng.standard_normal(shape).astype(np.float32)
    return model


def test_inherited_and_other_experts_of_a_layer_are_two_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    a, b = mixture(rng), mixture(rng)
    inherited = {f".experts.{e}." for e in range(0, EXPERTS, 2)}
    b |= noisy({n: w for n, w in a.items() if any(x in n for x in inherited)}, rng, 0.05)
    v = begat.compare(write(tmp_path / "a", a, CONFIG), write(tmp_path / "b", b, CONFIG))
    assert v.verdict == "partly-derived"
    yes = [p for p in v.parts if p.part.startswith("inherited experts")]
    no = [p for p in v.parts if p.part.startswith("other experts")]
    assert {p.layer for p in yes} & {p.layer for p in no}
    for part, odd in [(p, 0) for p in yes] + [(p, 1) for p in no]:
        numbers = [int(x) for x in part.why.split(": ")[1].split(", ")]
        assert numbers
        assert all(n % 2 == odd for n in numbers)
        assert part.status == ("no-evidence" if odd else "dependent")


def test_all_experts_inherited_is_one_part_a_layer(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    a = mixture(rng)
    v = begat.compare(write(tmp_path / "a", a, CONFIG), write(tmp_path / "b", noisy(a, rng, 0.05), CONFIG))
    assert v.verdict == "derived-or-shared-initialisation"
    assert not any("experts" in p.part for p in v.parts)
