"""Where a command's results go: stdout first, then files, none of which may be something that was
read.

Enters: the inputs and output files that a command was given; then its exit code, what it prints and
what it writes.  Leaves: stdout, files (`begat.files`), the exit code.

Every command with an output option uses `OUTPUT` as its type, calls `check_outputs` before any work
and `deliver` after it (`tests/contracts/test_output_contract.py`). So a place that cannot be
written to is told at once, and the verdict reaches stdout whatever becomes of the files.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from begat.errors import InputError
from begat.files import try_to_write, write_whole


class OutputFile(click.Path):
    """The type of every option that names a file to write."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)


OUTPUT = OutputFile()

#: endings of what begat writes and never reads as part of a model; such a file may be written anew
#: where models lie
_REPORTS = (".html", ".htm", ".svg", ".nwk", ".newick", ".graphml", ".sarif", ".begat")
#: names of a model's or a release's files beside the weights, and endings of these
_PARTS = (
    "config.json", "adapter_config.json", "generation_config.json", "preprocessor_config.json", "params.json",
    "tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "tekken.json",
    "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "readme.md",
)  # fmt: skip
_PART_STARTS = ("license", "licence", "notice", "copying", "index.sqlite", "manifest.jsonl")
_PART_ENDINGS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".data", ".h5", ".msgpack", ".npz",
    ".index.json", ".model", ".tiktoken", ".py", ".whl", ".zip", ".tar.gz", ".lance",
)  # fmt: skip
_ELSEWHERE = "name another place"


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse, before any work, outputs that cannot be written or that would overwrite what is read.

    Args:
        outputs: option → where its file is to be written; None where it was not given.
        inputs: files and folders that the command reads; addresses (`s3://…`) and None are passed
            over.

    Raises:
        InputError: the folder is absent or not writable; the file is an input, lies in an input
            folder and is no report, holds weights, or is named by two options.
    """
    asked = {option: path for option, path in outputs.items() if path is not None}
    if not asked:
        return
    read = [Path(x) for x in inputs if x is not None and "://" not in str(x)]
    seen: dict[str, str] = {}
    for option, path in asked.items():
        try:
            _check(path, read)
        except OSError as err:
            raise InputError(
                f"output cannot be written: {err.strerror}", file=path, fix=_ELSEWHERE
            ) from None
        real = os.path.realpath(path)
        if real in seen and not _special(Path(real)):
            raise InputError(
                f"is named by both {seen[real]} and {option}", file=path, fix="name two files"
            )
        seen[real] = option


def deliver(
    code: int, show: Callable[[], object], *files: tuple[Path | None, Callable[[], str | bytes]]
) -> int:
    """Print by `show`, then write the files that were asked for; returns `code`.

    Each is tried whatever became of the others; the first error is raised in the end.
    """
    failed: list[Exception] = []
    try:
        show()
        sys.stdout.flush()
    except Exception as err:
        failed.append(err)
    for path, render in files:
        if path is not None:
            try:
                write_whole(path, render(), "report")
            except Exception as err:
                failed.append(err)
    if failed:
        raise failed[0]
    return code


def lazily(name: str) -> Callable[..., Any]:
    """The function "module:name", whose module (a presenter, jinja2 or rich with it) is imported
    when it is called.
    """

    def call(*args: object) -> Any:
        module, _, function = name.partition(":")
        return getattr(import_module(module), function)(*args)

    return call


def _check(path: Path, read: list[Path]) -> None:
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        raise InputError(
            "report cannot be written: there is no such folder",
            file=path,
            fix=f"make the folder, or {_ELSEWHERE}",
        )
    if target.is_dir():
        raise InputError("report cannot be written: this is a folder", file=path, fix="name a file")
    if not target.exists():
        if any(_within(target, one) for one in read) and _is_part(target.name):
            raise InputError("would become part of an input", file=path, fix=_ELSEWHERE)
        try_to_write(folder)
        return
    _check_existing(path, target, read)
    if _special(target):
        return
    if not os.access(target, os.W_OK):
        raise InputError("report cannot be written: Permission denied", file=path, fix=_ELSEWHERE)
    try_to_write(folder)


def _check_existing(path: Path, target: Path, read: list[Path]) -> None:
    mine = _identity(target)
    for one in read:
        if mine == _identity(one):
            raise InputError("is an input and would be overwritten", file=path, fix=_ELSEWHERE)
        named = one.is_dir()
        for file in _files(one) if named else _beside(one):
            if mine == _identity(file) and not (
                file.name.lower().endswith(_REPORTS) or _by_begat(file)
            ):
                raise InputError(
                    f"belongs to the input {one} and would be overwritten",
                    file=path,
                    fix=_ELSEWHERE,
                )
    if target.is_file() and _holds_weights(target):
        raise InputError("holds weights and would be overwritten", file=path, fix=_ELSEWHERE)


def _files(folder: Path) -> Iterator[Path]:
    """All files below an input folder, those that links point to too."""
    for root, _, names in os.walk(folder):
        yield from (Path(root) / name for name in names)


def _beside(file: Path) -> Iterator[Path]:
    """What is read with a weight file that was named alone: shards, config, tokenizer, and an ONNX
    file's outside data.
    """
    yield from (
        other
        for other in file.parent.glob("*")
        if _is_part(other.name) or other.name.startswith(file.stem)
    )
    if file.suffix.lower() == ".onnx":
        from begat.source import open_checkpoint

        with contextlib.suppress(InputError):
            checkpoint = open_checkpoint(file)
            checkpoint.reader.close()
            yield from checkpoint.files


def _within(target: Path, one: Path) -> bool:
    """Is `target` to lie in the input folder, or beside the input file?"""
    real = Path(os.path.realpath(one))
    return target.is_relative_to(real) if real.is_dir() else target.parent == real.parent


def _is_part(name: str) -> bool:
    name = name.casefold()
    return name in _PARTS or name.startswith(_PART_STARTS) or name.endswith(_PART_ENDINGS)


def _identity(file: Path) -> tuple[int, int] | None:
    """Device and inode: equal for links of both kinds."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _special(file: Path) -> bool:
    """A device or pipe: nothing in it can be lost."""
    try:
        return not stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False


def _by_begat(file: Path) -> bool:
    """A BOM, findings or statement that begat wrote: they are JSON, as a model's own files are, and
    say who made them.
    """
    if not file.name.lower().endswith((".json", ".jsonl")) or _is_part(file.name):
        return False
    with file.open("rb") as f:
        text = f.read(1 << 16)
    made = any(mark in text for mark in (b'"bomFormat"', b"sarif-2.1.0", b"in-toto.io/Statement"))
    return made and b"begat" in text


def _holds_weights(file: Path) -> bool:
    """A file that opens as weights and is no fingerprint, wherever it lies."""
    from begat.fingerprint_file import is_fingerprint
    from begat.source.formats import FORMATS
    from begat.source.open import parse_file  # noqa: F401  (registers the formats)

    with file.open("rb") as f:
        head = f.read(64)
    return any(f.recognises(head) for _, f in FORMATS.items()) and not is_fingerprint(file)
