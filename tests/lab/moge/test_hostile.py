"""Inputs at the edge and beyond it: each gives the right numbers or one line that says what is wrong, never a traceback of torch's."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

import torch.distributed as dist  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from begat import InputError  # noqa: E402
from begat_lab.cli.main import cli  # noqa: E402
from begat_lab.device import open_device  # noqa: E402
from begat_lab.models import PanguDense, PanguProMoE  # noqa: E402
from begat_lab.models.pangu_generate import KVCache, choose  # noqa: E402
from begat_lab.moge import Grouping, MoGE  # noqa: E402

spec = importlib.util.spec_from_file_location("pangu_examples", Path(__file__).parent / "pangu_examples.py")
examples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(examples)
NAMES = ["12-3-2", "dense"]


@pytest.fixture(params=NAMES)
def model(request):
    return examples.example(request.param)


def chance(seed=1):
    return torch.Generator().manual_seed(seed)


def test_no_new_tokens_give_the_prompt_back(model):
    _, ids, mask = examples.prompts()
    assert torch.equal(model.generate(ids, mask, max_new_tokens=0), ids)
    with pytest.raises(InputError, match="max_new_tokens"):
        model.generate(ids, mask, max_new_tokens=-1)


@pytest.mark.parametrize("ids", [
    torch.zeros(1, 0, dtype=torch.long), torch.zeros(3, dtype=torch.long), torch.zeros(1, 3), torch.tensor([[37]]), torch.tensor([[-1]]),
])  # fmt: skip
def test_prompts_that_are_none_are_errors(model, ids):
    with pytest.raises(InputError) as caught:
        model.generate(ids)
    assert "\n" not in str(caught.value)


def test_masks_of_prompts(model):
    _, ids, mask = examples.prompts()
    wanted = model.generate(ids, mask, max_new_tokens=3, eos_token_id=None)
    for kind in (mask.bool(), mask.float(), mask.int()):
        assert torch.equal(model.generate(ids, kind, max_new_tokens=3, eos_token_id=None), wanted)
    for wrong in (mask[:, 1:], mask[0], torch.zeros_like(mask)):
        with pytest.raises(InputError):
            model.generate(ids, wrong)
    nobody = torch.zeros(0, 4, dtype=torch.long)
    assert model.generate(nobody).shape[0] == 0


def test_a_row_of_padding_harms_no_other_row(model):
    _, ids, mask = examples.prompts()
    with torch.no_grad():
        whole = model(ids, attention_mask=mask).logits
        mask[1] = 0
        got = model(ids, attention_mask=mask).logits
    assert got.isfinite().all()
    others = [0, 2]
    assert torch.equal(got[others][mask[others].bool()], whole[others][mask[others].bool()])


def test_temperatures_next_to_zero_take_the_best():
    logits = torch.tensor([[1.0, 3.0, 2.0], [-5e4, -6e4, -7e4]]).repeat(500, 1)
    best = logits.argmax(-1)
    for temperature in (1e-3, 1e-30, 1e-45, 5e-324, 0.0):
        assert torch.equal(choose(logits, temperature, 1.0, chance()), best), temperature
    assert torch.equal(choose(logits, 1.0, 1e-12, chance()), best)
    hot = choose(torch.zeros(3000, 4), math.inf, 1.0, chance())
    assert torch.bincount(hot, minlength=4).min() > 600
    for wrong in ((1.0, 0.0), (1.0, 1.1), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.nan)):
        with pytest.raises(InputError, match="sampling"):
            choose(logits, *wrong, chance())


def test_the_whole_vocabulary_stays_at_top_p_1():
    """Rounded sums reach 1 before the last id; it must still be drawn now and then."""
    logits = torch.zeros(200_000, 3)
    logits[:, 2] = -6.0
    share = torch.bincount(choose(logits, 1.0, 1.0, chance()), minlength=3)[2] / 200_000
    assert float(share) == pytest.approx(math.exp(-6) / (2 + math.exp(-6)), rel=0.25)


def test_rows_that_end_at_different_steps_and_ids_of_ends(model):
    _, ids, mask = examples.prompts()
    free = model.generate(ids, mask, max_new_tokens=6, eos_token_id=None)[:, ids.shape[1] :]
    ends = tuple(int(free[i, i]) for i in range(3))  # row i ends at step i or before
    for stop in (ends, list(ends)):
        new = model.generate(ids, mask, max_new_tokens=6, eos_token_id=stop, pad_token_id=0)[:, ids.shape[1] :]
        for got, whole in zip(new.tolist(), free.tolist(), strict=True):
            end = next(i for i, one in enumerate(whole) if one in ends) + 1
            assert got[: min(end, len(got))] == whole[: min(end, len(got))]
            assert set(got[end:]) <= {0}
    assert new.shape[1] <= 3
    assert torch.equal(model.generate(ids, mask, max_new_tokens=6, eos_token_id=())[:, ids.shape[1] :], free)


def test_caches_of_other_batches_models_and_dtypes_are_errors(model):
    c, device = model.config, torch.device("cpu")
    ids = torch.ones(1, 2, dtype=torch.long)
    for cache in (
        KVCache(c, 2, 4, torch.float64, device),
        KVCache(c, 1, 4, torch.float32, device),
        KVCache(c, 1, 1, torch.float64, device),
    ):
        with pytest.raises(InputError, match="cache"):
            model(ids, cache=cache)


def folder(tmp_path, name="12-3-2", **how):
    examples.example(name, torch.float32).save_pretrained(tmp_path / "x", **how)
    return tmp_path / "x"


def test_an_index_without_its_shard(tmp_path):
    at = folder(tmp_path, max_shard_bytes=3000)
    gone = sorted(at.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(InputError) as caught:
        PanguProMoE.from_pretrained(at)
    assert caught.value.file.endswith(gone.name)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": "../x"}}, {"weight_map": {"a": 3}}])
def test_indices_that_are_none(tmp_path, index):
    at = folder(tmp_path, max_shard_bytes=3000)
    (at / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError):
        PanguProMoE.from_pretrained(at)


def test_a_tensor_in_two_shards(tmp_path):
    at = folder(tmp_path, max_shard_bytes=3000)
    first, second = sorted(at.glob("model-*.safetensors"))[:2]
    tensors = load_file(first)
    save_file({**load_file(second), **dict(list(tensors.items())[:1])}, second)
    with pytest.raises(InputError, match="twice"):
        PanguProMoE.from_pretrained(at)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.int32])
def test_quantised_tensors_are_errors_and_not_numbers(tmp_path, dtype):
    at = folder(tmp_path)
    tensors = load_file(at / "model.safetensors")
    tensors["model.layers.0.mlp.experts.1.up_proj.weight"] = tensors["model.layers.0.mlp.experts.1.up_proj.weight"].to(dtype)
    save_file(tensors, at / "model.safetensors")
    with pytest.raises(InputError, match="scale") as caught:
        PanguProMoE.from_pretrained(at)
    assert caught.value.tensor == "model.layers.0.mlp.experts.1.up_proj.weight"


@pytest.mark.parametrize("change", [
    {"num_hidden_layers": 10**9}, {"num_experts": 3 * 10**9}, {"vocab_size": 10**9}, {"num_key_value_heads": 0}, {"num_groups": 0},
    {"num_groups": 5}, {"num_experts_per_tok": 0}, {"hidden_size": -24}, {"rope_theta": 0}, {"head_dim": 7}, {"num_experts": 13},
    {"rms_norm_eps": None}, {"num_groups": None},
])  # fmt: skip
def test_absurd_configs_are_errors_at_once(tmp_path, change):
    at = folder(tmp_path)
    raw = json.loads((at / "config.json").read_text())
    (at / "config.json").write_text(json.dumps({**raw, **change}))
    with pytest.raises(InputError):
        PanguProMoE.from_pretrained(at)


def test_the_other_class_is_refused(tmp_path):
    with pytest.raises(InputError, match="another kind"):
        PanguDense.from_pretrained(folder(tmp_path))
    with pytest.raises(InputError):
        PanguDense.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(("ranks", "dispatch", "grouping"), [
    (3, "all-gather", Grouping(16, 8, 1)), (5, "all-to-all", Grouping(20, 4, 1)), (8, "all-gather", Grouping(16, 4, 1)),
    (3, "ragged", Grouping(16, 1, 2)), (2, "post", Grouping(16, 8, 1)),
])  # fmt: skip
def test_ranks_that_do_not_share_the_groups(monkeypatch, ranks, dispatch, grouping):
    from begat_lab.moge.parallel import ExpertParallel

    monkeypatch.setattr(dist, "get_rank", lambda group=None: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda group=None: ranks)
    with pytest.raises(InputError):
        ExpertParallel(MoGE(8, 4, grouping), dispatch=dispatch)


@pytest.mark.parametrize("name", ["cude", "cuda:x", "", "cpu:", "cuda:99", "npu"])
def test_devices_that_are_not_here(name):
    with pytest.raises(InputError, match="device"):
        open_device(name)
    assert open_device("cpu") == torch.device("cpu")


def test_the_command_says_so_on_one_line(tmp_path):
    at = folder(tmp_path, "dense")
    ran = CliRunner().invoke(cli, ["generate", str(at), "x", "--device", "cuda:77"])
    assert isinstance(ran.exception, InputError)
    assert "\n" not in ran.exception.line()
