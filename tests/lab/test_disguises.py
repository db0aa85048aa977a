"""Every disguise, alone and all stacked, for tied and untied models: the logits stay, the weights do not."""

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat_lab.descent.disguised import probe  # noqa: E402
from begat_lab.disguises import DISGUISES  # noqa: E402
from begat_lab.models.dense import DenseConfig, new_model  # noqa: E402

STACKS = [*((name,) for name in DISGUISES), tuple(DISGUISES), tuple(DISGUISES)[::-1]]


def model_of(tied, dtype=torch.float64):
    shape = DenseConfig(vocab_size=97, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=6,
                        num_key_value_heads=2, head_dim=8, tie_word_embeddings=tied, initializer_range=0.3)  # fmt: skip
    chance = torch.Generator().manual_seed(1)
    model = new_model(shape, chance)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.normal_(1.0, 0.3, generator=chance)
    return model.to(dtype)


def disguised(stack, tied, dtype=torch.float64, seed=2):
    model, chance = model_of(tied, dtype), torch.Generator().manual_seed(seed)
    for name in stack:
        model = DISGUISES[name].apply(model, chance)
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stack", STACKS, ids="+".join)
def test_the_function_stays(stack, tied):
    before = probe(model_of(tied))
    assert (probe(disguised(stack, tied)) - before).abs().max() < 1e-6 * before.abs().max()
    low = probe(disguised(stack, tied, torch.float32))
    assert (low - before).abs().max() < 1e-3 * before.abs().max()


@pytest.mark.parametrize("stack", STACKS, ids="+".join)
def test_the_weights_do_not(stack):
    before, after, other = model_of(False), disguised(stack, False), disguised(stack, False, seed=3)
    moved = {name for name, weight in before.state_dict().items() if not torch.equal(weight, after.state_dict()[name])}
    assert moved
    drawn = any(not torch.equal(weight, other.state_dict()[name]) for name, weight in after.state_dict().items())
    assert drawn == (stack != ("gain-folding",)), "another seed, another disguise"


def test_every_letter_of_the_statistics_is_here():
    assert {d.letter for d in (DISGUISES[name] for name in DISGUISES)} == {"T1", "T2", "T3", "T4", "T5", "T6"}


def test_a_disguise_hides_what_it_says_it_hides():
    """Each moves units or dims to other indices, or changes the basis: no MLP row of the full stack looks like its own original."""
    before, after = model_of(True), disguised(tuple(DISGUISES), True)
    for a, b in zip(before.model.layers, after.model.layers, strict=True):
        cosine = torch.nn.functional.cosine_similarity(a.mlp.up_proj.weight, b.mlp.up_proj.weight)
        assert cosine.abs().mean() < 0.35
