"""A release or a reference as a set of files that may be read: a folder, or a `.whl`, `.zip` or `.tar.gz` read where it lies.

Enters: a path.  Leaves: a `Tree`.  Nothing is installed, executed or unpacked beside the tree. What a stranger's folder may do to a reader is refused
here: links that lead out of the folder, special files, files larger than a text may be, names that climb, archives that swell.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from begat.errors import InputError

#: the most that is read of one text file; the largest modeling file of a release seen has 0.4 MB
MAX_TEXT = 8 << 20
#: files in a tree, and bytes that an archive may unpack to in all
MAX_FILES = 50_000
MAX_UNPACKED = 1 << 30
#: a member that unpacks to more than this many times its stored size is a bomb
MAX_SWELL = 1_000
_MAX_DEPTH = 32
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz")
#: endings of files that hold text an audit reads
TEXT_ENDINGS = (".py", ".md", ".txt", ".json", ".jinja", ".toml", ".cfg", ".yaml", ".yml", ".rst", ".html")
#: files without such an ending whose names say that they are read
_TEXT_NAMES = (
    "license",
    "licence",
    "notice",
    "copying",
    "copyright",
    "authors",
    "use_policy",
    "metadata",
    "readme",
    "open source software notice",
)


@dataclass(frozen=True, slots=True)
class Tree:
    """Files of a release or a reference by their path with forward slashes.

    Attributes:
        path: what the user named. root: its folder, None for an archive.
        sizes: path → bytes, for every regular file. skipped: (path, why).
        _open: reads at most so many bytes of a path.
    """

    path: Path
    root: Path | None
    sizes: Mapping[str, int]
    skipped: tuple[tuple[str, str], ...]
    _open: Callable[[str, int], bytes]
    _texts: dict[str, str | None] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """The file as text; None when it is larger than `MAX_TEXT`, binary, or cannot be read."""
        if name not in self._texts:
            self._texts[name] = self._read_text(name)
        return self._texts[name]

    def _read_text(self, name: str) -> str | None:
        if self.sizes[name] > MAX_TEXT:
            return None
        try:
            data = self._open(name, MAX_TEXT)
        except (OSError, InputError):
            return None
        if b"\0" in data[:65536]:
            return None
        return data.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")

    def bytes(self, name: str, limit: int) -> bytes:
        """At most `limit` bytes of the file. Raises InputError when there are more, OSError when it cannot be read."""
        if self.sizes[name] > limit:
            raise InputError(
                "file is too large to be read",
                file=f"{self.path}/{name}",
                expected=f"at most {limit} bytes",
                found=self.sizes[name],
            )
        return self._open(name, limit)

    def texts(self) -> Iterator[str]:
        """Paths of files that are text by their names, in order."""
        return (name for name in sorted(self.sizes) if is_text_name(name))


def is_text_name(name: str) -> bool:
    """Does this name belong to a text that an audit reads?"""
    last = name.rsplit("/", 1)[-1].casefold()
    return last.endswith(TEXT_ENDINGS) or last.startswith(_TEXT_NAMES)


def open_tree(path: Path) -> Tree:
    """The files at `path`. Raises InputError when there is nothing, or an archive is damaged or hostile."""
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise InputError("no such file or folder", file=path, fix="name a release folder, a source folder or an archive")
    name = path.name.casefold()
    if not path.is_file():
        raise InputError("is neither a folder nor a regular file", file=path)
    if name.endswith((".whl", ".zip")):
        return _zip(path)
    if name.endswith((".tar.gz", ".tgz")):
        return _tar(path)
    raise InputError("is neither a folder nor an archive", file=path, expected=" / ".join(ARCHIVES), found=path.suffix or "no ending",
                     fix="name the folder that holds the file")  # fmt: skip


def _folder(path: Path) -> Tree:
    root = path.resolve()
    sizes: dict[str, int] = {}
    skipped: list[tuple[str, str]] = []
    for name, entry in _walk(root, "", 0, skipped):
        if len(sizes) >= MAX_FILES:
            skipped.append((name, f"more than {MAX_FILES} files; the rest was not looked at"))
            break
        try:
            info = os.stat(entry)
            inside = os.path.realpath(entry)
        except OSError as err:
            skipped.append((name, f"cannot be read: {err.strerror or type(err).__name__}"))
            continue
        if os.path.commonpath([inside, root]) != os.fspath(root) and not _shared_cache(entry, root):
            skipped.append((name, "a link that leads out of the folder"))
        elif not stat.S_ISREG(info.st_mode):
            skipped.append((name, "not a regular file"))
        else:
            sizes[name] = info.st_size

    def read(name: str, limit: int) -> bytes:
        with open(root / name, "rb") as f:
            return f.read(limit)

    return Tree(path, root, sizes, tuple(skipped), read)


def _shared_cache(entry: str, root: Path) -> bool:
    """Hugging Face's cache keeps files in `blobs` beside `snapshots/REVISION`, which holds links to them: those may be followed."""
    if root.parent.name != "snapshots":
        return False
    blobs = os.path.realpath(root.parent.parent / "blobs")
    return os.path.dirname(os.path.realpath(entry)) == blobs


def _walk(folder: Path | str, prefix: str, depth: int, skipped: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(path in the tree, path on disk) of everything that is no folder; folders that are links are not entered."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda e: e.name)
    except OSError as err:
        skipped.append((prefix or ".", f"cannot be read: {err.strerror or type(err).__name__}"))
        return
    for entry in found:
        name = f"{prefix}{entry.name}"
        if entry.name in (".git", "__pycache__", ".venv", "node_modules"):
            continue
        if entry.is_dir(follow_symlinks=False):
            if depth >= _MAX_DEPTH:
                skipped.append((name, f"nested deeper than {_MAX_DEPTH} folders"))
            else:
                yield from _walk(entry.path, name + "/", depth + 1, skipped)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            skipped.append((name, "a link to a folder"))
        else:
            yield name, entry.path


def _safe(name: str) -> str | None:
    """A member's name with forward slashes, or None when it climbs out or is absolute."""
    name = name.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name or len(parts) > _MAX_DEPTH:
        return None
    return "/".join(parts)


def _zip(path: Path) -> Tree:
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


def _tar(path: Path) -> Tree:
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


def digest(tree: Tree, names: list[str]) -> str:
    """sha256 over (path, sha256) of the named files, sorted; a file that cannot be read counts with its size."""
    total = hashlib.sha256()
    for name in sorted(names):
        text = tree.text(name)
        own = f"size {tree.sizes[name]}" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        total.update(f"{name}\0{own}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()
