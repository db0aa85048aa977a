"""Other configurations than the golden ones: against an independent forward pass and transformers' Llama, padded, cached, sampled."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


from begat import InputError  # noqa: E402
from begat_lab.models import PanguDense  # noqa: E402
from begat_lab.models.pangu_generate import choose  # noqa: E402

oracle, examples = beside("oracle"), beside("pangu_examples")
example, prompts, CONFIGS = examples.example, examples.prompts, examples.CONFIGS


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_an_independent_pass_computes_the_same(name, attention):
    model = example(name, attention=attention)
    for side in ("left", "right"):
        rows, ids, mask = prompts(side=side)
        with torch.no_grad():
            got = model(ids, attention_mask=mask).logits
        assert got.isfinite().all()
        for row, logits, real in zip(rows, got, mask.bool(), strict=True):
            torch.testing.assert_close(logits[real], torch.from_numpy(oracle.logits(model, row)), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_transformers_llama_computes_the_same(tmp_path, seed, bias):
    transformers = pytest.importorskip("transformers", reason="oracle only: pip install transformers to compare logits with it")
    chance = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (1,), generator=chance))  # noqa: E731
    kv, share, half = draw(1, 4), draw(1, 4), draw(2, 6)
    config = transformers.LlamaConfig(
        vocab_size=draw(20, 90), hidden_size=kv * share * 2 * half, intermediate_size=draw(10, 70), num_hidden_layers=draw(1, 4),
        num_attention_heads=kv * share, num_key_value_heads=kv, attention_bias=bias, rms_norm_eps=10.0 ** -draw(3, 7),
        rope_theta=float(draw(100, 10**6)), tie_word_embeddings=seed == 2, max_position_embeddings=64,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0.0, 0.3, generator=chance)
    theirs.save_pretrained(tmp_path)
    for dtype, within in ((torch.float64, 2e-5), (torch.float32, 2e-5)):  # their norms and positions are float32 in either
        ours = PanguDense.from_pretrained(tmp_path, dtype=dtype)
        _, ids, mask = prompts(lengths=(9, 3, 6), side="right", vocabulary=config.vocab_size)
        with torch.no_grad():
            got, wanted = ours(ids, attention_mask=mask).logits, theirs(ids, attention_mask=mask).logits
        real = mask.bool()
        assert (got[real] - wanted[real]).abs().max() <= within * wanted[real].abs().max()


@pytest.mark.parametrize("name", CONFIGS)
def test_cached_steps_equal_the_whole(name):
    from begat_lab.models.pangu_generate import KVCache

    model = example(name)
    _, ids, mask = prompts(lengths=(9, 4), side="left")
    cache = KVCache(model.config, 2, 9, torch.float64, torch.device("cpu"))
    with torch.no_grad():
        whole = model(ids, attention_mask=mask).logits
        parts = [model(ids[:, a:b], attention_mask=mask[:, :b], cache=cache).logits for a, b in ((0, 4), (4, 7), (7, 8), (8, 9))]
    real = mask.bool()
    torch.testing.assert_close(torch.cat(parts, 1)[real], whole[real], atol=1e-12, rtol=1e-12)
    with pytest.raises(InputError, match="cache is full"):
        model(ids[:, :1], cache=cache)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_generates_what_its_rows_do(name, side, use_cache):
    model = example(name)
    rows, ids, mask = prompts(side=side)
    got = model.generate(ids, mask, max_new_tokens=6, eos_token_id=None, use_cache=use_cache)
    for row, new in zip(rows, got[:, ids.shape[1] :], strict=True):
        text = row
        for _ in range(6):  # greedy, from the independent pass
            text = torch.cat([text, torch.from_numpy(oracle.logits(model, text)[-1]).argmax()[None]])
        assert torch.equal(new, text[len(row) :])


def test_generation_stops_at_eos_and_pads():
    model = example("dense")
    _, ids, mask = prompts()
    free = model.generate(ids, mask, max_new_tokens=8, eos_token_id=None)[:, ids.shape[1] :]
    stop = int(free[0, 2])
    got = model.generate(ids, mask, max_new_tokens=8, eos_token_id=(stop,), pad_token_id=36)[:, ids.shape[1] :]
    for new, whole in zip(got, free, strict=True):
        end = (whole == stop).nonzero()
        n = int(end[0]) + 1 if len(end) else 8
        assert torch.equal(new[:n], whole[: min(n, len(new))])
        assert (new[n:] == 36).all()
    steps = list(model.stream(ids, mask, max_new_tokens=8, eos_token_id=None))
    assert torch.equal(torch.stack(steps, 1), free)
    with pytest.raises(InputError, match="no token"):
        model.generate(ids, torch.zeros_like(mask))


def test_sampling_draws_from_the_nucleus():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(4000, 1)
    share = lambda **how: torch.bincount(choose(logits, generator=torch.Generator().manual_seed(1), **how), minlength=4) / 4000  # noqa: E731
    torch.testing.assert_close(share(temperature=1.0, top_p=1.0), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03, rtol=0)
    torch.testing.assert_close(share(temperature=1.0, top_p=0.75), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03, rtol=0)
    assert share(temperature=1.0, top_p=0.4)[0] == 1
    cold = torch.tensor([0.5, 0.3, 0.15, 0.05]) ** 2
    torch.testing.assert_close(share(temperature=0.5, top_p=1.0), cold / cold.sum(), atol=0.03, rtol=0)
    model = example("12-3-2")
    _, ids, mask = prompts()
    draw = lambda seed: model.generate(ids, mask, do_sample=True, top_p=0.9, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}):
        with pytest.raises(InputError, match="sampling"):
            model.generate(ids, mask, do_sample=True, **wrong)


@pytest.mark.parametrize("name", ["12-3-2", "dense"])
def test_checkpointing_changes_no_gradient(name):
    grads = []
    for on in (False, True):
        model = example(name)
        model.checkpointing = on
        _, ids, mask = prompts()
        model(ids, attention_mask=mask).logits[mask.bool()].square().mean().backward()
        grads.append({key: weight.grad for key, weight in model.named_parameters()})
    assert all(torch.equal(grads[0][key], grads[1][key]) for key in grads[0])


def test_wrong_masks_and_modes_are_errors():
    model = example("dense")
    with pytest.raises(InputError, match="attention_mask"):
        model(torch.ones(1, 4, dtype=torch.long), attention_mask=torch.ones(1, 3))
    with pytest.raises(InputError, match="attention"):
        PanguDense(CONFIGS["dense"], attention="flash")
