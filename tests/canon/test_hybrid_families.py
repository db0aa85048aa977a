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


def _encoder(prefix: str, names: tuple[str, str, str, str, str]) -> list[tuple[str, list[int]]]:
    """Two layers of an encoder: names of q, k, v, o and of the norm behind attention."""
    out: list[tuple[str, list[int]]] = [(f"{prefix}.embeddings.word_embeddings.weight", [99, 48])]
    for i in range(2):
        p = f"{prefix}.encoder.layer.{i}."
        for n in names[:4]:
            out += [(f"{p}{n}.weight", [48, 48]), (f"{p}{n}.bias", [48])]
        for n in (names[4], "output.LayerNorm"):
            out += [(f"{p}{n}.weight", [48]), (f"{p}{n}.bias", [48])]
        for n, shape in (("intermediate.dense", [96, 48]), ("output.dense", [48, 96])):
            out += [(f"{p}{n}.weight", shape), (f"{p}{n}.bias", shape[:1])]
    return out


def test_mpnet_and_deberta() -> None:
    mpnet = _encoder("mpnet", ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o", "attention.LayerNorm"))
    deberta = _encoder("deberta", (
        "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj", "attention.output.dense", "attention.output.LayerNorm",
    ))  # fmt: skip
    a, b = (resolved(x, {"model_type": m, "num_attention_heads": 6}) for x, m in ((mpnet, "mpnet"), (deberta, "deberta-v2")))
    assert not a.unmapped and not b.unmapped
    assert (a.family, b.family) == ("mpnet", "deberta")
    assert "kv-heads" not in a.geometry["text"].symmetric  # one position bias per head, shared by all layers
    assert {"kv-heads", "residual"} <= set(b.geometry["text"].symmetric)
