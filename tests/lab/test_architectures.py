"""One contract for every architecture of the lab: transformers computes the same from the folder, the folder comes back byte for byte,
one seed is one draw, and training learns."""

import json

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat import InputError  # noqa: E402
from begat_lab.descent import Job  # noqa: E402
from begat_lab.models import ARCHITECTURES  # noqa: E402
from begat_lab.models.bert import masked_word_loss  # noqa: E402
from begat_lab.models.huggingface import load_folder, pack, parse_config, save_folder  # noqa: E402
from begat_lab.models.moe import balanced_loss, load_balance  # noqa: E402
from begat_lab.training import Recipe, next_token_loss  # noqa: E402

WIDE = {"vocab_size": 97, "num_hidden_layers": 2, "num_attention_heads": 6, "initializer_range": 0.3}
LLAMA = {**WIDE, "hidden_size": 96, "intermediate_size": 160, "num_key_value_heads": 2, "head_dim": 8}
SHAPES = {
    "dense": LLAMA,
    "gpt2": {
        "vocab_size": 97,
        "n_embd": 96,
        "n_inner": 160,
        "n_layer": 2,
        "n_head": 6,
        "n_positions": 64,
        "initializer_range": 0.3,
    },
    "bert": {**WIDE, "hidden_size": 96, "intermediate_size": 160, "mask_token_id": 96, "max_position_embeddings": 64},
    "moe": {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02},
    "moge": {
        **WIDE,
        "hidden_size": 96,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 40,
        "num_experts": 6,
        "num_groups": 3,
        "num_experts_per_tok": 3,
    },
}
CLASSES = {"dense": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM", "moe": "MixtralForCausalLM"}
ELSEWHERE = {"moge"}  # transformers has no Pangu Pro MoE: its oracles are in tests/lab/moge
IDS_BT = (torch.arange(4 * 48) * 37 % 97).view(4, 48)


def chance(seed=1):
    return torch.Generator().manual_seed(seed)


def model_of(name, seed=1):
    """Gains and biases are drawn too, so that none can be forgotten unseen."""
    architecture = ARCHITECTURES[name]
    model, generator = architecture.new(architecture.config(**SHAPES[name]), chance(seed)), chance(seed + 1000)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model


def test_every_architecture_is_tested():
    assert set(ARCHITECTURES) == set(SHAPES) == set(CLASSES) | ELSEWHERE


@pytest.mark.parametrize("name", CLASSES)
def test_transformers_computes_the_same(tmp_path, name):
    transformers = pytest.importorskip("transformers", reason="oracle only: pip install transformers to compare logits with it")
    model = model_of(name)
    save_folder(pack(model, torch.float32), tmp_path)
    theirs, info = getattr(transformers, CLASSES[name]).from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with torch.no_grad():
        ours_BTV, theirs_BTV = model(IDS_BT), theirs.eval()(IDS_BT).logits
    assert ours_BTV.std() > 0.1
    torch.testing.assert_close(ours_BTV, theirs_BTV, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_folders_come_back_byte_for_byte(tmp_path, name):
    save_folder(pack(model_of(name), torch.bfloat16), tmp_path / "first")
    stored = load_folder(tmp_path / "first")
    assert type(stored.model.config) is ARCHITECTURES[name].config
    assert stored.model.config == ARCHITECTURES[name].config(**SHAPES[name])
    save_folder(stored, tmp_path / "second")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("gpt2", "activation_function", "relu"), ("gpt2", "scale_attn_by_inverse_layer_idx", True), ("bert", "hidden_act", "relu"),
     ("bert", "is_decoder", True), ("moe", "sliding_window", 4), ("dense", "attention_bias", True), ("moge", "hidden_act", "relu"),
     ("moge", "n_shared_experts", 1), ("moge", "logit_cap", 30.0)],
)  # fmt: skip
def test_configs_that_ask_for_something_else_are_refused(tmp_path, name, key, value):
    save_folder(pack(model_of(name), torch.float32), tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text()) | {key: value}
    with pytest.raises(ValueError, match=key):
        parse_config(json.dumps(raw), tmp_path / "config.json")


