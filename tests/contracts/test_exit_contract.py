"""Every command ends with a code of the one table, says so in its help, and turns every fault into
exit code 2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
import numpy as np
import pytest

import begat
from begat.cli import exits
from begat.cli.main import cli, main
from begat.verdict import POLICY
from builders import llama, noisy, write
from programs import Done, program

SOURCE = str(Path(begat.__file__).parent) + os.sep
ENV = os.environ | {"PYTHONPATH": str(Path(SOURCE).parent), "PYTHONIOENCODING": "utf-8"}
CODES = {exits.NOTHING, exits.FOUND, exits.ERROR, exits.CANNOT, exits.INTERRUPTED}


def commands(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield before + name, command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} ")


EVERY = dict(commands())


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exits")
    rng = np.random.default_rng(11)
    tensors, config = llama(rng, num_hidden_layers=2)
    made = {
        "a": write(root / "a", tensors, config),
        "b": write(root / "b", noisy(tensors, rng, 0.1), config),
        "root": root,
    }
    assert program("sketch", made["a"], "-o", root / "a.begat").returncode == 0
    assert program("index", "add", root / "index", made["a"], made["b"]).returncode == 0
    (root / "report.json").write_text(program("compare", made["a"], made["b"], "--json").stdout)
    assert program("index", "export", root / "index", root / "exported").returncode == 0
    return made


def words_of(command: str, p: dict[str, Path], tmp: Path) -> list[str | Path]:
    """A run of a command that works."""
    known = {
        "audit": ["audit", p["b"], "--references", p["a"], "--html", tmp / "r.html"],
        "compare": ["compare", p["a"], p["b"], "--html", tmp / "r.html"],
        "decompose": ["decompose", p["b"], "--parents", p["a"], "--html", tmp / "r.html"],
        "demo": ["demo", "--no-open", "--html", tmp / "r.html"],
        "index": ["index"],
        "index add": ["index", "add", tmp / "new", p["a"]],
        "index compact": ["index", "compact", p["root"] / "index"],
        "index export": ["index", "export", p["root"] / "index", tmp / "out"],
        "index import": ["index", "import", tmp / "other", p["root"] / "exported"],
        "index list": ["index", "list", p["root"] / "index"],
        "index remove": ["index", "remove", p["root"] / "index", "nobody"],
        "index show": ["index", "show", p["root"] / "index", "a", "-o", tmp / "a.begat"],
        "index verify": ["index", "verify", p["root"] / "index"],
        "inspect": ["inspect", p["a"], "--html", tmp / "r.html"],
        "replay": ["replay", p["root"] / "report.json"],
        "search": [
            "search",
            p["root"] / "a.begat",
            "--index",
            p["root"] / "index",
            "--html",
            tmp / "r.html",
        ],
        "serve": ["serve", p["root"] / "index", "--port", "0", "--root", tmp / "absent"],
        "sketch": ["sketch", p["a"], "-o", tmp / "x.begat"],
        "tree": [
            "tree",
            p["a"],
            p["b"],
            "--html",
            tmp / "r.html",
            "--svg",
            tmp / "t.svg",
            "--newick",
            tmp / "t.nwk",
        ],
    }
    return known[command]


# --- the table ---


@pytest.mark.parametrize("command", ["", *EVERY])
def test_help_says_what_the_codes_mean(command: str) -> None:
    done = program(*command.split(), "--help")
    assert done.returncode == 0
    if command in exits.TABLE or not command:
        for code, words in exits.exits_of(command).rows():
            assert f"{code}  {words}\n" in done.stdout


def test_the_table_holds_the_commands_and_nothing_else() -> None:
    assert {c.split()[0] for c in EVERY} == {c.split()[0] for c in exits.TABLE}
    assert set(exits.TABLE) <= set(EVERY)
    for row in exits.TABLE.values():
        assert {code for code, _ in row.rows()} <= CODES


def test_verdicts_agree_with_the_table() -> None:
    row = dict(exits.TABLE["compare"].rows())
    for verdict, code in POLICY.exit_codes.items():
        assert code in row
        assert (code == exits.CANNOT) == (verdict == "cannot-test")
        assert (code == exits.NOTHING) == (verdict == "no-evidence")


def test_alone_it_prints_its_help() -> None:
    for words in ((), ("index",)):
        done = program(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == program(*words, "--help").stdout


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("compair",), "compare"),
        (("inspct", "x"), "inspect"),
        (("index", "lsit"), "list"),
        (("TREE",), "tree"),
    ],
)
def test_a_misspelt_command_names_the_one_that_was_meant(
    words: tuple[str, ...], meant: str
) -> None:
    done = program(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Did you mean '{meant}'" in done.stderr and done.stderr.count("\n") == 1


# --- faults ---


class Odd(BaseException):
    """Derived from nothing that handlers expect."""


class Mute(Exception):
    """Whose words cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


