"""ROOM 1: bytes. From a path to a `Checkpoint` that reads rows on demand.

Enters: a path.  Leaves: `begat.types.Checkpoint`.  What the names mean is the neighbour's question: `begat.canon`.

Format files (`safetensors.py`, `torch_pickle.py`, `gguf.py`, `onnx.py`) only parse headers into `TensorEntry`s; every byte of
weight data is read by the one reader in `reader.py` and decoded in `dtypes.py`. Folders and shards: `open.py`. Adapters:
`peft.py`. Scales of fp8 and int8 tensors: `scales.py`. Two formats have rooms behind them:
torch: `torch_archive.py` (zip and old stream, on `zip_members.py`), `pickle_vm.py` (runs the pickle, imports nothing),
`torch_globals.py` (the allow-list), `torch_tree.py` (which nested tensors are weights);
ONNX: `wire.py` (protobuf), `onnx_trace.py` and `onnx_graph.py` (names, orientation), `onnx_scales.py`.
Tokenizer files, which are read only when token strings are asked for: `tokens/`.
Everything in a file is untrusted: `tests/attacks/README.md` lists what was tried.
"""

from begat.source.open import open_checkpoint
from begat.source.tokens import SharedTokens, Vocabulary, read_vocabulary, same_rows, shared_tokens

__all__ = ["SharedTokens", "Vocabulary", "open_checkpoint", "read_vocabulary", "same_rows", "shared_tokens"]
