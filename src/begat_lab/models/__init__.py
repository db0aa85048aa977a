"""The lab's models, one file each, read from top to bottom.

Families are grown of five architectures, in one registry (`ARCHITECTURES`, see `architecture.py`): `dense.py` (Llama), `gpt2.py`,
`bert.py`, `moe.py` (Mixtral), `moge.py` (Pangu Pro MoE); `huggingface.py` carries each to and from a Hugging Face folder.
`pangu_pro_moe.py` and `pangu_dense.py` are the openPangu decoders (`begat_lab.models.PanguProMoE`, `.PanguDense`, loaded when asked for).
Who trains them: `begat_lab.training`.  Who makes one from another: `begat_lab.descent`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from begat_lab.models import bert, dense, gpt2, moe, moge  # noqa: F401  (each registers itself)
from begat_lab.models.architecture import ARCHITECTURES, Architecture, architecture_of

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of"]

_LAZY = {
    "PanguProMoE": "pangu_pro_moe",
    "PanguProMoEConfig": "pangu_pro_moe",
    "PanguDense": "pangu_dense",
    "PanguDenseConfig": "pangu_dense",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"begat_lab.models.{_LAZY[name]}"), name)
