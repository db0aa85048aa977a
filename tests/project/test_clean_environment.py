"""The core installs and runs without torch or any extra, in an environment of its own, and loads scipy only when it is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_CORE = ("torch", "gguf", "onnx", "safetensors", "transformers", "matplotlib")
ON_DEMAND = (*NOT_CORE, "scipy")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run([str(python), "-m", "pip", "install", "-q", str(ROOT)], capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr + done.stdout:
        pytest.skip("no package registry can be reached: the clean environment could not be made")
    assert done.returncode == 0, done.stderr
    return python


def run(python: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(python), *args], capture_output=True, text=True, cwd=cwd)


@pytest.mark.slow
def test_core_has_no_heavy_dependency(python: Path, tmp_path: Path) -> None:
    code = f"import importlib.util as u, json; print(json.dumps([n for n in {NOT_CORE!r} if u.find_spec(n)]))"
    assert json.loads(run(python, "-c", code, cwd=tmp_path).stdout) == []


@pytest.mark.slow
def test_demo_runs(python: Path, tmp_path: Path) -> None:
    done = run(python, "-m", "begat", "demo", "--no-open", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stranger" in done.stdout
    assert (tmp_path / "begat-demo.html").stat().st_size > 10_000


@pytest.mark.slow
def test_every_module_of_the_core_imports(python: Path, tmp_path: Path) -> None:
    code = (
        "import begat, importlib, pkgutil, sys\n"
        "for m in pkgutil.walk_packages(begat.__path__, 'begat.'):\n"
        "    if not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        f"assert not set(sys.modules) & set({ON_DEMAND!r})"
    )
    done = run(python, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
