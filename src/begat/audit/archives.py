"""A `.whl`, `.zip` or `.tar.gz` as a `Tree`, read where it lies: nothing is unpacked beside it.

Enters: a path.  Leaves: a `Tree` (`folder.py`). Names that climb, links, encrypted members and bombs are left out or refused.
"""

from __future__ import annotations

import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from begat.audit.folder import MAX_DEPTH, MAX_FILES, MAX_SWELL, MAX_TEXT, MAX_UNPACKED, Tree
from begat.errors import InputError


def _safe(name: str) -> str | None:
    """A member's name with forward slashes, or None when it climbs out or is absolute."""
    name = name.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name or len(parts) > MAX_DEPTH:
        return None
    return "/".join(parts)


def read_zip(path: Path) -> Tree:
    """The files of a zip or wheel. Raises InputError when it is damaged or hostile."""
    sizes: dict[str, int] = {}
    skipped: list[tuple[str, str]] = []
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as z:
            infos = z.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, UnicodeError) as err:
        raise _damaged(path, err) from None
    for info in infos[: MAX_FILES + 1]:
        if info.is_dir():
            continue
        name = _safe(info.filename)
        total += info.file_size
        if name is None:
            skipped.append((info.filename, "a name that leads out of the archive"))
        elif stat.S_ISLNK(info.external_attr >> 16):
            skipped.append((name, "a link"))
        elif name in sizes:
            skipped.append((name, "a name that is there twice; the first is read"))
        elif info.flag_bits & 1:
            skipped.append((name, "encrypted"))
        elif info.file_size > MAX_SWELL * max(1, info.compress_size):
            skipped.append((name, f"unpacks to more than {MAX_SWELL} times its size"))
        else:
            sizes[name], members[name] = info.file_size, info
    _bound(path, len(infos), total)

    def read(name: str, limit: int) -> bytes:
        try:
            with zipfile.ZipFile(path) as z, z.open(members[name]) as f:
                return f.read(limit)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as err:
            raise _damaged(path, err) from None
        except Exception as err:  # zlib.error and lzma.LZMAError have no common base
            if type(err).__name__ in ("error", "LZMAError"):
                raise _damaged(path, err) from None
            raise

    return Tree(path, None, sizes, tuple(skipped), read)


def read_tar(path: Path) -> Tree:
    """A tar cannot be read at random: texts and tokenizers are read once, in passing, and kept."""
    kept: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    skipped: list[tuple[str, str]] = []
    count = total = 0
    try:
        with tarfile.open(path, "r:gz") as t:
            for info in t:
                count, total = count + 1, total + max(0, info.size)
                _bound(path, count, total)
                if not info.isreg():
                    if not info.isdir():
                        skipped.append((info.name, "a link or special file"))
                    continue
                name = _safe(info.name)
                if name is None:
                    skipped.append((info.name, "a name that leads out of the archive"))
                elif name in sizes:
                    skipped.append((name, "a name that is there twice; the first is read"))
                else:
                    sizes[name] = info.size
                    if info.size <= MAX_TEXT and (f := t.extractfile(info)) is not None:
                        kept[name] = f.read(MAX_TEXT)
    except (tarfile.TarError, OSError, EOFError, ValueError) as err:
        raise _damaged(path, err) from None
    except Exception as err:
        if type(err).__name__ == "error":  # zlib.error
            raise _damaged(path, err) from None
        raise

    def read(name: str, limit: int) -> bytes:
        if name not in kept:
            raise InputError(
                "file is too large to be read", file=f"{path}/{name}", expected=f"at most {MAX_TEXT} bytes", found=sizes[name]
            )
        return kept[name][:limit]

    return Tree(path, None, sizes, tuple(skipped), read)


def _bound(path: Path, files: int, total: int) -> None:
    if files > MAX_FILES:
        raise InputError(
            "archive holds too many files", file=path, expected=f"at most {MAX_FILES}", found=files, fix="do not trust this file"
        )
    if total > MAX_UNPACKED:
        raise InputError(
            "archive unpacks to too much",
            file=path,
            expected=f"at most {MAX_UNPACKED} bytes",
            found="more",
            fix="do not trust this file",
        )


def _damaged(path: Path, err: Exception) -> InputError:
    return InputError(f"archive is damaged ({type(err).__name__})", file=path, fix="download the file again")
