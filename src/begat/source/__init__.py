"""ROOM 1: bytes. From a path to a `Checkpoint` that reads rows on demand.

Enters: a path.  Leaves: `begat.types.Checkpoint`.  What the names mean is the neighbour's question: `begat.canon`.

Format files (`safetensors.py`, `torch_pickle.py`, `gguf.py`, `onnx.py`) only parse headers into `TensorEntry`s; every byte of
weight data is read by the one reader in `reader.py` and decoded in `dtypes.py`. Folders and shards: `open.py`.
Adapters: `peft.py`. Scales of fp8 and int8 tensors: `scales.py`.
"""

from begat.source.open import open_checkpoint

__all__ = ["open_checkpoint"]
