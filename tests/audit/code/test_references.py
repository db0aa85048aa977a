"""References are read out of folders, wheels and zip files, without trust."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from written import PACKAGE

from begat.audit.code import CodeReference, build_index, read_reference
from begat.errors import InputError

GOOD = PACKAGE["models/ruda/modeling_ruda.py"].encode()


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files.items():
            z.writestr(name, data)
    return path


def test_a_wheel_and_a_folder_hold_the_same_reference(tmp_path: Path) -> None:
    for path, text in PACKAGE.items():
        (tmp_path / "src" / path).parent.mkdir(parents=True)
        (tmp_path / "src" / path).write_text(text)
    made = wheel(
        tmp_path / "my_pack-1.0-py3-none-any.whl", {p: t.encode() for p, t in PACKAGE.items()} | {"my_pack/data.json": b"{}"}
    )
    from_wheel, notes = read_reference(made)
    from_folder, more = read_reference(tmp_path / "src", "my-pack", "1.0")
    assert notes == more == ()
    assert from_wheel == from_folder == CodeReference("my-pack", "1.0", PACKAGE)
    assert build_index([from_wheel]).digest == build_index([from_folder]).digest
    assert list(read_reference(made, pattern=r"/modeling_w[^/]*\.py$")[0].files) == ["models/wemba/modeling_wemba.py"]


def test_bad_members_are_one_line_each(tmp_path: Path) -> None:
    made = wheel(
        tmp_path / "a-1-py3-none-any.whl",
        {"huge.py": b"x = 1\n" * 900_000, "latin\x1b.py": b"x = '\xff'", "good.py": b"def f(): pass\n"},
    )
    found, notes = read_reference(made)
    assert list(found.files) == ["good.py"]
    assert len(notes) == 2 and all(n.isprintable() and n.endswith("not compared") for n in notes)
    whole = wheel(tmp_path / "b-1-py3-none-any.whl", {"good.py": GOOD})
    data = whole.read_bytes()
    middle = data.find(b"good.py") + 200
    whole.write_bytes(data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 20]) + data[middle + 20 :])
    found, notes = read_reference(whole)
    assert found.files == {} and len(notes) == 1 and notes[0].startswith("good.py: ")


def test_what_is_no_reference_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        read_reference(tmp_path / "x.whl")
    with pytest.raises(InputError, match="no such reference"):
        read_reference(tmp_path / "absent.whl")
