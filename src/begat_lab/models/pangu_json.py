"""`config.json` of the openPangu decoders: read strictly into a config object, and written back.

Enters: the file's JSON and the class's `Layout`.  Leaves: a config, or text.  A key whose effect is unknown, or whose value makes another
network, is an error; keys that compute nothing are kept.  The weights beside it: `pangu_folder.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from begat import InputError

Stored = Mapping[str, tuple[Path, tuple[int, ...]]]  # tensor name → its file and shape

# Keys that do not change what a decoder computes. Keys that begin with "_" are transformers' own notes.
_HARMLESS = frozenset((
    "architectures", "model_type", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache",
    "output_router_logits", "output_attentions", "output_hidden_states", "return_dict", "router_aux_loss_coef",
    "initializer_range", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
    "decoder_start_token_id", "attn_implementation", "id2label", "label2id", "problem_type", "task_specific_params",
    "tokenizer_class", "prefix", "chunk_size_feed_forward", "is_decoder", "is_encoder_decoder", "cross_attention_hidden_size",
    "add_cross_attention", "tie_encoder_decoder", "finetuning_task", "pruned_heads", "torchscript", "tf_legacy_loss",
    "use_bfloat16", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    "forced_bos_token_id", "forced_eos_token_id", "max_length", "min_length", "do_sample", "early_stopping", "num_beams",
    "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
    "output_scores", "return_dict_in_generate",
))  # fmt: skip
# What a key has to say if it is there; any other value is another network.
_FIXED: dict[str, Any] = {"sliding_window": None, "use_sliding_window": False, "quantization_config": None}
# Fields that a file may leave out: their defaults are not sizes.
_OPTIONAL = frozenset((
    "tie_word_embeddings", "initializer_range", "max_position_embeddings", "num_groups", "bos_token_id", "eos_token_id", "pad_token_id",
    "router_aux_loss_coef",
))  # fmt: skip
# Only the second version's config has these.
_V2_KEYS = frozenset((
    "n_shared_experts", "n_routed_experts", "first_k_dense_replace", "num_dense_layers", "routed_scaling_factor",
    "norm_topk_prob", "sandwich_norm", "param_sink_number", "param_sink_with_value", "qk_nope_dim", "qk_rope_dim",
    "qk_nope_head_dim", "qk_rope_head_dim", "v_channels", "v_head_dim", "scoring_func", "topk_method",
    "router_enable_expert_bias", "use_qk_norm", "num_mtp_layers", "num_nextn_predict_layers",
))  # fmt: skip
_V2_TENSORS = (
    "e_score_correction_bias",
    "qkv_proj",
    "k_layernorm",
    "shared_experts.",
    "param_sink",
    "pre_mlp_layernorm",
    "post_mlp_layernorm",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How one class of models is written down."""

    config: type
    model_types: tuple[str, ...]  # the first is written
    architecture: str
    spellings: Mapping[str, str]  # other keys for fields
    fixed: Mapping[str, Any]  # keys with the one value that the model stands for
    unwritten: tuple[str, ...] = ()  # fields that the released config lacks, written only where they say more than the others do
    v2_tells: bool = False  # whether a second version goes by the same name


def parse_config(raw: Mapping[str, Any], layout: Layout, file: Path, shapes: Stored | None) -> Any:
    """The config object that `raw` describes; `shapes` are the stored tensors, None where they are not known."""
    if layout.v2_tells:
        _refuse_v2(raw, file, shapes)
    if raw.get("model_type") not in layout.model_types:
        raise InputError(
            "another kind of model", file=file, expected=" or ".join(layout.model_types), found=raw.get("model_type")
        )
    known = {field.name: field for field in fields(layout.config)}
    fixed, values = {**_FIXED, **layout.fixed}, {}
    for key, value in _plain_rope(raw, file).items():
        name = layout.spellings.get(key, key)
        if key in fixed:
            if value != fixed[key] and not (fixed[key] == [] and value is None):
                raise InputError(f"{key} makes another network", file=file, expected=repr(fixed[key]), found=repr(value))
        elif name in known:
            if value is not None or "token_id" in key:
                values[name] = _typed(value, str(known[name].type), key, file)
        elif key not in _HARMLESS and not key.startswith("_"):
            raise InputError(f"unknown key {key}", file=file, expected="only keys whose effect is known", found=repr(value),
                             fix="remove it if it changes nothing that is computed")  # fmt: skip
    # The class defaults are the published model's; a file that leaves out a size is not therefore of that size.
    for name in known:
        if name not in values and name not in _OPTIONAL | set(layout.unwritten):
            raise InputError(f"{name} is missing", file=file, fix=f"add {name}")
    return layout.config(**values)


