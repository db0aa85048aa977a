"""Number types and packed layouts: cast, rounded and stored as floats, fp8 and int8 with scales,
GPTQ, NF4's and MXFP4's layouts.

Formulas: fp8 block scales as in DeepSeek-V3's files; GPTQ v1 packing (value = scale * (code - zero
- 1), 4 bits, eight codes an int32 down the inputs); E2M1 values and E8M0 scales of the OCP
microscaling formats (value = level * 2^(b - 127)); NF4 levels of Dettmers et al., arXiv:2305.14314.
"""

from __future__ import annotations

import json
from dataclasses import replace

import ml_dtypes
import numpy as np

from begat_lab.cases.model import Array, Piece, Toy, rounded

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
NF4 = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)


def cast(toy: Toy, dtype: str) -> Toy:
    """Stored in another number type."""
    return rounded(toy.derive("cast", key=dtype, dtype=dtype, config={"torch_dtype": dtype}))


def _linear(name: str, piece: Piece) -> bool:
    return piece.values.ndim == 2 and piece.place.layer >= 0 and "proj" in name


def written_back(toy: Toy, bits: int, group: int) -> Toy:
    """Rounded to nearest in groups along the inputs and stored as floats again."""

    def round_off(name: str, piece: Piece) -> Piece:
        g = piece.values.reshape(-1, group)
        step = np.maximum(np.abs(g).max(1, keepdims=True), 1e-12) / (2 ** (bits - 1) - 1)
        return replace(piece, values=(np.rint(g / step) * step).reshape(piece.values.shape).astype(np.float32))

    return toy.derive(
        "quantised", toy.map(round_off, _linear), key=(bits, group), dtype="float32", config={"torch_dtype": "float32"}
    )


