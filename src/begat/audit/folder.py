"""A release or a reference as a set of files that may be read: a folder, or a `.whl`, `.zip` or `.tar.gz` read where it lies.

Enters: a path.  Leaves: a `Tree`.  Nothing is installed, executed or unpacked beside the tree. What a stranger's folder may do to a reader is refused
here: links that lead out of the folder, special files, files larger than a text may be, names that climb. Archives: `archives.py`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from begat.errors import InputError

#: the most that is read of one text file; the largest modeling file of a release seen has 0.4 MB
MAX_TEXT = 8 << 20
#: files in a tree, and bytes that an archive may unpack to in all
MAX_FILES = 50_000
MAX_UNPACKED = 1 << 30
#: a member that unpacks to more than this many times its stored size is a bomb
MAX_SWELL = 1_000
MAX_DEPTH = 32
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz")
#: endings of files that hold text an audit reads
TEXT_ENDINGS = (".py", ".md", ".txt", ".json", ".jinja", ".toml", ".cfg", ".yaml", ".yml", ".rst", ".html")
#: files without such an ending whose names say that they are read
Bytes = bytes  # `Tree` has a method of that name
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

    def bytes(self, name: str, limit: int) -> Bytes:
        """At most `limit` bytes of the file. Raises InputError when there are more, OSError when it cannot be read."""
        if self.sizes[name] > limit:
            raise InputError(
                "file is too large to be read",
                file=f"{self.path}/{name}",
                expected=f"at most {limit} bytes",
                found=self.sizes[name],
            )
        return self._open(name, limit)

    def head(self, name: str, count: int) -> Bytes:
        """The first `count` bytes of the file. Raises OSError or InputError when it cannot be read."""
        return self._open(name, count)[:count]

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
        from begat.audit.archives import read_zip

        return read_zip(path)
    if name.endswith((".tar.gz", ".tgz")):
        from begat.audit.archives import read_tar

        return read_tar(path)
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
            if depth >= MAX_DEPTH:
                skipped.append((name, f"nested deeper than {MAX_DEPTH} folders"))
            else:
                yield from _walk(entry.path, name + "/", depth + 1, skipped)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            skipped.append((name, "a link to a folder"))
        else:
            yield name, entry.path


def digest(tree: Tree, names: list[str]) -> str:
    """sha256 over (path, sha256) of the named files, sorted; a file that cannot be read counts with its size."""
    total = hashlib.sha256()
    for name in sorted(names):
        text = tree.text(name)
        own = f"size {tree.sizes[name]}" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        total.update(f"{name}\0{own}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()
