"""Every option that names a file to write: nothing that is read is lost, the place is checked
before work, results reach stdout first."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from begat.cli.main import cli
from begat.cli.output import OUTPUT, OutputFile
from begat.errors import InputError
from begat.files import write_whole
from builders import llama, noisy, write
from programs import program


def output_options(
    group: click.Group = cli, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """(command, option) of every output."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from output_options(command, (*before, name))
        for p in command.params:
            if isinstance(p.type, OutputFile):
                yield (*before, name), p.opts[-1]


OPTIONS = list(output_options())
IDS = [" ".join((*command, option)) for command, option in OPTIONS]


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(5)
    tensors, config = llama(rng, num_hidden_layers=2)
    made = {
        "a": write(tmp_path / "a", tensors, config),
        "b": write(tmp_path / "b", noisy(tensors, rng, 0.1), config),
    }
    (made["b"] / "tokenizer.json").write_text("{}")
    (made["b"] / "README.md").write_text("# card")
    (made["b"] / "LICENSE").write_text("text")
    (made["b"] / "sub").mkdir()
    (made["b"] / "sub" / "weights.dat").write_bytes(b"\x00" * 9)
    return made | {"root": tmp_path}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("index")
    tensors, config = llama(np.random.default_rng(6), num_hidden_layers=2)
    assert (
        program("index", "add", root / "index", write(root / "known", tensors, config)).returncode
        == 0
    )
    return root


def words_of(command: tuple[str, ...], m: dict[str, Path], index: Path) -> list[str | Path]:
    """A run of the command that reads `b`, or the index."""
    return {
        "audit": ["audit", m["b"], "--references", m["a"]],
        "compare": ["compare", m["a"], m["b"]],
        "decompose": ["decompose", m["b"], "--parents", m["a"]],
        "demo": ["demo", "--no-open"],
        "index show": ["index", "show", index / "index", "known"],
        "inspect": ["inspect", m["b"]],
        "search": ["search", m["b"], "--index", index / "index"],
        "sketch": ["sketch", m["b"]],
        "tree": ["tree", m["a"], m["b"]],
    }[" ".join(command)]


def refused(words: list[str | Path], option: str, target: Path) -> str:
    before = target.read_bytes() if target.is_file() else None
    there = sorted(target.parent.iterdir()) if target.parent.is_dir() else None
    done = program(*words, option, target)
    assert (done.returncode, done.stdout) == (2, ""), (option, target, done)
    assert done.stderr.startswith("begat: error: ") and done.stderr.count("\n") == 1
    assert (target.read_bytes() if target.is_file() else None) == before
    assert (sorted(target.parent.iterdir()) if target.parent.is_dir() else None) == there, (
        "a draft is left"
    )
    return done.stderr


