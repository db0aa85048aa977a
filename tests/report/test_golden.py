"""Text and HTML against golden files.

To write them anew: BEGAT_GOLDEN=write pytest tests/report/test_golden.py, then read the diff."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from begat.report.html import render_html
from begat.report.text import render_text
from report.verdicts import VERDICTS

GOLDEN = Path(__file__).parent / "golden"


def _normal(html: str) -> str:
    """Without the style sheet and empty space, one element a line."""
    html = re.sub(r"<style>.*?</style>", "<style></style>", html, flags=re.S)
    return re.sub(r"\s*\n\s*", "\n", html).strip() + "\n"


def _check(file: Path, text: str) -> None:
    if os.environ.get("BEGAT_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    assert text == file.read_text("utf-8"), f"{file.name} differs; see the module docstring"


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_text(name: str) -> None:
    _check(GOLDEN / f"{name}.txt", render_text(VERDICTS[name]()))


@pytest.mark.parametrize("name", ["cannot_test", "chains", "disguised", "hostile", "partly", "reshaped"])
def test_html(name: str) -> None:
    _check(GOLDEN / f"{name}.html", _normal(render_html(VERDICTS[name]())))
