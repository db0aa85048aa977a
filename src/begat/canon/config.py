"""Head and expert counts from an untrusted config, under one spelling.

Enters: config.json (with its nested text, vision, … configs) or GGUF metadata.  Leaves: `Numbers`, every one a small positive
int or None.  Nothing here is believed: `geometry.py` keeps only what fits the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LIMIT = 1 << 20
_NESTED = {
    "text": (
        ("thinker_config", "text_config"), ("text_config",), ("llm_config",), ("language_config",), ("thinker_config",),
        ("generator",), (),
    ),
    "vision": (("thinker_config", "vision_config"), ("vision_config",), ("visual",)),
    "audio": (("thinker_config", "audio_config"), ("audio_config",)),
    "talker": (("talker_config", "text_config"), ("talker_config",)),
    "encoder": ((),),
}  # fmt: skip
_SPELLINGS = {
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads", "attention.head_count"),
    "kv_heads": (
        "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "multi_query_group_num", "kv_n_heads",
        "attention.head_count_kv",
    ),
    "head_dim": ("head_dim", "kv_channels", "d_kv", "attention.key_length"),
    "value_dim": ("v_head_dim", "attention.value_length_mla", "attention.value_length"),
    "nope_dim": ("qk_nope_head_dim",),
    "rope_dim": ("qk_rope_head_dim",),
    "kv_latent": ("kv_lora_rank", "attention.kv_lora_rank"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "expert_count"),
    "expert_groups": ("n_group", "num_expert_group", "num_groups", "n_groups", "expert_group_count"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a config says about one tower, each None where it says nothing usable.

    Attributes:
        heads … expert_groups: counts and sizes.
        alibi: some field says that attention is biased per head (ALiBi).
        model_type: the family's name as the config has it, lower case.
    """

    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_dim: int | None = None
    nope_dim: int | None = None
    rope_dim: int | None = None
    kv_latent: int | None = None
    experts: int | None = None
    expert_groups: int | None = None
    alibi: bool = False
    model_type: str = ""


def numbers(config: Mapping[str, Any], tower: str) -> Numbers:
    """The numbers of `tower`; never raises."""
    arch = config.get("general.architecture")
    if isinstance(arch, str):
        return _numbers(config, arch + ".", arch) if tower == "text" else Numbers()
    encoder = tower == "encoder"
    for path in _NESTED.get(tower.partition(".")[0], ()):
        part = _at(config, path)
        if part is not None and (path or tower == "text" or encoder):
            kind = part.get("model_type")
            heads = ("encoder_attention_heads",) if encoder and "encoder_attention_heads" in part else ()
            return _numbers(part, "", kind.lower() if isinstance(kind, str) else "", heads)
    return Numbers()


def initial_sd(config: Mapping[str, Any], tower: str) -> float | None:
    """Standard deviation of the initial weights as the config states it (`initializer_range`), None where it says nothing usable."""
    for path in _NESTED.get(tower, ()):
        value = (_at(config, path) or {}).get("initializer_range")
        if isinstance(value, int | float) and not isinstance(value, bool) and 1e-6 < value < 10:
            return float(value)
    return None


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that speaks of the text model, the whole where none does."""
    return next((part for path in _NESTED["text"] if (part := _at(config, path)) is not None), config)


def _at(config: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any] | None:
    here: Any = config
    for word in path:
        here = here.get(word) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else None


def _numbers(part: Mapping[str, Any], prefix: str, kind: str, heads: tuple[str, ...] = ()) -> Numbers:
    attention = part.get("attn_config")
    parts = [part, attention] if isinstance(attention, Mapping) else [part]
    found = {
        field: next(_ints(parts, prefix, heads if field == "heads" and heads else spellings), None)
        for field, spellings in _SPELLINGS.items()
    }  # fmt: skip
    alibi = any(p.get("alibi") is True for p in parts) or _says_alibi(part, prefix)
    return Numbers(**found, alibi=alibi, model_type=kind)


def _says_alibi(part: Mapping[str, Any], prefix: str) -> bool:
    bias = part.get(prefix + "attention.max_alibi_bias")
    return part.get("position_embedding_type") == "alibi" or (isinstance(bias, int | float) and bias > 0)


def _ints(parts: list[Any], prefix: str, spellings: tuple[str, ...]) -> Iterator[int]:
    for spelling in spellings:
        for part in parts:
            value = part.get(prefix + spelling)
            if isinstance(value, list | tuple) and value and all(v == value[0] for v in value):
                value = value[0]
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LIMIT:
                yield value


#: model types whose norms multiply by one plus the stored gain; GGUF files of them store the sum (and have no `model_type`)
_ONE_PLUS_GAIN = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "paligemma", "recurrent_gemma", "qwen3_next"})


def gain_offset(config: Mapping[str, Any]) -> float:
    """What a norm adds to its stored gain, 0 or 1. A config that lies blurs a comparison behind it, and can do no more."""
    kind = config.get("model_type")
    return 1.0 if isinstance(kind, str) and kind in _ONE_PLUS_GAIN else 0.0
