"""Shapes drawn at random, against the independent pass of `oracle.py`: heads, groups, picks, vocabularies, padding anywhere, caches, dtypes."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat_lab.models import PanguDense, PanguDenseConfig, PanguProMoE, PanguProMoEConfig  # noqa: E402
from begat_lab.models.pangu_generate import KVCache  # noqa: E402


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle = beside("oracle")
SEEDS = range(12)


class Chance:
    """Draws from one seed."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def int(self, low, high):
        return int(torch.randint(low, high + 1, (1,), generator=self.generator))

    def one_of(self, *values):
        return values[self.int(0, len(values) - 1)]


def config_of(chance, dense):
    kv, share = chance.int(1, 3), chance.int(1, 4)
    head_dim = 2 * chance.int(1, 5)
    plain = chance.int(0, 1)
    shape = {
        "vocab_size": chance.one_of(2, 31, 97, 128), "num_hidden_layers": chance.int(1, 3), "num_attention_heads": kv * share,
        "num_key_value_heads": kv, "head_dim": 0 if plain else head_dim, "hidden_size": kv * share * head_dim if plain else chance.int(3, 33),
        "rope_theta": chance.one_of(10.0, 1e4, 1.6e7), "rms_norm_eps": chance.one_of(1e-6, 1e-5, 1e-2),
        "tie_word_embeddings": bool(chance.int(0, 1)), "max_position_embeddings": 64, "pad_token_id": 0, "eos_token_id": None,
    }  # fmt: skip
    if dense:
        return PanguDenseConfig(**shape, intermediate_size=chance.int(1, 40), bias=bool(chance.int(0, 1)))
    groups, size = chance.int(1, 5), chance.int(1, 5)
    picks = chance.int(1, size)
    return PanguProMoEConfig(**shape, moe_intermediate_size=chance.int(1, 9), shared_expert_intermediate_size=chance.one_of(0, 1, 11),
                             num_experts=groups * size, num_groups=groups, num_experts_per_tok=groups * picks)  # fmt: skip


def model_of(seed, dense, dtype=torch.float64, **options):
    """A model with every weight random, and the source of further draws."""
    chance = Chance(1000 * seed + dense)
    config = config_of(chance, dense)
    model = (PanguDense if dense else PanguProMoE)(config, **options).to(dtype).eval()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            weight.normal_(0.0, 0.3, generator=chance.generator)
            if "norm" in key or "router_scale" in key:
                weight.add_(1.0)
    return model, chance


def holes(chance, rows, length):
    """A mask with padding anywhere; every row has a real token."""
    mask = (torch.rand(rows, length, generator=chance.generator) < 0.6).long()
    mask[torch.arange(rows), torch.randint(length, (rows,), generator=chance.generator)] = 1
    return mask


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_logits_with_padding_anywhere(seed, dense):
    model, chance = model_of(seed, dense, attention=("sdpa", "eager")[seed % 2])
    ids = torch.randint(model.config.vocab_size, (chance.int(1, 4), chance.int(1, 9)), generator=chance.generator)
    mask = holes(chance, *ids.shape)
    with torch.no_grad():
        for kind in (mask, mask.bool(), mask.double(), mask.int()):
            got = model(ids, attention_mask=kind).logits
            assert got.isfinite().all()
            for row, real, logits in zip(ids, mask.bool(), got, strict=True):
                wanted = torch.from_numpy(oracle.logits(model, row[real].tolist()))
                torch.testing.assert_close(logits[real], wanted, atol=1e-10, rtol=1e-10)
        whole = model(ids).logits
        assert torch.allclose(whole, model(ids, attention_mask=torch.ones_like(ids)).logits, atol=1e-12)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_cached_steps_of_any_length_with_padding_anywhere(seed, dense):
    model, chance = model_of(seed, dense)
    rows, length = chance.int(1, 3), chance.int(2, 9)
    ids = torch.randint(model.config.vocab_size, (rows, length), generator=chance.generator)
    mask, at = holes(chance, rows, length), 0
    cache = KVCache(model.config, rows, length + 2, torch.float64, torch.device("cpu"))
    with torch.no_grad():
        whole = model(ids, attention_mask=mask).logits
        while at < length:
            end = min(length, at + chance.int(1, 4))
            part = model(ids[:, at:end], attention_mask=mask[:, :end], cache=cache).logits
            real = mask[:, at:end].bool()
            torch.testing.assert_close(part[real], whole[:, at:end][real], atol=1e-11, rtol=1e-11)
            at = end