def test_every_file_to_write_is_of_the_one_type() -> None:
    words = ("html", "output", "out", "svg", "newick", "graphml", "sarif", "cyclonedx", "intoto")

    def look(group: click.Group) -> Iterator[click.Parameter]:
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            yield from look(command) if isinstance(command, click.Group) else command.params

    from begat_lab.cli.commands import cli as lab

    for p in (*look(cli), *look(lab)):
        if (
            isinstance(p, click.Option)
            and p.name in words
            and not (isinstance(p.type, click.Path) and not p.type.file_okay)
        ):
            assert p.type is OUTPUT, p
        if isinstance(p.type, click.Path) and not p.type.dir_okay and p.type is not OUTPUT:
            assert p.name == "signature_key", f"{p} is neither an output nor a known input"
    assert len(OPTIONS) >= 14


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=IDS)
def test_nothing_that_is_read_is_overwritten(
    command: tuple[str, ...], option: str, models: dict[str, Path], index: Path
) -> None:
    words = words_of(command, models, index)
    if command == ("demo",):
        from begat.demo import data_folder

        assert "would be overwritten" in refused(
            words, option, Path(data_folder()) / "parent" / "model.safetensors"
        )
        return
    if command == ("index", "show"):
        targets = [f for f in (index / "index").rglob("*") if f.is_file()]
    else:
        b, root = models["b"], models["root"]
        targets = [
            b / n
            for n in (
                "model.safetensors",
                "config.json",
                "tokenizer.json",
                "README.md",
                "LICENSE",
                "sub/weights.dat",
            )
        ]
        (root / "link").symlink_to(b / "model.safetensors")
        os.link(b / "config.json", root / "hard.html")
        (root / "folder").symlink_to(b)
        targets += [
            root / "link",
            root / "hard.html",
            root / "folder" / "config.json",
            b / "sub" / ".." / "config.json",
        ]
    if command == ("search",):
        targets += [f for f in (index / "index").iterdir() if f.is_file()]
    for target in targets:
        assert "would be overwritten" in refused(words, option, target)


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=IDS)
def test_a_place_that_will_not_do_is_told_before_any_work(
    command: tuple[str, ...],
    option: str,
    models: dict[str, Path],
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, root = words_of(command, models, index), models["root"]

    def worked(*_args: object, **_more: object) -> None:
        raise AssertionError("work was begun")

    for name in (
        "begat.source.reader.FileReader.rows",
        "begat.source.open._open",
        "begat.index.manage.fetch",
        "begat.index.manage.show",
    ):
        monkeypatch.setattr(name, worked)
    (root / "file").write_text("x")
    (root / "dangling").symlink_to(root / "nowhere" / "r.html")
    places = [root / "no" / "r.html", root / "file" / "r.html", root / "dangling", root]
    if Path("/proc/self").exists():
        places.append(Path("/proc/r.html"))  # nobody can write there, whoever runs this
    for target in places:
        if target != root:
            refused(words, option, target)
        else:
            assert program(*words, option, target).returncode == 2


@pytest.mark.parametrize(
    ("command", "option"),
    [(c, o) for c, o in OPTIONS if c not in (("demo",), ("index", "show"))],
    ids=lambda x: "-".join(x) if isinstance(x, tuple) else x,
)
def test_a_new_file_may_not_become_part_of_a_model(
    command: tuple[str, ...], option: str, models: dict[str, Path], index: Path
) -> None:
    for name in (
        "adapter_config.json",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "tokenizer.model",
        "x.gguf",
    ):
        assert "part of an input" in refused(
            words_of(command, models, index), option, models["b"] / name
        )


def test_reports_may_lie_in_a_models_folder_and_be_written_anew(models: dict[str, Path]) -> None:
    page = models["b"] / "report.html"
    for _ in range(2):
        assert program("compare", models["a"], models["b"], "--html", page).returncode == 1
        assert page.read_text().startswith("<!doctype html>")
    for _ in range(2):
        done = program(
            "audit",
            models["b"],
            "--references",
            models["a"],
            "--no-weights",
            "--sarif",
            models["b"] / "found.json",
        )
        assert done.returncode in (0, 1, 3), done
    assert json.loads((models["b"] / "found.json").read_text())["version"] == "2.1.0"


def test_a_weight_file_named_alone_guards_what_lies_beside_it(models: dict[str, Path]) -> None:
    a, b = models["a"] / "model.safetensors", models["b"] / "model.safetensors"
    for name in ("config.json", "tokenizer.json"):
        assert "would be overwritten" in refused(["compare", a, b], "--html", models["b"] / name)
    (models["b"] / "notes.html").write_text("old")
    assert program("compare", a, b, "--html", models["b"] / "notes.html").returncode == 1


def test_weights_are_not_overwritten_wherever_they_lie(models: dict[str, Path]) -> None:
    other = models["root"] / "elsewhere.bin"
    shutil.copy(models["a"] / "model.safetensors", other)
    assert "holds weights" in refused(["inspect", models["b"]], "--html", other)
    assert "holds weights" in refused(["sketch", models["b"]], "-o", other)
    mine = models["root"] / "mine.begat"
    for _ in range(2):
        assert program("sketch", models["b"], "-o", mine).returncode == 0
    assert "would be overwritten" in refused(["tree", models["a"], mine], "--html", mine)


def test_two_outputs_are_two_files(models: dict[str, Path]) -> None:
    done = program(
        "tree",
        models["a"],
        models["b"],
        "--svg",
        models["root"] / "x",
        "--html",
        models["root"] / "." / "x",
    )
    assert done.returncode == 2 and "named by both --svg and --html" in done.stderr


def test_the_verdict_reaches_stdout_whatever_becomes_of_the_page(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    page = models["root"] / "r.html"
    page.write_text("old")
    done = program("compare", models["a"], models["b"], "--html", page)
    assert done.returncode == 2 and "were not made independently" in " ".join(done.stdout.split())
    assert "No space left" in done.stderr and done.stderr.count("\n") == 1
    assert page.read_text() == "old" and not list(models["root"].glob(".begat*"))


def test_sketch_writes_beside_by_default_and_never_onto_its_model(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models["root"])
    assert program("sketch", "b").returncode == 0
    assert (models["root"] / "b.begat").is_file()
    shutil.copytree(models["b"], models["root"] / "c.begat")
    assert program("sketch", "b", "--name", "c").returncode == 2
    assert (models["root"] / "c.begat").is_dir()


def test_an_index_is_not_made_of_a_models_folder_or_file(models: dict[str, Path]) -> None:
    for where in (models["b"], models["b"] / "model.safetensors", models["b"] / "sub"):
        before = {f: f.read_bytes() for f in models["b"].rglob("*") if f.is_file()}
        assert program("index", "add", where, models["b"]).returncode == 2
        assert program("index", "import", where, models["b"]).returncode == 2
        assert {f: f.read_bytes() for f in models["b"].rglob("*") if f.is_file()} == before


def test_exports_go_into_new_folders_only(models: dict[str, Path], index: Path) -> None:
    for where in (models["b"], index / "index", models["b"] / "config.json"):
        assert program("index", "export", index / "index", where).returncode == 2


# --- writing ---


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "x.txt"
    write_whole(place, "one\ntwo\n")
    assert place.read_bytes() == b"one\ntwo\n"
    place.chmod(0o640)
    write_whole(place, b"three")
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (b"three", 0o640)

    def killed(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_whole(place, b"four")
    assert place.read_bytes() == b"three" and list(tmp_path.iterdir()) == [place]


def test_links_are_followed_and_pipes_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "x")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "x").read_text() == "new"
    write_whole(os.devnull, "gone")
    assert not Path(os.devnull).is_file()
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "no" / "x", "new")
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / ("x" * 400), "new")
