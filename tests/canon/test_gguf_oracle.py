"""gguf's name map as an oracle: where it has an opinion about a name, our rule must share it, or be listed here with why."""

from __future__ import annotations

from collections import Counter

import pytest

from begat.canon.claims import collect
from begat.canon.rules import Drop, load, template_of

gguf = pytest.importorskip("gguf")
from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES  # noqa: E402
from gguf.tensor_mapping import TensorNameMap  # noqa: E402

#: gguf's role → ours (several where gguf lumps together what we tell apart)
SAME = {
    "TOKEN_EMBD": {"embed.tokens"},
    "TOKEN_TYPES": {"embed.types"},
    "TOKEN_EMBD_NORM": {"embed.norm"},
    "POS_EMBD": {"embed.positions"},
    "OUTPUT": {"head"},
    "OUTPUT_NORM": {"final.norm"},
    "ATTN_NORM": {"attn.norm"},
    "ATTN_NORM_2": {"attn.norm"},
    "ATTN_QKV": {"attn.qkv"},
    "ATTN_Q": {"attn.q"},
    "ATTN_K": {"attn.k"},
    "ATTN_V": {"attn.v"},
    "ATTN_OUT": {"attn.o"},
    "ATTN_OUT_NORM": {"attn.post_norm"},
    "ATTN_POST_NORM": {"attn.post_norm"},
    "ATTN_Q_NORM": {"attn.q_norm"},
    "ATTN_K_NORM": {"attn.k_norm"},
    "ATTN_SINKS": {"attn.sinks"},
    "ATTN_GATE": {"attn.gate"},
    "ATTN_SUB_NORM": {"attn.sub_norm"},
    "ATTN_Q_A": {"attn.q_a"},
    "ATTN_Q_B": {"attn.q_b"},
    "ATTN_KV_A_MQA": {"attn.kv_a"},
    "ATTN_KV_B": {"attn.kv_b"},
    "ATTN_K_B": {"attn.k_b"},
    "ATTN_V_B": {"attn.v_b"},
    "ATTN_Q_A_NORM": {"attn.q_a_norm"},
    "ATTN_KV_A_NORM": {"attn.kv_a_norm"},
    "FFN_NORM": {"mlp.norm"},
    "FFN_PRE_NORM": {"mlp.norm"},
    "FFN_NORM_EXP": {"mlp.norm"},
    "FFN_POST_NORM": {"mlp.post_norm"},
    "LAYER_OUT_NORM": {"mlp.post_norm"},
    "FFN_GATE": {"mlp.gate"},
    "FFN_UP": {"mlp.up", "mlp.gate_up"},
    "FFN_DOWN": {"mlp.down"},
    "FFN_SUB_NORM": {"mlp.sub_norm"},
    "FFN_GATE_INP": {"moe.router"},
    "FFN_EXP_PROBS_B": {"moe.router"},
    "FFN_GATE_INP_SHEXP": {"shared.router"},
    "FFN_GATE_SHEXP": {"shared.gate"},
    "FFN_UP_SHEXP": {"shared.up"},
    "FFN_DOWN_SHEXP": {"shared.down"},
    "FFN_GATE_EXP": {"expert.gate"},
    "FFN_UP_EXP": {"expert.up"},
    "FFN_DOWN_EXP": {"expert.down"},
    "FFN_GATE_UP_EXP": {"expert.gate_up"},
    "LAYER_OUT_SCALE": {"layer.scale"},
    "NEXTN_EH_PROJ": {"mtp.projection"},
    "NEXTN_EMBED_TOKENS": {"mtp.embed"},
    "NEXTN_ENORM": {"mtp.embed_norm"},
    "NEXTN_HNORM": {"mtp.hidden_norm"},
    "NEXTN_SHARED_HEAD_HEAD": {"mtp.head"},
    "NEXTN_SHARED_HEAD_NORM": {"mtp.head_norm"},
    "CLS": {"classifier", "classifier.dense", "head.transform"},
    "CLS_OUT": {"classifier"},
    "CLS_NORM": {"head.norm"},
    "SSM_IN": {"ssm.in"},
    "SSM_OUT": {"ssm.out"},
    "SSM_X": {"ssm.x"},
    "SSM_DT": {"ssm.dt"},
    "SSM_CONV1D": {"ssm.conv"},
    "SSM_NORM": {"ssm.norm"},
    "SSM_DT_NORM": {"ssm.dt_norm"},
    "SSM_B_NORM": {"ssm.b_norm"},
    "SSM_C_NORM": {"ssm.c_norm"},
    "SSM_A": {"ssm.a"},
    "SSM_D": {"ssm.d"},
    "V_ENC_ATTN_QKV": {"attn.qkv"},
    "V_ENC_ATTN_Q": {"attn.q"},
    "V_ENC_ATTN_K": {"attn.k"},
    "V_ENC_ATTN_V": {"attn.v"},
    "V_ENC_ATTN_O": {"attn.o"},
    "V_ENC_ATTN_Q_NORM": {"attn.q_norm"},
    "V_ENC_ATTN_K_NORM": {"attn.k_norm"},
    "V_ENC_INPUT_NORM": {"attn.norm"},
    "V_ENC_POST_ATTN_NORM": {"mlp.norm"},
    "V_ENC_FFN_UP": {"mlp.up"},
    "V_ENC_FFN_GATE": {"mlp.gate"},
    "V_ENC_FFN_DOWN": {"mlp.down"},
    "V_ENC_EMBD_PATCH": {"embed.patch"},
    "V_ENC_EMBD_POS": {"embed.positions"},
    "V_ENC_EMBD_CLS": {"embed.class"},
    "V_PRE_NORM": {"embed.norm"},
    "V_POST_NORM": {"final.norm"},
    "V_LAYER_SCALE_1": {"attn.layer_scale"},
    "V_LAYER_SCALE_2": {"mlp.layer_scale"},
    "V_ENC_ATTN_POST_NORM": {"attn.post_norm"},
    "V_ENC_FFN_POST_NORM": {"mlp.post_norm"},
    "A_ENC_ATTN_Q": {"attn.q"},
    "A_ENC_ATTN_K": {"attn.k"},
    "A_ENC_ATTN_V": {"attn.v"},
    "A_ENC_OUTPUT": {"attn.o"},
    "A_ENC_INPUT_NORM": {"attn.norm"},
    "A_ENC_OUTPUT_NORM": {"mlp.norm"},
    "A_ENC_FFN_UP": {"mlp.up"},
    "A_ENC_FFN_DOWN": {"mlp.down"},
    "A_ENC_FFN_GATE": {"mlp.gate"},
    "A_POST_NORM": {"final.norm"},
    "A_PRE_NORM": {"embed.norm"},
    "A_ENC_EMBD_POS": {"embed.positions"},
    "DEC_ATTN_Q": {"attn.q"},
    "DEC_ATTN_K": {"attn.k"},
    "DEC_ATTN_V": {"attn.v"},
    "DEC_ATTN_NORM": {"attn.norm"},
    "DEC_FFN_NORM": {"mlp.norm"},
    "DEC_FFN_GATE": {"mlp.gate"},
    "DEC_FFN_UP": {"mlp.up"},
    "DEC_FFN_DOWN": {"mlp.down"},
    "DEC_OUTPUT_NORM": {"final.norm"},
    "ENC_ATTN_Q": {"attn.q"},
    "ENC_ATTN_K": {"attn.k"},
    "ENC_ATTN_V": {"attn.v"},
    "ENC_ATTN_NORM": {"attn.norm"},
    "ENC_FFN_NORM": {"mlp.norm"},
    "ENC_FFN_GATE": {"mlp.gate"},
    "ENC_FFN_UP": {"mlp.up"},
    "ENC_FFN_DOWN": {"mlp.down"},
    "ENC_OUTPUT_NORM": {"final.norm"},
    "A_QF_SELF_ATTN_Q": {"attn.q"},
    "A_QF_SELF_ATTN_K": {"attn.k"},
    "A_QF_SELF_ATTN_V": {"attn.v"},
    "A_QF_SELF_ATTN_O": {"attn.o"},
    "A_QF_SELF_ATTN_NORM": {"attn.post_norm"},
    "A_QF_CROSS_ATTN_O": {"cross.o"},
    "A_QF_CROSS_ATTN_NORM": {"cross.norm"},
    "DEC_ATTN_OUT": {"attn.o"},
    "ENC_ATTN_OUT": {"attn.o"},
    "DEC_ATTN_REL_B": {"attn.relative"},
    "ENC_ATTN_REL_B": {"attn.relative"},
    "DEC_CROSS_ATTN_Q": {"cross.q"},
    "DEC_CROSS_ATTN_K": {"cross.k"},
    "DEC_CROSS_ATTN_V": {"cross.v"},
    "DEC_CROSS_ATTN_OUT": {"cross.o"},
    "DEC_CROSS_ATTN_NORM": {"cross.norm"},
}
OURS = set().union(*SAME.values())
DROPPED = {"FFN_ACT", "ROPE_FREQS", "ROPE_FACTORS_LONG", "ROPE_FACTORS_SHORT", "ATTN_ROT_EMBD"}
#: what the name alone says, where the layer's other tensors say otherwise in some architecture (rules.toml, [[exception]])
BY_CONTEXT = {
    "post_attention_layernorm",
    "post_attention_norm",
    "norm1",
    "norm2",
    "mlp.fc1",
    "attn_norm",
    "attn_norm_2",
    "mixer.out_proj",
    "layer.1.layer_norm",
}
#: (gguf role, name) → why we differ
DIFFER = {
    ("ATTN_NORM", "transformer.h.#.ln_mlp"): "Falcon-40B normalises the MLP's input with ln_mlp; gguf only borrows the slot",
    ("ATTN_OUT_NORM", "transformer.blocks.#.norm_attn_norm.norm_2"): "DBRX feeds the experts with norm_2",
    ("FFN_UP_SHEXP", "model.layers.#.feed_forward.down_proj"): "a slip in gguf's table: listed under the up-projection",
    ("FFN_POST_NORM", "model.layers.#.feed_forward.up_proj"): "a slip in gguf's table: listed under a norm",
    ("TOKEN_EMBD_NORM", "transformer.norm"): "OpenELM's is the final norm, and gguf lists it there too",
    ("TOKEN_EMBD_NORM", "backbone.norm"): "WavTokenizer is a decoder of sound, not covered",
    ("CONV1D", "backbone.embed"): "a convolution of WavTokenizer's: it has three axes, and a token table two",
    ("ATTN_NORM_2", "model.layers.#.ln2"): "RWKV-7 reuses Yi's name",
    ("ATTN_NORM_2", "rwkv.blocks.#.ln2"): "RWKV is not covered",
    ("A_QF_PROJ_NORM", "projector.qformer.layernorm"): "under a prefix we do not accept",
    ("A_ENC_CONV1D_NORM", "conformer.subsample_conv_projection.layer#.norm"): "conformers are not covered",
    ("V_POST_NORM", "visual.merger.ln_q"): "gguf keeps Qwen2-VL's merger norm where others have their last norm",
    ("A_ENC_ATTN_POST_NORM", "a.blk.#.attn_post_norm"): "conformers are not covered",
    ("A_ENC_FFN_NORM", "a.blk.#.ffn_norm"): "conformers are not covered",
    ("A_ENC_FFN_POST_NORM", "a.blk.#.ffn_post_norm"): "conformers are not covered",
    ("V_LAYER_OUT_SCALE", "vision_model.model.layers.#.layer_scalar"): "the same thing under another gguf role",
}
#: gguf roles no rule of ours is about: other kinds of layers, or projectors
NOT_COVERED = (
    "TIME_MIX",
    "CHANNEL_MIX",
    "A_MM",
    "V_MM",
    "V_RESMPL",
    "V_SAM",
    "A_ENC_CONV",
    "A_QF_PROJ",
    "VISEXP",
    "CONVNEXT",
    "POSNET",
    "V_DS",
)


