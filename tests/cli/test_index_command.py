"""`begat index`: every command from end to end on real checkpoints, in text and in JSON; errors are one line and change nothing."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from begat.cli.main import main
from begat.demo import data_folder

DEMO = data_folder()


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def begat(*args: str | Path) -> Done:
    """The `begat` command in this process: `begat.cli.main.main` with these words."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["begat", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            main()
    return Done(int(stop.value.code or 0), out.getvalue(), err.getvalue())


def answer(*args: str | Path, code: int = 0) -> dict:
    done = begat("index", *args, "--json")
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == (code == 2)
    value = json.loads(done.stdout)
    assert value["schema_version"] == 1 and value["tool"] == "begat" and value["command"] == f"index {args[0]}"
    return value


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("known") / "index"
    done = answer("add", where, DEMO / "parent", DEMO / "fine-tune", DEMO / "stranger", "--note", "demo")
    assert [e["name"] for e in done["added"]] == ["parent", "fine-tune", "stranger"]
    assert (done["count"], done["engine"], done["failed"]) == (3, "sqlite", [])
    return where


def test_list_and_filters(index: Path) -> None:
    every = answer("list", index)["entries"]
    assert [e["name"] for e in every] == ["parent", "fine-tune", "stranger"]
    assert all(e["family"] == "llama" and e["layers"] == 6 and e["note"] == "demo" and e["source"] == str(DEMO / e["name"]) for e in every)
    assert [e["name"] for e in answer("list", index, "--name", "stranger")["entries"]] == ["stranger"]
    assert [e["name"] for e in answer("list", index, "--id", every[1]["id"][:9])["entries"]] == ["fine-tune"]
    assert answer("list", index, "--family", "qwen")["entries"] == []
    lines = begat("index", "list", index).stdout.splitlines()
    assert len(lines) == 5 and every[0]["id"][:12] in lines[1] and "275K" in lines[1]


def test_show_by_name_and_by_id(index: Path, tmp_path: Path) -> None:
    one = answer("show", index, "fine-tune")
    assert one["entry"]["name"] == "fine-tune"
    assert sum(n for _, n in one["kinds"]) == one["entry"]["probes"] > 0
    assert answer("show", index, one["entry"]["id"][:8])["entry"] == one["entry"]
    answer("show", index, "fine-tune", "-o", tmp_path / "f.begat")
    from hashlib import sha256

    assert sha256((tmp_path / "f.begat").read_bytes()).hexdigest() == one["entry"]["id"]
    assert "275,264" in begat("index", "show", index, "fine-tune").stdout


def test_the_same_model_again_and_as_a_fingerprint_file(index: Path, tmp_path: Path) -> None:
    begat("sketch", DEMO / "parent", "-o", tmp_path / "p.begat")
    for model in (DEMO / "parent", tmp_path / "p.begat"):
        done = answer("add", index, model)
        assert done["added"] == [] and [e["name"] for e in done["present"]] == ["parent"] and done["count"] == 3


def test_what_cannot_be_read_is_reported_and_the_rest_is_added(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    done = answer("add", tmp_path / "i", tmp_path / "broken.safetensors", DEMO / "parent", tmp_path / "absent", code=2)
    assert [e["name"] for e in done["added"]] == ["parent"]
    assert [Path(path).name for path, _ in done["failed"]] == ["broken.safetensors", "absent"]
    told = begat("index", "add", tmp_path / "i", tmp_path / "absent").stderr
    assert told.startswith("begat: error: ") and "absent: could not be read and was not added" in told and "1 of 1 models" in told


@pytest.mark.parametrize("engine", ["sqlite", "lance"])
def test_export_import_remove_compact_verify(index: Path, tmp_path: Path, engine: str) -> None:
    if engine == "lance":
        pytest.importorskip("lancedb")
    assert answer("export", index, tmp_path / "out")["moved"] == 3
    there = tmp_path / "there"
    assert answer("import", there, tmp_path / "out", "--engine", engine)["moved"] == 3
    assert answer("import", there, tmp_path / "out")["present"] == 3
    assert answer("list", there)["entries"] == answer("list", index)["entries"]
    gone = answer("remove", there, "stranger")
    assert [e["name"] for e in gone["entries"]] == ["stranger"] and gone["count"] == 2
    answer("compact", there)
    sound = answer("verify", there)
    assert (sound["count"], sound["faults"], sound["engine"]) == (2, [], engine)
    assert "sound (2 models" in begat("index", "verify", there).stdout


def test_verify_finds_damage_and_says_so_with_its_exit_code(index: Path, tmp_path: Path) -> None:
    import shutil
    import sqlite3

    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    db = sqlite3.connect(copy / "index.sqlite")
    db.execute("UPDATE blobs SET blob = zeroblob(length(blob)) WHERE row = 2")
    db.commit()
    db.close()
    found = answer("verify", copy, code=1)
    assert len(found["faults"]) == 1 and "is not what was stored" in found["faults"][0]
    assert begat("index", "verify", copy).stdout.startswith("fault: ")


def test_errors_are_one_line(index: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    for args in (
        ("list", tmp_path / "absent"), ("list", tmp_path / "text"), ("list", tmp_path / "full"), ("add", tmp_path / "full", DEMO / "parent"),
        ("show", index, "nobody"), ("show", index, "\x1b[2J"), ("remove", index, "parent", "nobody"), ("list", index, "--id", "*"),
        ("export", index, tmp_path / "full"), ("import", tmp_path / "new", tmp_path / "full"), ("add", index, DEMO / "parent", DEMO / "twin", "--name", "x"),
        ("add", "ftp://x/y", DEMO / "parent"), ("add", index, DEMO / "parent", "--engine", "lance"), ("verify", tmp_path / "full"),
    ):  # fmt: skip
        done = begat("index", *args)
        assert done.returncode == 2 and done.stdout == "", args
        assert done.stderr.startswith("begat: error: ") and done.stderr.count("\n") == 1 and done.stderr[:-1].isprintable(), args
    assert answer("list", index)["count"] == 3


def test_one_name_for_two_models(tmp_path: Path) -> None:
    where = tmp_path / "i"
    answer("add", where, DEMO / "parent", "--name", "x")
    second = answer("add", where, DEMO / "stranger", "--name", "x")
    assert len(second["same_name"]) == 1
    done = begat("index", "show", where, "x")
    assert done.returncode == 2 and "2 models are called so" in done.stderr
    answer("remove", where, second["added"][0]["id"])
    assert answer("show", where, "x")["entry"]["name"] == "x"


def test_hostile_names_are_shown_escaped(tmp_path: Path) -> None:
    where = tmp_path / "i"
    answer("add", where, DEMO / "parent", "--name", "\x1b[2J\u202e<script>", "--note", "a\nb\rc")
    for args in (("list", where), ("show", where, "\x1b[2J\u202e<script>"), ("list", where, "--json")):
        out = begat("index", *args).stdout
        assert all(line.isprintable() for line in out.splitlines()), out
