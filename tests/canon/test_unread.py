"""Parameters that no test can see are counted, by reason; buffers are counted apart."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.canon import buffer_values, read_parameters, resolve, unread_parameters
from begat.source import open_checkpoint


def test_unknown_names_uncut_tensors_and_buffers(tmp_path: Path) -> None:
    def ones(*shape: int) -> np.ndarray:
        return np.ones(shape, np.float32)

    tensors = {
        "model.layers.0.self_attn.q_proj.weight": ones(8, 8),
        "model.layers.0.self_attn.k_proj.weight": ones(8, 8),
        "model.layers.0.mlp.what_is_this.weight": ones(5, 8),
        "model.layers.0.mlp.gate_up_proj.weight": ones(7, 8),
        "model.layers.0.self_attn.rotary_emb.inv_freq": ones(4),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    model = resolve(open_checkpoint(tmp_path))
    assert read_parameters(model) == 128
    assert unread_parameters(model) == {
        "an odd number of rows: fused gate and up not split": 56,
        "names begat does not know": 40,
    }
    assert buffer_values(model) == {"rotary frequencies: computed from the config, not trained": 4}


def test_types_that_are_not_decoded_count_with_their_parameters(tmp_path: Path) -> None:
    header = {
        "model.layers.0.mlp.up_proj.weight": {"dtype": "F6_E2M3", "shape": [8, 16], "data_offsets": [0, 96]},
        "model.layers.0.mlp.down_proj.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [96, 120]},
        "model.freqs_cis": {"dtype": "C64", "shape": [3], "data_offsets": [120, 144]},
    }
    head = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(144))
    model = resolve(open_checkpoint(tmp_path))
    assert unread_parameters(model) == {"numbers of type F6_E2M3": 128}  # the complex table is a buffer by its name
    assert read_parameters(model) == 6


def test_torch_tensors_that_are_not_read_count_with_their_parameters(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {
        "layers.0.mlp.up_proj.weight": torch.ones(4, 6),
        "a": torch.quantize_per_tensor(torch.ones(3, 5), 0.1, 0, torch.qint8),
        "b": torch.ones(7, 3).to_sparse(),
        "c": torch.ones(2, 2, dtype=torch.complex64),
        "d": np.ones((5, 5), np.float32),
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert {name: u.parameters for name, u in open_checkpoint(tmp_path).unread.items()} == {"a": 15, "b": 21, "c": 4, "d": 25}
