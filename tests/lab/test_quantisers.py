"""The lab's quantisers: begat's reader and the `gguf` package as oracles, and that each does better than plain rounding where it should."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

import begat  # noqa: E402
from begat import InputError  # noqa: E402
from begat_lab.descent import KINDS, Job  # noqa: E402
from begat_lab.descent.awq import Awq, scale_channels  # noqa: E402
from begat_lab.descent.calibration import inputs_of, matrices  # noqa: E402
from begat_lab.descent.disguised import probe  # noqa: E402
from begat_lab.descent.gguf_file import Blocks  # noqa: E402
from begat_lab.descent.gptq import Gptq, round_matrix  # noqa: E402
from begat_lab.descent.k_quants import q4_k, q6_k  # noqa: E402
from begat_lab.descent.packing import grid_of, pack_awq, pack_inputs, pack_outputs  # noqa: E402
from begat_lab.descent.upcycled_split import Split, mixture_of_parts  # noqa: E402
from begat_lab.models.dense import DenseConfig, new_model  # noqa: E402
from begat_lab.models.huggingface import pack, save_folder  # noqa: E402
from begat_lab.training import Recipe  # noqa: E402


def chance(number=3):
    return torch.Generator().manual_seed(number)


def parent(**changes):
    shape = DenseConfig(**{
        "vocab_size": 97, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.2} | changes)  # fmt: skip
    model = new_model(shape, chance(1))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:  # as training makes them: some channels far larger than others
                weight.copy_(torch.randn(weight.shape, generator=chance(4)).exp())
    return model


def made(tmp_path, kind, options):
    (tmp_path / "out").mkdir()
    save_folder(pack(parent(), torch.float32), tmp_path / "parent")
    job = Job(folder=tmp_path / "out", parents=(tmp_path / "parent",), options=options, shape=parent().config, dtype=torch.float32,
              seeds={"window_seed": 5}, training=Recipe(steps=4, batch=4, context=32, warmup=1),
              tokens_N=torch.randint(97, (5000,), generator=chance(6)))  # fmt: skip
    return KINDS[kind].make(job), begat.open_checkpoint(tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("gptq", Gptq()), ("gptq", Gptq(sym=False, desc_act=True, group_size=64)), ("gptq", Gptq(bits=8)), ("gptq", Gptq(bits=2)),
     ("awq", Awq()), ("awq", Awq(group_size=64))],
)  # fmt: skip
def test_begat_reads_what_was_stored(tmp_path, kind, options):
    child, stored = made(tmp_path, kind, options)
    for name, weight in child.model.state_dict().items():
        entry = stored.entries[name]
        assert (entry.dtype == "F32") != name.endswith("_proj.weight")
        values = stored.read(name)
        np.testing.assert_array_equal(
            values.T if entry.transposed else values.reshape(weight.shape), weight.numpy(), err_msg=name
        )


def outputs_error(weight_OI, rounded_OI, moment_II):
    error_OI = rounded_OI - weight_OI
    return float(((error_OI @ moment_II) * error_OI).sum() / ((weight_OI @ moment_II) * weight_OI).sum())


def plainly(weight_OI, options):
    pieces = weight_OI.split(options.group_size, 1)
    grids = [grid_of(piece, options.bits, options.sym) for piece in pieces]
    return torch.cat([grid.values(grid.codes(piece)) for grid, piece in zip(grids, pieces, strict=True)], 1)


@pytest.mark.parametrize("desc_act", [False, True])
@pytest.mark.parametrize("bits", [2, 4])
def test_gptq_keeps_outputs_better_than_rounding_and_weights_worse(bits, desc_act):
    x_NI = torch.randn(400, 96, generator=chance(), dtype=torch.float64) @ torch.randn(
        96, 96, generator=chance(8), dtype=torch.float64
    )
    moment_II, weight_OI = x_NI.T @ x_NI / 400, torch.randn(64, 96, generator=chance(9), dtype=torch.float64)
    options = Gptq(bits=bits, desc_act=desc_act)
    found, plain = round_matrix(weight_OI, moment_II, options), plainly(weight_OI, options)
    assert outputs_error(weight_OI, found.values(), moment_II) < {2: 0.75, 4: 0.6}[bits] * outputs_error(weight_OI, plain, moment_II)
    assert (found.values() - weight_OI).square().sum() > (plain - weight_OI).square().sum()
    assert (found.group_I.diff() < 0).any() == desc_act
    assert found.group_I.bincount().tolist() == [32, 32, 32]


def test_gptq_with_unrelated_inputs_is_plain_rounding():
    """Nothing to make up for: a diagonal Hessian."""
    weight_OI, options = torch.randn(32, 64, generator=chance(), dtype=torch.float64), Gptq()
    found = round_matrix(weight_OI, torch.eye(64, dtype=torch.float64), options)
    torch.testing.assert_close(found.values(), plainly(weight_OI, options))


def test_awq_scales_leave_the_function_and_help():
    model = parent()
    before = probe(model)
    ids_BT = torch.randint(97, (4, 48), generator=chance())
    flows = inputs_of(model, matrices(model), [ids_BT])
    layer = model.model.layers[0]
    here = {name: flows[f"model.layers.0.{name}"] for name in matrices(layer)}
    gate, moment_II = layer.mlp.gate_proj.weight.detach().double(), here["mlp.gate_proj"].moment_II
    with torch.no_grad():
        exponent = scale_channels(layer, ("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm", here, 32)
        scale_channels(layer, ("mlp.down_proj",), "mlp.up_proj", here, 32)
    torch.testing.assert_close(probe(model), before, atol=1e-3, rtol=1e-3)
    assert 0 < exponent < 1, "the norm's gains differ by factors, so some scaling is worth it"
    scaled = layer.mlp.gate_proj.weight.detach().double()
    ratio_I = (scaled / gate).mean(0)
    options = Gptq(sym=False)
    error = outputs_error(gate, plainly(scaled, options) / ratio_I, moment_II)
    assert error < 0.8 * outputs_error(gate, plainly(gate, options), moment_II)


def test_words_by_hand():
    code = torch.arange(8)[:, None]
    assert hex(int(pack_inputs(code, 4).view(torch.uint32)[0, 0])) == "0x76543210"
    assert hex(int(pack_outputs(code.T, 4).view(torch.uint32)[0, 0])) == "0x76543210"
    assert hex(int(pack_awq(code.T).view(torch.uint32)[0, 0])) == "0x75316420"


@pytest.mark.parametrize(("quantise", "name", "bits"), [(q4_k, "Q4_K", 4), (q6_k, "Q6_K", 6)])
def test_k_quants_are_read_by_gguf(quantise, name, bits):
    gguf = pytest.importorskip("gguf", reason="the oracle")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 768)).astype(np.float32) * rng.uniform(0.01, 2, size=(40, 24)).astype(np.float32).repeat(32, 1)
    values += rng.normal(size=(40, 24)).astype(np.float32).repeat(32, 1)
    values[0] = 0
    values[1, :256] = 1
    packed = quantise(values)
    kind = gguf.GGMLQuantizationType[name]
    assert packed.shape == gguf.quants.quant_shape_to_byte_shape(values.shape, kind)
    back = gguf.quants.dequantize(packed, kind)
    span = values.reshape(40, -1, 32).max(-1) - np.minimum(values.reshape(40, -1, 32).min(-1), 0)
    if name == "Q6_K":
        span = 2 * np.abs(values).reshape(40, -1, 32).max(-1)
    block = (
        span.reshape(40, 3, 8).max(-1, keepdims=True).repeat(8, 2).reshape(span.shape)
    )  # six- or seven-bit scales: a share of the largest
    worst = (0.75 * span / (2**bits - 2) + block / 50).repeat(32, 1)
    assert (np.abs(back - values) <= worst + 1e-6).all()
    assert not back[0].any() and np.sqrt(np.mean((back - values) ** 2) / np.var(values)) < {4: 0.06, 6: 0.02}[bits]
    codes = len(np.unique(back[5, :32]))
    assert codes > 10 and (name != "Q4_K" or codes <= 16)


def test_rows_of_no_whole_blocks_fall_back(tmp_path):
    pytest.importorskip("gguf", reason="the kind gguf needs the gguf package")
    child, stored = made(tmp_path, "gguf", Blocks("Q4_K"))
    types = {name: entry.dtype for name, entry in stored.entries.items()}
    assert types["blk.0.ffn_down.weight"] == "Q4_K" and types["blk.0.ffn_up.weight"] == types["token_embd.weight"] == "Q5_0"
    assert child.details["types"] == {"Q4_K": 2, "Q5_0": 13}
    np.testing.assert_allclose(
        stored.read("blk.1.ffn_down.weight"), child.model.model.layers[1].mlp.down_proj.weight.detach().numpy()
    )


def test_sizes_that_do_not_fit_are_one_line(tmp_path):
    with pytest.raises(InputError, match="do not fill groups"):
        made(tmp_path, "gptq", Gptq(group_size=48))
    with pytest.raises(InputError, match="bits of GPTQ"):
        Gptq(bits=5)
    with pytest.raises(InputError, match="do not divide among the experts"):
        mixture_of_parts(parent(), Split(experts=3, active=1), chance())


def test_parts_add_up_to_the_whole():
    model = parent(initializer_range=0.3)
    child = mixture_of_parts(model, Split(experts=4, active=4), chance())
    units = torch.cat([expert.w1.weight for expert in child.model.layers[1].block_sparse_moe.experts])
    dense = model.model.layers[1].mlp.gate_proj.weight
    assert not torch.equal(units, dense) and torch.equal(units.sort(0).values, dense.sort(0).values), "a partition, shuffled"
    with torch.no_grad():
        for layer in child.model.layers:
            layer.block_sparse_moe.gate.weight.zero_()
    torch.testing.assert_close(probe(child), probe(model), atol=1e-3, rtol=1e-3)
