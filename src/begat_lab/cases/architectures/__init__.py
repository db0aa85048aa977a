"""Toy models of every architecture: one file a family, all behind `ARCHITECTURES`.

Enters: a seed and sizes.  Leaves: a `Toy` under the names and config of Hugging Face's models.
Equal seeds of one architecture give equal models, different seeds strangers.
"""

from collections.abc import Callable

from begat_lab.cases.architectures.bert import bert
from begat_lab.cases.architectures.gpt2 import gpt2
from begat_lab.cases.architectures.gpt_oss import gpt_oss
from begat_lab.cases.architectures.llama import llama, mixtral, qwen_moe
from begat_lab.cases.architectures.mamba import mamba
from begat_lab.cases.architectures.nets import chain, cnn
from begat_lab.cases.architectures.t5 import t5
from begat_lab.cases.architectures.vision import clip, llava
from begat_lab.cases.model import Toy

ARCHITECTURES: dict[str, Callable[..., Toy]] = {
    f.__name__.replace("_", "-"): f for f in (llama, qwen_moe, mixtral, gpt2, bert, t5, mamba, gpt_oss, llava, clip, chain, cnn)
}

__all__ = [
    "ARCHITECTURES",
    "bert",
    "chain",
    "clip",
    "cnn",
    "gpt2",
    "gpt_oss",
    "llama",
    "llava",
    "mamba",
    "mixtral",
    "qwen_moe",
    "t5",
]