def _opinions() -> dict[tuple[str, str], set[str]]:
    """(template, gguf role) → architectures that say so."""
    out: dict[tuple[str, str], set[str]] = {}
    for arch in MODEL_TENSORS:
        for name, (tensor, _) in TensorNameMap(arch, 4).mapping.items():
            template = template_of(name)[0]
            out.setdefault((template, tensor.name), set()).add(arch.name)
    return out


def _role(template: str) -> str | None:
    rules = load()
    for form in (template + ".weight", template + ".bias", template):
        found = rules.match(form)
        if isinstance(found, Drop):
            return "DROP"
        if found is not None and not found.unknown:
            bare = found.role.rpartition(".")[0]
            return bare if bare in OURS else found.role
    return None


def test_roles_agree_with_gguf(record_property: pytest.RecordProperty) -> None:
    """No rule contradicts gguf except where it is written down why."""
    wrong, tally = [], Counter[str]()
    for (template, tensor), archs in sorted(_opinions().items()):
        ours = _role(template)
        if ours is None:
            tally["silent"] += 1
        elif (tensor in DROPPED) == (ours == "DROP") and (tensor in DROPPED or ours in SAME.get(tensor, ())):
            tally["agree"] += 1
        elif (tensor, template) in DIFFER or any(template.endswith("." + n) or template == n for n in BY_CONTEXT):
            tally["explained"] += 1
        elif tensor.startswith(NOT_COVERED) or tensor == "FFN_EXP_PROBS_B":
            tally["not covered"] += 1
        else:
            wrong.append((tensor, template, ours, sorted(archs)[:4]))
    print(dict(tally))
    assert not wrong, "\n".join(map(str, wrong))
    assert tally["agree"] >= 480


