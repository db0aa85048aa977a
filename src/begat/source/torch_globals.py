"""Which globals a torch checkpoint may name, and what each stands for. Data, no behaviour: nothing here is ever imported.

Enters: (module, name).  Leaves: a `Global`, or an InputError naming what the file wanted to load.  The machine that meets the
names is `pickle_vm.py`; what becomes of them is `torch_pickle.py`.
"""

from __future__ import annotations

from pathlib import Path

from begat.errors import InputError
from begat.source.pickle_vm import Global

#: torch dtype → (begat dtype or None where begat has none, bytes per element)
TORCH_DTYPES: dict[str, tuple[str | None, int]] = {
    "float64": ("F64", 8), "double": ("F64", 8), "float32": ("F32", 4), "float": ("F32", 4), "float16": ("F16", 2),
    "half": ("F16", 2), "bfloat16": ("BF16", 2), "int64": ("I64", 8), "long": ("I64", 8), "int32": ("I32", 4), "int": ("I32", 4),
    "int16": ("I16", 2), "short": ("I16", 2), "int8": ("I8", 1), "uint8": ("U8", 1), "uint16": ("U16", 2), "uint32": ("U32", 4),
    "uint64": ("U64", 8), "bool": ("BOOL", 1), "float8_e4m3fn": ("F8_E4M3", 1), "float8_e5m2": ("F8_E5M2", 1),
    "float8_e4m3fnuz": ("F8_E4M3FNUZ", 1), "float8_e5m2fnuz": ("F8_E5M2FNUZ", 1), "float8_e8m0fnu": ("F8_E8M0", 1),
    "qint8": (None, 1), "quint8": (None, 1), "qint32": (None, 4), "complex32": (None, 4), "complex64": (None, 8),
    "complex128": (None, 16), "cfloat": (None, 8), "cdouble": (None, 16),
}  # fmt: skip

#: storage class → torch dtype; the untyped ones count bytes
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
}  # fmt: skip

_REBUILDS = {
    "_rebuild_tensor": "tensor", "_rebuild_tensor_v2": "tensor", "_rebuild_tensor_v3": "tensor_v3",
    "_rebuild_parameter": "first", "_rebuild_parameter_with_state": "first", "_rebuild_meta_tensor_no_storage": "meta",
    "_rebuild_sparse_tensor": "sparse", "_rebuild_sparse_csr_tensor": "sparse", "_rebuild_qtensor": "quantised",
}  # fmt: skip

#: module → classes that carry settings, not weights; each becomes an `Inert`
_INERT: dict[str, frozenset[str]] = {
    "argparse": frozenset({"Namespace"}),
    "types": frozenset({"SimpleNamespace"}),
    "pathlib": frozenset({"PosixPath", "WindowsPath", "Path", "PurePosixPath", "PureWindowsPath"}),
    "datetime": frozenset({"datetime", "date", "time", "timedelta", "timezone"}),
    "collections": frozenset({"Counter", "deque"}),
    "copy_reg": frozenset({"_reconstructor"}),
    "copyreg": frozenset({"_reconstructor"}),
    "_codecs": frozenset({"encode"}),
    "torch": frozenset(
        {
            "Tensor",
            "device",
            "strided",
            "memory_format",
            "contiguous_format",
            "preserve_format",
            "sparse_coo",
            "sparse_csr",
            "sparse_csc",
            "sparse_bsr",
            "sparse_bsc",
            "per_tensor_affine",
            "per_channel_affine",
            "per_channel_affine_float_qparams",
            "per_tensor_symmetric",
            "per_channel_symmetric",
        }
    ),
    "torch.nn.parameter": frozenset({"Parameter", "Buffer"}),
    "torch.nn": frozenset({"Parameter", "Buffer"}),
    "torch.serialization": frozenset({"_get_layout"}),
    "torch.storage": frozenset({"TypedStorage", "_TypedStorage"}),
    "torch.torch_version": frozenset({"TorchVersion"}),
    "lightning.fabric.utilities.data": frozenset({"AttributeDict"}),
    "lightning_fabric.utilities.data": frozenset({"AttributeDict"}),
    "pytorch_lightning.utilities.parsing": frozenset({"AttributeDict"}),
}
_INERT_NUMPY = frozenset({"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"})
_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_BUILTINS = ("builtins", "__builtin__")
_MAPPINGS = frozenset({("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict")})
_SEQUENCES = frozenset({"list", "tuple", "set", "frozenset"})
_SCALARS = frozenset({"int", "float", "str", "bytes", "bytearray", "bool", "complex", "slice", "range"})


def find(path: Path, module: str, name: str) -> Global:
    """What the global stands for. Raises InputError when it is not on the list."""
    where = "builtins" if module in _BUILTINS else module
    if where in ("torch._utils", "torch._tensor", "torch.tensor", "torch.storage", "torch", "torch.cuda"):
        found = _torch(where, name)
        if found is not None:
            return found
    if (where, name) in _MAPPINGS:
        return Global(where, name, "dict")
    if (where == "builtins" and name in _SEQUENCES) or (where, name) == ("torch", "Size"):
        return Global(where, name, "list")
    if where == "builtins" and name in _SCALARS:
        return Global(where, name, "inert")
    if name in _INERT.get(where, ()) or (where in _NUMPY and name in _INERT_NUMPY):
        return Global(where, name, "inert")
    if where == "numpy.dtypes" and name.endswith("DType") and name.isidentifier():
        return Global(where, name, "inert")
    raise InputError("pickle wants to load code that is not on the list of harmless names; nothing was executed", file=path,
                     found=f"{module}.{name}",
                     fix="do not load this file; re-save it as safetensors where it is trusted")  # fmt: skip


def _torch(module: str, name: str) -> Global | None:
    if module == "torch._utils" and name in _REBUILDS:
        return Global(module, name, _REBUILDS[name])
    if module in ("torch._tensor", "torch.tensor") and name in ("_rebuild_from_type_v2", "_rebuild_from_type"):
        return Global(module, name, "from_type")
    if module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES:
        return Global(module, name, "storage", _STORAGES[name])
    if module == "torch" and name in TORCH_DTYPES:
        return Global(module, name, "dtype", name)
    return None
