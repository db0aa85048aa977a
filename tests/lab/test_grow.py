"""Growing: resumable after any kill, with the same bytes; what is finished is kept, and never mixed with another pedigree's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat import InputError
from begat_lab.grow import GROWING, Watcher, grow
from begat_lab.pedigree import parse_pedigree
from begat_lab.text import corpus_of

SMALL = """
name = "small"
about = "A test."
[shape]
vocab_size = 256
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
head_dim = 8
[training]
steps = 20
batch = 2
context = 16
[[member]]
name = "parent"
kind = "scratch"
initial_seed = 1
window_seed = 1
[[member]]
name = "child"
kind = "fine-tune"
parents = ["parent"]
window_seed = 2
[[member]]
name = "grandchild"
kind = "noised"
parents = ["child"]
chance_seed = 1
"""
FAMILY = parse_pedigree(SMALL, "small.toml")


def texts():
    return {"library": corpus_of("library", [bytes(range(32, 127)) * (4 + i) for i in range(20)])}


class Killed(Watcher):
    """Ends the work at a training step, as Ctrl-C would."""

    def __init__(self, at):
        self.left = at

    def tick(self, steps):
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt


class Notes(Watcher):
    def __init__(self):
        self.kept, self.steps = {}, 0

    def start(self, steps, members):
        self.asked = (steps, members)

    def tick(self, steps):
        self.steps += steps

    def member(self, name, seconds, kept):
        self.kept[name] = kept


def test_an_interrupted_family_comes_out_the_same(tmp_path):
    whole = grow(FAMILY, tmp_path / "whole", texts=texts)
    with pytest.raises(KeyboardInterrupt):
        grow(FAMILY, tmp_path / "cut", watcher=Killed(30), texts=texts)
    assert (tmp_path / "cut" / "parent" / "truth.json").is_file()
    assert not (tmp_path / "cut" / "child").exists(), "half-made members do not show"
    assert not (tmp_path / "cut" / "family.json").exists()
    notes = Notes()
    assert grow(FAMILY, tmp_path / "cut", watcher=notes, texts=texts) == whole
    assert notes.kept == {"parent": True, "child": False, "grandchild": False}
    assert notes.asked == (40, 3) and notes.steps == 40
    assert not (tmp_path / "cut" / GROWING).exists()


def test_a_finished_family_is_left_alone(tmp_path):
    grow(FAMILY, tmp_path, texts=texts)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
    grow(FAMILY, tmp_path, texts=texts)
    assert times == {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}


@pytest.mark.parametrize(
    ("old", "new", "folder", "what"),
    [("window_seed = 2", "window_seed = 3", "child", "recipe"), ("initial_seed = 1", "initial_seed = 9", "parent", "recipe")],
)
def test_another_pedigree_is_not_mixed_in(tmp_path, old, new, folder, what):
    grow(FAMILY, tmp_path, texts=texts)
    with pytest.raises(InputError, match=rf"{folder}.*made of something else.*{what}"):
        grow(parse_pedigree(SMALL.replace(old, new), "new.toml"), tmp_path, texts=texts)


def test_a_new_member_joins_a_finished_family(tmp_path):
    grow(FAMILY, tmp_path, texts=texts)
    more = SMALL + '[[member]]\nname = "copy"\nkind = "copied"\nparents = ["child"]\n'
    notes = Notes()
    assert "copy" in grow(parse_pedigree(more, "more.toml"), tmp_path, watcher=notes, texts=texts)["members"]
    assert notes.kept == {"parent": True, "child": True, "grandchild": True, "copy": False}


def test_a_folder_in_the_way_is_not_deleted(tmp_path):
    (tmp_path / "child").mkdir()
    (tmp_path / "child" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="in the way"):
        grow(FAMILY, tmp_path, texts=texts)
    assert (tmp_path / "child" / "thesis.txt").read_text() == "precious"


def test_no_such_text(tmp_path):
    with pytest.raises(InputError, match=r"'child': no such text.*library.*found novels"):
        grow(parse_pedigree(SMALL.replace("window_seed = 2", 'window_seed = 2\ntext = "novels"'), "x"), tmp_path, texts=texts)


def run(*args, **more):
    command = [sys.executable, "-c", "from begat_lab.cli import main; main()", *map(str, args)]
    source = str(Path(__file__).parents[2] / "src")
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source}, **more
    )


def test_the_command_survives_a_kill(tmp_path):
    """SIGKILL of the main process only: its workers must end by themselves, and the second run must not stumble over them."""
    pedigree, out = tmp_path / "small.toml", tmp_path / "out"
    pedigree.write_text(SMALL.replace("steps = 20", "steps = 300"))
    first = run("grow", pedigree, "-o", out, "-j", "2")
    deadline = time.monotonic() + 60
    while not (out / "parent").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (out / "family.json").exists()
    second = run("grow", pedigree, "-o", out, "-j", "2")
    stdout, stderr = second.communicate()
    assert second.returncode == 0, stderr
    assert stdout.startswith(f"3 members in {out}")
    assert "parent: was there" in stderr
    assert set(json.loads((out / "family.json").read_text())["members"]) == {"parent", "child", "grandchild"}
    assert not (out / GROWING).exists()


def test_an_error_does_not_wait_for_the_others(tmp_path):
    slow = '[[member]]\nname = "slow"\nkind = "scratch"\ninitial_seed = 2\nwindow_seed = 1\ntraining = { steps = 10000000 }\n'
    bad = '[[member]]\nname = "bad"\nkind = "prune-depth"\nparents = ["parent"]\noptions = { layers = [0, 7] }\n'
    (tmp_path / "bad.toml").write_text(SMALL + slow + bad)
    process = run("grow", tmp_path / "bad.toml", "-o", tmp_path / "out", "-j", "2")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stderr.splitlines()[-1].startswith("begat-lab: error: member 'bad': ")


def test_the_command_says_what_is_wrong_on_one_line(tmp_path):
    (tmp_path / "bad.toml").write_text("colour = 1\n")
    process = run("grow", tmp_path / "bad.toml", "-o", tmp_path / "out")
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert stderr.startswith("begat-lab: error: ") and "found colour" in stderr
