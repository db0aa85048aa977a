"""The lab's pieces: the model against an independent forward pass, folders byte for byte, the family's script in three steps."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from safetensors.torch import load_file, save_file  # noqa: E402

from begat import InputError  # noqa: E402
from begat_lab.demo_family import MEMBERS, make_family  # noqa: E402
from begat_lab.descent.finetune import finetune_folder  # noqa: E402
from begat_lab.descent.four_bit import four_bit, round_to_grid  # noqa: E402
from begat_lab.models.dense import DenseConfig, new_model  # noqa: E402
from begat_lab.models.huggingface import load_folder, pack, save_folder  # noqa: E402
from begat_lab.text import byte_tokens, corpus_of, standard_library, unigram_entropy  # noqa: E402
from begat_lab.training import Recipe, validation_loss  # noqa: E402

DATA = Path(__file__).parents[2] / "src" / "begat" / "demo" / "data"
SMALL = DenseConfig(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=8,
    num_key_value_heads=2,
    head_dim=8,  # not hidden / heads
    rope_theta=500.0,
    rms_norm_eps=1e-3,
    tie_word_embeddings=False,
    initializer_range=0.3,  # large, so that a wrong rotation or grouping shows in the logits
)
THREE_STEPS = Recipe(steps=3, batch=2, context=16, warmup=1)


def seed(number):
    return torch.Generator().manual_seed(number)


def same_files(a, b):
    return [path.name for path in sorted(a.iterdir()) if path.read_bytes() != (b / path.name).read_bytes()] == []


# --- the model ----------------------------------------------------------------------------------------------


def forward_in_numpy(weights, config, ids):
    """Llama from its description, one position and one head at a time, in float64; complex numbers do the rotation."""
    C, group = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    turn = config.rope_theta ** (-2 * np.arange(C // 2) / C)

    def norm(x, gain):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config.rms_norm_eps) * gain

    def heads(x, weight):
        return (x @ weight.T).reshape(len(x), -1, C)

    def turned(x):
        pairs = (x[..., : C // 2] + 1j * x[..., C // 2 :]) * np.exp(1j * np.arange(len(x))[:, None] * turn)[:, None]
        return np.concatenate([pairs.real, pairs.imag], -1)

    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(config.num_hidden_layers):
        w = {k.removeprefix(f"model.layers.{layer}.").removesuffix(".weight"): v for k, v in weights.items()}
        y = norm(x, w["input_layernorm"])
        q, k = turned(heads(y, w["self_attn.q_proj"])), turned(heads(y, w["self_attn.k_proj"]))
        v = heads(y, w["self_attn.v_proj"])
        out = np.zeros_like(q)
        for t in range(len(ids)):
            for h in range(config.num_attention_heads):
                score = k[: t + 1, h // group] @ q[t, h] / np.sqrt(C)
                share = np.exp(score - score.max())
                out[t, h] = share / share.sum() @ v[: t + 1, h // group]
        x = x + out.reshape(len(ids), -1) @ w["self_attn.o_proj"].T
        y = norm(x, w["post_attention_layernorm"])
        gate = y @ w["mlp.gate_proj"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["mlp.up_proj"].T)) @ w["mlp.down_proj"].T
    return norm(x, weights["model.norm.weight"]) @ weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).T


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor(ids)[None])[0].numpy()


def test_forward_pass_agrees_with_numpy(tmp_path):
    model = new_model(SMALL, seed(5))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.normal_(1.0, 0.3, generator=seed(6))
    save_folder(pack(model, torch.float32), tmp_path / "small")
    ids = np.random.default_rng(0).integers(0, 256, 40)
    for folder in (tmp_path / "small", DATA / "parent", DATA / "fine-tune"):
        llama = load_folder(folder)
        weights = {name: tensor.double().numpy() for name, tensor in load_file(folder / "model.safetensors").items()}
        want = forward_in_numpy(weights, llama.model.config, ids)
        np.testing.assert_allclose(logits_of(llama.model, ids), want, atol=2e-4 * np.abs(want).max())


@pytest.mark.parametrize("tied", [True, False])
def test_folder_of_transformers(tmp_path, tied):
    transformers = pytest.importorskip("transformers", reason="oracle only: pip install transformers to compare logits with it")
    config = transformers.LlamaConfig(
        **{name: getattr(SMALL, name) for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")},
        **{name: getattr(SMALL, name) for name in ("num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps")},
        rope_theta=SMALL.rope_theta,
        initializer_range=0.3,
        tie_word_embeddings=tied,
    )
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "generation_config.json").unlink(missing_ok=True)
    ours = load_folder(tmp_path / "theirs")
    assert ours.model.config.rope_theta == SMALL.rope_theta
    ids = np.random.default_rng(0).integers(0, 300, 40)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    want = logits_of(lambda ids_BT: theirs(ids_BT).logits, ids)
    np.testing.assert_allclose(logits_of(ours.model, ids), want, atol=1e-4 * np.abs(want).max())
    save_folder(ours, tmp_path / "ours")
    assert same_files(tmp_path / "theirs", tmp_path / "ours")


def test_transformers_reads_what_the_lab_writes():
    transformers = pytest.importorskip("transformers", reason="oracle only: pip install transformers to compare logits with it")
    theirs = transformers.LlamaForCausalLM.from_pretrained(DATA / "parent", dtype=torch.float32)
    ids = np.random.default_rng(0).integers(0, 256, 40)
    want = logits_of(lambda ids_BT: theirs(ids_BT).logits, ids)
    np.testing.assert_allclose(logits_of(load_folder(DATA / "parent").model, ids), want, atol=1e-4 * np.abs(want).max())


def test_same_lottery_same_weights():
    a, b, c = (new_model(SMALL, seed(number)).state_dict() for number in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a if "norm" not in name)


# --- folders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [member.name for member in MEMBERS])
def test_load_then_save_gives_the_same_bytes(tmp_path, member):
    save_folder(load_folder(DATA / member), tmp_path)
    assert same_files(DATA / member, tmp_path)


def edited(tmp_path, change_tensors=None, **change_config):
    folder = tmp_path / "edited"
    shutil.copytree(DATA / "parent", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change_config}))
    if change_tensors:
        tensors = load_file(folder / "model.safetensors")
        change_tensors(tensors)
        save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), r"model\.norm\.weight.*has nothing"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), r"extra.*asks for nothing"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.zeros(3)}), r"model\.norm\.weight.*\(64,\).*\(3,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_folder(edited(tmp_path, change))


@pytest.mark.parametrize(
    "setting", [{"rope_scaling": {"rope_type": "llama3"}}, {"attention_bias": True}, {"rope_parameters": {"rope_type": "yarn"}}]
)
def test_what_the_model_does_not_do_is_refused(tmp_path, setting):
    with pytest.raises(ValueError, match="the lab's dense model has"):
        load_folder(edited(tmp_path, **setting))


# --- descent ------------------------------------------------------------------------------------------------


def test_finetune_folder_learns_and_keeps_layout(tmp_path):
    parent, text = tmp_path / "parent", byte_tokens(b"Abraham begat Isaac; and Isaac begat Jacob; " * 40)
    shutil.copytree(DATA / "parent", parent)
    before, after = finetune_folder(parent, tmp_path / "child", text, Recipe(steps=12, batch=4, context=48, warmup=0), seed(1))
    assert after < before - 0.2
    assert same_files(DATA / "parent", parent)
    a, b = (load_file(folder / "model.safetensors") for folder in (parent, tmp_path / "child"))
    assert {name: (t.dtype, t.shape) for name, t in a.items()} == {name: (t.dtype, t.shape) for name, t in b.items()}
    assert load_folder(tmp_path / "child").config_text == load_folder(parent).config_text
    with pytest.raises(ValueError, match="outside the vocabulary"):
        finetune_folder(parent, tmp_path / "no", text + 200, THREE_STEPS, seed(1))


def test_four_bit_leaves_the_parent_alone_and_needs_whole_groups():
    parent = new_model(SMALL, seed(1))
    child = four_bit(parent)
    weight = child.model.layers[0].mlp.up_proj.weight
    assert not torch.equal(weight, parent.model.layers[0].mlp.up_proj.weight)
    assert torch.equal(weight, weight.half().float()), "exact in F16"
    assert torch.equal(round_to_grid(weight), weight), "a point of the grid stays"
    assert not round_to_grid(torch.zeros(2, 32)).any()
    with pytest.raises(InputError, match="whole groups"):
        round_to_grid(torch.zeros(2, 33))
    with pytest.raises(InputError, match="too small"):
        round_to_grid(torch.full((1, 32), 1e-5))


# --- the family ---------------------------------------------------------------------------------------------


def test_three_steps_of_the_whole_family_twice(tmp_path):
    files = [bytes(range(32, 127)) * (4 + i) for i in range(20)]
    texts = {"library": corpus_of("library", files), "internet": corpus_of("internet", files[::-1])}
    recipes = {"scratch": THREE_STEPS, "finetune": THREE_STEPS}
    lines = []
    one, two = (make_family(tmp_path / run, texts, recipes, lines.append) for run in ("one", "two"))
    assert one["members"] == two["members"]
    assert all(same_files(tmp_path / "one" / member.name, tmp_path / "two" / member.name) for member in MEMBERS)
    assert json.loads((tmp_path / "one" / "truth.json").read_text())["members"] == one["members"]
    assert any("step 3/3" in line for line in lines)
    change = {name: member["relative_change"]["all"] for name, member in one["members"].items()}
    assert change["parent"] == 0 < change["four-bit"] < change["twin"] < change["stranger"]


def test_standard_library_is_two_disjoint_texts():
    texts = standard_library()
    assert texts["library"].digest != texts["internet"].digest
    assert all(len(text.train) > 5 * len(text.validation) > 100_000 for text in texts.values())
    assert all(2.5 < unigram_entropy(text.validation) < 4 for text in texts.values())
    truth = json.loads((DATA / "truth.json").read_text())
    if any(text.digest != truth["texts"][name]["sha256"] for name, text in texts.items()):
        pytest.skip(f"another standard library than that of Python {truth['made']['python']}: its losses cannot be compared")
    loss = validation_loss(load_folder(DATA / "parent").model, texts["library"].validation)
    assert loss == pytest.approx(truth["members"]["parent"]["validation_loss"]["library"], abs=1e-3)
