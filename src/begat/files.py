"""Files are written whole or not at all: beside their place under another name, then renamed.

Enters: a place and its content.  Leaves: the file.  Which places a command may write to:
`begat.cli.output`.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from begat.errors import InputError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)


def write_whole(path: str | Path, content: str | bytes, what: str = "file") -> None:
    """Write `content` (text in UTF-8, lines ending in a newline alone) to `path`.

    A link is followed, and the file it points to replaced; devices and pipes, which cannot be, are
    written to. A file that was there keeps its mode and stays as it was until the new one is
    complete.

    Raises:
        InputError: it cannot be written; what was there is untouched, and no draft is left.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    target = Path(os.path.realpath(path))
    try:
        mode = _mode(target)
        if mode is not None and not stat.S_ISREG(mode):
            with target.open("wb", buffering=0) as f:
                f.write(data)
            return
        draft = target.with_name(_draft_name())
        try:
            with os.fdopen(os.open(draft, _NEW, 0o666), "wb") as f:
                f.write(data)
                f.flush()
                _settle(f.fileno())
            if mode is not None:
                draft.chmod(stat.S_IMODE(mode))
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as err:
        raise InputError(
            f"{what} cannot be written: {err.strerror or type(err).__name__}", file=path
        ) from None


def try_to_write(folder: Path) -> None:
    """Make a file in `folder` and remove it. Raises OSError where that cannot be done."""
    draft = folder / _draft_name()
    os.close(os.open(draft, _NEW, 0o666))
    draft.unlink()


def _draft_name() -> str:
    return f".begat-{secrets.token_hex(8)}.part"


def _mode(target: Path) -> int | None:
    try:
        return target.stat().st_mode
    except FileNotFoundError:
        return None


def _settle(handle: int) -> None:
    """Bring the bytes to the disk before the name points to them, where the file system knows
    how.
    """
    try:
        os.fsync(handle)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
