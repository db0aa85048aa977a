"""State-space models, hybrids and other families of transformers 5.24: every tensor has a place, and the axes that are symmetric are tested.

The data (data/state_dicts_hybrid.json.gz) are names and shapes of tiny models as `save_pretrained` wrote them.
"""

from __future__ import annotations

import gzip
import json

import pytest

from canon.canon_builders import DATA, accounted, resolved

MODELS = json.loads(gzip.decompress((DATA / "state_dicts_hybrid.json.gz").read_bytes()))["models"]
#: model → (family, symmetric axes)
EXPECTED = {
    "mamba": ("mamba", {"residual"}),
    "falconmamba": ("mamba", {"residual"}),
    "jamba": ("jamba", {"residual", "mlp-units", "experts", "expert-units"}),
    "falconh1": ("llama", {"residual", "mlp-units", "kv-heads", "value-dims"}),
    "nemotronh": ("nemotron_h", {"residual", "mlp-units", "experts", "expert-units", "kv-heads", "value-dims"}),
    "lfm2": ("llama", {"residual", "mlp-units", "kv-heads", "value-dims"}),
    "afmoe": ("llama", {"residual", "mlp-units", "experts", "expert-units", "kv-heads", "value-dims"}),
    "gptneoxjapanese": ("gpt_neox", {"residual", "mlp-units", "kv-heads", "value-dims"}),
}


@pytest.mark.parametrize("model", EXPECTED)
def test_state_dict_is_fully_understood(model: str) -> None:
    c = resolved(MODELS[model]["tensors"], MODELS[model]["config"])
    accounted(c)
    assert not c.unmapped
    assert not c.dropped
    assert (c.family, set(c.geometry["text"].symmetric)) == EXPECTED[model]


def test_every_norm_of_the_residual_stream_has_its_width() -> None:
    for model, case in MODELS.items():
        c = resolved(case["tensors"], case["config"])
        width = c.geometry["text"].width
        gains = [t for k, t in c.tensors.items() if k.role in ("attn.norm.gain", "mlp.norm.gain", "final.norm.gain")]
        assert len(gains) >= 4, model
        assert {t.shape for t in gains} == {(width,)}, model
