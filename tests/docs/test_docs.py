"""The documentation is complete and fresh: generated blocks, every command, verdict, axis, format and statistic named."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from begat.cli.main import cli
from begat.signals.axes import AXES
from begat.signals.published import PUBLISHED
from begat.source.formats import FORMATS
from begat.verdict import VERDICTS

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert SPEC is not None
assert SPEC.loader is not None
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", generate.FILES)
def test_generated_blocks_are_fresh(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "<!-- begin" in text or name == "README.md"
    assert generate.regenerate(text) == text, "run: python docs/generate.py"


def test_every_command_and_option_is_documented_and_helpful() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for name in cli.list_commands(None):  # type: ignore[arg-type]
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help
        assert f"`begat {name}`" in text
        for option in command.params:
            if option.param_type_name == "option":
                assert option.help, (name, option.name)  # type: ignore[attr-defined]
                assert option.opts[0] in text


def test_everything_registered_is_documented() -> None:
    statistics = (ROOT / "docs" / "statistics.md").read_text()
    assert all(f"`{name}`" in statistics for name in [*AXES, *PUBLISHED])
    assert all(name in (ROOT / "docs" / "formats.md").read_text() for name in FORMATS)
    assert all(verdict in (ROOT / "docs" / "verdicts.md").read_text() for verdict in VERDICTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_readme_has_two_commands_and_a_picture() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("python3 -m venv .venv && ") == 2
    assert "docs/images/report.png" in text
