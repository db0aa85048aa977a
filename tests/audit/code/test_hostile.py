"""Hostile releases and references end in one-line notes: never a crash, a hang, an import or a wrong match."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from written import PACKAGE

from begat.audit.code import CodeReference, code_ancestry
from begat.audit.code.parse import MAX_BYTES, MAX_TOKENS, parse

REFERENCE = CodeReference("pack", "1.0", PACKAGE)
GOOD = PACKAGE["models/ruda/modeling_ruda.py"]
UNREADABLE = {
    "null bytes": b"x = 1\x00\n",
    "minus signs": b"x = " + b"-" * 200_000 + b"1\n",
    "parentheses": b"(" * 100_000,
    "attributes": b"x" + b".y" * 200_000 + b"\n",
    "calls": b"f" + b"()" * 100_000 + b"\n",
    "sums": b"a" + b"+a" * 200_000 + b"\n",
    "elifs": b"if x: pass\n" + b"elif x: pass\n" * 50_000,
    "lambdas": b"f = " + b"lambda: " * 50_000 + b"1\n",
    "no such encoding": b"# coding: klingon\nx = 1\n",
    "no text encoding": b"# coding: rot13\nx = 1\n",
    "not utf-8": b"x = '\xff\xfe'\n",
    "utf-16": "x = 1\n".encode("utf-16"),
    "a huge number": b"x = " + b"9" * 10_000 + b"\n",
    "a huge file": b"x = 1\n" * (MAX_BYTES // 6 + 1),
    "not Python": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "Python 2": b"print 'x'\n",
    "bad indentation": b"def f():\n\tx\n        y\n",
    "control characters in the error": b"x = \x1b[31m\xe2\x80\xae(\n",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_one_line_and_its_neighbour_is_compared(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.py").write_bytes(UNREADABLE[name])
    (tmp_path / "good.py").write_text(GOOD)
    report = code_ancestry(tmp_path, [REFERENCE])
    assert len(report.notes) == 1
    assert report.notes[0].startswith("bad.py: ") and report.notes[0].endswith("not compared") and report.notes[0].isprintable()
    assert {u.file for u in report.units} == {"good.py"}
    assert report.files[0].source_file == "models/ruda/modeling_ruda.py"


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_reference_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    bad = CodeReference("evil\n", "0\x1b[2J", {"a\u202e.py": UNREADABLE[name].decode("latin-1")})
    report = code_ancestry(tmp_path, [REFERENCE, bad])
    assert all(n.isprintable() and n.startswith("evil") for n in report.notes) and len(report.notes) <= 1
    assert report.files[0].source_file == "models/ruda/modeling_ruda.py"


def test_wide_code_is_read(tmp_path: Path) -> None:
    wide = (
        "def f(x):\n    y = ["
        + "x + 1, " * 20_000
        + "]\n"
        + "".join(f"    z{i} = x.a{i}(y[{i}])\n" for i in range(5_000))
        + "    return y\n"
    )
    (tmp_path / "wide.py").write_text(wide + "\n\n@d\n" + "@d\n" * 20_000 + "def g(x):\n    return x\n")
    report = code_ancestry(tmp_path, [REFERENCE])
    assert [u.unit for u in report.units] == ["f", "g"] and {u.status for u in report.units} <= {"not found", "too generic"}
    long = parse("def f(x):\n" + "    x = x + 1\n" * MAX_TOKENS)
    assert "more than" in long.note and len(long.stream.code) <= MAX_TOKENS + 1


def test_deep_but_legal_nesting_is_read(tmp_path: Path) -> None:
    nest = "".join("    " * i + f"class C{i}:\n" for i in range(20)) + "    " * 20 + "def f(self): return self\n"
    depth = "x = " + "-" * 900 + "1\n" + "y = " + "[" * 90 + "]" * 90 + "\n"
    (tmp_path / "deep.py").write_text(nest + "def g():\n    " + depth.replace("\n", "\n    ") + "return 1\n")
    report = code_ancestry(tmp_path, [REFERENCE])
    assert report.notes == () and len(report.units) == 22


def test_nothing_is_imported_or_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "modeling.py").write_text(
        f"import pathlib\npathlib.Path({str(trap)!r}).touch()\n\n\n@pathlib.Path({str(trap)!r}).touch\ndef f(): pass\n" + GOOD
    )
    (tmp_path / "__init__.py").write_text(f"open({str(trap)!r}, 'w')\n")
    before = set(sys.modules)
    code_ancestry(tmp_path, [REFERENCE, CodeReference("evil", "", {"setup.py": f"open({str(trap)!r}, 'w')"})])
    assert not trap.exists()
    assert not {m for m in set(sys.modules) - before if "modeling" in m}


def test_links_pipes_and_loops_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(GOOD)
    release = tmp_path / "release"
    release.mkdir()
    (release / "good.py").write_text(GOOD)
    (release / "link.py").symlink_to(outside)
    (release / "loop").symlink_to(release)
    (release / "self.py").symlink_to(release / "self.py")
    os.mkfifo(release / "pipe.py")
    (release / "folder.py").mkdir()
    (release / "gone.py").symlink_to(release / "nothing.py")
    report = code_ancestry(release, [REFERENCE])
    assert {u.file for u in report.units} == {"good.py"}
    assert sorted(n.split(":")[0] for n in report.notes) == ["gone.py", "link.py", "pipe.py", "self.py"]


def test_many_units_of_one_name_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(
        "def f(x):\n    return x\n\n\ndef f(x):\n    return x + 1\n\n\nif True:\n    def f(x):\n        return x + 2\n"
    )
    report = code_ancestry(tmp_path, [REFERENCE])
    assert [(u.unit, u.lines) for u in report.units] == [("f", (1, 2)), ("f#2", (5, 6)), ("f#3", (10, 11))]


def test_a_release_without_end_is_cut_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        (tmp_path / f"m{i}.py").write_text(GOOD)
    whole = code_ancestry(tmp_path, [REFERENCE])
    monkeypatch.setattr("begat.audit.code.ancestry._MOST_UNITS", len(whole.units) // 2)
    cut = code_ancestry(tmp_path, [REFERENCE])
    assert cut.units == whole.units[: len(whole.units) // 2] and len(cut.notes) == 1 and "m2.py" in cut.notes[0]
    monkeypatch.undo()
    monkeypatch.setattr("begat.audit.code.release.MAX_TOTAL", len(GOOD) - 1)
    assert {u.file for u in code_ancestry(tmp_path, [REFERENCE]).units} == {"m0.py"}
    monkeypatch.setattr("begat.audit.code.release.MAX_FILES", 0)
    assert code_ancestry(tmp_path, [REFERENCE]).units == ()
