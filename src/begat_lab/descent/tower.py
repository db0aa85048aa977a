"""Tower: the parent's weights, untouched, become the text part of a vision-language model in LLaVA's layout.

Enters: a parent.  Leaves: its tensors under `language_model.`, beside a CLIP-shaped vision tower and a projector with fresh weights,
as at the start of LLaVA's training (arXiv:2304.08485).  What tells tower from text is in the names only; the config says sizes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch
from safetensors.torch import save_file
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import DenseConfig
from begat_lab.models.huggingface import CONFIG, WEIGHTS, config_json
from begat_lab.tokenizer import write_tokenizer

_STEM = "vision_tower.vision_model."


@dataclass(frozen=True, slots=True)
class Vision:
    """Shape of the tower."""

    layers: int = 2
    width: int = 48
    heads: int = 4
    units: int = 96  # of each MLP
    image: int = 32  # pixels a side
    patch: int = 8

    def __post_init__(self) -> None:
        if self.width % self.heads or self.image % self.patch or min(asdict(self).values()) < 1:
            raise InputError("vision tower", expected="whole heads and whole patches", found=str(asdict(self)))


@kind("tower", "text part of a vision-language model", seeds=("chance_seed",), options=Vision, stores="tower")
def tower(job: Job) -> Child:
    """Add a tower to the parent."""
    parent, options = job.parent(), job.options
    fresh = fresh_tower(options, parent.config.hidden_size, job.generator("chance_seed"))
    tensors = {f"language_model.{name}": weight for name, weight in parent.state_dict().items()} | fresh
    save_file(
        {name: weight.to(job.dtype).contiguous() for name, weight in tensors.items()},
        job.folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    (job.folder / CONFIG).write_text(_config(options, parent.config, job.dtype), encoding="utf-8", newline="\n")
    write_tokenizer(job.folder, parent.config.vocab_size)
    return Child(parent.to(job.dtype).float(), {"fresh_tensors": len(fresh)})


def fresh_tower(options: Vision, text_width: int, chance: torch.Generator) -> dict[str, Tensor]:
    """Tower and projector: matrices N(0, 0.02^2), biases zero, gains one."""
    width, patches = options.width, (options.image // options.patch) ** 2
    shapes: dict[str, tuple[int, ...]] = {
        f"{_STEM}embeddings.class_embedding": (width,),
        f"{_STEM}embeddings.patch_embedding.weight": (width, 3, options.patch, options.patch),
        f"{_STEM}embeddings.position_embedding.weight": (patches + 1, width),
    }
    norms = [f"{_STEM}pre_layrnorm", f"{_STEM}post_layernorm"]  # the first is spelt so in CLIP
    for layer in range(options.layers):
        stem = f"{_STEM}encoder.layers.{layer}."
        norms += [f"{stem}layer_norm1", f"{stem}layer_norm2"]
        linear = dict.fromkeys([f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")], (width, width))
        linear |= {"mlp.fc1": (options.units, width), "mlp.fc2": (width, options.units)}
        for name, shape in linear.items():
            shapes |= {f"{stem}{name}.weight": shape, f"{stem}{name}.bias": shape[:1]}
    for name, shape in {"linear_1": (text_width, width), "linear_2": (text_width, text_width)}.items():
        shapes |= {f"multi_modal_projector.{name}.weight": shape, f"multi_modal_projector.{name}.bias": shape[:1]}
    fresh = {name: 0.02 * torch.randn(shape, generator=chance) for name, shape in shapes.items()}
    fresh |= {name: torch.zeros_like(weight) for name, weight in fresh.items() if name.endswith(".bias")}
    for name in norms:
        fresh |= {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}
    return fresh


def _config(options: Vision, text: DenseConfig, dtype: torch.dtype) -> str:
    vision = {"model_type": "clip_vision_model", "hidden_size": options.width, "intermediate_size": options.units,
              "num_hidden_layers": options.layers, "num_attention_heads": options.heads, "image_size": options.image,
              "patch_size": options.patch, "projection_dim": options.width}  # fmt: skip
    whole = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": json.loads(config_json(text, dtype)),
             "vision_config": vision, "image_token_index": text.vocab_size - 1, "projector_hidden_act": "gelu",
             "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "tie_word_embeddings": text.tie_word_embeddings,
             "torch_dtype": str(dtype).removeprefix("torch.")}  # fmt: skip
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"
