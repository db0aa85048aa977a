"""The public surface: names, options and exit codes do not change by accident."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import begat
from begat.cli.main import cli
from begat.verdict import POLICY

ROOT = Path(__file__).resolve().parents[2]


def test_public_names() -> None:
    assert sorted(begat.__all__) == [
        "Checkpoint", "Decomposition", "InputError", "Inspection", "Verdict", "__version__", "compare", "decompose", "inspect", "open_checkpoint",
    ]  # fmt: skip
    assert all(getattr(begat, name) for name in begat.__all__)


def test_commands_and_options() -> None:
    found = {
        name: sorted(o for p in cli.get_command(None, name).params for o in p.opts if o.startswith("-"))
        for name in cli.list_commands(None)
    }  # type: ignore[arg-type, union-attr]
    assert found == {
        "audit": ["--allow-uncompared", "--cyclonedx", "--deep", "--fail-on", "--html", "--index", "--intoto", "--json", "--nonce", "--references",
                  "--require", "--sarif", "--signature-key", "--weights"],
        "compare": ["--align", "--base", "--html", "--json", "--map", "--nonce", "--published"],
        "decompose": ["--base", "--full", "--html", "--json", "--nonce", "--parents"],
        "demo": ["--html", "--json", "--open"],
        "index": [],
        "inspect": ["--base", "--full", "--html", "--json", "--nonce"],
        "replay": ["--a", "--b", "--base", "--json"],
        "search": ["--base", "--exact", "--html", "--index", "--json", "--screened", "--tree"],
        "serve": ["--host", "--name", "--port", "--root"],
        "sketch": ["--base", "--json", "--name", "--output", "-o"],
        "tree": ["--graphml", "--html", "--json", "--newick", "--svg"],
    }


def test_exit_codes() -> None:
    assert dict(POLICY.exit_codes) == {
        "identical": 1, "re-encoded": 1, "derived": 1, "shared-initialisation": 1, "derived-or-shared-initialisation": 1,
        "partly-derived": 1, "no-evidence": 0, "cannot-test": 3,
    }  # fmt: skip


def test_compare_imports_nothing_heavy() -> None:
    code = """import sys, begat.cli.compare, begat.pipeline.compare
print(' '.join(m for m in ('torch', 'scipy', 'rich', 'jinja2', 'gguf', 'onnx', 'matplotlib') if m in sys.modules))"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == ""


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    # spelt in pieces, so that this file does not name them either
    bad = re.compile("/wo" + r"rk/(main|shared|\.)|/ro" + r"ot/\.|py" + r"pi\.org|python" + r"hosted|npm" + r"js\.org")
    for name in files:
        file = ROOT / name
        if file.suffix in (".py", ".md", ".toml", ".json", ".j2", ".txt", "") and file.is_file():
            text = file.read_text("utf-8", errors="ignore")
            assert not bad.search(text), name