@pytest.mark.parametrize("side", ["left", "right", "none"])
@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_a_batch_generate_as_if_alone(seed, side):
    """Greedy, with an id that ends some rows early: what a row says depends on no other row, and padding follows its end."""
    model, chance = model_of(seed, dense=seed % 2)
    V, rows = model.config.vocab_size, chance.int(2, 4)
    longest = chance.int(2, 6)
    lengths = [longest if side == "none" else chance.int(1, longest) for _ in range(rows)]
    ids, mask = torch.zeros(rows, max(lengths), dtype=torch.long), torch.zeros(rows, max(lengths), dtype=torch.bool)
    for i, n in enumerate(lengths):
        at = slice(max(lengths) - n, None) if side == "left" else slice(n)
        ids[i, at], mask[i, at] = torch.randint(V, (n,), generator=chance.generator), True
    alone = []
    for row, real in zip(ids, mask, strict=True):
        text = row[real].tolist()
        for _ in range(5):
            text.append(int(oracle.logits(model, text)[-1].argmax()))
        alone.append(text[-5:])
    stop = alone[0][chance.int(0, 3)]
    for use_cache in (True, False):
        new = model.generate(ids, None if side == "none" else mask, max_new_tokens=5, eos_token_id=stop, pad_token_id=V - 1,
                             use_cache=use_cache)[:, ids.shape[1] :]  # fmt: skip
        ends = [said.index(stop) + 1 if stop in said else 5 for said in alone]
        assert new.shape[1] == max(ends)  # it stops when the last row does
        for said, end, got in zip(alone, ends, new.tolist(), strict=True):
            assert got[:end] == said[:end]
            assert set(got[end:]) <= {V - 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS[:6])
def test_narrower_dtypes_stay_near(seed, dense, dtype):
    exact, chance = model_of(seed, dense)
    rounded, _ = model_of(seed, dense)
    rounded = rounded.to(dtype)
    ids = torch.randint(exact.config.vocab_size, (2, 7), generator=chance.generator)
    with torch.no_grad():
        for a, b in zip(exact.parameters(), rounded.parameters(), strict=True):
            a.copy_(b)  # the same rounded weights
        wanted, got = exact(ids), rounded(ids)
    assert got.logits.dtype == torch.float32
    same = torch.ones(ids.numel(), dtype=torch.bool)  # tokens that no rounding sent to another expert
    for a, b in zip(exact(ids).routings or (), got.routings or (), strict=True):
        same &= (a.expert_ids_TK == b.expert_ids_TK).all(1)
    if dtype == torch.float32 or same.all():
        error = (got.logits.double() - wanted.logits).norm() / wanted.logits.norm()
        assert error <= (1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS[:6])
def test_folders_of_any_shape_come_back(tmp_path, seed, dense):
    model, chance = model_of(seed, dense, torch.bfloat16)
    kind, size = type(model), chance.one_of(200, 5000, 10**9)
    model.save_pretrained(tmp_path / "a", max_shard_bytes=size)
    again = kind.from_pretrained(tmp_path / "a")
    assert again.config == model.config
    again.save_pretrained(tmp_path / "b", max_shard_bytes=size)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
    wide = kind.from_pretrained(tmp_path / "a", dtype="float32")  # a bf16 file in float32: the same values
    for (name, a), b in zip(model.state_dict().items(), wide.state_dict().values(), strict=True):
        assert b.dtype == torch.float32 and torch.equal(a.float(), b), name


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_packing_changes_no_bit_of_a_folder(tmp_path, seed):
    model, _ = model_of(seed, dense=False, dtype=torch.float32)
    model.save_pretrained(tmp_path / "a")
    model.pack()
    model.save_pretrained(tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_gradients_equal_finite_differences(seed):
    """Through attention, norms, the router's softmax and the experts; the choice of experts is constant around a point."""
    model, chance = model_of(seed, dense=False)
    ids = torch.randint(model.config.vocab_size, (1, 4), generator=chance.generator)
    slope = torch.randn(4, model.config.vocab_size, dtype=torch.float64, generator=chance.generator)
    f = lambda: (model(ids).logits[0] * slope).sum()  # noqa: E731
    f().backward()
    for name, weight in model.named_parameters():
        way = torch.randn(weight.shape, dtype=torch.float64, generator=chance.generator)
        with torch.no_grad():
            values = []
            for step in (1e-6, -2e-6):
                weight.add_(step * way)
                values.append(float(f()))
            weight.add_(1e-6 * way)
        wanted = (values[0] - values[1]) / 2e-6
        assert float((weight.grad * way).sum()) == pytest.approx(wanted, rel=1e-4, abs=1e-4 * float(slope.norm())), name


def test_sizes_that_no_model_has_are_errors():
    from begat import InputError

    good = config_of(Chance(0), dense=False)
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "num_experts",
                 "num_experts_per_tok", "num_groups", "moe_intermediate_size"):  # fmt: skip
        for wrong in (0, -3):
            with pytest.raises(InputError):
                replace(good, **{name: wrong})
    for name, wrong in (
        ("rope_theta", 0.0),
        ("rms_norm_eps", -1e-5),
        ("rope_theta", float("nan")),
        ("head_dim", 3),
        ("head_dim", -2),
    ):
        with pytest.raises(InputError):
            replace(good, **{name: wrong})