@pytest.mark.parametrize("name", SHAPES)
def test_one_seed_is_one_draw_and_training_learns(name):
    architecture = ARCHITECTURES[name]
    config = architecture.config(**{**SHAPES[name], "initializer_range": 0.05})
    first, second = architecture.new(config, chance()), architecture.new(config, chance())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert all(
        not torch.equal(a, b)
        for a, b in zip(first.parameters(), architecture.new(config, chance(2)).parameters(), strict=True)
        if a.dim() > 1 and len(a) > 1
    )  # fmt: skip  (router scales are one row of ones)
    tokens_N = torch.arange(4000) % 7 * 5
    recipe = Recipe(steps=60, batch=4, context=32, rate=3e-3, warmup=5)
    job = Job(folder=None, parents=(), options=None, shape=config, dtype=torch.float32, seeds={"window_seed": 1}, training=recipe,
              tokens_N=tokens_N)  # fmt: skip
    measure = architecture.measure
    window_BT = tokens_N[: 4 * 33].view(4, 33)
    before = float(measure(chance())(first, window_BT).detach())
    job.train(first)
    after = float(measure(chance())(first, window_BT).detach())
    assert after < 0.6 * before
    assert all(torch.isfinite(weight).all() for weight in first.parameters())


def test_matrices_are_those_of_attention_and_mlps():
    counts = {}
    for name, architecture in ARCHITECTURES.items():
        state = architecture.empty(architecture.config(**SHAPES[name])).state_dict()
        chosen = [key for key in state if architecture.is_matrix(key)]
        assert all(state[key].dim() == 2 for key in chosen)
        assert not any(part in key for key in chosen for part in ("embed", "wte", "wpe", "gate.weight", "cls.", "lm_head"))
        counts[name] = len(chosen)
    assert counts == {"dense": 2 * 7, "gpt2": 2 * 4, "bert": 2 * 6, "moe": 2 * (4 + 3 * 4), "moge": 2 * (4 + 3 * 7)}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [("gpt2", {"n_head": 5}, "multiple of 5"), ("bert", {"num_attention_heads": 5}, "multiple of 5"),
     ("bert", {"mask_token_id": 97}, "mask_token_id.*0 to 96"), ("moe", {"num_experts_per_tok": 5}, "num_experts_per_tok.*1 to 4")],
)  # fmt: skip
def test_shapes_that_cannot_be_are_refused(name, change, message):
    with pytest.raises(InputError, match=message):
        ARCHITECTURES[name].config(**{**SHAPES[name], **change})


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_windows_end_where_learned_positions_do(name):
    job = Job(folder=None, parents=(), options=None, shape=None, dtype=torch.float32, seeds={"window_seed": 1},
              training=Recipe(steps=1, context=65), tokens_N=torch.arange(4000) % 7)  # fmt: skip
    with pytest.raises(InputError, match=r"windows are longer.*context = 64 or less, found 65"):
        job.train(model_of(name))


@pytest.mark.parametrize("active", [1, 2, 3])
def test_load_balance_is_transformers(active):
    mixtral = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="oracle only")
    logits_NE = torch.randn(40, 5, generator=chance())
    theirs = mixtral.load_balancing_loss_func((logits_NE[:16], logits_NE[16:32], logits_NE[32:]), 5, active)
    torch.testing.assert_close(load_balance(logits_NE, active), theirs)


def test_balanced_loss_counts_every_layer_and_leaves_no_hook():
    model = model_of("moe")
    plain, balanced = next_token_loss(model, IDS_BT), balanced_loss(chance())(model, IDS_BT)
    routed = []
    for layer in model.model.layers:
        layer.block_sparse_moe.gate.register_forward_hook(lambda _m, _i, out_BTE: routed.append(out_BTE.flatten(0, 1)))
    model(IDS_BT[:, :-1])
    torch.testing.assert_close(balanced - plain, 0.02 * load_balance(torch.cat(routed), 2))
    assert all(len(layer.block_sparse_moe.gate._forward_hooks) == 1 for layer in model.model.layers), "ours only"
    even_NE = torch.eye(4).repeat(10, 1)
    assert load_balance(even_NE, 1) < load_balance(even_NE[:1].repeat(40, 1), 1)


def test_masked_words_are_chosen_shown_and_scored():
    """A model that copies what it is shown is wrong exactly where a word was masked or swapped."""
    config = ARCHITECTURES["bert"].config(**{**SHAPES["bert"], "max_position_embeddings": 512})
    seen = []

    class Copies(torch.nn.Module):
        def forward(self, ids_BT):
            seen.append(ids_BT)
            return 100.0 * torch.nn.functional.one_hot(ids_BT, config.vocab_size).float()

    model = Copies()
    model.config = config
    aim_BT = torch.randint(96, (200, 101), generator=chance(3))
    loss = masked_word_loss(chance())(model, aim_BT)
    shown_BT, aim_BT = seen[0], aim_BT[:, :-1]
    masked = (shown_BT == 96).float().mean().item()
    changed = (shown_BT != aim_BT).float().mean().item()
    assert masked == pytest.approx(0.15 * 0.8, abs=0.01)
    assert changed == pytest.approx(0.15 * 0.9, abs=0.01)
    assert float(loss) == pytest.approx(100 * changed / 0.15, rel=1e-3)
