"""`begat serve` as a command: what it needs, what it refuses, where it listens."""

from __future__ import annotations

import importlib
import pkgutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from click.testing import CliRunner

import begat.web
from begat.cli.main import cli
from begat.errors import InputError
from web.small_index import Family


def serve(*args: str | Path) -> None:
    CliRunner().invoke(cli, ["serve", *map(str, args)], standalone_mode=False, catch_exceptions=False)


def test_modules_import_without_the_extra() -> None:
    names = [m.name for m in pkgutil.walk_packages(begat.web.__path__, "begat.web.")]
    assert len(names) >= 10
    code = f"import importlib, sys\nfor n in {names + ['begat.cli.serve']!r}: importlib.import_module(n)\n"
    code += "print([m for m in ('starlette', 'uvicorn', 'scipy', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    assert all(importlib.import_module(n).__doc__ for n in names)


def test_without_the_extra_one_line_says_what_is_missing(small: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InputError, match=r"starlette and uvicorn; fix: pip install 'begat\[web\]'"):
        serve(small.index)


def test_bad_input_is_one_line(small: Family, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with pytest.raises(InputError, match="no begat index"):
        serve(tmp_path)
    with pytest.raises(InputError, match="--root"):
        serve(small.index, "--root", tmp_path / "absent")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="cannot listen there"):
        serve(small.index, "--port", str(taken.getsockname()[1]))
    with pytest.raises(InputError, match="cannot listen there"):
        serve(small.index, "--host", "no.such.host.invalid", "--port", "0")


def test_it_listens_on_this_machine_alone(small: Family) -> None:
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "begat", "serve", str(small.index), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert server.stdout is not None and server.stderr is not None
        address = server.stdout.readline().split("served at ")[1].split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200 and b"8 known models" in answer.read() and answer.headers.get("server") is None
        asked = urllib.request.Request(address, headers={"Host": "evil.example"})
        with pytest.raises(HTTPError, match="421"):
            urllib.request.urlopen(asked)
        port = int(address.rsplit(":", 1)[1].strip("/"))
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((other_address(), port)) != 0
    finally:
        server.send_signal(2)
        assert server.wait(20) in (0, -2, 2, 130)
    assert "Traceback" not in server.stderr.read()


def other_address() -> str:
    """An address of this machine that is not 127.0.0.1."""
    return "127.0.0.2"
