"""Release folders and references that lie, swell, lead elsewhere or carry markup. Numbers refer to README.md."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from begat.audit import folder as folder_module
from begat.audit.card import front_matter
from begat.audit.folder import MAX_TEXT, open_tree
from begat.audit.licences.identify import identify
from begat.audit.notices import change_statements, read_anywhere, read_header
from begat.audit.run import audit
from begat.errors import InputError
from begat.report.audit_html import render_audit_html
from begat.report.audit_json import dumps
from begat.report.audit_sarif import sarif_text
from begat.report.audit_text import render_audit

CODE = "import torch\n\n\ndef half(x, y):\n    a = torch.relu(x) + y\n    b = a.softmax(-1) * x\n    return a @ b.T\n"


def audited(release: Path, *references: Path, seconds: float = 60.0) -> str:
    """Audit, render everything, and give back the text report."""
    start = time.monotonic()
    found = audit(release, references, weights=False)
    text = render_audit(found)
    for out in (text, render_audit_html(found), sarif_text(found), dumps(found)):
        assert "\x1b" not in out and "\u202e" not in out
    assert "<script" not in render_audit_html(found)
    assert time.monotonic() - start < seconds
    return text


@pytest.fixture
def release(tmp_path: Path) -> Path:
    where = tmp_path / "release"
    where.mkdir()
    (where / "README.md").write_text("---\nlicense: mit\n---\n")
    (where / "modeling.py").write_text(CODE)
    return where


# 70: links


def test_links_out_of_the_folder_are_not_read(release: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("TOPSECRET")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "LICENSE").write_text("TOPSECRET")
    (release / "LICENSE").symlink_to(tmp_path / "secret.md")
    (release / "NOTICE").symlink_to("../secret.md")
    (release / "docs").symlink_to(tmp_path / "elsewhere")
    (release / "passwd.txt").symlink_to("/etc/passwd")
    tree = open_tree(release)
    assert set(tree.sizes) == {"README.md", "modeling.py"}
    assert {n for n, _ in tree.skipped} == {"LICENSE", "NOTICE", "docs", "passwd.txt"}
    text = audited(release)
    assert "TOPSECRET" not in text
    assert "4 files of the release were not read" in " ".join(text.split())


def test_links_in_circles_dead_links_pipes_and_sockets_end(release: Path) -> None:
    (release / "a").symlink_to("b")
    (release / "b").symlink_to("a")
    (release / "self").symlink_to(".")
    (release / "dead").symlink_to("nowhere")
    os.mkfifo(release / "LICENSE")
    audited(release)
    assert {n for n, _ in open_tree(release).skipped} == {"a", "b", "self", "dead", "LICENSE"}


def test_a_link_inside_the_folder_is_read(release: Path) -> None:
    (release / "copy.py").symlink_to("modeling.py")
    assert open_tree(release).text("copy.py") == CODE


# 71: size


def test_files_beyond_the_text_cap_are_not_read(release: Path) -> None:
    for name in ("README.md", "LICENSE", "modeling_big.py", "NOTICE", "config.json", "tokenizer_config.json"):
        with (release / name).open("wb") as f:
            f.truncate(20 << 30)  # sparse
    text = audited(release)
    assert "Traceback" not in text
    assert open_tree(release).text("README.md") is None


def test_too_many_files_and_too_deep_folders_are_cut(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = release
    for _ in range(60):
        deep = deep / "d"
        deep.mkdir()
    (deep / "LICENSE").write_text("x")
    assert any("nested deeper" in why for _, why in open_tree(release).skipped)
    monkeypatch.setattr(folder_module, "MAX_FILES", 20)
    for i in range(50):
        (release / f"f{i}.txt").write_text("x")
    tree = open_tree(release)
    assert len(tree.sizes) == 20
    assert any("more than 20 files" in why for _, why in tree.skipped)


# 72: junk


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 1000,
        bytes(range(256)) * 50,
        b"\xff\xfe" + b"x" * 100,
        b"\xef\xbb\xbf---\nlicense: mit\n---",
        os.urandom(5000),
        b"\xed\xa0\x80" * 100,
        b"",
        b"\r\r\r",
    ],
)
def test_junk_in_every_text_is_passed_over(release: Path, data: bytes) -> None:
    for name in (
        "README.md",
        "LICENSE",
        "NOTICE",
        "config.json",
        "adapter_config.json",
        "modeling.py",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.sig",
    ):
        (release / name).write_bytes(data)
    audited(release)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "{" * 100_000, '{"a":' * 50_000, '{"_name_or_path": ' + "9" * 10_000 + "}", '{"_name_or_path": ["x"]}', "[]", "null", '"x"',
        '{"_name_or_path": "\\ud800\\u001b[31m<script>"}',
    ],
)  # fmt: skip
def test_json_beside_the_weights(release: Path, text: str) -> None:
    (release / "config.json").write_text(text)
    (release / "adapter_config.json").write_text(text)
    audited(release)


# 73: YAML


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    "head",
    [
        BOMB + "license: *j", "license: &x [*x]", "license: &a mit\nbase_model: *a", "base_model: " + "[" * 5000, "base_model: " + "{a: " * 5000,
        "license: !!python/object/apply:os.system ['echo hacked']", "license: !!python/name:os.system", "license: !!binary |\n  AAAA", "license: !!timestamp 9999-99-99",  # noqa: E501
        "license: " + "9" * 10_000, "license: 0x" + "f" * 100, "license: 1e999", "license: .nan", "license: {? {a: b} : c}", "license: [\n- x", "license: \"\\ud800\"",  # noqa: E501
        "license: '\x1b[31m'", "base_model:\n" + "- a/b\n" * 3000, "base_model: " + "x" * 200_000, "license:\n  mit:\n    <<: {a: b}", "%YAML 9.9\nlicense: mit",  # noqa: E501
        "license: mit\nlicense: gpl", "? license\n: mit",
    ],
)  # fmt: skip
def test_front_matter_is_bounded_and_never_executed(release: Path, head: str, capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    (release / "README.md").write_text(f"---\n{head}\n---\n", "utf-8", "surrogatepass")
    try:
        front_matter(f"---\n{head}\n---\n")
    except InputError as err:
        assert len(err.problem) < 200  # noqa: PT017
    audited(release)
    assert time.monotonic() - start < 20
    assert "hacked" not in capfd.readouterr().out


def test_a_front_matter_without_end_and_one_beyond_the_cap(release: Path) -> None:
    (release / "README.md").write_text("---\nlicense: mit\n" + "a: b\n" * 1_000_000)
    assert "could not be read" in " ".join(audited(release).split())


# 74: archives


def archive(tmp_path: Path, names: list[str], data: bytes = b"x") -> Path:
    where = tmp_path / "ref.zip"
    with zipfile.ZipFile(where, "w") as z:
        for name in names:
            z.writestr(zipfile.ZipInfo(name), data)
    return where


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/etc/evil.py",
        "a/../../evil.py",
        "..\\evil.py",
        "C:\\evil.py",
        "C:/evil.py",
        "a/" * 50 + "evil.py",
        "..",
        "a\\..\\..\\evil.py",
    ],
)
def test_names_that_climb_are_skipped(tmp_path: Path, name: str) -> None:
    tree = open_tree(archive(tmp_path, ["ok.py", name]))
    assert set(tree.sizes) == {"ok.py"}
    assert len(tree.skipped) == 1
    roll = tmp_path / "ref.tar.gz"
    with tarfile.open(roll, "w:gz") as t:
        for n in ("ok.py", name):
            info = tarfile.TarInfo(n)
            info.size = 1
            t.addfile(info, io.BytesIO(b"x"))
    assert set(open_tree(roll).sizes) == {"ok.py"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ref.tar.gz", "ref.zip"]


def test_bombs_are_refused_before_they_swell(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
        for i in range(2):
            z.writestr(f"{i}.py", b"\0" * (300 << 20))
    start = time.monotonic()
    tree = open_tree(bomb)
    assert tree.sizes == {}
    assert all("times its size" in why for _, why in tree.skipped)
    roll = tmp_path / "bomb.tar.gz"
    with tarfile.open(roll, "w:gz", compresslevel=1) as t:
        info = tarfile.TarInfo("big.bin")
        info.size = 5 << 30
        t.fileobj.write(info.tobuf())  # type: ignore[union-attr]
    with pytest.raises(InputError, match="unpacks to too much"):
        open_tree(roll)
    assert time.monotonic() - start < 30


def test_a_zip_that_lies_about_sizes_is_read_within_them(tmp_path: Path) -> None:
    where = tmp_path / "lie.zip"
    with zipfile.ZipFile(where, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a.py", b"x = 1\n" * 1000)
    data = bytearray(where.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (5).to_bytes(4, "little")  # central directory: 5 bytes
    where.write_bytes(bytes(data))
    tree = open_tree(where)
    assert len(tree.text("a.py") or "") <= MAX_TEXT


def test_links_devices_and_doubles_in_archives(tmp_path: Path) -> None:
    roll = tmp_path / "ref.tar.gz"
    with tarfile.open(roll, "w:gz") as t:
        for kind, name in (
            (tarfile.SYMTYPE, "link.py"),
            (tarfile.LNKTYPE, "hard.py"),
            (tarfile.CHRTYPE, "dev"),
            (tarfile.FIFOTYPE, "pipe"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            t.addfile(info)
        for data in (b"one", b"two"):
            info = tarfile.TarInfo("twice.py")
            info.size = 3
            t.addfile(info, io.BytesIO(data))
    tree = open_tree(roll)
    assert {n: tree.text(n) for n in tree.sizes} == {"twice.py": "one"}
    assert len(tree.skipped) == 5


@pytest.mark.parametrize("ending", [".zip", ".whl", ".tar.gz", ".tgz"])
@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04" + b"\xff" * 100, b"\x1f\x8b\x08" + b"\0" * 50, b"junk" * 1000, b"PK\x05\x06" + b"\xff" * 18]
)
def test_damaged_archives_are_refused_on_one_line(tmp_path: Path, ending: str, data: bytes) -> None:
    where = tmp_path / f"ref{ending}"
    where.write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_tree(where)
    assert str(caught.value).isprintable()


def test_a_cut_archive_and_flipped_bytes(tmp_path: Path, release: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("modeling.py", CODE * 50)
    data = whole.read_bytes()
    for at in range(0, len(data), 7):
        broken = tmp_path / "ref.zip"
        broken.write_bytes(data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :])
        try:
            tree = open_tree(broken)
        except InputError as err:
            assert str(err).isprintable()  # noqa: PT017
            continue
        for name in tree.sizes:
            tree.text(name)
    (tmp_path / "cut.zip").write_bytes(data[:-30])
    with pytest.raises(InputError):
        open_tree(tmp_path / "cut.zip")


# 75: names


def test_names_with_markup_escapes_and_line_breaks_stay_names(release: Path) -> None:
    names = [
        "<script>alert(1)</script>.py",
        "\x1b[2Jclear.py",
        "a\nb.py",
        "\u202egpj.py",
        "LICENSE\x07",
        "'\"&<b>.md",
        "notice\n::error::x",
    ]
    for name in names:
        (release / name.replace("/", "_")).write_text("# Copyright 2024 <script>alert(2)</script>\x1b[31m\n" + CODE)
    os.close(os.open(os.fsencode(release) + b"/\xff\xfe.py", os.O_CREAT))
    reference = release.parent / "ref"
    reference.mkdir()
    (reference / "mod.py").write_text("# Copyright 2020 Them <b>\x1b\n" + CODE)
    text = audited(release, reference)
    assert all(line.isprintable() for line in text.split("\n"))


def test_the_command_survives_them_too(release: Path) -> None:
    os.close(os.open(os.fsencode(release) + b"/LICENSE\xff\xfe", os.O_CREAT))
    (release / "README.md").write_text("---\nlicense: '<script>'\nbase_model: \"\\e[31m\"\n---\n")
    out = release.parent
    run = subprocess.run(
        [sys.executable, "-m", "begat", "audit", str(release), "--html", str(out / "x.html"), "--sarif", str(out / "x.sarif"), "--cyclonedx", str(out / "x.bom"),  # noqa: E501
         "--intoto", str(out / "x.att"), "--json"], capture_output=True,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, b"")
    json.loads(run.stdout)
    assert b"\x1b" not in run.stdout


# 76: texts that keep patterns busy


@pytest.mark.parametrize(
    "text",
    ["(c)" * 500_000, "copyright " * 300_000, "# Copyright 2024 " + "a, " * 300_000, "© " * 500_000, "Copyright (c) " + "-" * 1_000_000, "# " * 500_000,
     "Copyright " + "2024-" * 300_000, '"""' + "x" * 1_000_000, "'" * 1_000_000, "\n" * 1_000_000, "# SPDX-License-Identifier: " + "(" * 500_000, "r'" + "\\" * 500_000],  # noqa: E501
)  # fmt: skip
def test_headers_of_megabytes_are_read_in_time(text: str) -> None:
    start = time.monotonic()
    read_header(text)
    read_anywhere(text)
    change_statements(text)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("text", ["the " * 500_000, "a\n" * 500_000, "license " * 19_000, "x" * 2_000_000])
def test_licences_of_megabytes_are_read_in_time(text: str) -> None:
    start = time.monotonic()
    identify("LICENSE", text)
    assert time.monotonic() - start < 60


def test_a_licence_that_repeats_a_published_text_many_times(release: Path) -> None:
    text = (Path(__file__).parents[2] / "src/begat/audit/licences/texts/qwen.txt").read_text()
    start = time.monotonic()
    (release / "LICENSE").write_text(text.replace("million", "billion") * 12)
    audited(release, seconds=120)
    assert time.monotonic() - start < 120