def _plain_rope(raw: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """`raw` with theta at top level: newer files keep it under `rope_parameters`."""
    flat = dict(raw)
    rope = flat.pop("rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise InputError("rotary positions are not plain", file=file, expected="rope_type 'default'", found=rope.get("rope_type"))
    if "rope_theta" in rope:
        flat.setdefault("rope_theta", rope["rope_theta"])
    return flat


def _typed(value: Any, hint: str, key: str, file: Path) -> Any:
    """`value` as the annotated type: an int is a float, a list of ids a tuple, a bool no number."""
    if isinstance(value, list) and "tuple" in hint:
        value = tuple(value)
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}
    if "tuple" in hint or "None" in hint:
        right = (
            value is None
            or (isinstance(value, int) and not isinstance(value, bool))
            or ("tuple" in hint and isinstance(value, tuple))
        )
    else:
        right = isinstance(value, kinds[hint]) and (hint == "bool" or not isinstance(value, bool))
    if not right:
        raise InputError(f"{key} has the wrong type", file=file, expected=hint, found=repr(value))
    return float(value) if hint == "float" else value


def _refuse_v2(raw: Mapping[str, Any], file: Path, shapes: Stored | None) -> None:
    """An error for the network that came later under the same `model_type` (openPangu-R-72B-2512)."""
    tells = sorted(key for key in _V2_KEYS if raw.get(key))
    tells += sorted({tell for tell in _V2_TENSORS for name in shapes or () if tell in name})
    needs = () if shapes is None else ("mlp.router_scale", "self_attn.o_proj.bias")
    lacks = [part for part in needs if not any(part in name for name in shapes or ())]
    if tells or (lacks and raw.get("model_type") == "PanguProMoE"):
        found = ", ".join([*tells[:4], *(f"no {part}" for part in lacks)])
        raise InputError("not Pangu Pro MoE's first version but its second (openPangu-R-72B-2512), another network under the same model_type",
                         file=file, expected="mlp.router_scale and self_attn.o_proj.bias in every layer", found=found,
                         fix="give a checkpoint of the first version; the second is not supported")  # fmt: skip


def config_json(config: Any, layout: Layout, dtype: torch.dtype, raw: Mapping[str, Any]) -> str:
    """The text of `config.json`."""
    return json.dumps(config_table(config, layout, dtype, raw), indent=2, sort_keys=True) + "\n"


def config_table(config: Any, layout: Layout, dtype: torch.dtype, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What was read, and over it the fields of `config`. A new model gets the fixed keys besides."""
    new = {"architectures": [layout.architecture], "model_type": layout.model_types[0], **layout.fixed}
    text = dict(raw or new)
    implied = {"head_dim": config.hidden_size // config.num_attention_heads, "bias": True}
    spelled = {field: key for key, field in layout.spellings.items() if key in raw}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in layout.unwritten and field.name not in raw and value == implied[field.name]:
            continue
        text[spelled.get(field.name, field.name)] = list(value) if isinstance(value, tuple) else value
    if text.get("rope_parameters"):  # theta goes where it was
        text["rope_parameters"] = {**text["rope_parameters"], "rope_theta": text.pop("rope_theta")}
    text["dtype" if "dtype" in raw else "torch_dtype"] = str(dtype).removeprefix("torch.")
    return text


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file) from err
    except ValueError as err:
        raise InputError("is no JSON", file=file, found=str(err)) from err
    if not isinstance(value, dict):
        raise InputError("is no JSON object", file=file, found=type(value).__name__)
    return value
