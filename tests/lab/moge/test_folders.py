"""Folders: byte for byte, in shards, at full size by name and shape, and errors that name file, tensor and fix."""

import gzip
import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from safetensors.torch import load_file, save_file  # noqa: E402

import begat  # noqa: E402
from begat import InputError  # noqa: E402
from begat_lab.models import PanguDense, PanguDenseConfig, PanguProMoE, PanguProMoEConfig  # noqa: E402
from begat_lab.models.pangu import initialise  # noqa: E402

DATA = Path(__file__).parent / "data"
spec = importlib.util.spec_from_file_location("pangu_examples", Path(__file__).parent / "pangu_examples.py")
examples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(examples)


def hashes(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def classes(name):
    return PanguDense if name.startswith("dense") else PanguProMoE


@pytest.mark.parametrize("shard", [5_000_000_000, 3000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", examples.CONFIGS)
def test_save_load_save_gives_the_same_bytes(tmp_path, name, dtype, shard):
    model = examples.example(name, dtype)
    model.save_pretrained(tmp_path / "a", max_shard_bytes=shard)
    again = classes(name).from_pretrained(tmp_path / "a")
    assert again.config == model.config
    assert all(torch.equal(weight, again.state_dict()[key]) for key, weight in model.state_dict().items())
    again.save_pretrained(tmp_path / "b", max_shard_bytes=shard)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert len(hashes(tmp_path / "a")) == 2 if shard > 3000 else len(hashes(tmp_path / "a")) >= 4


def test_a_save_replaces_an_earlier_one(tmp_path):
    model = examples.example("dense")
    model.save_pretrained(tmp_path, max_shard_bytes=3000)
    again = PanguDense.from_pretrained(tmp_path)
    again.save_pretrained(tmp_path)
    assert set(hashes(tmp_path)) == {"config.json", "model.safetensors"}
    assert torch.equal(PanguDense.from_pretrained(tmp_path).lm_head.weight, model.lm_head.weight)


def test_dtypes_by_name():
    assert PanguDense.from_pretrained(DATA / "pangu_dense", dtype="bfloat16").lm_head.weight.dtype == torch.bfloat16
    for wrong in ("bfloat17", "int8", torch.int8):
        with pytest.raises(InputError, match="dtype"):
            PanguDense.from_pretrained(DATA / "pangu_dense", dtype=wrong)


def test_other_keys_of_a_config_come_back(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(DATA / "pangu_dense", source)
    change(
        source, auto_map={"AutoModelForCausalLM": "modeling_openpangu_dense.PanguEmbeddedForCausalLM"}, eos_token_id=[2, 45892]
    )
    model = PanguDense.from_pretrained(source)
    assert model.config.eos_token_id == (2, 45892)
    model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text()) == json.loads((source / "config.json").read_text())


@pytest.mark.parametrize(("name", "total", "active", "tensors"), [
    ("pangu_pro_moe", 71_988_781_056, 16_498_139_136, 9939), ("pangu_dense", 8_030_887_936, 8_030_887_936, 445)])  # fmt: skip
def test_full_size_by_names_shapes_and_counts(name, total, active, tensors):
    with torch.device("meta"):
        model = PanguProMoE(PanguProMoEConfig()) if name == "pangu_pro_moe" else PanguDense(PanguDenseConfig())
    assert model.counts() == (total, active)
    wanted = json.loads(gzip.decompress((DATA / name / "full_size_keys.json.gz").read_bytes()))
    wanted = wanted.get("tensors", wanted) if isinstance(wanted, dict) else wanted
    wanted = dict(wanted) if isinstance(wanted, list) else wanted
    assert {key: list(weight.shape) for key, weight in model.state_dict().items()} == {key: list(s) for key, s in wanted.items()}
    assert len(wanted) == tensors


def test_rotary_tables_in_a_file_are_left_out(tmp_path):
    shutil.copytree(DATA / "pangu_dense", tmp_path / "x")
    tensors = load_file(tmp_path / "x/weights.safetensors")
    extra = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in range(3)}
    save_file({**tensors, **extra}, tmp_path / "x/weights.safetensors")
    model = PanguDense.from_pretrained(tmp_path / "x")
    assert not any("inv_freq" in key for key in model.state_dict())


def change(folder, **keys):
    raw = json.loads((folder / "config.json").read_text())
    raw = {key: value for key, value in {**raw, **keys}.items() if value != "absent"}
    (folder / "config.json").write_text(json.dumps(raw, indent=2))


@pytest.mark.parametrize("how", ["config", "tensors", "only-names"])
def test_the_second_version_is_refused(tmp_path, how):
    shutil.copytree(DATA / "pangu_pro_moe", tmp_path / "x")
    tensors = load_file(tmp_path / "x/weights.safetensors")
    if how == "config":
        change(tmp_path / "x", n_shared_experts=1, routed_scaling_factor=2.5, first_k_dense_replace=4)
    elif how == "tensors":
        tensors["model.layers.0.mlp.gate.e_score_correction_bias"] = torch.zeros(64)
    else:
        tensors = {key: weight for key, weight in tensors.items() if "router_scale" not in key}
    save_file(tensors, tmp_path / "x/weights.safetensors")
    with pytest.raises(InputError, match=r"second \(openPangu-R-72B-2512\)") as caught:
        PanguProMoE.from_pretrained(tmp_path / "x")
    assert caught.value.fix and "\n" not in str(caught.value)


@pytest.mark.parametrize(("keys", "match"), [
    ({"hidden_act": "gelu"}, "hidden_act"),
    ({"rope_scaling": {"type": "yarn", "factor": 4}}, "rope_scaling"),
    ({"quantization_config": {"bits": 8}}, "quantization_config"),
    ({"sliding_window": 4096}, "sliding_window"),
    ({"logit_cap": 30.0}, "unknown key logit_cap"),
    ({"rms_norm_eps": "small"}, "wrong type"),
    ({"num_attention_heads": True}, "wrong type"),
    ({"num_attention_heads": 3}, "divide"),
    ({"rope_theta": "absent"}, "rope_theta is missing"),
    ({"model_type": "qwen2"}, "another kind"),
    ({"num_hidden_layers": 2}, "do not fit"),
    ({"num_experts": 60, "num_groups": 8}, "equal groups"),
    ({"num_experts_per_tok": 6}, "num_groups"),
    ({"vocab_size": 500}, "embed_tokens|lm_head"),
])  # fmt: skip
def test_configs_that_mean_something_else_are_errors(tmp_path, keys, match):
    shutil.copytree(DATA / "pangu_pro_moe", tmp_path / "x")
    change(tmp_path / "x", **keys)
    with pytest.raises(InputError, match=match) as caught:
        PanguProMoE.from_pretrained(tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_a_llama_without_a_word_on_biases_is_no_openpangu(tmp_path):
    shutil.copytree(DATA / "pangu_dense", tmp_path / "x")
    change(tmp_path / "x", bias="absent")
    with pytest.raises(InputError, match="bias is missing"):
        PanguDense.from_pretrained(tmp_path / "x")


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "truncated", "no weights", "no config", "no json"])
def test_faulty_folders_are_errors_that_name_what_is_wrong(tmp_path, fault):
    shutil.copytree(DATA / "pangu_dense", tmp_path / "x")
    file, tensors = tmp_path / "x/weights.safetensors", load_file(DATA / "pangu_dense/weights.safetensors")
    if fault == "missing":
        del tensors["model.layers.1.self_attn.o_proj.bias"]
    elif fault == "extra":
        tensors["model.layers.1.self_attn.q_norm.weight"] = torch.ones(16)
    elif fault == "shape":
        tensors["model.norm.weight"] = torch.ones(63)
    save_file(tensors, file)
    if fault == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif fault == "no weights":
        file.unlink()
    elif fault == "no config":
        (tmp_path / "x/config.json").unlink()
    elif fault == "no json":
        (tmp_path / "x/config.json").write_text("{")
    with pytest.raises(InputError) as caught:
        PanguDense.from_pretrained(tmp_path / "x")
    assert caught.value.file
    assert (caught.value.tensor is not None) == (fault in ("missing", "extra", "shape"))


FAMILY = {
    "moe": PanguProMoEConfig(vocab_size=300, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                             moe_intermediate_size=16, shared_expert_intermediate_size=64),
    "moe-16-4": PanguProMoEConfig(vocab_size=300, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                                  moe_intermediate_size=48, shared_expert_intermediate_size=64, num_experts=16, num_groups=4,
                                  num_experts_per_tok=4),
    "dense": PanguDenseConfig(vocab_size=300, hidden_size=64, intermediate_size=176, num_hidden_layers=3, num_attention_heads=4,
                              num_key_value_heads=2),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILY)
def test_begat_reads_the_folders_and_tells_copies_from_strangers(tmp_path, name):
    config = FAMILY[name]
    make = lambda seed: initialise(classes(name)(config), torch.Generator().manual_seed(seed))  # noqa: E731
    model, chance = make(1), torch.Generator().manual_seed(2)
    model.save_pretrained(tmp_path / "parent", max_shard_bytes=400_000)
    make(3).save_pretrained(tmp_path / "stranger")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance) * 0.1 * (weight.std() if weight.std() > 0 else 0.02))
    model.save_pretrained(tmp_path / "child")
    verdict = begat.compare(tmp_path / "parent", tmp_path / "child")
    assert verdict.verdict == "derived-or-shared-initialisation"
    for side in verdict.accounting:  # every tensor has a role; none is left over
        assert (side.mapped, side.unmapped, side.dropped) == (len(model.state_dict()), (), ())
        assert side.parameters == model.counts()[0]
    routed = next(axis for axis in verdict.axes if axis.axis == "experts")
    # Experts are interchangeable inside a routing group only: one test for every group of every layer.
    groups = [] if name == "dense" else [(layer, g) for layer in range(3) for g in range(config.num_groups)]
    assert sorted((test.layer, test.expert) for test in routed.tests) == groups
    assert begat.compare(tmp_path / "parent", tmp_path / "stranger").verdict == "no-evidence"