FAULTS: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("unforeseen"),
    "index": lambda: IndexError("rows 0 to 9"),
    "lines": lambda: KeyError("two\nlines \x1b[2J"),
    "deep": lambda: RecursionError("too deep"),
    "memory": lambda: MemoryError(),
    "disk": lambda: OSError(5, "Input/output error"),
    "end": lambda: EOFError(),
    "asserted": lambda: AssertionError(),
    "left 1": lambda: SystemExit(1),
    "left 0": lambda: SystemExit(0),
    "left with words": lambda: SystemExit("found"),
    "generator": lambda: GeneratorExit(),
    "odd": lambda: Odd("odd"),
    "mute": lambda: Mute(),
    "text": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "group": lambda: BaseExceptionGroup("some", [ValueError("one")]),
    "pipe": lambda: BrokenPipeError(32, "Broken pipe"),
    "stop": lambda: StopIteration(1),
    "import": lambda: ImportError("no such thing"),
}


def broken(
    words: list[str | Path],
    nth: int,
    fault: Callable[[], BaseException],
    entry: Callable[[], Any] = main,
) -> tuple[Done, bool]:
    """Run with `fault()` raised at the n-th call of a function of begat outside the command line's
    own; was it reached?"""
    left = [nth]

    def hook(frame: FrameType, event: str, _arg: object) -> None:
        name = frame.f_code.co_filename
        if (
            event == "call"
            and left[0] > 0
            and name.startswith(SOURCE)
            and not name.startswith((SOURCE + "cli", SOURCE + "errors"))
        ):
            left[0] -= 1
            if left[0] == 0:
                sys.setprofile(None)
                raise fault()

    before = sys.getprofile()
    sys.setprofile(hook)
    try:
        done = program(*words, entry=entry)
    finally:
        sys.setprofile(before)
    return done, left[0] == 0


def is_one_line(done: Done, start: str = "begat: error: ") -> bool:
    line = done.stderr.removesuffix("\n")
    return (
        done.stderr.endswith("\n")
        and line.startswith(start)
        and line.isprintable()
        and "Traceback" not in line
    )


RUNS = [c for c in EVERY if c not in ("demo", "serve", "index", "index remove")]


@pytest.mark.parametrize("command", RUNS)
def test_a_fault_anywhere_ends_with_2_and_one_line(
    command: str, places: dict[str, Path], tmp_path: Path
) -> None:
    """At several depths of every command, whose last may lie beyond its end; a fault that begat
    foresees may be survived, never a verdict of 1."""
    kinds, reached = list(FAULTS.items()), 0
    for at, nth in enumerate((1, 7, 40, 150, 600, 2500)):
        (folder := tmp_path / str(nth)).mkdir()
        name, fault = kinds[(at + RUNS.index(command)) % len(kinds)]
        done, hit = broken(words_of(command, places, folder), nth, fault)
        reached += hit
        if hit and not (
            command == "index verify" and done.stdout.startswith("fault: ")
        ):  # whatever it trips over is damage
            assert done.returncode == 2, (nth, name, done)
            assert is_one_line(done), (nth, name, done.stderr)
            assert not list(folder.glob("**/.begat-*")), "a draft is left"
    assert reached >= 2


@pytest.mark.parametrize("name", FAULTS)
def test_every_kind_of_fault_ends_with_2(
    name: str, places: dict[str, Path], tmp_path: Path
) -> None:
    for nth in (1, 150):
        done, hit = broken(words_of("compare", places, tmp_path), nth, FAULTS[name])
        assert hit and done.returncode == 2 and done.stdout == "", (name, nth, done)
        assert is_one_line(done)


