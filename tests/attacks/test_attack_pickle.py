"""Pickles that want to run something, or to take all memory or time. Numbers refer to README.md."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.source.torch_archive import MAGIC


def zipped(file: Path, stream: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("archive/data.pkl", stream)
    return file


def legacy(file: Path, stream: bytes) -> Path:
    file.write_bytes(pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + stream)
    return file


class Call:
    """Pickles as function(*args) under plain pickle."""

    def __init__(self, function: Any, *args: Any):
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def refused(path: Path, problem: str, seconds: float = 10.0) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=problem) as caught:
        open_checkpoint(path)
    assert time.monotonic() - start < seconds
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("container", [zipped, legacy])
def test_01_functions_are_never_called(tmp_path: Path, container: Any, protocol: int) -> None:
    flag = tmp_path / "flag"
    for call in (
        Call(os.system, f"touch {flag}"),
        Call(eval, f"open({str(flag)!r}, 'w')"),
        Call(exec, f"open({str(flag)!r}, 'w')"),
        Call(getattr, "x", "upper"),
        Call(open, str(flag), "w"),
        Call(__import__, "antigravity"),
        Call(os.mkdir, str(flag)),
        Call(compile, "1", "x", "eval"),
        Call(os.kill, 0, 0),
    ):
        refused(container(tmp_path / "m.pt", pickle.dumps({"w": call}, protocol)), "nothing was executed")
        assert not flag.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "nt system",
        "posix system",
        "builtins eval",
        "__builtin__ eval",
        "subprocess Popen",
        "builtins getattr",
        "torch load",
        "torch.hub load",
        "torch.serialization load",
        "numpy load",
        "numpy.core.multiarray fromfile",
        "pickle loads",
        "torch._utils _import_dotted_name",
        "torch.storage _load_from_bytes",
        "collections namedtuple",
        "functools partial",
        "operator attrgetter",
        "builtins __import__",
        "torch.nn.modules.linear Linear",
        "torch _C",
        "collections __builtins__",
        "torch._utils _rebuild_tensor_v2.__globals__",
        "argparse Namespace.__init__",
        "pathlib os",
        "datetime sys",
        "copyreg __newobj__",
        "_codecs lookup",
        "torch.float32 __class__",
        "numpy.dtypes __class__",
    ],
)
@pytest.mark.parametrize("how", ["global", "stack", "inst", "obj"])
def test_02_names_off_the_list_are_refused(tmp_path: Path, name: str, how: str) -> None:
    module, attribute = (part.encode() for part in name.split(" "))
    body = {
        "global": b"c" + module + b"\n" + attribute + b"\n)R",
        "stack": b"\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(attribute)]) + attribute + b"\x93)R",
        "inst": b"(i" + module + b"\n" + attribute + b"\n",
        "obj": b"(c" + module + b"\n" + attribute + b"\no",
    }[how]
    refused(zipped(tmp_path / "m.pt", b"\x80\x04" + body + b"."), "not on the list of harmless names")


def test_03_allowed_names_do_nothing(tmp_path: Path) -> None:
    """`_codecs.encode`, `pathlib.Path`, `bytearray(2**40)`: listed, yet only remembered."""
    encode = b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR"
    allocate = b"cbuiltins\nbytearray\n(\x8a\x06\x00\x00\x00\x00\x00\x01tR"
    count = b"cbuiltins\nrange\n(K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7ftR"
    path = b"cpathlib\nPosixPath\n(X\x01\x00\x00\x00/tR"
    refused(zipped(tmp_path / "m.pt", b"\x80\x02(" + encode + allocate + count + path + b"t."), "holds no tensors", 1)


def test_04_build_sets_nothing(tmp_path: Path) -> None:
    """BUILD with a state that would replace methods or classes is only remembered."""
    state = b"}(X\x09\x00\x00\x00__class__X\x01\x00\x00\x00xX\x0c\x00\x00\x00__setstate__cargparse\nNamespace\nu"
    refused(zipped(tmp_path / "m.pt", b"\x80\x02cargparse\nNamespace\n)R" + state + b"b."), "holds no tensors")


def test_05_memo_index_does_not_allocate(tmp_path: Path) -> None:
    stream = b"\x80\x02}r\xff\xff\xff\xff."
    refused(zipped(tmp_path / "m.pt", stream), "holds no tensors", 1)


@pytest.mark.parametrize("opcode", [b"T", b"X", b"B", b"\x8b"])
def test_06_declared_lengths_do_not_allocate(tmp_path: Path, opcode: bytes) -> None:
    for container in (zipped, legacy):
        refused(container(tmp_path / "m.pt", b"\x80\x02" + opcode + b"\xff\xff\xff\x7f."), "pickle is damaged", 1)


@pytest.mark.parametrize("opcode", [b"\x8d", b"\x8e", b"\x96", b"\x95"])
def test_07_declared_long_lengths_do_not_allocate(tmp_path: Path, opcode: bytes) -> None:
    refused(zipped(tmp_path / "m.pt", b"\x80\x05" + opcode + struct.pack("<Q", 1 << 50) + b"."), "pickle is damaged", 1)


def test_08_nested_tuples_as_keys_are_not_hashed(tmp_path: Path) -> None:
    """t = (t, t) sixty times takes 2**60 steps to hash, a million nestings overflow the C stack."""
    wide = b"\x80\x02}(K\x01" + b"2\x86" * 60 + b"K\x02u."
    refused(zipped(tmp_path / "m.pt", wide), "holds no tensors", 1)
    deep = b"\x80\x02}(K\x01" + b"\x85" * 1_000_000 + b"K\x02u."
    refused(zipped(tmp_path / "m.pt", deep), "holds no tensors|nested too deeply", 10)


def test_09_deep_nesting_is_refused(tmp_path: Path) -> None:
    stream = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    refused(zipped(tmp_path / "m.pt", stream), "nested too deeply")


def test_10_billion_laughs(tmp_path: Path) -> None:
    """Sixty lists, each twice in the next: every container is walked once."""
    stream = b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b"."
    refused(zipped(tmp_path / "m.pt", stream), "holds no tensors", 1)


def test_11_endless_streams_are_cut(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "m.pt", b"\x80\x02" + b"]" * 6_500_000 + b"."), "implausibly long", 30)
    refused(zipped(tmp_path / "m.pt", b"\x80\x02I" + b"1" * 200_000 + b"\n."), "line without end", 1)
    refused(zipped(tmp_path / "m.pt", b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"."), "absurd size", 1)


def test_12_a_tensor_function_around_itself(tmp_path: Path) -> None:
    inner = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    stream = b"\x80\x02" + inner + b"(" + inner + b"N)NtR."
    refused(zipped(tmp_path / "m.pt", stream), "pickle is damaged", 1)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02.",
        b".",
        b"",
        b"\x80\x02R.",
        b"\x80\x020.",
        b"\x80\x02t.",
        b"\x80\x02}K\x01s.",
        b"\x80\x02(K\x01K\x02K\x03d.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02h\x07.",
        b"\x80\x09.",
        b"\xff.",
        b"\x80\x02Q.",
        b"\x80\x02K\x01Q.",
        b"P1\n.",
        b"\x82\x01.",
        b"\x80\x02NK\x01b.",
        b"\x97.",
        b"\x98.",
        b"\x80\x02(NNNtQ.",
        b"\x80\x02X\x02\x00\x00\x00ab.",
        b"Iabc\n.",
        b"Fabc\n.",
        b"g-1\n.",
        b"\x80\x04\x8c\x01aK\x01\x93.",
        b"\x80\x02N)R.",
        b"\x80\x02ccollections\nOrderedDict\n((K\x01ltR.",
    ],
)
def test_13_malformed_streams(tmp_path: Path, stream: bytes) -> None:
    for container in (zipped, legacy):
        refused(container(tmp_path / "m.pt", stream), "damaged|holds no tensors|list of storages", 1)


def test_14_names_that_talk_to_the_terminal(tmp_path: Path) -> None:
    stream = b"\x80\x02cevil\x1b[2J\r\xe2\x80\xae\nname\x07\n)R."
    with pytest.raises(InputError, match="harmless names") as caught:
        open_checkpoint(zipped(tmp_path / "m.pt", stream))
    assert str(caught.value).isprintable()


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def test_20_zip_headers_that_disagree(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("archive/data.pkl", b"\x80\x02}.")
        z.writestr("archive/data/0", bytes(64))
    data = out.getvalue()
    file = tmp_path / "m.pt"
    local = data.rindex(b"PK\x03\x04")
    central = data.rindex(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    for damaged in (
        patched(data, local, b"XXXX"),
        patched(data, local + 30, b"Archive"),
        patched(data, local + 26, b"\xff\xff"),
        patched(data, central + 42, b"\xff\xff\xff\x7f"),
        patched(data, central + 20, b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
        patched(data, central, b"XXXX"),
        patched(data, end + 12, b"\xff\xff\xff\xff"),
        patched(data, end + 16, b"\xff\xff\xff\xfe"),
        patched(data, central + 8, b"\x01"),
        patched(data, central + 46, b"archive/data.pkl"[:14]),
        data[:-30],
        patched(data, central + 42, struct.pack("<I", 0)),
    ):
        file.write_bytes(damaged)
        refused(file, "zip archive", 1)


def test_21_a_name_twice_in_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as z:
        z.writestr("archive/data.pkl", b"\x80\x02}.")
        with pytest.warns(UserWarning, match="Duplicate name"):
            z.writestr("archive/data.pkl", b"\x80\x02].")
    refused(tmp_path / "m.pt", "there twice")


def test_22_two_pickles(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as z:
        z.writestr("a/data.pkl", b"\x80\x02}.")
        z.writestr("b/data.pkl", b"\x80\x02].")
    refused(tmp_path / "m.pt", r"one data\.pkl, found 2")


def test_23_zip_bomb_is_never_inflated(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("archive/data.pkl", b"\x80\x02" + b"]" * (64 << 20))
    assert (tmp_path / "m.pt").stat().st_size < 1 << 20
    refused(tmp_path / "m.pt", "compressed", 1)
