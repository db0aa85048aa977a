"""What quantised safetensors folders have in common: which matrices, the tensors beside them, and the note in `config.json`.

Enters: a parent and a function from a matrix to its stored tensors and the values these stand for; or, for quantisers that look at
more than one matrix, the finished child and its tensors.  Leaves: the folder and the `Child`.  Kinds: `int8.py`, `fp8.py`; `gptq.py`,
`awq.py`, whose tensors `packing.py` packs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from begat_lab.descent.base import Child, Job
from begat_lab.models import architecture_of
from begat_lab.models.architecture import LanguageModel
from begat_lab.models.huggingface import CONFIG, WEIGHTS, config_json
from begat_lab.tokenizer import write_tokenizer

#: of a matrix as it lies (rows are outputs, in GPT-2 inputs): tensors to store, by what follows "….weight", and the float32 values
#: that a reader will compute
Encode = Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]


def store_quantised(job: Job, encode: Encode, note: dict[str, Any]) -> Child:
    """Every attention and MLP matrix encoded, all else in the member's dtype; `note` becomes `quantization_config`."""
    child = copy.deepcopy(job.parent())
    architecture = architecture_of(child.config)
    tensors: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, weight in child.state_dict().items():
            if architecture.is_matrix(name):
                stored, values = encode(weight)
                tensors |= {name + end: tensor.contiguous() for end, tensor in stored.items()}
            else:
                tensors[name] = weight.to(job.dtype).contiguous()
                values = tensors[name].float()
            weight.copy_(values)
    return write_quantised(job, child, tensors, note)


def write_quantised(job: Job, child: LanguageModel, tensors: dict[str, Tensor], note: dict[str, Any], **details: Any) -> Child:
    """Write `tensors`, which stand for the weights of `child`; `note` becomes `quantization_config`, `details` go into its truth."""
    save_file(tensors, job.folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads(config_json(child.config, job.dtype)) | {"quantization_config": note}
    (job.folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    write_tokenizer(job.folder, child.config.vocab_size)
    return Child(child, details)
