from __future__ import annotations

import io
import re
import subprocess
import sys
import unicodedata

import pytest

from begat.report.text import print_text, render_text, strip_ansi
from begat.types import Verdict
from report.verdicts import VERDICTS, cannot_test, derived, hostile, partly


def test_the_sentence_comes_first_and_lines_fit(verdict: Verdict) -> None:
    for width in (80, 100):
        lines = render_text(verdict, width=width).splitlines()
        assert lines[0]
        assert max(map(len, lines)) <= width


def test_the_whole_sentence_can_be_quoted() -> None:
    v = derived()
    assert " ".join(render_text(v).split("\n\n")[0].split()) == v.sentence


def test_colour_changes_no_word(verdict: Verdict) -> None:
    plain, colored = render_text(verdict), render_text(verdict, color=True)
    assert strip_ansi(colored) == plain
    assert colored != plain
    assert set(re.findall(r"\x1b[^m]*m", colored)) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;34m", "\x1b[1;33m", "\x1b[1;36m"}


def test_no_control_character_gets_through(verdict: Verdict) -> None:
    assert not [c for c in render_text(verdict) if c != "\n" and unicodedata.category(c)[0] == "C"]


def test_hostile_words_are_escaped() -> None:
    text = render_text(hostile(), width=4000)
    assert r"\u202e" in text
    assert r"\x1b[31m" in text
    assert text.encode("utf-8")


def test_sections() -> None:
    headings = [line.split("  ")[0] for line in render_text(partly()).splitlines() if line and not line.startswith(" ")]
    for heading in ("Evidence", "Parts", "Inheritance map", "Power", "Read", "Caveats", "Replay"):
        assert heading in headings
    assert any(h.startswith("Beside the verdict") for h in headings)


def test_axes_that_did_not_run_stay_out_of_the_table() -> None:
    text = render_text(derived())
    assert "not run: latent dims (MLA), routed experts" in text
    assert not re.search(r"routed experts +\d", text)


def test_nothing_ran() -> None:
    text = render_text(cannot_test())
    assert "no exact test was run" in text
    assert "e-value" not in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_print_to_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, newline="\n"))
    for make in VERDICTS.values():
        print_text(make())
    sys.stdout.flush()
    assert b"\x1b" not in raw.getvalue()


def test_text_needs_no_heavy_import() -> None:
    code = "import sys, begat.report.text, begat.report.json; print([m for m in ('rich', 'jinja2') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