COVERED = {
    "LLAMA",
    "MISTRAL3",
    "LLAMA4",
    "QWEN",
    "QWEN2",
    "QWEN2VL",
    "QWEN2MOE",
    "QWEN3",
    "QWEN3MOE",
    "GEMMA",
    "GEMMA2",
    "GEMMA3",
    "PHI2",
    "PHI3",
    "PHIMOE",
    "OLMO",
    "OLMO2",
    "OLMOE",
    "GPT2",
    "GPTJ",
    "GPTNEOX",
    "FALCON",
    "BERT",
    "BLOOM",
    "MPT",
    "STABLELM",
    "INTERNLM2",
    "BAICHUAN",
    "CHATGLM",
    "DEEPSEEK",
    "DEEPSEEK2",
    "GPT_OSS",
    "PANGU_EMBED",
    "STARCODER",
    "STARCODER2",
    "COMMAND_R",
    "COHERE2",
    "XVERSE",
    "MINICPM",
    "GRANITE",
    "GRANITE_MOE",
    "SMOLLM3",
    "EXAONE4",
    "GLM4",
    "GLM4_MOE",
    "NEMOTRON",
    "ORION",
    "DECI",
    "ARCEE",
    "DBRX",
    "ERNIE4_5",
    "DOTS1",
    "SEED_OSS",
    "HUNYUAN_DENSE",
    "MODERN_BERT",
    "NOMIC_BERT",
    "JAIS",
}


@pytest.mark.parametrize("arch", sorted(COVERED))
def test_own_names_of_an_architecture_are_known(arch: str) -> None:
    """Every tensor a GGUF file of a covered architecture may hold is mapped or dropped."""
    names = []
    for tensor in MODEL_TENSORS[MODEL_ARCH[arch]]:
        base, leaf = TENSOR_NAMES[tensor], "bias" if tensor.name == "FFN_EXP_PROBS_B" else "weight"
        if tensor.name == "FFN_ACT":
            continue  # stored as blk.N.ffn.act, dropped
        for block in (0, 1) if "{bid}" in base else (None,):
            names.append(base.format(bid=block) + "." + leaf)
    found = collect(dict.fromkeys(names), load())
    assert not found.unmapped, found.unmapped
