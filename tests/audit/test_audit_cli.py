"""`begat audit` on the command line: exit codes, files written, errors on one line, the extra named when it is missing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from begat.audit.extras import require_extra
from begat.audit.types import Audit
from begat.errors import MissingExtraError


def begat(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "begat", "audit", *map(str, args)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def places(enacted: dict[str, tuple[Path, Audit]]) -> Path:
    return enacted["kept-notice"][0]


def test_all_outputs_of_one_run(places: Path, tmp_path: Path) -> None:
    out = {name: tmp_path / name for name in ("page.html", "log.sarif", "bom.json", "statement.json")}
    run = begat(
        f"Vision={places / 'renamed-everything'}", "--references", f"example/Ruda-14B={places / 'upstream'}", f"pack@1.0={places / 'package'}", "--no-weights",
        "--html", out["page.html"], "--sarif", out["log.sarif"], "--cyclonedx", out["bom.json"], "--intoto", out["statement.json"], "--json",
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (1, "")
    value = json.loads(run.stdout)
    assert [p["id"] for p in value["references"]] == ["example/Ruda-14B", "pack"]
    subject = json.loads(out["statement.json"].read_text())["subject"][0]
    assert subject["digest"]["sha256"] == hashlib.sha256(run.stdout.encode()).hexdigest()
    assert "</html>" in out["page.html"].read_text()
    assert json.loads(out["log.sarif"].read_text())["runs"]
    assert json.loads(out["bom.json"].read_text())["specVersion"] == "1.6"


@pytest.mark.parametrize(
    ("case", "options", "code"),
    [
        ("kept-notice", ("--require", "code"), 0),
        ("kept-notice", (), 3),  # it holds weights, and the package none
        ("kept-notice", ("--allow-uncompared",), 0),
        ("renamed-everything", (), 1),  # a finding comes before what was not compared
        ("renamed-everything", ("--fail-on", "never", "--require", "code"), 0),
        ("renamed-everything", ("--fail-on", "never"), 3),
        ("renamed-everything", ("--fail-on", "established"), 1),
    ],
)
def test_exit_codes(places: Path, case: str, options: tuple[str, ...], code: int) -> None:
    run = begat(places / case, "--references", f"pack={places / 'package'}", *options)
    assert (run.returncode, run.stderr) == (code, ""), run.stdout
    assert "Answers" in run.stdout
    assert run.stdout.startswith("Weights were NOT compared: against pack:")


def test_one_reference_at_a_time_is_the_same_as_several(places: Path) -> None:
    one = begat(
        places / "kept-notice",
        "--references",
        f"a={places / 'package'}",
        "--references",
        f"b={places / 'upstream'}",
        "--no-weights",
        "--json",
    )
    many = begat(
        places / "kept-notice", "--references", f"a={places / 'package'}", f"b={places / 'upstream'}", "--no-weights", "--json"
    )
    assert json.loads(one.stdout)["references_digest"] == json.loads(many.stdout)["references_digest"]


def test_no_references_is_an_audit_of_the_papers(places: Path) -> None:
    run = begat(places / "renamed-everything", "--json")
    assert run.returncode == 3
    value = json.loads(run.stdout)
    assert "Compared with no reference" in value["coverage"]
    assert [a["status"] for a in value["answers"]][:4] == ["not compared", *["cannot be said"] * 3]
    assert value["sentence"].startswith("Weights were NOT compared: no reference was given.")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{none}"], "no such file or folder"), (["{file}"], "a release is a folder"), (["{release}", "--references", "{none}"], "no such file or folder"),
        (["{release}", "--references", "{release}"], "its own reference"), (["{release}", "--references", "{file}"], "neither a folder nor an archive"),
        (["{release}", "--references", "x={package}", "x={package}"], "one name and version"), (["{release}", "--html", "{none}/x.html"], "cannot be written"),
        (["{release}", "--fail-on", "luck"], "luck"), ([], "RELEASE"), (["{release}", "--require", "luck"], "unknown question"),
        (["{release}", "--require", "weights,code", "--no-weights"], "required and switched off"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_exit_code_2(places: Path, tmp_path: Path, args: list[str], words: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    names = {
        "none": tmp_path / "none",
        "file": tmp_path / "file.txt",
        "release": places / "renamed-tensors-own-weights",
        "package": places / "package",
    }
    run = begat(*[a.format(**names) for a in args])
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("begat: error: ")
    assert run.stderr.count("\n") == 1
    assert words in run.stderr


@pytest.mark.parametrize("missing", ["yaml", "license_expression", "licenseclassifier"])
def test_a_missing_package_names_the_extra(missing: str) -> None:
    def find(name: str) -> Any:
        return None if name == missing else find_spec(name)

    with pytest.raises(MissingExtraError, match=r"fix: pip install 'begat\[audit\]'") as caught:
        require_extra(find)
    assert "\n" not in str(caught.value)


def test_the_command_says_so_too(places: Path) -> None:
    code = """import sys, importlib.abc
class No(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split('.')[0] in ('yaml', 'license_expression', 'licenseclassifier'):
            raise ModuleNotFoundError(name)
import importlib.util as u
real = u.find_spec
u.find_spec = lambda n, *a: None if n in ('yaml', 'license_expression', 'licenseclassifier') else real(n, *a)
sys.meta_path.insert(0, No())
from begat.cli.main import main
sys.argv = ['begat', 'audit', sys.argv[1]]
main()"""
    run = subprocess.run([sys.executable, "-c", code, str(places / "kept-notice")], capture_output=True, text=True)
    assert run.returncode == 2
    assert (
        run.stderr
        == "begat: error: begat audit needs pyyaml, license-expression, licenseclassifier; fix: pip install 'begat[audit]'\n"
    )