def fp8(toy: Toy, suffix: str = ".weight_scale_inv", power: bool = False, block: int = 32) -> Toy:
    """fp8 (E4M3) in square blocks, scales beside under names ending in `suffix`; `power`: scales
    are powers of two (E8M0).
    """
    out: dict[str, Piece] = {}
    for name, piece in toy.pieces.items():
        if not _linear(name, piece):
            out[name] = piece
            continue
        rows, cols = (-(-n // block) for n in piece.values.shape)
        padded = np.zeros((rows * block, cols * block), np.float32)
        padded[: piece.values.shape[0], : piece.values.shape[1]] = piece.values
        scale = np.maximum(np.abs(padded).reshape(rows, block, cols, block).max((1, 3)) / 448, 1e-12).astype(np.float32)
        scale = 2.0 ** np.ceil(np.log2(scale)) if power else scale
        over = np.kron(scale, np.ones((block, block), np.float32))[: piece.values.shape[0], : piece.values.shape[1]]
        out[name] = replace(piece, values=(piece.values / over).astype(ml_dtypes.float8_e4m3fn))
        stored = scale.astype(ml_dtypes.float8_e8m0fnu) if power else scale.astype(np.float32)
        out[name.removesuffix(".weight") + suffix] = _beside(piece, stored)
    config = {"quant_method": "fp8", "weight_block_size": [block, block], "activation_scheme": "dynamic", "fmt": "e4m3"}
    return toy.derive(
        "quantised",
        out,
        key=(suffix, power, block),
        config={"quantization_config": config | ({"scale_fmt": "ue8m0"} if power else {})},
    )


def _beside(piece: Piece, values: Array) -> Piece:
    """A tensor that belongs to a packed one, written in its own number type."""
    return Piece(values, piece.place, ("scale",), frozenset(), "other", fixed=True)


def int8(toy: Toy, name: str = "weight_scale") -> Toy:
    """int8 with one scale a row (compressed-tensors' way)."""
    out: dict[str, Piece] = {}
    for key, piece in toy.pieces.items():
        if not _linear(key, piece):
            out[key] = piece
            continue
        scale = (np.abs(piece.values).max(1, keepdims=True) / 127).astype(np.float32)
        out[key] = replace(piece, values=np.rint(piece.values / scale).astype(np.int8))
        out[key.removesuffix("weight") + name] = _beside(piece, scale)
    return toy.derive(
        "quantised",
        out,
        key=name,
        config={
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "int-quantized",
                "config_groups": {
                    "group_0": {
                        "targets": ["Linear"],
                        "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
                    }
                },
            }
        },
    )


def gptq(toy: Toy, group: int = 32) -> Toy:
    """GPTQ's 4-bit layout, rounded to nearest, symmetric about 8."""
    out: dict[str, Piece] = {}
    for key, piece in toy.pieces.items():
        if not _linear(key, piece):
            out[key] = piece
            continue
        w_IO, stem = piece.values.T, key.removesuffix("weight")
        groups = w_IO.reshape(-1, group, w_IO.shape[1])
        scale = (np.abs(groups).max(1) / 7).astype(np.float16)
        codes = (
            np.clip(np.rint(groups / np.maximum(scale.astype(np.float32), 1e-8)[:, None]) + 8, 0, 15)
            .astype(np.uint32)
            .reshape(w_IO.shape)
        )
        shifts = np.arange(8, dtype=np.uint32) * 4
        packed = (codes.reshape(-1, 8, w_IO.shape[1]) << shifts[None, :, None]).sum(1, dtype=np.uint32).view(np.int32)
        zeros = np.full((len(scale), w_IO.shape[1] // 8), sum(7 << int(s) for s in shifts), np.uint32).view(np.int32)
        out[stem + "qweight"] = replace(piece, values=packed)
        out |= {
            stem + n: _beside(piece, v)
            for n, v in (("qzeros", zeros), ("scales", scale), ("g_idx", (np.arange(len(w_IO)) // group).astype(np.int32)))
        }
    config = {"quant_method": "gptq", "bits": 4, "group_size": group, "desc_act": False, "sym": True, "checkpoint_format": "gptq"}
    return toy.derive("quantised", out, key=("gptq", group), config={"quantization_config": config})


def nf4(toy: Toy, block: int = 64) -> Toy:
    """Bitsandbytes' NF4 layout: codes two a byte, one scale a block, the state as JSON in bytes."""
    out: dict[str, Piece] = {}
    for key, piece in toy.pieces.items():
        if not _linear(key, piece):
            out[key] = piece
            continue
        flat = piece.values.reshape(-1, block)
        scale = np.maximum(np.abs(flat).max(1), 1e-12).astype(np.float32)
        codes = np.abs((flat / scale[:, None])[..., None] - NF4).argmin(-1).astype(np.uint8).ravel()
        state = {"quant_type": "nf4", "blocksize": block, "dtype": toy.dtype, "shape": list(piece.values.shape)}
        out[key] = replace(piece, values=((codes[0::2] << 4) | codes[1::2]).reshape(-1, 1))
        out |= {
            f"{key}.{n}": _beside(piece, v)
            for n, v in (
                ("absmax", scale),
                ("quant_map", NF4),
                ("quant_state.bitsandbytes__nf4", np.frombuffer(json.dumps(state).encode(), np.uint8)),
            )
        }
    config = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": False,
        "bnb_4bit_compute_dtype": toy.dtype,
    }
    return toy.derive("quantised", out, key=("nf4", block), config={"quantization_config": config})


def mxfp4(toy: Toy) -> Toy:
    """gpt-oss as released: stacked experts as `_blocks` (two codes a byte, low one first) and
    `_scales` (exponent + 127).
    """
    out: dict[str, Piece] = {}
    for key, piece in toy.pieces.items():
        if not key.endswith(("experts.gate_up_proj", "experts.down_proj")):
            out[key] = piece
            continue
        groups = piece.values.swapaxes(1, 2).reshape(len(piece.values), piece.values.shape[2], -1, 32)
        exponent = np.floor(np.log2(np.abs(groups).max(-1) + 1e-20)) - 2
        codes = np.abs((groups / 2.0 ** exponent[..., None])[..., None] - E2M1).argmin(-1).astype(np.uint8)
        out[key + "_blocks"] = replace(piece, values=codes[..., 0::2] | (codes[..., 1::2] << 4))
        out[key + "_scales"] = _beside(piece, (exponent + 127).astype(np.uint8))
    config = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
    }
    return toy.derive("quantised", out, key="mxfp4", config={"quantization_config": config})
