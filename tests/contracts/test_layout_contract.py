"""The contract every packed layout keeps, over files the tools wrote: whatever its parts are, it is read, listed as not read, or one line.

A layout is a `begat.source.packed.Layout`; a new one adds a case to `tests/source/fixtures/make_quantised.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from begat.canon import resolve, unread_parameters
from begat.errors import InputError
from begat.source import open_checkpoint
from begat.source.named import layouts
from begat.source.packed import LAYOUTS

FILES = Path(__file__).parents[1] / "source" / "fixtures" / "quantised"
CASES = sorted(p.name for p in FILES.iterdir())
#: layouts that are read → a case that shows it
SHOWN = {
    "compressed-tensors": "compressed-w4", "MXFP4 blocks": "gpt-oss", "packed floats": "compressed-nvfp4",
    "bitsandbytes nf4": "bitsandbytes-nf4", "bitsandbytes fp4": "bitsandbytes-fp4",
}  # fmt: skip
#: and those whose files are built in tests of their own
ELSEWHERE = {"gptq", "awq", "ModelOpt NVFP4"}

TYPES = {
    "F32": np.float32, "F16": np.float16, "U8": np.uint8, "I8": np.int8, "I32": np.int32, "I64": np.int64, "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}  # fmt: skip
Stored = dict[str, tuple[str, list[int], bytes]]


def stored(case: str) -> Stored:
    """name → (type, shape, bytes), by the file's own header."""
    blob = (FILES / case / "model.safetensors").read_bytes()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header.pop("__metadata__", None)
    return {n: (s["dtype"], s["shape"], blob[8 + length + s["data_offsets"][0] : 8 + length + s["data_offsets"][1]]) for n, s in header.items()}


def write(folder: Path, tensors: Stored, config: object) -> None:
    header, body, at = {}, b"", 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        body, at = body + data, at + len(data)
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + body)
    (folder / "config.json").write_text(json.dumps(config))


def changed(tensors: Stored, r: np.random.Generator) -> Stored:
    """One helper or the words gone, cut, of another type, or of other bytes."""
    out = dict(tensors)
    name = list(out)[r.integers(len(out))]
    dtype, shape, data = out[name]
    size = len(data)
    match r.integers(5):
        case 0:
            del out[name]
        case 1 if shape and shape[0] > 1:
            out[name] = (dtype, [shape[0] - 1, *shape[1:]], data[: size // shape[0] * (shape[0] - 1)])
        case 2:
            kinds = [k for k, t in TYPES.items() if size % np.dtype(t).itemsize == 0]
            kind = kinds[r.integers(len(kinds))]
            out[name] = (kind, [size // np.dtype(TYPES[kind]).itemsize], data)
        case 3:
            out[name] = (dtype, [1] * int(r.integers(5)) + shape, data)
        case _:
            out[name] = (dtype, shape, r.bytes(size))
    return out


def test_every_layout_is_shown() -> None:
    read = {name for name, _ in LAYOUTS.items() if not name.startswith("named")}
    assert read == SHOWN.keys() | ELSEWHERE
    assert set(SHOWN.values()) <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_anything_may_be_beside_packed_words(case: str, tmp_path: Path) -> None:
    r, tensors = np.random.default_rng(len(case)), stored(case)
    config = json.loads((FILES / case / "config.json").read_text())
    for _ in range(40):
        write(tmp_path, changed(tensors, r), config if r.random() < 0.7 else {})
        try:
            checkpoint = open_checkpoint(tmp_path)
            for name, entry in checkpoint.entries.items():
                assert checkpoint.read(name).shape == (entry.rows, entry.cols)
                assert entry.size <= 16 * entry.nbytes + 64, "no more values than the bytes can hold"
            for name, unread in checkpoint.unread.items():
                assert unread.why and name not in unread.why and "damaged" not in unread.why
                assert 0 <= unread.parameters < 1 << 20
            model = resolve(checkpoint)
            assert all(n > 0 for n in unread_parameters(model).values())
        except InputError as err:
            if not str(err).isprintable() or err.file is None:
                raise AssertionError(repr(str(err))) from err
        else:
            checkpoint.reader.close()


@pytest.mark.parametrize("layout", [x for n, x in LAYOUTS.items() if n.startswith("named")], ids=lambda x: x.words or x.needs[0])
@pytest.mark.parametrize("bits", [None, 2, 4, 8, "four", 10**30])
def test_layouts_that_are_not_read_are_named(layout: object, bits: object, tmp_path: Path) -> None:
    kind = (layout.types or ("I32",))[0]
    words = np.ones((8, 16), TYPES.get(kind, np.uint16 if kind == "U16" else np.uint32))
    stem = "model.layers.0.mlp.up_proj"
    tensors = {stem + layout.words: (kind, [8, 16], words.tobytes())}
    tensors |= {stem + end: ("F32", [1, 4], np.ones(4, np.float32).tobytes()) for end in layout.needs}
    write(tmp_path, tensors, {"quantization_config": {"quant_method": "somebody", "bits": bits}})
    checkpoint = open_checkpoint(tmp_path)
    note = checkpoint.unread[stem + layout.words]
    assert note.parameters >= 128 and "not read" in note.why
    model = resolve(checkpoint)
    assert not model.tensors
    assert unread_parameters(model) == {note.why: note.parameters}


def test_the_table_of_named_layouts_is_strict() -> None:
    good = {"tool": "x", "words": ".w", "types": ["U8"], "needs": [], "helpers": [], "values": 2}
    assert len(layouts({"layout": [good]})) == 1
    for bad in ({**good, "types": ["U9"]}, {**good, "values": 0}, {**good, "more": 1}):
        with pytest.raises(ValueError, match=r"named\.toml"):
            layouts({"layout": [bad]})


def test_the_oracle_agrees_about_types() -> None:
    """The header reader above is the library's, on one file."""
    with safe_open(FILES / "gpt-oss" / "model.safetensors", "np") as f:
        assert {n: list(f.get_slice(n).get_shape()) for n in f.keys()} == {n: s for n, (_, s, _) in stored("gpt-oss").items()}  # noqa: SIM118
