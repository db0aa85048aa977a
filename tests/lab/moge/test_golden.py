"""Numbers of the released code on random weights (`data/*/README.md`): logits, states, routing, losses, gradients, generation.

Compared at real tokens only; error = largest difference over the largest value, per array.
"""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

import torch.nn.functional as F  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from begat_lab.models import PanguDense, PanguProMoE  # noqa: E402
from begat_lab.moge import paper_balance_loss, released_balance_loss  # noqa: E402

DATA = Path(__file__).parent / "data"
MODELS = {"pangu_pro_moe": PanguProMoE, "pangu_dense": PanguDense}
ARRAYS = {name: load_file(DATA / name / "io.safetensors") for name in MODELS}
CASES = [(name, case) for name in MODELS for case in ("nopad", "left", "right") if f"{case}.logits.fp64" in ARRAYS[name]]
WITHIN = {torch.float64: 1e-10, torch.float32: 1e-5}


def error(got, wanted):
    return float((got.detach().double() - wanted.double()).abs().max() / wanted.double().abs().max())


def run(name, case, dtype, attention="sdpa", **options):
    model = MODELS[name].from_pretrained(DATA / name, dtype=dtype, attention=attention, **options)
    arrays = {key.removeprefix(f"{case}."): value for key, value in ARRAYS[name].items() if key.startswith(f"{case}.")}
    mask = None if case == "nopad" else arrays["attention_mask"]
    return model, model(arrays["input_ids"], attention_mask=mask, output_hidden_states=True), arrays


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize(("name", "case"), CASES)
def test_forward(name, case, dtype, attention):
    _, out, arrays = run(name, case, dtype, attention)
    real, within = arrays["attention_mask"].bool(), WITHIN[dtype]
    assert error(out.logits[real], arrays["logits.fp64"][real]) <= within
    for layer, wanted in enumerate(arrays.get("hidden_states.fp64", [])):
        assert error(out.hidden_states[layer][real], wanted[real]) <= within, f"after layer {layer}"
    if name == "pangu_pro_moe":
        flat = real.flatten()
        for routing, ids, weights in zip(out.routings, arrays["expert_ids"], arrays["routing_weights.fp64"], strict=True):
            assert torch.equal(routing.expert_ids_TK[flat], ids[real])
            assert error(routing.weights_TK[flat], weights[real]) <= within
        mask = arrays["attention_mask"]
        assert error(released_balance_loss(out.routings, mask), arrays["aux_loss_hf.fp64"][0]) <= within
        paper = torch.stack([paper_balance_loss(routing, mask) for routing in out.routings])
        assert error(paper, arrays["aux_loss_paper_per_layer.fp64"]) <= within


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 5e-5)])
@pytest.mark.parametrize("name", MODELS)
def test_gradients(name, dtype, within, checkpointing):
    model, _, arrays = run(name, "right", dtype)
    model.checkpointing = checkpointing
    out = model(arrays["input_ids"], attention_mask=arrays["attention_mask"])
    loss = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), arrays["labels"][:, 1:].flatten())
    assert error(loss, arrays["lm_loss.fp64"][0]) <= min(within, 1e-5)
    loss.backward()
    weights, checked = dict(model.named_parameters()), 0
    for key, wanted in arrays.items():
        weight = key.removeprefix("grad_lm.fp64.")
        if weight != key:
            grad = weights[weight].grad
            rows = {"lm_head.weight": slice(64), "model.embed_tokens.weight": arrays["grad_lm.embed_rows"]}.get(
                weight, slice(None)
            )
            assert error(grad[rows], wanted) <= within, weight
            checked += 1
    assert checked >= 14


@pytest.mark.parametrize("kind", ["hf", "paper"])
def test_gradients_of_the_auxiliary_losses(kind):
    model, out, arrays = run("pangu_pro_moe", "right", torch.float64)
    mask = arrays["attention_mask"]
    loss = released_balance_loss(out.routings, mask) if kind == "hf" else sum(paper_balance_loss(r, mask) for r in out.routings)
    loss.backward()
    for layer in range(3):
        name = f"model.layers.{layer}.mlp.gate.weight"
        assert error(dict(model.named_parameters())[name].grad, arrays[f"fp64.grad_aux_{kind}.{name}"]) <= 1e-10


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("prompt", ["prompt0", "prompt1", "batch"])
@pytest.mark.parametrize("dtype", WITHIN)
@pytest.mark.parametrize("name", MODELS)
def test_greedy_generation(name, dtype, prompt, use_cache):
    model = MODELS[name].from_pretrained(DATA / name, dtype=dtype)
    ids, mask = (ARRAYS[name].get(f"gen.{prompt}.{key}") for key in ("input_ids", "attention_mask"))
    got = model.generate(ids, mask, max_new_tokens=16, eos_token_id=None, use_cache=use_cache)
    assert torch.equal(got[:, : ids.shape[1]], ids)
    assert torch.equal(got[:, ids.shape[1] :], ARRAYS[name][f"gen.{prompt}.new_ids"])


def test_grouped_products_compute_the_golden_numbers():
    from begat_lab.moge import grouped_matmul_fits

    if not grouped_matmul_fits(torch.zeros(1, 64), 16):
        pytest.skip("this torch has no grouped matrix product for float32 on a CPU")
    model, out, arrays = run("pangu_pro_moe", "right", torch.float32, experts="grouped")
    real = arrays["attention_mask"].bool()
    assert error(out.logits[real], arrays["logits.fp64"][real]) <= 1e-5
    out.logits[real].square().sum().backward()
    loop, looped, _ = run("pangu_pro_moe", "right", torch.float32, experts="loop")
    looped.logits[real].square().sum().backward()
    grads = dict(loop.named_parameters())
    for name, weight in model.named_parameters():
        assert error(weight.grad, grads[name].grad) <= 5e-5 if grads[name].grad.any() else not weight.grad.any(), name


@pytest.mark.parametrize("name", MODELS)
def test_bf16_stays_near(name):
    _, out, arrays = run(name, "left", torch.bfloat16)
    assert out.logits.dtype == torch.float32
    real = arrays["attention_mask"].bool()
    got, wanted = out.logits[real].double(), arrays["logits.fp64"][real]
    assert torch.corrcoef(torch.stack([got.flatten(), wanted.flatten()]))[0, 1] > 0.99