@pytest.mark.parametrize("command", [c for c in EVERY if " " not in c])
def test_a_fault_while_a_command_loads(
    command: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> Any:
        raise NameError(f"{name} is broken")

    monkeypatch.setattr("begat.cli.commands.import_module", fails)
    done = program(*words_of(command, places, tmp_path))
    assert (
        done.returncode == 2
        and is_one_line(done)
        and "issue tracker" in done.stderr
        and "NameError" in done.stderr
    )


@pytest.mark.parametrize("command", ["compare", "inspect", "decompose", "search", "tree", "audit"])
def test_a_fault_while_the_page_is_made_keeps_what_was_found(
    command: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = program(*words_of(command, places, tmp_path))
    (tmp_path / "r.html").unlink()

    def fails(self: object, *_args: object, **_more: object) -> str:
        raise TypeError("broken page")

    monkeypatch.setattr("jinja2.Template.render", fails)
    done = program(*words_of(command, places, tmp_path))
    assert right.returncode in (0, 1)
    assert done.returncode == 2 and is_one_line(done)
    assert (
        done.stdout.split("s;")[0].split("seconds")[0][:300]
        == right.stdout.split("s;")[0].split("seconds")[0][:300]
    )
    assert not (tmp_path / "r.html").exists()


def test_traceback_is_shown_where_it_is_asked_for(places: dict[str, Path], tmp_path: Path) -> None:
    words = words_of("compare", places, tmp_path)
    for given in (
        ["--traceback", *words],
        [*words, "--traceback"],
        [words[0], "--traceback", *words[1:]],
    ):
        done, _ = broken(given, 5, FAULTS["value"])
        first, *rest = done.stderr.splitlines()
        assert (
            done.returncode == 2
            and first.startswith("begat: error: ")
            and "Traceback (most recent call last):" in rest
        )
        assert program(*given).returncode == 1
    after, _ = broken([*words[:3], "--", "--traceback"], 5, FAULTS["value"])
    assert after.returncode == 2 and "Traceback" not in after.stderr


# --- interrupted ---


@pytest.mark.parametrize("command", RUNS)
def test_interrupted_ends_with_130(command: str, places: dict[str, Path], tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        for nth in (1, 40, 900):
            (folder := tmp_path / str(nth)).mkdir()
            done, hit = broken(words_of(command, places, folder), nth, KeyboardInterrupt)
            if hit:
                assert (done.returncode, done.stderr) == (130, "begat: interrupted\n")
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("wait", [0.3, 0.6, 1.2])
def test_ctrl_c_while_it_loads_and_works(wait: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    size = {
        "num_hidden_layers": 8,
        "hidden_size": 192,
        "intermediate_size": 512,
        "vocab_size": 2000,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    }
    pair = [write(tmp_path / name, *llama(rng, **size)) for name in "ab"]
    run = subprocess.Popen(
        [sys.executable, "-m", "begat", "compare", *map(str, pair), "--map", "full"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    time.sleep(wait)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert "Traceback" not in err
    assert (run.returncode, out, err) == (130, "", "begat: interrupted\n") or (
        run.returncode == 0 and out
    )


# --- streams ---


def test_a_reader_that_goes_away_changes_nothing(places: dict[str, Path]) -> None:
    """`begat … | head -c 1`: what was found is still told by the exit code, and nothing is
    complained of."""
    for words, code in (
        (("compare", places["a"], places["b"]), 1),
        (("compare", "--help"), 0),
        (("index", "list", places["root"] / "index"), 0),
    ):
        run = subprocess.Popen(
            [sys.executable, "-m", "begat", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENV,
        )
        assert run.stdout is not None and run.stderr is not None
        run.stdout.close()
        assert run.wait(timeout=60) == code
        assert run.stderr.read() == b""
        run.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_an_error(places: dict[str, Path]) -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-m", "begat", "compare", str(places["a"]), str(places["b"])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
        )
    assert run.returncode == 2
    assert (
        run.stderr.startswith("begat: error: ")
        and run.stderr.count("\n") == 1
        and "No space left" in run.stderr
    )


# --- the lab ---


def test_the_lab_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from begat_lab.cli.commands import cli as lab
    from begat_lab.cli.exits import TABLE
    from begat_lab.cli.main import main as lab_main

    assert set(lab.list_commands(click.Context(lab))) == set(TABLE)
    done = program(entry=lab_main)
    assert done.returncode == 0 and "130  interrupted" in done.stdout
    assert program("grwo", entry=lab_main).returncode == 2
    for fault, code in [*((f, 2) for f in FAULTS.values()), (KeyboardInterrupt, 130)]:

        def fails(_name: str, fault: Callable[[], BaseException] = fault) -> Any:
            raise fault()

        handler = signal.getsignal(signal.SIGINT)
        monkeypatch.setattr("begat.cli.commands.import_module", fails)
        done = program("kinds", entry=lab_main)
        signal.signal(signal.SIGINT, handler)
        assert done.returncode == code
        assert is_one_line(done, "begat-lab: "), done.stderr
